"""A session that outlives the process which opened it: its caller keeps session and numbers in a file and goes on.

What makes this exact:

- A batch has the same number and the same bytes whenever it is sent, in this process or a later one. The group runs it
  once; a repeat is answered from the kept results.
- A result is dropped by the group only after ``acknowledge``, which the caller calls when it has recorded it durably.
  So every batch behind that is answered, by whichever process asks.
- A session that has ended is never replaced by another: what was run in it can't be known then. All that waits ends in
  ``SessionLost``.

Batches are sent in order; what is unavailable, lost or early is sent again, in order, until ``close``.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from orderbook.client.order_stream import BatchAnswer
from orderbook.groups.errors import GroupError, Refused, Unavailable, Uncertain
from orderbook.groups.session_client import (
    RETRY_FIRST_SECONDS,
    RETRY_GROWTH,
    RETRY_MOST_SECONDS,
    Opened,
    SessionTransport,
)
from orderbook.groups.sessions import Outcome
from orderbook.runtime import Runtime, Timer, pause

TIMEOUT_MS = 3_600_000


class SessionLost(Uncertain):
    """The group can't tell any more what ran in this session; the message says why."""


class _Sent:
    __slots__ = ("body", "commands", "first", "future", "round")

    def __init__(self, first: int, commands: int, body: bytes, future: asyncio.Future[BatchAnswer]) -> None:
        self.first = first
        self.commands = commands
        self.body = body
        self.future = future
        self.round = 0  # of the newest sending


class ResumableSession:
    """Numbered batches over a transport. ``acked`` is the last number whose result is recorded."""

    def __init__(self, runtime: Runtime, transport: SessionTransport) -> None:
        self.session = 0
        self.acked = 0
        self.retries = 0  # statistics: batches sent more than once
        self._runtime = runtime
        self._transport = transport
        self._flight: deque[_Sent] = deque()
        self._round = 1
        self._backoff = RETRY_FIRST_SECONDS
        self._retry: Timer | None = None
        self._lost: GroupError | None = None
        self.timeout_ms = TIMEOUT_MS  # as granted, once this process opened the session
        self._keeping = runtime.call_later(TIMEOUT_MS / 6000, self._keep_alive)

    async def open(self) -> None:
        """Open a session; try until the group does. Raises Refused."""
        backoff = RETRY_FIRST_SECONDS
        while not self.session:
            opened: asyncio.Future[Opened | None] = asyncio.get_running_loop().create_future()

            def done(
                answer: Opened | None, error: GroupError | None, opened: asyncio.Future[Opened | None] = opened
            ) -> None:
                if opened.done():
                    return
                if isinstance(error, Refused):
                    opened.set_exception(error)
                else:
                    opened.set_result(answer)

            self._transport.open_session(TIMEOUT_MS, False, done)
            answer = await opened
            if answer is not None:
                self.session, self.timeout_ms = answer
                self._keeping.cancel()
                self._keeping = self._runtime.call_later(self.timeout_ms / 6000, self._keep_alive)
            else:
                await pause(self._runtime, backoff)
                backoff = min(backoff * RETRY_GROWTH, RETRY_MOST_SECONDS)

    def resume(self, session: int, acked: int) -> None:
        """Go on with a session that was opened before, behind the last number whose result is recorded."""
        self.session = session
        self.acked = acked

    def submit(self, first: int, commands: int, body: bytes) -> asyncio.Future[BatchAnswer]:
        """Have the batch of numbers ``first`` .. ``first + commands - 1`` run once; batches come in order.

        The future ends in SessionLost or Refused where the group says no.
        """
        future: asyncio.Future[BatchAnswer] = asyncio.get_running_loop().create_future()
        if self._lost is not None:
            future.set_exception(self._lost)
            future.exception()
            return future
        sent = _Sent(first, commands, body, future)
        self._flight.append(sent)
        if self._retry is None:
            self._send(sent)
        return future

    def acknowledge(self, number: int) -> None:
        """All results up to this number are recorded: the group may drop them."""
        self.acked = max(self.acked, number)

    def reconnected(self) -> None:
        """The transport reaches a node again."""
        self._backoff = RETRY_FIRST_SECONDS
        if self._retry is not None:
            self._retry.cancel()
            self._resend()

    async def close(self, *, end: bool) -> None:
        """Send nothing more. With ``end`` the group forgets the session, if it can be told now."""
        self._keeping.cancel()
        if self._retry is not None:
            self._retry.cancel()
        self._flight.clear()
        self._lost = self._lost or Unavailable("stopped")
        if end and self.session:
            ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._transport.close_session(self.session, lambda _answer, _error: ended.set_result(None))
            await ended

    # --- sending ------------------------------------------------------------------------------------------------------

    def _send(self, sent: _Sent) -> None:
        self.retries += sent.round > 0
        round = sent.round = self._round
        answered = self._flight[0].first  # what comes before it had been, when this was sent

        def done(answer: Any, error: GroupError | None) -> None:
            if isinstance(error, Refused) and error.outcome is Outcome.SEQUENCE_GAP and error.detail >= answered:
                error = Unavailable("superseded")  # it overtook one that was lost: the group waits for that
            self._on_answer(sent, round, answer, error)

        self._transport.send_batch(self.session, sent.first, sent.commands, self.acked, sent.body, done)

    def _on_answer(self, sent: _Sent, round: int, answer: Any, error: GroupError | None) -> None:
        if sent.future.done() or self._lost is not None:
            return
        if error is None:
            self._backoff = RETRY_FIRST_SECONDS
            self._flight.remove(sent)
            sent.future.set_result(answer)
        elif isinstance(error, Refused):
            self._lose(_final(error, self.session, sent.first))
        elif round == sent.round and self._retry is None:
            delay = self._backoff * (0.5 + self._runtime.random.random())
            self._backoff = min(self._backoff * RETRY_GROWTH, RETRY_MOST_SECONDS)
            self._retry = self._runtime.call_later(delay, self._resend)

    def _resend(self) -> None:
        self._retry = None
        self._round += 1
        for sent in list(self._flight):
            if self._retry is not None or self._lost is not None:
                break
            if not sent.future.done():
                self._send(sent)

    def _lose(self, error: GroupError) -> None:
        self._lost = error
        flight, self._flight = self._flight, deque()
        for sent in flight:
            if not sent.future.done():
                sent.future.set_exception(error)
                sent.future.exception()  # the caller may look at the first of them only

    def _keep_alive(self) -> None:
        self._keeping = self._runtime.call_later(self.timeout_ms / 6000, self._keep_alive)
        if self.session and not self._flight:
            self._transport.keep_alive(self.session, self.acked, lambda _answer, _error: None)


def _final(error: Refused, session: int, first: int) -> GroupError:
    """What a refusal means for all that comes after it."""
    if error.outcome is Outcome.SESSION_UNKNOWN:
        return SessionLost(f"session {session} has ended: it expired, or the group began anew")
    if error.outcome is Outcome.SEQUENCE_GAP:
        return SessionLost(f"session {session} is at {error.detail}, before what it had answered: another state")
    if error.outcome is Outcome.RESULT_DROPPED:
        return SessionLost(f"the commands from {first} on were run, and their result is kept no longer")
    return error
