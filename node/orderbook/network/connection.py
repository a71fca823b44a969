"""One WebSocket to a peer: records in and out, a bounded queue, a reason for its end.

One task writes. Whatever is queued when it comes to write leaves in one message (up to ``GATHER_BYTES``), so a lone
frame leaves in the next turn of the loop, and under load a message, a system call and a wake-up are shared by many. An
owner that knows that its turn is over has a little leave in the same turn (``flush``).

The queue is bounded in bytes; what was handed to the socket and not yet taken counts. A frame that finds it full is
dropped (``send`` says so); a control message that does ends the connection: the peer doesn't read.

It ends once: by ``end``, called by whoever notices first. From then on nothing is sent but, where the other side may
still listen, a REFUSE that names the reason; after ``linger`` seconds at most the socket is aborted, whatever it holds.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from aiohttp import WebSocketError, WSCloseCode, WSMsgType

from orderbook.network.framing import CONTROL, GATHER_BYTES, HEADER_BYTES, MAX_FRAME_BYTES, pack_header
from orderbook.network.handshake import ControlKind, Reason, pack_control
from orderbook.network.options import NetworkOptions
from orderbook.network.sockets import SMALL_BYTES, PeerSocket, write_now
from orderbook.runtime import Runtime, Timer

_QUIET = (Reason.LOST, Reason.SILENT, Reason.NOT_READING)  # nobody listens any more


class Connection:
    """``on_end(reason, detail)`` is called once, by whatever ends it, before anything else happens."""

    def __init__(self, runtime: Runtime, socket: PeerSocket, options: NetworkOptions) -> None:
        self.reason: Reason | None = None
        self.queued_bytes = 0
        self.on_end: Callable[[Reason, str], object] = lambda reason, detail: None
        self._runtime = runtime
        self._options = options
        self._socket = socket
        self._queue: deque[tuple[int, tuple[bytes, ...]]] = deque()
        self._farewell: tuple[Reason, str] | None = None
        self._lingering: Timer | None = None
        self._idle: asyncio.Future[None] | None = None
        self._writing = False
        self._silent = 0
        self._stalled = 0
        self._writer = runtime.spawn(self._write(), "write to peer")
        self._written = asyncio.get_running_loop().create_future()

    # --- out ----------------------------------------------------------------------------------------------------------

    def send(self, channel: int, frame: bytes | tuple[bytes, ...]) -> bool:
        """Queue one frame. False: it is dropped, since the queue is full, the frame too large, or this has ended."""
        if isinstance(frame, bytes):
            size = len(frame)
            parts: tuple[bytes, ...] = (pack_header(size, channel), frame) if size <= MAX_FRAME_BYTES else ()
        else:
            size = sum(map(len, frame))
            parts = (pack_header(size, channel), *frame) if size <= MAX_FRAME_BYTES else ()
        total = size + HEADER_BYTES
        if not parts or self.queued_bytes + total > self._options.max_queue_bytes or self.reason is not None:
            return False
        self.queued_bytes += total
        self._queue.append((total, parts))
        self._wake()
        return True

    def flush(self) -> None:
        """Write what is queued at once, without the writer's turn, if it is small and all before it was taken."""
        if self._idle is None or not self._queue or self.queued_bytes > SMALL_BYTES or self.reason is not None:
            return
        message, size = self._gather()
        if write_now(self._socket, self._socket.transport, message):
            self.queued_bytes -= size
        else:
            self._queue.appendleft((size, (message,)))

    def send_urgent(self, kind: ControlKind) -> None:
        """Signs of life go before all that is queued: on a slow path they would come too late behind it."""
        self.send_control(kind)
        if self.reason is None:
            self._queue.rotate(1)

    def send_control(self, kind: ControlKind, *fields: object) -> None:
        self.send_packed_control(pack_control(kind, *fields))

    def send_packed_control(self, packed: bytes) -> None:
        if self.reason is None and not self.send(CONTROL, packed):
            self.end(Reason.NOT_READING, "its queue is full of what it must be told")

    def _wake(self) -> None:
        if self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    async def _write(self) -> None:
        try:
            while self.reason is None:
                if not self._queue:
                    self._idle = asyncio.get_running_loop().create_future()
                    await self._idle
                    self._idle = None
                    continue
                message, size = self._gather()
                self._writing = True
                await self._socket.send_bytes(message)
                self._writing = False
                self._stalled = 0
                if self.reason is None:
                    self.queued_bytes -= size
            if self._farewell is not None:
                await self._say_farewell(*self._farewell)
        except ConnectionError as error:
            self.end(Reason.LOST, str(error))
        finally:
            self._written.set_result(None)

    def _gather(self) -> tuple[bytes, int]:
        queue = self._queue
        total, parts = queue.popleft()
        if queue and total + queue[0][0] <= GATHER_BYTES:
            gathered = list(parts)
            while queue and total + queue[0][0] <= GATHER_BYTES:
                size, parts = queue.popleft()
                gathered += parts
                total += size
            return b"".join(gathered), total
        return b"".join(parts), total

    # --- in -----------------------------------------------------------------------------------------------------------

    async def read(self) -> bytes | None:
        """The next message, None when there will be no more. Everything that arrives is a sign of life."""
        if self.reason is not None:
            return None
        message = await self._socket.receive()
        self._silent = 0
        if message.type is WSMsgType.BINARY:
            data: bytes = message.data
            return data if self.reason is None else None
        if message.type is WSMsgType.ERROR and isinstance(message.data, WebSocketError):
            too_large = message.data.code == WSCloseCode.MESSAGE_TOO_BIG
            self.end(Reason.TOO_LARGE if too_large else Reason.MALFORMED, str(message.data))
        elif message.type is WSMsgType.TEXT:
            self.end(Reason.MALFORMED, "a text message")
        else:
            self.end(Reason.LOST, f"closed by the other side ({self._socket.close_code})")
        return None

    # --- the end ------------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Called every ``ping_every`` seconds. Ticks are counted, not seconds: a stall of our own hurts no peer."""
        self._silent += 1
        self._stalled += self._writing
        if self._silent > self._options.silent_pings:
            self.end(Reason.SILENT, f"nothing was heard for {self._options.silent_pings} pings")
        elif self._stalled > self._options.stalled_pings:
            self.end(Reason.NOT_READING, f"it took nothing for {self._options.stalled_pings} pings")
        elif self._silent > 1:
            self.send_urgent(ControlKind.PING)

    def end(self, reason: Reason, detail: str, tell: bool = True) -> None:
        """End it, for the first reason given, and tell the other side unless it surely doesn't listen."""
        if self.reason is not None:
            return
        self.reason = reason
        self._queue.clear()
        self.queued_bytes = 0
        self.on_end(reason, detail)
        if reason in _QUIET or not tell:
            self._socket.abort()
        else:
            self._farewell = (reason, detail)
            self._lingering = self._runtime.call_later(self._options.linger, self._socket.abort)
        self._wake()

    async def finish(self) -> None:
        """After the last ``read``: wait for the writer, let go of the socket."""
        self.end(Reason.LOST, "no longer read")
        await self._written
        if self._lingering is not None:
            self._lingering.cancel()
        self._socket.abort()

    async def _say_farewell(self, reason: Reason, detail: str) -> None:
        refusal = pack_control(ControlKind.REFUSE, str(reason), detail[:400])
        await self._socket.send_bytes(pack_header(len(refusal), CONTROL) + refusal)
        code = WSCloseCode.MESSAGE_TOO_BIG if reason is Reason.TOO_LARGE else WSCloseCode.POLICY_VIOLATION
        await self._socket.close(code=code, message=str(reason).encode())
