"""The client's side of the order stream: a ``SessionTransport`` over one WebSocket at a time, to any of some nodes.

When the connection breaks, every request without a reply ends Uncertain and the next node is tried, with backoff; the
``SessionClient`` above sends again what needs it. Nothing here retries a request. A node that lets a request wait for
too long, or that answers nothing but Unavailable, is left for the next one too.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import aiohttp

from orderbook.client.credentials import ANONYMOUS, UNAUTHORIZED, ClientCredentials, NotAuthorized
from orderbook.groups.errors import GroupError, Refused, Unavailable, Uncertain
from orderbook.groups.session_client import Answered, Opened
from orderbook.groups.sessions import Outcome
from orderbook.network.tls import sentence, tls_failure
from orderbook.runtime import Runtime, Task, pause
from orderbook.wire.order_frames import SUBPROTOCOL, ReplyKind, RequestKind, pack, unpack_reply

RECONNECT_FIRST_SECONDS = 0.02
RECONNECT_MOST_SECONDS = 1.0
REFUSING_SECONDS = 1.0  # a node that has only said Unavailable for so long is left for the next
REPLY_TIMEOUT_SECONDS = 15.0
WATCH_SECONDS = 0.5
PASSING_REASONS = ("overloaded", "transferring")  # another node would say the same


_logger = logging.getLogger("orderbook.client")


class BatchAnswer(NamedTuple):
    """The events of a batch: ``events[n]`` has the sequence (log_index, first_ordinal + n); None is another's event."""

    log_index: int
    first_ordinal: int
    events: list[list[Any] | None]


