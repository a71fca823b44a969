"""A client's WebSocket as a ``streams.Connection``: one writer, a bounded queue, a reason for every close."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress

from aiohttp import WSCloseCode, web

from orderbook.network.sockets import write_now
from orderbook.wire.roles import Role

MAX_QUEUED_BYTES = 32 << 20
GOING_AWAY = "going_away"  # the reason for which a client goes to another node at once
TOO_MANY_STREAMS = "too_many_streams"
TOO_MANY_STREAMS_OF_ONE = "too_many_streams_of_one"
CLOSE_SECONDS = 2.0
_CODES = {
    GOING_AWAY: WSCloseCode.GOING_AWAY,
    TOO_MANY_STREAMS: WSCloseCode.TRY_AGAIN_LATER,
    TOO_MANY_STREAMS_OF_ONE: WSCloseCode.TRY_AGAIN_LATER,
}


class WebSocketConnection:
    """``send`` queues; ``write`` is the one coroutine that writes, until the socket is closed.

    A client that is told to go has ``CLOSE_SECONDS`` to take what is on its way and the reason; then it is cut off. One
    that sends on and never reads would otherwise stay: the pings that should find it wait while it sends.

    ``text``: the messages are UTF-8 and leave as text frames.
    """

    def __init__(
        self,
        request: web.Request,
        socket: web.WebSocketResponse,
        principal: str,
        role: Role,
        max_queued: int = MAX_QUEUED_BYTES,
        *,
        text: bool = False,
    ) -> None:
        self.principal = principal
        self.role = role
        self.queued_bytes = 0
        self._request = request
        self._socket = socket
        self._max_queued = max_queued
        self._text = text
        self._queue: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self._idle = False  # ``write`` waits for something to do
        self._reason: str | None = None
        self._cutting: asyncio.TimerHandle | None = None

    def send(self, data: bytes) -> bool:
        if self._reason is not None:
            return False
        if self.queued_bytes + len(data) > self._max_queued:
            self._queue.clear()
            self.close("slow_consumer")
            return False
        idle = self._idle and not self._queue and not self._text
        if idle and write_now(self._socket, self._request.transport, data):
            return True
        self.queued_bytes += len(data)
        self._queue.append(data)
        self._wake.set()
        return True

    def close(self, reason: str) -> None:
        if self._reason is None:
            self._reason = reason
            self._wake.set()
            self._cutting = asyncio.get_running_loop().call_later(CLOSE_SECONDS, self._cut)

    def _cut(self) -> None:
        if self._request.transport is not None:
            self._request.transport.abort()

    async def write(self) -> None:
        """Write what is queued until ``close``; then say the reason. A socket that is gone ends it quietly."""
        try:
            await self._write()
        finally:
            if self._cutting is not None:
                self._cutting.cancel()

    async def _write(self) -> None:
        with suppress(ConnectionError):
            while True:
                while self._queue:
                    data = self._queue.popleft()
                    if self._text:
                        await self._socket.send_str(data.decode())
                    else:
                        await self._socket.send_bytes(data)
                    self.queued_bytes -= len(data)
                if self._reason is not None:
                    break
                self._wake.clear()
                self._idle = True
                await self._wake.wait()
                self._idle = False
        code = _CODES.get(self._reason or "", WSCloseCode.POLICY_VIOLATION)
        with suppress(ConnectionError):
            await self._socket.close(code=code, message=(self._reason or "").encode()[:120])
