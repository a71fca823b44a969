"""``orderbook bench --failover``: the leader is killed again and again under half load, and nothing may be lost.

A round: a client connected to the leader sends batches at a fixed rate, whether or not they are answered; the leader
gets SIGKILL; what counts is the time from that to the first answer of a batch that was sent after it. Then the load
goes on for a moment, the killed node is started again, and the next round begins when all nodes serve.

Meanwhile a second client reads every event of the log from whichever node lives. At the end what was answered is
compared with it (``order_ledger``), and the book that the events add up to with the book of each node.
"""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Any

import aiohttp

from orderbook.book import Side
from orderbook.cli.group_bench import Load, Trader, made_batches, online, percentiles
from orderbook.cli.order_flow import MIX, PAIRS, OrderFlow
from orderbook.cli.order_ledger import OrderLedger
from orderbook.cli.paced_load import EventReader, PacedTrader
from orderbook.client.api import ApiClient
from orderbook.client.feed_socket import WebSocketFeedSource
from orderbook.client.local_group import LocalGroup, NodeProcess
from orderbook.client.order_stream import BatchAnswer, OrderStream
from orderbook.groups.errors import GroupError
from orderbook.runtime import Runtime

BEFORE_SECONDS = (0.5, 1.5)  # of load before a kill: drawn
AFTER_SECONDS = 0.5  # of load after the first answer
ROUND_SECONDS = 120.0
CALIBRATION_COMMANDS = 200_000
WHOLE_BOOK = 1000  # levels; the mix never has as many


class FailoverBench:
    def __init__(
        self, runtime: Runtime, http: aiohttp.ClientSession, group: LocalGroup, kills: int, batch: int
    ) -> None:
        self._runtime = runtime
        self._http = http
        self._group = group
        self._kills = kills
        self._batch = batch
        self._ledger = OrderLedger()
        self._commands = 0
        self._errors: list[GroupError] = []
        self._failovers: list[float] = []

    async def measure(self, rate: int | None) -> dict[str, Any]:
        """``rate`` in orders a second; None: half of what this machine does without failures."""
        await online(self._http, self._group)
        api = ApiClient(self._runtime, self._http, self._group.addresses())
        for pair in PAIRS:
            await api.define_pair({"pair": pair.pair, "tick": pair.tick, "lot": pair.lot})
        source = WebSocketFeedSource(self._http, self._group.addresses())
        reader = EventReader(self._runtime, source, self._ledger)
        await reader.ready()
        rate = rate or await self._half_of_full_rate()
        for number in range(self._kills):
            self._failovers.append(await self._round(number, rate))
            source.addresses = self._group.addresses()
        statuses = await self._settled()
        await reader.reached(statuses[0]["applied"])
        await reader.close()
        return {
            "failover_ms": {**percentiles(sorted(self._failovers), (50, 95)), "max": _milliseconds(self._failovers)},
            "kills": self._kills,
            "lost": self._ledger.lost,
            "doubled": self._ledger.doubled,
            "uncertain": len(self._errors) * self._batch,
            "orders": self._commands,
            "acknowledged": self._ledger.acknowledged,
            "orders_per_second": rate,
            "state_hash_equal": len({status["state_hash"] for status in statuses}) == 1,
            "book_equal": await self._books_are_equal(),
            "mix": MIX,
        }

    async def _half_of_full_rate(self) -> int:
        """Without a pause, as ``bench`` does it, for a short time."""
        flow = self._kills
        batches = made_batches(flow, flow + 1, max(1, CALIBRATION_COMMANDS // self._batch), self._batch)
        load = Load(len(batches) * self._batch, self._batch, 16, 1)
        trader = Trader(self._runtime, OrderStream(self._runtime, self._http, self._group.addresses()), 16, batches)
        began = perf_counter()
        await trader.run()
        await self._settled()
        spent = perf_counter() - began
        trader.session.close()
        await trader.stream.close()
        if trader.errors:
            raise trader.errors[0]
        return max(1, int(load.commands / spent / 2))

    async def _round(self, number: int, rate: int) -> float:
        """Kill the leader once; the seconds until orders are answered again."""
        leader = await self._leader()
        others = [node for node in self._group.nodes if node is not leader]
        addresses = [endpoints.clients for node in (leader, *others) if (endpoints := node.endpoints())]
        first, again, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()
        killed_at = answered_at = 0.0

        def on_answer(answer: BatchAnswer, sent: float) -> None:
            nonlocal answered_at
            first.set()
            if killed_at and sent > killed_at and not again.is_set():
                answered_at = perf_counter()
                again.set()
            self._ledger.answered(self._batch, *answer)

        flow = OrderFlow(number, first_id=number + 1, step=self._kills + 1)
        stream = OrderStream(self._runtime, self._http, addresses)
        trader = PacedTrader(self._runtime, stream, flow, self._batch, on_answer)
        async with asyncio.timeout(ROUND_SECONDS):
            running = asyncio.create_task(trader.run(self._batch / rate, ended))
            await first.wait()
            await asyncio.sleep(self._runtime.random.uniform(*BEFORE_SECONDS))
            killed_at = perf_counter()
            await self._group.kill(leader)
            await again.wait()
            await asyncio.sleep(AFTER_SECONDS)
            ended.set()
            await running
            await self._group.start_node(leader)
            await self._settled()
        self._commands += trader.commands
        self._errors += trader.errors
        await trader.close()
        return answered_at - killed_at

    async def _leader(self) -> NodeProcess:
        name = (await online(self._http, self._group))[0]["leader"]
        return next(node for node in self._group.nodes if node.name == name)

    async def _settled(self) -> list[dict[str, Any]]:
        """The status of each node, once all have applied the same."""
        while True:
            statuses = await online(self._http, self._group)
            if len({status["applied"] for status in statuses}) == 1:
                return statuses
            await asyncio.sleep(0.02)

    async def _books_are_equal(self) -> bool:
        """Each node has exactly the levels that the events of the log add up to."""
        for address in self._group.addresses():
            api = ApiClient(self._runtime, self._http, [address])
            for pair in PAIRS:
                book = await api.book(pair.pair, WHOLE_BOOK, consistency="weak")
                for side, rows in ((Side.BID, book["bids"]), (Side.ASK, book["asks"])):
                    if [tuple(row) for row in rows] != self._ledger.levels.side(pair.pair, side):
                        return False
        return True


async def measure(
    runtime: Runtime, group: LocalGroup, kills: int, batch: int, rate: int | None = None
) -> dict[str, Any]:
    """Kill the leader of a running group ``kills`` times. Raises GroupError, FeedBroken, TimeoutError."""
    async with group.http_session() as http:
        return await FailoverBench(runtime, http, group, kills, batch).measure(rate)


def _milliseconds(failovers: list[float]) -> float:
    return round(max(failovers) * 1000, 3)
