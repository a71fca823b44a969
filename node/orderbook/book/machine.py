"""``OrderBook``: the matching engine as a replicated state machine.

It promises what groups ask of a machine: equal entries give equal events and an equal state hash on every node, in the
compiled and in the interpreted form. It has no clock and does no I/O; time is the log's.

Each entry runs in this order: orders that are due expire (a bounded number, by expiry and arrival), orders that earlier
mass cancels left are cancelled (a bounded number), then the commands come one after the other. Every command leaves at
least one event. A refusal changes nothing. Bytes that are no batch of as many commands as the envelope says are refused
as a whole, command by command.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

from orderbook.book.codec import decode_commands, encode_commands
from orderbook.book.commands import Command, DefinePair, PairSpec
from orderbook.book.engine import reject_all, run
from orderbook.book.events import Event
from orderbook.book.mass_cancel import begin_entry, clear_session
from orderbook.book.orders import release
from orderbook.book.queries import Statistics, answer, statistics
from orderbook.book.snapshots import dump, load
from orderbook.book.state import Book
from orderbook.book.visibility import visible

_RELEASED_A_SLICE = 2_000


class ApplyContext(Protocol):
    """Where in the log, when (log time, ms) and for whom a batch is applied. ``session`` 0: in none."""

    index: int
    now_ms: int
    principal: str
    role: int
    session: int
    machine_version: int


class OrderBook:
    """The machine. ``pairs`` are no state: a leader proposes them (``initial_commands``), and they are defined once."""

    signature = "orderbook"
    version = 1

    def __init__(self, pairs: Iterable[PairSpec | str] = ()) -> None:
        self.pairs = tuple(PairSpec(pair) if isinstance(pair, str) else pair for pair in pairs)
        self._book = Book()

    @property
    def state_hash(self) -> int:
        """1 .. 2^62 - 1, of everything that can make a difference to what comes."""
        return self._book.state_hash()

    def fresh(self) -> OrderBook:
        """Another one with nothing in it."""
        return OrderBook(self.pairs)

    def visible(self, events: Sequence[Event], start: int, principal: str, role: int) -> list[Event | None]:
        """``events[start:]`` as ``principal`` may see them; see ``visibility``."""
        return visible(events, start, principal, role)

    def encode(self, commands: Sequence[Command]) -> bytes:
        return encode_commands(commands)

    def initial_commands(self) -> list[bytes]:
        return [encode_commands([DefinePair(pair)]) for pair in self.pairs]

    def apply(self, context: ApplyContext, body: bytes, count: int) -> list[Event]:
        """Run a batch. Total for any bytes; an exception from here is a bug, and the node must stop."""
        book = self._begin(context)
        events: list[Event] = []
        begin_entry(book, events)
        commands = decode_commands(body)
        if commands is None or len(commands) != count:
            reject_all(book, count, events)
        else:
            run(book, commands, events)
        book.end(len(events))
        return events

    def tick(self, context: ApplyContext) -> list[Event]:
        """Time passed: expire what is due, and go on with mass cancels."""
        book = self._begin(context)
        events: list[Event] = []
        begin_entry(book, events)
        book.end(len(events))
        return events

    def next_deadline(self) -> int | None:
        """When the next order expires, in ms of log time. After an entry that left some due or doomed it has passed."""
        return self._book.next_deadline()

    def session_closed(self, context: ApplyContext, cancel: bool) -> list[Event]:
        """The session of the context ended; with ``cancel`` the orders that were placed in it leave the book."""
        book = self._begin(context)
        events: list[Event] = []
        if cancel:
            clear_session(book, book.session, events)
        book.end(len(events))
        return events

    def query(self, query: Any) -> Any:
        """Answer one of ``queries``. Raises ValueError for anything else."""
        return answer(self._book, query)

    def statistics(self) -> Statistics:
        """Plain integers for a metrics collector."""
        return statistics(self._book)

    def snapshot(self) -> Iterator[bytes]:
        """The whole state in chunks of at most 64 KiB; the book must not change meanwhile."""
        return dump(self._book)

    def restore(self, chunks: Iterable[bytes]) -> Iterator[None]:
        """Replace the state by a snapshot's, a slice of a few milliseconds at a time; done when it is exhausted.

        Until then the old state answers. Raises ValueError for chunks that are no whole snapshot.
        """
        book = Book()
        try:
            yield from load(book, chunks)
            book, self._book = self._book, book
            yield from _release(book)
        finally:  # given up half way: what was loaded, or what is left of the old state
            for _ in _release(book):
                pass

    def __del__(self) -> None:
        for _ in _release(self._book):
            pass

    def _begin(self, context: ApplyContext) -> Book:
        book = self._book
        book.begin(context.index, context.now_ms, context.principal, context.role, context.session)
        return book


def _release(book: Book) -> Iterator[None]:
    """Take a book apart that is no longer used: without garbage collection its orders would keep each other."""
    while book.orders or book.expiries:
        orders = [book.orders.popitem()[1] for _ in range(min(_RELEASED_A_SLICE, len(book.orders)))]
        del book.expiries[-_RELEASED_A_SLICE:]
        release(orders)
        yield