class OrderStream:
    """Connects by itself; ``on_connected`` is called at each connection. Requests meanwhile are Unavailable, or, where
    no node takes the client's token and no file has another, refused as NotAuthorized."""

    def __init__(
        self,
        runtime: Runtime,
        http: aiohttp.ClientSession,
        addresses: Sequence[str],
        credentials: ClientCredentials = ANONYMOUS,
    ) -> None:
        if not addresses:
            raise ValueError("an order stream needs at least one address of a node")
        self.connections = 0  # statistics
        self.address = ""  # of the node that it is connected to
        self.on_connected: Callable[[], None] = lambda: None
        self.on_refused: Callable[[], None] = lambda: None
        self.refusal: NotAuthorized | None = None  # no node takes the token, and there will be no other
        self._runtime = runtime
        self._http = http
        self._addresses = list(addresses)
        self._credentials = credentials
        self._refused_by: NotAuthorized | None = None
        self._told = ""
        self._without_success = 0  # addresses tried since the last connection
        self._next_request = 1
        self._waiting: dict[int, Answered] = {}
        self._deadlines: deque[tuple[float, int]] = deque()
        self._queue: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self._online = False
        self._refusing_since: float | None = None
        self._leave = asyncio.Event()  # this node, for the next
        self._task: Task = runtime.spawn(self._run(), "order stream")

    async def close(self) -> None:
        self._task.cancel()
        self._lose("the client closed the stream")

    # --- SessionTransport ---------------------------------------------------------------------------------------------

    def open_session(
        self, timeout_ms: int, cancel_on_close: bool, done: Callable[[Opened | None, GroupError | None], None]
    ) -> None:
        self._request(RequestKind.OPEN, done, timeout_ms, cancel_on_close)

    def send_batch(self, session: int, first: int, commands: int, acked: int, body: bytes, done: Answered) -> None:
        self._request(RequestKind.BATCH, done, session, first, commands, acked, body)

    def keep_alive(self, session: int, acked: int, done: Answered) -> None:
        self._request(RequestKind.KEEP_ALIVE, done, session, acked)

    def close_session(self, session: int, done: Answered) -> None:
        self._request(RequestKind.CLOSE, done, session)

    def _request(self, kind: RequestKind, done: Answered, *fields: Any) -> None:
        if not self._online:
            done(None, self.refusal or Unavailable("not_online"))
            return
        number = self._next_request
        self._next_request += 1
        self._waiting[number] = done
        self._deadlines.append((self._runtime.monotonic() + REPLY_TIMEOUT_SECONDS, number))
        self._queue.append(pack(kind, number, *fields))
        self._wake.set()

    # --- the connection -----------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        backoff = RECONNECT_FIRST_SECONDS
        turn = 0
        while True:
            address = self._addresses[turn % len(self._addresses)]
            turn += 1
            try:
                async with self._http.ws_connect(
                    f"{address}/v1/streams/orders",
                    protocols=(SUBPROTOCOL,),
                    **self._credentials.request_options(),
                    max_msg_size=64 << 20,
                    heartbeat=5.0,
                    compress=0,
                ) as socket:
                    backoff = RECONNECT_FIRST_SECONDS
                    self.address = address
                    self._without_success = 0
                    self.refusal = None
                    await self._talk(socket)
            except aiohttp.WSServerHandshakeError as error:
                if error.status in UNAUTHORIZED:
                    self._not_authorized(error)
            except (aiohttp.ClientError, OSError) as error:
                failure = tls_failure(error)
                if failure is not None:
                    self._warn(f"no TLS with {address}: {sentence(failure)}")
            finally:
                self._online = False
                self._lose("the connection to the node broke")
                self._without_success += 1
                if self._refused_by is not None and self._without_success >= len(self._addresses):
                    self._refuse(self._refused_by)
            await pause(self._runtime, backoff * (0.5 + self._runtime.random.random()))
            backoff = min(backoff * 2, RECONNECT_MOST_SECONDS)

    def _not_authorized(self, error: aiohttp.WSServerHandshakeError) -> None:
        """A node does not take the token. With a file of tokens the next one may do, at any time."""
        challenge = error.headers.get("WWW-Authenticate", "") if error.headers is not None else ""
        told = re.search(r'error_description="([^"]*)"', challenge)
        message = told[1] if told else f"refused with status {error.status}: {challenge or error.message}"
        self._warn(f"a node does not take this client's token: {message}")
        if not self._credentials.renewable:
            self._refused_by = NotAuthorized(message)

    def _warn(self, message: str) -> None:
        if message != self._told:
            self._told = message
            _logger.warning("%s", message)

    def _refuse(self, refusal: NotAuthorized) -> None:
        """No node lets this client in: whoever waits for that is told."""
        self._refused_by = None
        self.refusal = refusal
        self.on_refused()

    async def _talk(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.connections += 1
        self._queue.clear()
        self._refusing_since = None
        self._leave.clear()
        self._online = True
        helpers = [asyncio.ensure_future(self._write(socket)), asyncio.ensure_future(self._leave_when_told(socket))]
        self._watching = self._runtime.call_later(WATCH_SECONDS, self._watch)
        self.on_connected()
        try:
            async for message in socket:
                if message.type is aiohttp.WSMsgType.BINARY:
                    self._on_reply(message.data)
        finally:
            self._watching.cancel()
            for helper in helpers:
                helper.cancel()
            with suppress(asyncio.CancelledError, ConnectionError, aiohttp.ClientError):
                await asyncio.gather(*helpers)

    async def _leave_when_told(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        await self._leave.wait()
        await socket.close()

    def _watch(self) -> None:
        """Every so often while connected: does this node still answer?"""
        self._watching = self._runtime.call_later(WATCH_SECONDS, self._watch)
        now = self._runtime.monotonic()
        refusing = self._refusing_since is not None and now - self._refusing_since > REFUSING_SECONDS
        if self._expire(now) or refusing:
            self._leave.set()

    async def _write(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        while True:
            while self._queue:
                await socket.send_bytes(self._queue.popleft())
            self._wake.clear()
            await self._wake.wait()

    def _on_reply(self, data: bytes) -> None:
        kind, number, *fields = unpack_reply(data)
        done = self._waiting.pop(number, None)
        if done is None:
            return
        if kind != ReplyKind.UNAVAILABLE:
            self._refusing_since = None
        if kind == ReplyKind.ANSWER:
            done(BatchAnswer(*fields[:3]), None)
        elif kind == ReplyKind.OPENED:
            done(Opened(*fields[:2]), None)
        elif kind == ReplyKind.DONE:
            done(None, None)
        elif kind == ReplyKind.REFUSED:
            done(None, Refused(Outcome(fields[0]), fields[1]))
        elif kind == ReplyKind.UNAVAILABLE:
            self._refused(fields[0])
            done(None, Unavailable(fields[0] if fields[0] in Unavailable.REASONS else "not_online"))
        else:
            done(None, Uncertain(fields[0]))

    def _refused(self, reason: str) -> None:
        if reason not in PASSING_REASONS and self._refusing_since is None:
            self._refusing_since = self._runtime.monotonic()

    def _expire(self, now: float) -> bool:
        """End requests that waited too long; True if there were any."""
        expired = False
        while self._deadlines and (self._deadlines[0][0] <= now or self._deadlines[0][1] not in self._waiting):
            _, number = self._deadlines.popleft()
            done = self._waiting.pop(number, None)
            if done is not None:
                expired = True
                done(None, Uncertain("the node did not reply in time"))
        return expired

    def _lose(self, why: str) -> None:
        waiting, self._waiting = self._waiting, {}
        self._deadlines.clear()
        for done in waiting.values():
            done(None, Uncertain(why))
