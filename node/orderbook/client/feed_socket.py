"""Feeds over WebSockets to any of some nodes: /v1/streams/{fills,events,book}."""

from __future__ import annotations

import json
import ssl
from collections.abc import Sequence
from contextlib import suppress

import aiohttp

from orderbook.streams.audience import FeedKind
from orderbook.streams.feed import FeedRequest
from orderbook.streams.market import FeedRefused
from orderbook.wire.feed_frames import MSGPACK_SUBPROTOCOL

FINAL_STATUSES = (400, 401, 403, 404)


class WebSocketFeedSource:
    """A ``client.feeds.FeedSource``. ``addresses`` are the nodes' client URLs."""

    def __init__(
        self,
        http: aiohttp.ClientSession,
        addresses: Sequence[str],
        token: str | None = None,
        tls: ssl.SSLContext | bool = True,
    ) -> None:
        if not addresses:
            raise ValueError("a feed needs at least one address of a node")
        self.addresses: Sequence[str] = list(addresses)
        self._http = http
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._tls = tls

    async def open(self, address: str, request: FeedRequest) -> FeedSocket:
        try:
            socket = await self._http.ws_connect(
                f"{address}/v1/streams/{request.kind}",
                params=query_of(request),
                protocols=(MSGPACK_SUBPROTOCOL,),
                headers=self._headers,
                ssl=self._tls,
                max_msg_size=64 << 20,
                heartbeat=5.0,
                compress=0,
            )
        except aiohttp.WSServerHandshakeError as error:
            if error.status in FINAL_STATUSES:
                code, message = await self._why(address, request.kind, query_of(request), error)
                raise FeedRefused(code, message) from error
            raise ConnectionError(str(error)) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ConnectionError(str(error)) from error
        return FeedSocket(socket)

    async def _why(
        self, address: str, kind: FeedKind, query: dict[str, str], refused: aiohttp.WSServerHandshakeError
    ) -> tuple[str, str]:
        """A refused handshake doesn't hand on its body: the same question as a plain request gives it."""
        with suppress(aiohttp.ClientError, OSError, ValueError, KeyError, TypeError):
            async with self._http.get(
                f"{address}/v1/streams/{kind}", params=query, headers=self._headers, ssl=self._tls
            ) as response:
                error = json.loads(await response.text())["error"]
                return str(error["code"]), str(error["message"])
        return "refused", f"{address} refused the feed with status {refused.status}"


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
    if request.start is not None:
        query["from"] = f"{request.start[0]},{request.start[1]}"
    if request.incarnation is not None:
        query["incarnation"] = request.incarnation.hex()
    if request.pair is not None:
        query["pair"] = request.pair
    return query
