"""A client's feed of fills, events or level changes: in order, each once, across the death of any node.

The feed reads from one node at a time. When that connection ends, for whatever reason, the next node is asked for the
first sequence that was not received; what a node repeats is dropped here. ``Gap`` is raised only when every node has
said that it no longer has what comes next (or those that have not can't be reached for ``patience`` seconds), ``Reset``
when the group began another life; in both cases whoever reads on gets what comes behind the hole. A book feed goes on
with new snapshots instead. ``FeedRefused`` ends it: every node says that there is no such feed.

A reader that is slow slows its connection (at most ``ahead`` items wait here); a node then disconnects it in the end,
and it goes on where it was.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, Self, TypeVar

from orderbook.book.events import fill_of
from orderbook.book.levels import LevelChange
from orderbook.groups.waiting import Conditions
from orderbook.runtime import Runtime, Task, pause
from orderbook.streams.audience import FeedKind
from orderbook.streams.feed import FeedRequest
from orderbook.streams.market import (
    BookDelta,
    BookSnapshot,
    Event,
    FeedRefused,
    Gap,
    Place,
    Reset,
    Token,
    levels_from_wire,
)
from orderbook.streams.subscribed import When
from orderbook.wire.feed_frames import FeedFrameKind, MalformedFeedFrame, unpack_feed_frame

T = TypeVar("T")
RETRY_FIRST_SECONDS = 0.02
RETRY_MOST_SECONDS = 1.0
UNKNOWN_PAIR = "unknown_pair"


class FeedLink(Protocol):
    """One connection of a feed to a node."""

    async def receive(self) -> bytes | None:
        """The next frame; None when there will be no more."""
        ...

    async def close(self) -> None: ...


class FeedSource(Protocol):
    """The nodes that can be asked, in the order in which they are."""

    addresses: Sequence[str]

    async def open(self, address: str, request: FeedRequest) -> FeedLink:
        """Raises ConnectionError if the node can't be reached or serves nobody now, FeedRefused for its last word."""
        ...


class FeedReaderStatistics:
    """Plain integers of one feed."""

    def __init__(self) -> None:
        self.connections = 0
        self.items = 0
        self.repeats = 0  # rows that were had already, and dropped
        self.gaps = 0
        self.resets = 0
        self.malformed = 0


