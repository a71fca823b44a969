"""What members stream to each other, watched by a client: ``consume`` of ``Order`` or of a type of one's own.

The client is subscribed, through one node, to every producer of the type. When that node dies it goes to the next one;
what was produced meanwhile is lost, which shows in the sequence. For admins: members trust each other.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Generic, Self, TypeVar

from orderbook.client.feed_socket import NodeSockets
from orderbook.client.feeds import RETRY_FIRST_SECONDS, RETRY_MOST_SECONDS, FeedLink
from orderbook.groups.waiting import Conditions
from orderbook.runtime import Runtime, Task, pause
from orderbook.streams.codec import DatumCodec
from orderbook.streams.consumer import Consumer, ConsumerStatistics, Delivery, Source
from orderbook.streams.market import FeedRefused
from orderbook.streams.subscribed import When
from orderbook.wire.datum_frames import DatumFrameKind, MalformedDatumFrame, unpack_datum_frame

T = TypeVar("T")


class RelayedConsumer(Generic[T]):
    """``async for datum in consumer``, as a member's ``Consumer``. ``statistics`` are by node."""

    def __init__(
        self, runtime: Runtime, sockets: NodeSockets, datum: type[T], name: str, max_queued: int = 16 << 20
    ) -> None:
        self.address = ""  # of the node that relays
        self._runtime = runtime
        self._sockets = sockets
        self._consumer = Consumer(self, 0, name, DatumCodec(datum), runtime, max_queued)
        self._refusal: FeedRefused | None = None
        self._sources: dict[Source, None] = {}
        self._wanted = True  # False after a disconnection, until somebody iterates on
        self._conditions = Conditions(runtime)
        self._task: Task = runtime.spawn(self._run(), f"stream of {name}")

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        """The next datum. Raises Disconnected (and is subscribed anew); StopAsyncIteration after ``close``."""
        return await anext(self._consumer)

    def deliveries(self) -> AsyncIterator[Delivery[T]]:
        """The same with producer, sequence and losses."""
        return self._consumer.deliveries()

    @property
    def closed(self) -> bool:
        return self._consumer.closed

    @property
    def producers(self) -> int:
        return self._consumer.producers

    @property
    def statistics(self) -> dict[str, ConsumerStatistics]:
        return self._consumer.statistics

    def when(self, timeout: float | None = None) -> When:
        """``await consumer.when().subscribed().minimum_of(2)``: to so many producers, wherever they are. Raises
        FeedRefused if the nodes refuse it."""
        what = f"producers of {self._consumer.name}"
        return When(self._consumer.conditions, lambda: self.producers, timeout, what, lambda: self._refusal)

    async def close(self) -> None:
        self._task.cancel()
        self._consumer.close()

    # --- for the consumer ---------------------------------------------------------------------------------------------

    def subscribe(self, consumer: Consumer[Any]) -> None:
        """Somebody iterates on after a disconnection."""
        self._wanted = True
        self._conditions.check()

    def unsubscribe(self, consumer: Consumer[Any], source: Source, reason: str) -> None:
        """Nothing more of that producer is taken. The node is left alone unless nothing at all is wanted."""
        self._wanted = self._wanted and reason == "malformed"

    def forget(self, consumer: Consumer[Any]) -> None:
        self._task.cancel()

    # --- connections --------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        backoff = RETRY_FIRST_SECONDS
        turn = 0
        while self._refusal is None:
            await self._conditions.until(lambda: self._wanted, None, "somebody to iterate on")
            address = self._sockets.addresses[turn % len(self._sockets.addresses)]
            turn += 1
            try:
                link = await self._sockets.open_path(address, "/v1/streams/members", {"type": self._consumer.name})
            except ConnectionError:
                await pause(self._runtime, backoff * (0.5 + self._runtime.random.random()))
                backoff = min(backoff * 2, RETRY_MOST_SECONDS)
            except FeedRefused as refusal:
                self._refusal = refusal
                self._consumer.close()
            else:
                backoff = RETRY_FIRST_SECONDS
                self.address = address
                await self._read(address, link)

    async def _read(self, address: str, link: FeedLink) -> None:
        try:
            while self._wanted and (data := await link.receive()) is not None:
                frame = unpack_datum_frame(data)
                if frame is not None:
                    self._on_frame(address, *frame)
        except (ConnectionError, MalformedDatumFrame):
            pass
        finally:
            sources, self._sources = self._sources, {}
            for source in sources:
                self._consumer.lost(source)
            await link.close()

    def _on_frame(self, address: str, kind: int, producer: int, *fields: Any) -> None:
        source = Source(address, producer)
        if kind == DatumFrameKind.SUBSCRIBED:
            self._sources[source] = None
            self._consumer.gained(source)
            self._consumer.confirmed(source)
        elif kind == DatumFrameKind.WITHDRAW:
            self._sources.pop(source, None)
            self._consumer.lost(source)
        elif kind == DatumFrameKind.DATUM:
            self._consumer.receive(source, fields[1], fields[2])
