"""``orderbook soak``: load on a running group for as long as it is wanted, and the proof that nothing of it was lost.

One client sends batches at a fixed pace, whether or not they are answered, to whichever node takes them; another one
reads every event of the log. Each answer must be in the log, where it said, with the same events (``order_ledger``), so
whatever is done to the group meanwhile (a node killed, a roll, a drain, more members) shows here if it costs an order.
Orders go into the pairs that the group has, under ids that no earlier run used.
"""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Sequence
from contextlib import suppress
from time import perf_counter
from typing import Annotated, Any

import typer

from orderbook.cli.connection import DEFAULT_NODES, EXIT_REFUSED, EXIT_USAGE, Call, Nodes, Patience, run
from orderbook.cli.group_bench import percentiles
from orderbook.cli.order_flow import OrderFlow
from orderbook.cli.order_ledger import OrderLedger
from orderbook.cli.paced_load import EventReader, PacedTrader
from orderbook.client.feed_socket import WebSocketFeedSource
from orderbook.client.order_stream import BatchAnswer, OrderStream

FIRST_IDS = (1 << 40, 1 << 51)  # where a run's ids begin is drawn from here: below those that the group gives
REPORT_SECONDS = 1.0
CATCH_UP_SECONDS = 60.0  # for the reader to see all that was answered


def soak(
    rate: Annotated[int, typer.Option(help="Commands a second.", min=1, max=1_000_000)] = 500,
    batch: Annotated[int, typer.Option(help="Commands in a batch.", min=1, max=4096)] = 10,
    seconds: Annotated[float | None, typer.Option(help="For how long; left out: until SIGTERM or Ctrl-C.")] = None,
    node: Nodes = DEFAULT_NODES,
    patience: Patience = 60.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print each second, and the end, as a line of JSON.")] = False,
) -> None:
    """Drive orders through a running group, as an admin, and show at the end that nothing acknowledged was lost.

    Exit codes: 0 nothing was lost, doubled, refused or left uncertain; 1 something was; 2 wrong options, or the group
    has no pair; 3 unavailable.

    Example: orderbook soak --rate 1000 --seconds 60
    """

    async def job(call: Call) -> dict[str, Any]:
        return await _Soak(call, rate, batch, as_json).run(seconds)

    summary = run(node, job, patience=patience, as_json=as_json)
    if as_json:
        typer.echo(json.dumps(summary))
    else:
        for name, value in summary.items():
            typer.echo(f"{name}: {value}")
    faults = summary["lost"] + summary["doubled"] + summary["failed"]
    raise typer.Exit(EXIT_REFUSED if faults else 0)


class _Soak:
    def __init__(self, call: Call, rate: int, batch: int, as_json: bool) -> None:
        self._call = call
        self._interval = batch / rate
        self._batch = batch
        self._as_json = as_json
        self._first_id = call.runtime.random.randrange(*FIRST_IDS)
        self._ledger = OrderLedger(self._first_id)
        self._latencies: list[float] = []
        self._answered_at = 0.0
        self._longest_gap = 0.0
        self._last_index = 0

    async def run(self, seconds: float | None) -> dict[str, Any]:
        """Until the time is over or a signal comes; what became of it all. Raises GroupError, FeedBroken."""
        call = self._call
        reader = EventReader(
            call.runtime, WebSocketFeedSource(call.http, call.api.addresses, call.credentials), self._ledger
        )
        await reader.ready()
        flow = OrderFlow(self._first_id, self._first_id, pairs=await self._pairs())
        stream = OrderStream(call.runtime, call.http, call.api.addresses, call.credentials)
        trader = PacedTrader(call.runtime, stream, flow, self._batch, self._on_answer)
        ended = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, ended.set)
        began = self._answered_at = perf_counter()
        reporting = asyncio.create_task(self._report(trader, ended))
        running = asyncio.create_task(trader.run(self._interval, ended))
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await asyncio.shield(running)
        ended.set()
        await asyncio.gather(running, reporting)
        spent = perf_counter() - began
        async with asyncio.timeout(CATCH_UP_SECONDS):
            await reader.reached(self._last_index)
        await trader.close()
        await reader.close()
        return self._summary(trader, spent)

    async def _pairs(self) -> Sequence[str]:
        names = [pair["pair"] for pair in (await self._call.api.pairs(consistency="strong"))["pairs"]]
        if not names:
            typer.echo("orderbook soak: the group has no pair; define one first: orderbook pairs --define", err=True)
            raise typer.Exit(EXIT_USAGE)
        return names

    def _on_answer(self, answer: BatchAnswer, sent: float) -> None:
        now = perf_counter()
        self._longest_gap = max(self._longest_gap, now - max(self._answered_at, sent))
        self._answered_at = now
        self._latencies.append(now - sent)
        self._last_index = max(self._last_index, answer.log_index)
        self._ledger.answered(self._batch, *answer)

    async def _report(self, trader: PacedTrader, ended: asyncio.Event) -> None:
        reported = 0
        while not ended.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(REPORT_SECONDS):
                    await ended.wait()
            recent = sorted(self._latencies[reported:])
            reported = len(self._latencies)
            line = {
                "sent": trader.commands,
                "acknowledged": self._ledger.acknowledged,
                "failed": len(trader.errors) * self._batch,
                "latency_ms": percentiles(recent, (50, 99)) if recent else None,
            }
            if self._as_json:
                typer.echo(json.dumps(line))

    def _summary(self, trader: PacedTrader, spent: float) -> dict[str, Any]:
        return {
            "sent": trader.commands,
            "acknowledged": self._ledger.acknowledged,
            "lost": self._ledger.lost,
            "doubled": self._ledger.doubled,
            "failed": len(trader.errors) * self._batch,
            "failures": sorted({str(error) for error in trader.errors})[:5],
            "seconds": round(spent, 1),
            "latency_ms": percentiles(sorted(self._latencies), (50, 95, 99, 99.9)) if self._latencies else None,
            "longest_gap_ms": round(self._longest_gap * 1000, 1),
        }
