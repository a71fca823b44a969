"""Streams of a client over WebSockets to any of some nodes: /v1/streams/{fills,events,book,members}."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress

import aiohttp

from orderbook.client.credentials import ANONYMOUS, ClientCredentials
from orderbook.streams.feed import FeedRequest
from orderbook.streams.market import FeedRefused
from orderbook.wire.feed_frames import MSGPACK_SUBPROTOCOL, OLDEST

FINAL_STATUSES = (400, 401, 403, 404)


class NodeSockets:
    """Opens WebSockets of one client to any of some nodes. ``addresses`` are the nodes' client URLs."""

    def __init__(
        self,
        http: aiohttp.ClientSession,
        addresses: Sequence[str],
        credentials: ClientCredentials = ANONYMOUS,
    ) -> None:
        if not addresses:
            raise ValueError("a stream needs at least one address of a node")
        self.addresses: Sequence[str] = list(addresses)
        self._http = http
        self._credentials = credentials

    async def open_path(self, address: str, path: str, query: dict[str, str]) -> FeedSocket:
        """Raises ConnectionError if the node can't be reached or serves nobody now, FeedRefused for its last word."""
        try:
            socket = await self._http.ws_connect(
                f"{address}{path}",
                params=query,
                protocols=(MSGPACK_SUBPROTOCOL,),
                **self._credentials.request_options(),
                max_msg_size=64 << 20,
                heartbeat=5.0,
                compress=0,
            )
        except aiohttp.WSServerHandshakeError as error:
            if error.status in FINAL_STATUSES:
                code, message = await self._why(address, path, query, error.status)
                if error.status == 401 and self._credentials.renewable:
                    raise ConnectionError(message) from error
                raise FeedRefused(code, message) from error
            raise ConnectionError(str(error)) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ConnectionError(str(error)) from error
        return FeedSocket(socket)

    async def _why(self, address: str, path: str, query: dict[str, str], status: int) -> tuple[str, str]:
        """A refused handshake doesn't hand on its body: the same question as a plain request gives it.

        Another status means that what was refused is allowed by now (a pair was defined): ConnectionError, ask again.
        """
        with suppress(aiohttp.ClientError, ValueError, KeyError, TypeError):
            async with self._http.get(
                f"{address}{path}", params=query, **self._credentials.request_options()
            ) as response:
                if response.status != status:
                    raise ConnectionError(f"{address} refused the stream with {status}, and a moment later did not")
                error = json.loads(await response.text())["error"]
                return str(error["code"]), str(error["message"])
        return "refused", f"{address} refused the stream with status {status}"


class WebSocketFeedSource(NodeSockets):
    """A ``client.feeds.FeedSource``."""

    async def open(self, address: str, request: FeedRequest) -> FeedSocket:
        return await self.open_path(address, f"/v1/streams/{request.kind}", query_of(request))


class FeedSocket:
    """A ``FeedLink``."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse[bool]) -> None:
        self._socket = socket

    async def receive(self) -> bytes | None:
        message = await self._socket.receive()
        if message.type is aiohttp.WSMsgType.BINARY:
            data: bytes = message.data
            return data
        return None

    async def close(self) -> None:
        await self._socket.close()


def query_of(request: FeedRequest) -> dict[str, str]:
    query = {}
    if request.oldest:
        query["from"] = OLDEST
    elif request.start is not None:
        query["from"] = f"{request.start[0]},{request.start[1]}"
    if request.incarnation is not None:
        query["incarnation"] = request.incarnation.hex()
    if request.pair is not None:
        query["pair"] = request.pair
    return query