class Feed(Generic[T]):
    """``async for item in feed``. Made by ``consume`` of a network; reads on its own until ``close``."""

    def __init__(
        self,
        runtime: Runtime,
        source: FeedSource,
        kind: FeedKind,
        *,
        pair: str | None = None,
        start: Token | Place | None = None,
        patience: float = 10.0,
        ahead: int = 10_000,
    ) -> None:
        self.statistics = FeedReaderStatistics()
        self.address = ""  # of the node that it reads from
        self._runtime = runtime
        self._source = source
        self._kind = kind
        self._pair = pair
        self._patience = patience
        self._ahead = ahead
        self._incarnation = start.incarnation if isinstance(start, Token) else None
        self._next: Place | None = start.next if isinstance(start, Token) else start  # to be received next
        self._had: Place | None = self._next  # to be handed out next
        self._items: deque[tuple[Any, Place]] = deque()  # (item or error, what comes after it)
        self._missing: dict[str, Place] = {}  # who said GAP, and from where on it has something
        self._missing_since = 0.0
        self._oldest_of = ""  # the node that has most of what is left, once nobody has what comes next
        self._refusals: dict[str, None] = {}  # who refused the feed itself
        self._refused_since = 0.0
        self._refusal: FeedRefused | None = None  # every node's last word
        self._live = False
        self._closed = False
        self._conditions = Conditions(runtime)
        self._task: Task = runtime.spawn(self._run(), f"{kind} feed")

    # --- what users do ------------------------------------------------------------------------------------------------

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        """The next item. Raises Gap, Reset, FeedRefused; StopAsyncIteration after ``close``."""
        if not self._items:
            await self._conditions.until(lambda: bool(self._items) or self._closed, None, "an item")
        if not self._items:
            raise StopAsyncIteration
        item, after = self._items.popleft()
        if len(self._items) == self._ahead - 1:
            self._conditions.check()
        self._had = after
        if isinstance(item, Exception):
            raise item
        self.statistics.items += 1
        found: T = item
        return found

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def token(self) -> Token | None:
        """Where to go on after the last item that was handed out; None before the feed was first subscribed."""
        if self._had is None or self._incarnation is None:
            return None
        after = self._had if self._items or self._next is None else max(self._had, self._next)
        return Token(self._incarnation, after)

    def when(self, timeout: float | None = None) -> When:
        """``await feed.when().subscribed()``: a node serves it."""
        return When(
            self._conditions, lambda: int(self._live), timeout, "the feed to be subscribed", lambda: self._refusal
        )

    async def close(self) -> None:
        """No more items are received; those that were are still handed out."""
        if not self._closed:
            self._closed = True
            self._task.cancel()
            self._conditions.check()

    # --- connections --------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        backoff = RETRY_FIRST_SECONDS
        turn = 0
        while not self._closed:
            address = self._oldest_of or self._source.addresses[turn % len(self._source.addresses)]
            turn += 1
            before = self._next
            try:
                link = await self._source.open(address, self._request())
            except ConnectionError:
                pass
            except FeedRefused as refusal:
                self._refused(address, refusal)
            else:
                await self._read(address, link)
            self._give_up_waiting()
            if self._next != before:
                backoff = RETRY_FIRST_SECONDS
            elif turn % len(self._source.addresses) == 0 and not self._oldest_of:
                await pause(self._runtime, backoff * (0.5 + self._runtime.random.random()))
                backoff = min(backoff * 2, RETRY_MOST_SECONDS)

    def _request(self) -> FeedRequest:
        oldest = bool(self._oldest_of)
        return FeedRequest(self._kind, self._pair, self._next, self._incarnation, oldest=oldest)

    async def _read(self, address: str, link: FeedLink) -> None:
        try:
            while (data := await link.receive()) is not None:
                frame = unpack_feed_frame(data)
                if frame is not None:
                    _ON_FRAME[frame[0]](self, address, *frame[1:])
                if len(self._items) >= self._ahead:
                    await self._conditions.until(lambda: len(self._items) < self._ahead, None, "room")
        except ConnectionError:
            pass
        except MalformedFeedFrame:
            self.statistics.malformed += 1
        finally:
            self._live = False
            await link.close()

    # --- frames -------------------------------------------------------------------------------------------------------

    def _on_subscribed(self, address: str, incarnation: bytes, index: int, ordinal: int, *_later: Any) -> None:
        self.statistics.connections += 1
        self.address = address
        self._incarnation = incarnation
        if self._next is None:
            self._next = (index, ordinal)
            self._had = self._had or self._next
        elif self._oldest_of and (index, ordinal) > self._next:
            self.statistics.gaps += 1
            self._go_on_at((index, ordinal), Gap(self._next, (index, ordinal)))
        self._oldest_of = ""
        self._missing.clear()
        self._refusals.clear()
        self._live = True
        self._conditions.check()

    def _on_events(self, _address: str, index: int, time_ms: int, rows: list[Any], more: bool, *_later: Any) -> None:
        for ordinal, event in rows:
            sequence = (index, ordinal)
            if self._is_new(sequence):
                fields = tuple(event)
                item = fill_of(fields, sequence) if self._kind is FeedKind.FILLS else Event(sequence, fields, time_ms)
                self._hand_out(item, (index, ordinal + 1))
        self._advance((index, rows[-1][0] + 1) if more else (index + 1, 0))

    def _on_book(self, _address: str, pair: str, bids: list[Any], asks: list[Any], *_later: Any) -> None:
        if self._next is not None:
            snapshot = BookSnapshot(self._next, pair, levels_from_wire(bids), levels_from_wire(asks))
            self._hand_out(snapshot, self._next)

    def _on_levels(self, _address: str, index: int, time_ms: int, rows: list[Any], *_later: Any) -> None:
        if self._is_new((index, 0)):
            delta = BookDelta((index, 0), time_ms, [LevelChange(*row) for row in rows])
            self._hand_out(delta, (index + 1, 0))
            self._advance((index + 1, 0))

    def _on_mark(self, _address: str, index: int, *_later: Any) -> None:
        self._advance((index, 0))

    def _on_gap(self, address: str, first: int, *_later: Any) -> None:
        if not self._missing:
            self._missing_since = self._runtime.monotonic()
        self._missing[address] = (first, 0)

    def _on_reset(self, _address: str, incarnation: bytes, first: int, *_later: Any) -> None:
        self.statistics.resets += 1
        self._incarnation = incarnation
        self._missing.clear()
        if self._kind is FeedKind.BOOK:
            self._next = None
        else:
            self._go_on_at((first, 0), Reset(incarnation, (first, 0)))

    def _is_new(self, sequence: Place) -> bool:
        if self._next is not None and sequence < self._next:
            self.statistics.repeats += 1
            return False
        return True

    def _advance(self, after: Place) -> None:
        if self._next is None or after > self._next:
            self._next = after

    def _hand_out(self, item: Any, after: Place) -> None:
        self._items.append((item, after))
        self._conditions.check()

    # --- holes --------------------------------------------------------------------------------------------------------

    def _give_up_waiting(self) -> None:
        """Nobody has what comes next, as far as can be known: ask for all that there is."""
        if self._oldest_of:  # it did not answer
            self._missing.pop(self._oldest_of, None)
            self._oldest_of = ""
        if not self._missing or self._next is None:
            return
        everyone = all(address in self._missing for address in self._source.addresses)
        if everyone or self._runtime.monotonic() - self._missing_since >= self._patience:
            if self._kind is FeedKind.BOOK:
                self._next = None  # new snapshots say all that the hole hid
                self._missing.clear()
            else:
                self._oldest_of = min(self._missing, key=self._missing.__getitem__)

    def _go_on_at(self, first: Place, error: Exception) -> None:
        self._next = first
        self._hand_out(error, first)

    def _refused(self, address: str, refusal: FeedRefused) -> None:
        """It is true when all say the same; of a pair, which may just be about to be defined, for ``patience``."""
        now = self._runtime.monotonic()
        if not self._refusals:
            self._refused_since = now
        self._refusals[address] = None
        may_change = refusal.code == UNKNOWN_PAIR and now - self._refused_since < self._patience
        if not may_change and all(other in self._refusals for other in self._source.addresses):
            self._refusal = refusal
            self._closed = True
            self._hand_out(refusal, self._had or (0, 0))


_ON_FRAME: dict[int, Callable[..., None]] = {
    FeedFrameKind.SUBSCRIBED: Feed._on_subscribed,
    FeedFrameKind.EVENTS: Feed._on_events,
    FeedFrameKind.BOOK: Feed._on_book,
    FeedFrameKind.LEVELS: Feed._on_levels,
    FeedFrameKind.MARK: Feed._on_mark,
    FeedFrameKind.GAP: Feed._on_gap,
    FeedFrameKind.RESET: Feed._on_reset,
}
