"""What the simulated groups replicate: a machine that records every batch it runs, around one that does something.

Two machines do something: ``RegisterMachine``, a few registers with leases that end by log time, and the order book.
``Kind`` says for each how clients make batches and what a reader sees of it. In the plain kinds nothing depends on log
time; so what clients see of them can be judged without looking at the log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from random import Random
from typing import Any, NamedTuple

import msgpack

from linearizability.models import BookModel, RegisterModel
from orderbook.book import (
    AmendOrder,
    CancelOrder,
    Order,
    OrderBook,
    OrderCount,
    PlaceOrder,
    SelfTrade,
    Side,
    TimeInForce,
    TopOfBook,
)
from orderbook.groups.sessions import HASH_MASK, digest_of, mix
from orderbook.groups.statemachine import ApplyContext, Event, StateMachine
from simulation.runtime import EPOCH_MS
from unit.book.market import short

ROWS_A_CHUNK = 200
PAIR = "ETH/USDC"
SEEN_LEVELS = 3


class Run(NamedTuple):
    """One batch that a member ran."""

    index: int
    session: int
    digest: bytes


class Observe(NamedTuple):
    """The query of a reader: all of the machine that the checks compare."""


class RecordingMachine(StateMachine):
    """Records every batch, as a part of the replicated state: in snapshots and in the hash."""

    def __init__(self, inner: Any, observe: Callable[[Any], Any]) -> None:
        self.version = inner.version
        self.signature = f"recorded {inner.signature}"
        self.inner = inner
        self.runs: list[Run] = []
        self._observe = observe
        self._chain = 0

    @property
    def state_hash(self) -> int:
        return (self.inner.state_hash + self._chain) & HASH_MASK

    def fresh(self) -> RecordingMachine:
        return RecordingMachine(self.inner.fresh(), self._observe)

    def encode(self, commands: Sequence[Any]) -> bytes:
        body: bytes = self.inner.encode(commands)
        return body

    def initial_commands(self) -> Sequence[bytes]:
        bodies: Sequence[bytes] = self.inner.initial_commands()
        return bodies

    def apply(self, context: ApplyContext, body: bytes, count: int) -> list[Event]:
        self._record(Run(context.index, context.session, digest_of(body)))
        events: list[Event] = self.inner.apply(context, body, count)
        return events

    def _record(self, run: Run) -> None:
        self.runs.append(run)
        self._chain = mix(self._chain, *run)

    def tick(self, context: ApplyContext) -> list[Event]:
        events: list[Event] = self.inner.tick(context)
        return events

    def next_deadline(self) -> int | None:
        deadline: int | None = self.inner.next_deadline()
        return deadline

    def session_closed(self, context: ApplyContext, cancel: bool) -> list[Event]:
        events: list[Event] = self.inner.session_closed(context, cancel)
        return events

    def query(self, query: Any) -> Any:
        if not isinstance(query, Observe):
            raise ValueError(f"unknown query {query!r}")
        return self._observe(self.inner)

    def snapshot(self) -> Iterator[bytes]:
        for start in range(0, len(self.runs), ROWS_A_CHUNK):
            yield b"r" + msgpack.packb(self.runs[start : start + ROWS_A_CHUNK])
        for chunk in self.inner.snapshot():
            yield b"i" + chunk

    def restore(self, chunks: Iterable[bytes]) -> Iterator[None]:
        self.runs, self._chain = [], 0
        inner: list[bytes] = []
        for chunk in chunks:
            if chunk[:1] == b"r":
                for row in msgpack.unpackb(chunk[1:]):
                    self._record(Run(*row))
            else:
                inner.append(chunk[1:])
            yield
        yield from self.inner.restore(inner)


class RegisterMachine(StateMachine):
    """Commands ``[key, "put", value]``, ``[key, "add", n]``, ``[key, "lease", milliseconds]``.

    A lease removes its register when log time has passed it. Since version 2 an "add" adds twice as much.
    """

    signature = "registers"

    def __init__(self, version: int = 1) -> None:
        self.version = version
        self.values: dict[str, int] = {}
        self.leases: dict[str, int] = {}

    @property
    def state_hash(self) -> int:
        return mix(sorted(self.values.items()), sorted(self.leases.items()))

    def fresh(self) -> RegisterMachine:
        return RegisterMachine(self.version)

    def apply(self, context: ApplyContext, body: bytes, count: int) -> list[Event]:
        if context.machine_version > self.version:
            raise AssertionError(f"version {context.machine_version} is in force; this member knows {self.version}")
        events = self.tick(context)
        commands = msgpack.unpackb(body)
        for offset, (key, verb, number) in enumerate(commands):
            if verb == "put":
                self.values[key] = number
            elif verb == "add":
                self.values[key] = self.values.get(key, 0) + number * min(context.machine_version, 2)
            else:
                self.leases[key] = context.now_ms + number
            events.append(("did", offset, key, self.values.get(key), context.index))
        return events

    def tick(self, context: ApplyContext) -> list[Event]:
        due = [key for key, deadline in sorted(self.leases.items()) if deadline <= context.now_ms]
        for key in due:
            del self.leases[key]
            self.values.pop(key, None)
        return [("expired", -1, key) for key in due]

    def next_deadline(self) -> int | None:
        return min(self.leases.values(), default=None)

    def query(self, query: Any) -> Any:
        raise ValueError("ask the recording machine")

    def snapshot(self) -> Iterator[bytes]:
        yield msgpack.packb([self.values, self.leases])

    def restore(self, chunks: Iterable[bytes]) -> Iterator[None]:
        self.values, self.leases = msgpack.unpackb(b"".join(chunks))
        yield


MakeBatch = Callable[[Random, int, int], list[Any]]


class Sight(NamedTuple):
    """What clients see of a plain machine, in the words of a model of ``linearizability``."""

    model: Any
    call_of: Callable[[bytes], Any]  # from the body of a batch
    answer_of: Callable[[Any], Any]  # from the events that answer it
    seen: Callable[[Any], Any]  # from the value of a read


class Kind(NamedTuple):
    """A machine and its use. ``batch(random, client, number)`` makes commands that no other batch equals."""

    machine: Callable[[int], RecordingMachine]  # by the version of its rules that it knows at most
    batch: MakeBatch
    sight: Sight | None = None


def register_batch(random: Random, client: int, number: int) -> list[Any]:
    unique = client * 1_000_000 + number
    commands: list[Any] = [[f"k{random.randrange(5)}", "put", unique]]
    for _ in range(random.randrange(3)):
        key = f"k{random.randrange(5)}"
        commands.append(random.choice(([key, "add", random.randrange(9)], [key, "lease", random.randrange(1, 4000)])))
    random.shuffle(commands)
    return commands


def plain_register_batch(random: Random, client: int, number: int) -> list[Any]:
    commands = register_batch(random, client, number)
    return [[key, verb if verb != "lease" else "add", value] for key, verb, value in commands]


def plain_book_batch(random: Random, client: int, number: int) -> list[Any]:
    return book_batch(random, client, number, ends=0.0)


def book_batch(random: Random, client: int, number: int, ends: float = 0.2) -> list[Any]:
    """Orders around one price; some end by log time, some are cancelled or amended later."""
    first = client * 1_000_000 + number * 10
    commands: list[Any] = []
    for place in range(random.randrange(1, 4)):
        good_till_date = random.random() < ends
        commands.append(
            PlaceOrder(
                Order(
                    first + place,
                    PAIR,
                    random.choice((Side.BID, Side.ASK)),
                    random.randrange(95, 106),
                    random.randrange(1, 20),
                    trader=f"trader{random.randrange(3)}",
                    time_in_force=TimeInForce.GTD
                    if good_till_date
                    else random.choice((TimeInForce.GTC, TimeInForce.IOC)),
                    expires=EPOCH_MS + random.randrange(60_000) if good_till_date else None,
                    self_trade=random.choice(list(SelfTrade)),
                )
            )
        )
    for _ in range(random.randrange(3)):
        earlier = client * 1_000_000 + random.randrange(number + 1) * 10
        commands.append(
            random.choice(
                (CancelOrder(earlier), AmendOrder(earlier, price=random.randrange(95, 106)), CancelOrder(earlier, 1))
            )
        )
    return commands


def _observe_registers(machine: RegisterMachine) -> Any:
    return [list(item) for item in sorted(machine.values.items())]


def _observe_book(machine: OrderBook) -> Any:
    top = machine.query(TopOfBook(PAIR, SEEN_LEVELS))
    return [machine.query(OrderCount()), msgpack.unpackb(msgpack.packb(top))]


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list | tuple) else value


def _registers_answer(events: Any) -> Any:
    return tuple((key, value) for _, _, key, value, _ in events)


def _book_answer(events: Any) -> Any:
    return tuple(short(tuple(event)) for event in events)


def _book_call(body: bytes) -> Any:
    """Rows of full length: the codec leaves out what is None at their ends."""
    lengths = {1: 12, 2: 3, 3: 4}  # place, cancel, amend
    return tuple(tuple(row) + (None,) * (lengths[row[0]] - len(row)) for row in msgpack.unpackb(body))


def _book_seen(value: Any) -> Any:
    count, levels = value
    _, bids, asks = levels or (PAIR, [], [])  # the pair may not be defined yet
    return count, _frozen(bids), _frozen(asks)


def _registers(version: int) -> RecordingMachine:
    return RecordingMachine(RegisterMachine(version), _observe_registers)


def _book(version: int) -> RecordingMachine:
    return RecordingMachine(OrderBook([PAIR]), _observe_book)


REGISTERS = Kind(_registers, register_batch)
BOOK = Kind(_book, book_batch)
PLAIN_REGISTERS = Kind(
    _registers, plain_register_batch, Sight(RegisterModel(), msgpack.unpackb, _registers_answer, _frozen)
)
PLAIN_BOOK = Kind(_book, plain_book_batch, Sight(BookModel(SEEN_LEVELS), _book_call, _book_answer, _book_seen))
