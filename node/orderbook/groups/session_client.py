"""A session seen from the client: numbered batches in a window, sent again until the group has answered each.

What a node could not take (Unavailable), what got lost (Uncertain), and what came too early (a gap) is sent again, in
order, to whichever node the transport reaches then. The group runs each batch once however often it is sent.

An answer is sure unless the session itself ended meanwhile. Then each batch in flight is settled by the answers to all
its sendings: one that was surely never run goes into a new session, one of which some sending got no sure answer
(``doubt``) ends Uncertain and is never sent anew. The new session is opened when all are settled. A refusal says
nothing of the other sendings either: of a batch in doubt it ends Uncertain, too.

Batches wait without a bound in time, but not in bytes: beyond ``max_waiting_bytes`` of bodies without an answer the
next one is Unavailable(overloaded) at once, and never sent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from orderbook.groups.errors import GroupError, Refused, Unavailable, Uncertain
from orderbook.groups.sessions import Outcome
from orderbook.runtime import Runtime, Timer
from orderbook.wire.envelope import MAX_BODY_BYTES, MAX_COMMANDS

RETRY_FIRST_SECONDS = 0.02
RETRY_MOST_SECONDS = 1.0
RETRY_GROWTH = 1.25  # a retry comes late by about a quarter of the outage that it ends, at most

_RETRIED = (Outcome.SEQUENCE_GAP, Outcome.SESSION_UNKNOWN)
_NUMBER_NOT_USED = (Outcome.NOT_OWNER, Outcome.NOT_PERMITTED, Outcome.MALFORMED)

Answered = Callable[[Any, GroupError | None], None]


class Opened(NamedTuple):
    """A session that the group opened. It may grant another timeout than it was asked for: see ``Settings``."""

    session: int  # its id
    timeout_ms: int  # of log time without a word of the client


class SessionTransport(Protocol):
    """How requests reach a group: this process's own member, or a node over a connection.

    Each call ends in one call of ``done``: with an answer, with Refused (the group's own word), Unavailable or
    Uncertain. Requests sent in order arrive in order as long as none fails.
    """

    def open_session(
        self, timeout_ms: int, cancel_on_close: bool, done: Callable[[Opened | None, GroupError | None], None]
    ) -> None:
        """``done`` gets the new session."""
        ...

    def send_batch(self, session: int, first: int, commands: int, acked: int, body: bytes, done: Answered) -> None: ...

    def keep_alive(self, session: int, acked: int, done: Answered) -> None: ...

    def close_session(self, session: int, done: Answered) -> None: ...


class _Batch:
    __slots__ = ("answered", "body", "commands", "done", "doubt", "first", "outstanding", "round")

    def __init__(self, commands: int, body: bytes, done: Answered) -> None:
        self.first = 0
        self.commands = commands
        self.body = body
        self.done = done
        self.round = 0  # of the newest sending; 0: never sent in this session
        self.outstanding = 0  # sendings that have no answer yet
        self.doubt = False  # a sending ended without a sure answer: it may have been, or may yet be, run
        self.answered = False

    @property
    def may_have_run(self) -> bool:
        return self.doubt or self.outstanding > 0


class SessionClient:
    """One session, opened at the first batch and again after it expired. Not more than ``window`` batches in flight."""

    def __init__(
        self,
        runtime: Runtime,
        transport: SessionTransport,
        *,
        timeout_ms: int = 30_000,
        cancel_on_close: bool = False,
        window: int = 64,
        max_waiting_bytes: int = 64 << 20,
    ) -> None:
        self.session = 0
        self.timeout_ms = timeout_ms  # as granted, once a session is open
        self.retries = 0  # statistics: batches sent more than once
        self._runtime = runtime
        self._transport = transport
        self._asked_ms = timeout_ms
        self._cancel_on_close = cancel_on_close
        self._window = window
        self._max_waiting_bytes = max_waiting_bytes
        self._waiting_bytes = 0  # of bodies without an answer
        self._next_number = 1
        self._acked = 0
        self._flight: deque[_Batch] = deque()  # numbered, unanswered ones and answered ones behind them
        self._queue: deque[_Batch] = deque()  # not numbered yet
        self._round = 1  # of sendings: what an answer to an earlier one says does not start a retry
        self._opening = False
        self._lost = False  # the group knows the session no more; batches in flight are being settled
        self._backoff = RETRY_FIRST_SECONDS
        self._retry: Timer | None = None
        self._keeping: Timer | None = None
        self._heard_at = runtime.monotonic()
        self._closed = False

    @property
    def unanswered(self) -> int:
        """How many batches wait for an answer."""
        return len(self._queue) + sum(not batch.answered for batch in self._flight)

    def submit(self, commands: int, body: bytes, done: Answered) -> None:
        """Have a batch run exactly once; ``done`` gets its answer, Refused, or Uncertain if the session expired.

        Raises ValueError for what no entry of the log holds: it would stand in the way of all that come after it.
        """
        if not 1 <= commands <= MAX_COMMANDS:
            raise ValueError(f"a batch holds 1 to {MAX_COMMANDS} commands, not {commands}")
        if len(body) > MAX_BODY_BYTES:
            raise ValueError(f"a batch's body is at most {MAX_BODY_BYTES} bytes, not {len(body)}")
        if self._closed:
            done(None, Unavailable("stopped"))
            return
        if self._waiting_bytes + len(body) > self._max_waiting_bytes:
            done(None, Unavailable("overloaded"))
            return
        self._waiting_bytes += len(body)
        self._queue.append(_Batch(commands, body, done))
        self._advance()

    def close(self, done: Callable[[], None] = lambda: None) -> None:
        """End the session. Batches without an answer are Uncertain if they were sent, Unavailable if not."""
        self._closed = True
        for timer in (self._retry, self._keeping):
            if timer is not None:
                timer.cancel()
        waiting = [*self._flight, *self._queue]
        self._flight.clear()
        self._queue.clear()
        for batch in waiting:
            if not batch.answered:
                sent = Uncertain("the session was closed") if batch.may_have_run else Unavailable("stopped")
                self._end(batch, None, sent)
        if self.session:
            self._transport.close_session(self.session, lambda _answer, _error: done())
        else:
            done()

    def reconnected(self) -> None:
        """The transport reaches a node again: send what has no answer without waiting any longer."""
        self._backoff = RETRY_FIRST_SECONDS
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
            self._resend()

    def _holds(self) -> bool:
        """Nothing is sent now: a retry is due later, or there is no session to send in."""
        return self._retry is not None or self._opening or self._closed or self._lost

    def _advance(self) -> None:
        if self._holds():
            return
        if not self.session:
            if self._queue or self._flight:
                self._open()
            return
        while self._queue and len(self._flight) < self._window and not self._holds():
            batch = self._queue.popleft()
            batch.first = self._next_number
            self._next_number += batch.commands
            self._flight.append(batch)
            self._send(batch)

    def _open(self) -> None:
        self._opening = True

        def opened(answer: Opened | None, error: GroupError | None) -> None:
            self._opening = False
            if self._closed:
                if answer is not None:
                    self._transport.close_session(answer.session, lambda _answer, _error: None)
                return
            if isinstance(error, Refused):
                self._refuse(error)
                return
            if answer is None:
                self._retry_later()
                return
            self.session, self.timeout_ms = answer
            self._next_number = 1
            self._acked = 0
            self._heard()
            for batch in self._flight:
                batch.first = self._next_number
                batch.round = 0
                self._next_number += batch.commands
            self._keep_alive_later()
            self._resend()

        self._transport.open_session(self._asked_ms, self._cancel_on_close, opened)

    def _refuse(self, error: Refused) -> None:
        """The group opens no session: nothing that waits for one was run, and nothing will be."""
        waiting = [*self._flight, *self._queue]
        self._flight.clear()
        self._queue.clear()
        for batch in waiting:
            self._end(batch, None, error)

    def _send(self, batch: _Batch) -> None:
        round = batch.round = self._round
        batch.outstanding += 1

        def done(answer: Any, error: GroupError | None) -> None:
            batch.outstanding -= 1
            if not batch.answered and not self._closed:
                self._on_answer(batch, round, answer, error)

        self._transport.send_batch(self.session, batch.first, batch.commands, self._acked, batch.body, done)

    def _on_answer(self, batch: _Batch, round: int, answer: Any, error: GroupError | None) -> None:
        if error is None:
            self._finish(batch, answer, None)
        elif isinstance(error, Refused) and error.outcome not in _RETRIED:
            if error.outcome in _NUMBER_NOT_USED:
                self._lost = True  # whatever comes behind it in this session would leave a gap
            ran = error.outcome is Outcome.RESULT_DROPPED
            self._finish(batch, None, Uncertain(str(error)) if ran or batch.may_have_run else error)
        else:
            batch.doubt = batch.doubt or isinstance(error, Uncertain)
            if isinstance(error, Refused) and error.outcome is Outcome.SESSION_UNKNOWN:
                self._lost = True
            if round == batch.round and not self._lost:
                self._retry_later()
        if self._lost:
            self._settle()

    def _finish(self, batch: _Batch, answer: Any, error: GroupError | None) -> None:
        self._heard()
        batch.answered = True
        flight = self._flight
        while flight and flight[0].answered:
            done = flight.popleft()
            self._acked = done.first + done.commands - 1
        self._end(batch, answer, error)
        self._advance()

    def _end(self, batch: _Batch, answer: Any, error: GroupError | None) -> None:
        batch.answered = True
        self._waiting_bytes -= len(batch.body)
        batch.done(answer, error)

    def _settle(self) -> None:
        """The session is lost: once no sending is outstanding, end those in doubt and begin anew with the others."""
        waiting = [batch for batch in self._flight if not batch.answered]
        if any(batch.outstanding for batch in waiting):
            return
        self._lost = False
        self.session = 0
        self._flight = deque(batch for batch in waiting if not batch.doubt)
        for batch in waiting:
            if batch.doubt:
                self._end(batch, None, Uncertain("the session ended before a repeat was answered"))
        self._advance()

    def _retry_later(self) -> None:
        if self._retry is None:
            delay = self._backoff * (0.5 + self._runtime.random.random())
            self._backoff = min(self._backoff * RETRY_GROWTH, RETRY_MOST_SECONDS)
            self._retry = self._runtime.call_later(delay, self._retry_now)

    def _retry_now(self) -> None:
        self._retry = None
        self._resend()

    def _resend(self) -> None:
        """Send all that has no answer again, in order; a refusal within that stops it until the next retry."""
        self._round += 1
        round = self._round
        if self.session and not self._lost:
            for batch in list(self._flight):
                if not batch.answered and round == self._round and not self._holds():
                    self.retries += batch.round > 0
                    self._send(batch)
        self._advance()

    def _heard(self) -> None:
        self._backoff = RETRY_FIRST_SECONDS
        self._heard_at = self._runtime.monotonic()

    def _keep_alive_later(self) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
        self._keeping = self._runtime.call_later(self.timeout_ms / 6000, self._keep_alive)

    def _keep_alive(self) -> None:
        """After a third of the timeout without a word from the group, and again each sixth until there is one."""
        session = self.session
        if self._closed or not session:
            return
        quiet = self._runtime.monotonic() - self._heard_at

        def done(_answer: Any, error: GroupError | None) -> None:
            if session != self.session:
                return
            if isinstance(error, Refused) and not self._flight and not self._queue:
                self.session = 0  # the next batch opens another
            elif error is None:
                self._heard()

        if quiet >= self.timeout_ms / 3000:
            self._transport.keep_alive(self.session, self._acked, done)
        self._keep_alive_later()
