"""``produce(Order)``: orders that the group executes, each once, and what became of each.

``send`` gives a future at once and never waits: all that is sent in one turn of the loop travels as one batch, and a
window of batches is in flight. The session makes it exact: a batch is sent again, to any node, until it is answered.

A future ends in an ``OrderOutcome``, a rejection by the book included, or raises what the group says (``errors``):
Unavailable (surely not executed), Refused, or Uncertain (the session ended before an answer came).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, TypeVar

import msgpack

from orderbook.book import Command, Fill, Order, PlaceOrder, RejectReason, fill_of
from orderbook.book import constants as c
from orderbook.client.order_stream import BatchAnswer, OrderStream
from orderbook.groups.errors import GroupError, Unavailable
from orderbook.groups.group import Group
from orderbook.groups.local import LocalTransport
from orderbook.groups.replicated import Applied
from orderbook.groups.session_client import Answered, Opened, SessionClient
from orderbook.groups.waiting import Conditions
from orderbook.runtime import Runtime
from orderbook.streams.market import Event, Place
from orderbook.streams.subscribed import When

T = TypeVar("T")
BATCH_COMMANDS = 1000
BATCH_BYTES = 512 << 10
MAX_COMMAND_BYTES = 16 << 10
SESSION_TIMEOUT_MS = 30_000
CLOSE_SECONDS = 2.0  # how long a close waits for the group's word
_PACKER = msgpack.Packer()


class OrderOutcome(NamedTuple):
    """What a command led to, as far as its sender may see it: its own events in the order of the log."""

    command: Command
    events: list[Event]

    @property
    def sequence(self) -> Place:
        """Of its first event."""
        return self.events[0].sequence

    @property
    def rejected(self) -> RejectReason | None:
        """Why it was refused; None if it was not."""
        first = self.events[0].fields
        return RejectReason(first[3]) if first[0] == c.REJECTED else None

    @property
    def order_id(self) -> int | None:
        """Of the order, also where the book assigned it; None of a command that is about no order."""
        first = self.events[0].fields
        return first[2] if first[0] in (c.ACCEPTED, c.REJECTED, c.CANCELLED, c.AMENDED) else None

    @property
    def fills(self) -> list[Fill]:
        return [fill_of(event.fields, event.sequence) for event in self.events if event.fields[0] == c.FILL]


class OrderStatistics:
    """Plain integers."""

    def __init__(self) -> None:
        self.sent = 0
        self.answered = 0
        self.failed = 0
        self.batches = 0


class _Gathered(NamedTuple):
    command: Command
    row: bytes
    future: asyncio.Future[OrderOutcome]


class OrderProducer:
    """Made by ``produce(Order)`` of a network."""

    def __init__(
        self,
        runtime: Runtime,
        session: SessionClient,
        read: Callable[[Any], BatchAnswer],
        is_connected: Callable[[], bool],
        announce: Callable[[Order], object] = lambda order: None,
        on_close: Callable[[], Awaitable[None]] | None = None,
        refusal: Callable[[], GroupError | None] = lambda: None,
    ) -> None:
        """``read`` opens the session's answers, ``announce`` tells whoever watches of an order that is sent,
        ``refusal`` says why no node will ever take one."""
        self.statistics = OrderStatistics()
        self.conditions = Conditions(runtime)  # checked by whoever notices a connection
        self._runtime = runtime
        self._session = session
        self._read = read
        self._is_connected = is_connected
        self._announce = announce
        self._on_close = on_close
        self._refusal = refusal
        self._gathered: list[_Gathered] = []
        self._bytes = 0
        self._flushing = False
        self._closed: asyncio.Future[None] | None = None

    def send(self, order: Order) -> asyncio.Future[OrderOutcome]:
        """Have an order placed; await the result for what became of it. Raises OverflowError, TypeError, ValueError for
        fields that no command holds (integers beyond 64 bits, names of kilobytes)."""
        future = self.execute(PlaceOrder(order))
        self._announce(order)
        return future

    def execute(self, command: Command) -> asyncio.Future[OrderOutcome]:
        """Any other command (cancel, amend, ...) in the order in which it was sent."""
        row = msgpack.packb(command.encoded())
        if len(row) > MAX_COMMAND_BYTES:
            raise ValueError(f"a command has at most {MAX_COMMAND_BYTES} bytes, not {len(row)}")
        future: asyncio.Future[OrderOutcome] = asyncio.get_running_loop().create_future()
        self.statistics.sent += 1
        self._gathered.append(_Gathered(command, row, future))
        self._bytes += len(row)
        if len(self._gathered) >= BATCH_COMMANDS or self._bytes >= BATCH_BYTES:
            self._submit()
        elif not self._flushing:
            self._flushing = True
            self._runtime.call_soon(self._flush)
        return future

    def when(self, timeout: float | None = None) -> When:
        """``await orders.when().subscribed()``: a node takes them. Raises NotAuthorized if none ever will."""
        return When(
            self.conditions, lambda: int(self._is_connected()), timeout, "a node that takes orders", self._refusal
        )

    @property
    def closed(self) -> bool:
        return self._closed is not None

    @property
    def unanswered(self) -> int:
        """How many commands wait for their outcome."""
        return self.statistics.sent - self.statistics.answered - self.statistics.failed

    async def close(self) -> None:
        """End the session (its orders are cancelled if that was asked for). What waits for an answer ends without."""
        if self._closed is None:
            self._closed = closed = asyncio.get_running_loop().create_future()
            self._flush()

            def ended() -> None:
                if not closed.done():
                    closed.set_result(None)

            timer = self._runtime.call_later(CLOSE_SECONDS, ended)
            self._session.close(ended)
            await closed
            timer.cancel()
            if self._on_close is not None:
                await self._on_close()

    def _flush(self) -> None:
        self._flushing = False
        if self._gathered:
            self._submit()

    def _submit(self) -> None:
        batch, self._gathered, self._bytes = self._gathered, [], 0
        body = b"".join((_PACKER.pack_array_header(len(batch)), *(gathered.row for gathered in batch)))

        def done(answer: Any, error: GroupError | None) -> None:
            if error is None:
                self._answered(batch, self._read(answer))
            else:
                self._failed(batch, error)

        self.statistics.batches += 1
        self._session.submit(len(batch), body, done)

    def _answered(self, batch: list[_Gathered], answer: BatchAnswer) -> None:
        events: list[list[Event]] = [[] for _ in batch]
        for place, fields in enumerate(answer.events, answer.first_ordinal):
            if fields is not None and fields[1] >= 0:
                events[fields[1]].append(Event((answer.log_index, place), tuple(fields)))
        self.statistics.answered += len(batch)
        for gathered, own in zip(batch, events, strict=True):
            if not gathered.future.done():
                gathered.future.set_result(OrderOutcome(gathered.command, own))

    def _failed(self, batch: list[_Gathered], error: GroupError) -> None:
        self.statistics.failed += len(batch)
        for gathered in batch:
            if not gathered.future.done():
                gathered.future.set_exception(error)


class MemberTransport:
    """A ``SessionTransport`` to this process's own member, whichever life of it is the present one."""

    def __init__(self, group: Group, principal: str) -> None:
        self._group = group
        self._principal = principal

    def open_session(
        self, timeout_ms: int, cancel_on_close: bool, done: Callable[[Opened | None, GroupError | None], None]
    ) -> None:
        member = self._member()
        if member is None:
            done(None, Unavailable("not_online"))
        else:
            member.open_session(timeout_ms, cancel_on_close, done)

    def send_batch(self, session: int, first: int, commands: int, acked: int, body: bytes, done: Answered) -> None:
        member = self._member()
        if member is None:
            done(None, Unavailable("not_online"))
        else:
            member.send_batch(session, first, commands, acked, body, done)

    def keep_alive(self, session: int, acked: int, done: Answered) -> None:
        member = self._member()
        if member is None:
            done(None, Unavailable("not_online"))
        else:
            member.keep_alive(session, acked, done)

    def close_session(self, session: int, done: Answered) -> None:
        member = self._member()
        if member is None:
            done(None, Unavailable("not_online"))
        else:
            member.close_session(session, done)

    def _member(self) -> LocalTransport | None:
        replica = self._group.replica
        return LocalTransport(replica, self._principal) if replica is not None else None


