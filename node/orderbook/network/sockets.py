"""The two kinds of WebSocket as one, with what aiohttp leaves out of both.

A way to end it at once, whatever it holds: ``close`` of a WebSocket and of its transport wait for what was written to
be taken; a peer that doesn't read would keep them for ever. And a way to write from a callback (``write_now``): a task
that is woken to write costs each message a turn of the loop.
"""

from __future__ import annotations

import asyncio
from typing import Any, Literal

from aiohttp import ClientResponse, ClientWebSocketResponse, web


class DialledSocket(ClientWebSocketResponse[Literal[True]]):
    """For ``ClientSession(ws_response_class=...)``."""

    def __init__(
        self, reader: Any, writer: Any, protocol: str | None, response: ClientResponse, *rest: Any, **more: Any
    ):
        super().__init__(reader, writer, protocol, response, *rest, **more)
        self._answer = response

    @property
    def transport(self) -> asyncio.WriteTransport | None:
        connection = self._answer.connection
        return connection.transport if connection is not None else None

    def abort(self) -> None:
        transport = self.transport
        if transport is not None:
            transport.abort()
        # When the connection was lost aiohttp does not let go of it by itself.
        self._answer.close()


class AcceptedSocket(web.WebSocketResponse[bool]):
    """``prepare`` it with the request that it answers."""

    async def prepare(self, request: web.BaseRequest) -> Any:
        self.transport: asyncio.WriteTransport | None = request.transport
        return await super().prepare(request)

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()


PeerSocket = DialledSocket | AcceptedSocket

SMALL_BYTES = 64 << 10
WebSocket = ClientWebSocketResponse[Any] | web.WebSocketResponse[Any]


def write_now(socket: WebSocket, transport: asyncio.WriteTransport | None, message: bytes) -> bool:
    """Hand a small message over at once, if everything before it was taken; else False, and nothing is done.

    What the peer doesn't take of it waits in the transport: no more than ``SMALL_BYTES``, whatever the owner's queue
    may hold.
    """
    if transport is None or len(message) > SMALL_BYTES or transport.get_write_buffer_size() or transport.is_closing():
        return False
    sending = socket.send_bytes(message)
    try:
        sending.send(None)
    except StopIteration:
        return True
    except ConnectionError:
        return False
    sending.close()  # the message is written; what it would wait for is that it is taken, which the next call looks at
    return True
