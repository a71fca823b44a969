"""Load that keeps its pace whatever becomes of the answers, and the log that they are compared with."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import perf_counter

from orderbook.book.codec import pack
from orderbook.cli.order_flow import OrderFlow
from orderbook.cli.order_ledger import OrderLedger
from orderbook.client.feed_socket import WebSocketFeedSource
from orderbook.client.feeds import Feed
from orderbook.client.order_stream import BatchAnswer, OrderStream
from orderbook.groups.errors import GroupError
from orderbook.groups.session_client import SessionClient
from orderbook.runtime import Runtime
from orderbook.streams.audience import FeedKind
from orderbook.streams.market import Event

MOST_UNANSWERED = 200  # batches; beyond them the pace is not kept
PATIENCE_SECONDS = 120.0


class PacedTrader:
    """Sends a batch each ``interval`` seconds. ``on_answer`` hears of each answer, and when its batch was sent."""

    def __init__(
        self,
        runtime: Runtime,
        stream: OrderStream,
        flow: OrderFlow,
        batch: int,
        on_answer: Callable[[BatchAnswer, float], None],
    ) -> None:
        self.commands = 0
        self.errors: list[GroupError] = []
        self._session = SessionClient(runtime, stream)
        self._stream = stream
        self._flow = flow
        self._batch = batch
        self._on_answer = on_answer
        stream.on_connected = self._session.reconnected

    async def run(self, interval: float, ended: asyncio.Event) -> None:
        """Until ``ended``, and then until everything is answered."""
        due = perf_counter()
        while not ended.is_set():
            if self._session.unanswered < MOST_UNANSWERED:
                self._send()
            due = max(due + interval, perf_counter() - 1.0)
            await asyncio.sleep(max(0.0, due - perf_counter()))
        while self._session.unanswered:  # noqa: ASYNC110 - nobody is told
            await asyncio.sleep(0.01)

    async def close(self) -> None:
        self._session.close()
        await self._stream.close()

    def _send(self) -> None:
        sent = perf_counter()
        self.commands += self._batch

        def done(answer: BatchAnswer | None, error: GroupError | None) -> None:
            if answer is None:
                self.errors.extend([error] if error is not None else [])
                return
            self._flow.follow(answer.events)  # type: ignore[arg-type]  # an admin sees every event
            self._on_answer(answer, sent)

        self._session.submit(self._batch, pack(self._flow.batch(self._batch)), done)


class EventReader:
    """Every event of the log, from whichever node lives, into a ledger."""

    def __init__(self, runtime: Runtime, source: WebSocketFeedSource, ledger: OrderLedger) -> None:
        self._ledger = ledger
        self._feed: Feed[Event] = Feed(runtime, source, FeedKind.EVENTS, patience=PATIENCE_SECONDS)
        self._task = asyncio.create_task(self._read())

    async def ready(self) -> None:
        await self._feed.when(PATIENCE_SECONDS).subscribed()

    async def reached(self, index: int) -> None:
        """All events up to ``index`` are in the ledger. Raises FeedBroken."""
        while True:
            if self._task.done():
                self._task.result()
            token = self._feed.token
            if token is not None and token.next > (index, 0):
                self._ledger.read_up_to(token.next[0] - 1)
                return
            await asyncio.sleep(0.01)

    async def close(self) -> None:
        self._task.cancel()
        await self._feed.close()

    async def _read(self) -> None:
        async for event in self._feed:
            self._ledger.seen(event.sequence[0], event.fields)