def member_orders(
    runtime: Runtime,
    group: Group,
    principal: str,
    announce: Callable[[Order], object],
    *,
    session_timeout_ms: int = SESSION_TIMEOUT_MS,
    cancel_on_disconnect: bool = False,
    on_close: Callable[[], object] = lambda: None,
) -> OrderProducer:
    """Orders through this process's own member."""
    session = SessionClient(
        runtime, MemberTransport(group, principal), timeout_ms=session_timeout_ms, cancel_on_close=cancel_on_disconnect
    )

    def read(applied: Applied) -> BatchAnswer:
        events: list[list[Any] | None] = [list(event) for event in applied.answer[applied.answer_start :]]
        return BatchAnswer(applied.answer_index, applied.answer_start, events)

    async def close() -> None:
        group.on_change.remove(changed)
        on_close()

    producer = OrderProducer(runtime, session, read, lambda: group.is_online, announce, close)
    changed = producer.conditions.check
    group.on_change.append(changed)
    return producer


def client_orders(
    runtime: Runtime,
    stream: OrderStream,
    *,
    session_timeout_ms: int = SESSION_TIMEOUT_MS,
    cancel_on_disconnect: bool = False,
) -> OrderProducer:
    """Orders over a connection to a node."""
    session = SessionClient(runtime, stream, timeout_ms=session_timeout_ms, cancel_on_close=cancel_on_disconnect)
    producer = OrderProducer(
        runtime,
        session,
        lambda answer: answer,
        lambda: stream.connections > 0,
        on_close=stream.close,
        refusal=lambda: stream.refusal,
    )

    def connected() -> None:
        session.reconnected()
        producer.conditions.check()

    stream.on_connected = stream.on_refused = connected
    return producer
