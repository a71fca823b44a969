"""The two kinds of WebSocket as one, with what aiohttp leaves out of both: a way to end it at once, whatever it holds.

``close`` of a WebSocket and of its transport wait for what was written to be taken; a peer that doesn't read would keep
them for ever.
"""

from __future__ import annotations

from typing import Any, Literal

from aiohttp import ClientResponse, ClientWebSocketResponse, web


class DialledSocket(ClientWebSocketResponse[Literal[True]]):
    """For ``ClientSession(ws_response_class=...)``."""

    def __init__(
        self, reader: Any, writer: Any, protocol: str | None, response: ClientResponse, *rest: Any, **more: Any
    ):
        super().__init__(reader, writer, protocol, response, *rest, **more)
        self._answer = response

    def abort(self) -> None:
        connection = self._answer.connection
        if connection is not None and connection.transport is not None:
            connection.transport.abort()
        # When the connection was lost aiohttp does not let go of it by itself.
        self._answer.close()


class AcceptedSocket(web.WebSocketResponse[bool]):
    """``prepare`` it with the request that it answers."""

    async def prepare(self, request: web.BaseRequest) -> Any:
        self._transport = request.transport
        return await super().prepare(request)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


PeerSocket = DialledSocket | AcceptedSocket
