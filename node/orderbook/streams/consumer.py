"""The receiving end of a typed stream between members."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from typing import Any, Generic, NamedTuple, Protocol, Self, TypeVar

from orderbook.groups.waiting import Conditions
from orderbook.runtime import Runtime
from orderbook.streams.codec import DatumCodec, MalformedDatum
from orderbook.streams.subscribed import When

T = TypeVar("T")
MAX_REMEMBERED = 1024  # producers, most of them gone, whose last sequence is known


class Source(NamedTuple):
    """A producer, by its member and number."""

    peer: str
    producer: int


class Delivery(NamedTuple, Generic[T]):
    """A datum with where it comes from. ``lost``: how many of that producer's datums before it did not arrive."""

    datum: T
    source: Source
    sequence: int
    lost: int


class Disconnected(Exception):
    """The consumer was disconnected, for ``reason``. Whoever goes on iterating is subscribed anew."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ConsumerStatistics:
    """Plain integers, by peer."""

    def __init__(self) -> None:
        self.received = 0
        self.bytes = 0
        self.lost = 0
        self.repeated = 0  # and dropped
        self.malformed = 0


class ConsumerOwner(Protocol):
    """``MemberStreams``, as a consumer sees it."""

    def subscribe(self, consumer: Consumer[Any]) -> None: ...

    def unsubscribe(self, consumer: Consumer[Any], source: Source, reason: str) -> None: ...

    def forget(self, consumer: Consumer[Any]) -> None: ...


class Consumer(Generic[T]):
    """Made by ``consume``: ``async for datum in consumer``. ``queued_bytes`` is what waits to be iterated over."""

    def __init__(
        self,
        owner: ConsumerOwner,
        number: int,
        name: str,
        codec: DatumCodec[T],
        runtime: Runtime,
        max_queued: int,
    ) -> None:
        self.number = number
        self.name = name
        self.queued_bytes = 0
        self.statistics: dict[str, ConsumerStatistics] = {}
        self._owner = owner
        self._codec = codec
        self._max_queued = max_queued
        self._sources: dict[Source, bool] = {}  # whether the producer's member has confirmed
        self._had: dict[Source, int] = {}  # the sequence of its last datum, however often it was disconnected since
        self._queue: deque[tuple[Delivery[T] | Disconnected, int]] = deque()
        self._broken = False  # Disconnected waits to be raised; subscribed to nothing
        self.conditions = Conditions(runtime)
        self._closed = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        """The next datum. Raises Disconnected; StopAsyncIteration after ``close``."""
        return (await self._next()).datum

    async def deliveries(self) -> AsyncIterator[Delivery[T]]:
        """The same with producer, sequence and losses."""
        while True:
            try:
                yield await self._next()
            except StopAsyncIteration:
                return

    async def _next(self) -> Delivery[T]:
        if not self._queue:
            await self.conditions.until(lambda: bool(self._queue) or self._closed, None, "a datum")
        if not self._queue:
            raise StopAsyncIteration
        item, size = self._queue.popleft()
        self.queued_bytes -= size
        if isinstance(item, Disconnected):
            self._broken = False
            if not self._closed:
                self._owner.subscribe(self)
            raise item
        return item

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def producers(self) -> int:
        return sum(self._sources.values())

    def when(self, timeout: float | None = None) -> When:
        """``await consumer.when().subscribed().minimum_of(2)``: it is subscribed to so many producers."""
        return When(self.conditions, lambda: self.producers, timeout, f"producers of {self.name}")

    def close(self) -> None:
        """Unsubscribe. What has arrived can still be iterated over."""
        if not self._closed:
            self._closed = True
            self._unsubscribe("closed")
            self._owner.forget(self)
            self.conditions.check()

    # --- for the owner ------------------------------------------------------------------------------------------------

    def gained(self, source: Source) -> bool:
        """There is a producer of its type; whether to subscribe to it."""
        if self._broken or self._closed or source in self._sources:
            return False
        self._sources[source] = False
        return True

    def confirmed(self, source: Source) -> None:
        """What this producer sends from now on is sent to this consumer."""
        if source in self._sources:
            self._sources[source] = True
            self.conditions.check()

    def lost(self, source: Source) -> None:
        """A producer, or its whole member, is gone."""
        self._sources.pop(source, None)

    def withdrawn(self, source: Source) -> None:
        """A producer has ended: its number does not come again."""
        self.lost(source)
        self._had.pop(source, None)

    def ended(self, source: Source, reason: str) -> None:
        """A producer sends no more to this consumer."""
        if source in self._sources:
            del self._sources[source]
            self._break(reason)

    def receive(self, source: Source, sequence: int, data: bytes) -> None:
        if source not in self._sources:
            return  # it was under way when this consumer was disconnected
        statistics = self.statistics.setdefault(source.peer, ConsumerStatistics())
        had = self._had.get(source, sequence - 1)
        if sequence <= had:
            statistics.repeated += 1
            return
        try:
            datum = self._codec.decode(data)
        except MalformedDatum:
            statistics.malformed += 1
            del self._sources[source]
            self._owner.unsubscribe(self, source, "malformed")
            return
        if self.queued_bytes + len(data) > self._max_queued:
            self._break("slow_consumer")
            return
        lost = sequence - had - 1
        self._had[source] = sequence
        if len(self._had) > MAX_REMEMBERED:
            del self._had[next(iter(self._had))]
        statistics.received += 1
        statistics.bytes += len(data)
        statistics.lost += lost
        self._put(Delivery(datum, source, sequence, lost), len(data))

    def _break(self, reason: str) -> None:
        self._unsubscribe(reason)
        if not self._broken:
            self._broken = True
            self._put(Disconnected(reason), 0)

    def _unsubscribe(self, reason: str) -> None:
        sources, self._sources = self._sources, {}
        for source in sources:
            self._owner.unsubscribe(self, source, reason)

    def _put(self, item: Delivery[T] | Disconnected, size: int) -> None:
        self._queue.append((item, size))
        self.queued_bytes += size
        self.conditions.check()
