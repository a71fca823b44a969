"""The sending end of a typed stream between members."""

from __future__ import annotations

from typing import Generic, NamedTuple, Protocol, TypeVar

from orderbook.groups.waiting import Conditions
from orderbook.runtime import Runtime
from orderbook.streams.codec import DatumCodec
from orderbook.streams.subscribed import When

T = TypeVar("T")


class Listener(NamedTuple):
    """A consumer, by its member and number."""

    peer: str
    consumer: int


class ProducerStatistics:
    """Plain integers, by peer."""

    def __init__(self) -> None:
        self.sent = 0
        self.bytes = 0
        self.slow_consumers = 0  # disconnected for it, by either side


class ProducerOwner(Protocol):
    """``MemberStreams``, as a producer sees it."""

    def deliver(self, listener: Listener, producer: int, sequence: int, data: bytes) -> bool: ...

    def end(self, listener: Listener, producer: int, reason: str) -> None: ...

    def withdraw(self, producer: Producer[T]) -> None: ...


class Producer(Generic[T]):
    """Made by ``produce``. ``sequence`` is how many datums were produced."""

    def __init__(self, owner: ProducerOwner, number: int, name: str, codec: DatumCodec[T], runtime: Runtime) -> None:
        self.number = number
        self.name = name
        self.sequence = 0
        self.statistics: dict[str, ProducerStatistics] = {}
        self._owner = owner
        self._codec = codec
        self._listeners: dict[Listener, None] = {}
        self._conditions = Conditions(runtime)
        self._closed = False

    async def send(self, datum: T) -> int:
        """Give a datum to every consumer that is subscribed now; to how many. Never waits.

        Raises TypeError, ValueError for what can't be sent, ConnectionError after ``close``.
        """
        return self.send_now(datum)

    def send_now(self, datum: T) -> int:
        if self._closed:
            raise ConnectionError("this producer is closed")
        data = self._codec.encode(datum)
        self.sequence += 1
        given = 0
        for listener in list(self._listeners):
            statistics = self._of(listener.peer)
            if self._owner.deliver(listener, self.number, self.sequence, data):
                statistics.sent += 1
                statistics.bytes += len(data)
                given += 1
            elif listener in self._listeners:
                del self._listeners[listener]
                statistics.slow_consumers += 1
                self._owner.end(listener, self.number, "slow_consumer")
        return given

    def skip(self, datums: int) -> None:
        """So many were not sent to anyone; consumers see it by the sequence of the next."""
        self.sequence += datums

    @property
    def consumers(self) -> int:
        return len(self._listeners)

    def when(self, timeout: float | None = None) -> When:
        """``await producer.when().subscribed().minimum_of(n)``: so many consumers listen."""
        return When(self._conditions, lambda: len(self._listeners), timeout, f"consumers of {self.name}")

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._owner.withdraw(self)
            self._listeners.clear()

    # --- for the owner ------------------------------------------------------------------------------------------------

    def gained(self, listener: Listener) -> None:
        self._listeners[listener] = None
        self._conditions.check()

    def lost(self, listener: Listener, reason: str) -> None:
        if listener in self._listeners:
            del self._listeners[listener]
            self._of(listener.peer).slow_consumers += reason == "slow_consumer"

    def forget_peer(self, peer: str) -> None:
        for listener in [listener for listener in self._listeners if listener.peer == peer]:
            del self._listeners[listener]

    def _of(self, peer: str) -> ProducerStatistics:
        return self.statistics.setdefault(peer, ProducerStatistics())
