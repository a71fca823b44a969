"""Orders through a whole group: real processes, durable logs, a client on the same machine.

A client sends batches in a window and the clock runs from its first encoding to its last decoded answer; then all nodes
must have applied everything and agree on the state hash. CPU times are those that the operating system charged to each
process meanwhile.
"""

from __future__ import annotations

import asyncio
import gc
import os
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import aiohttp

from orderbook.book.codec import pack
from orderbook.book.commands import DefinePair
from orderbook.cli.engine_bench import EntryContext, open_book
from orderbook.cli.order_flow import MIX, PAIRS, OrderFlow, Row
from orderbook.client.local_group import LocalGroup, NodeProcess
from orderbook.client.order_stream import BatchAnswer, OrderStream
from orderbook.groups.errors import GroupError
from orderbook.groups.session_client import SessionClient
from orderbook.runtime import Runtime

_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


class Load(NamedTuple):
    """``clients`` sessions, each with ``window`` batches of ``batch`` commands in flight, ``commands`` in all."""

    commands: int
    batch: int
    window: int
    clients: int


class Trader:
    """One client: a connection, a session, and batches that were made before."""

    def __init__(self, runtime: Runtime, stream: OrderStream, window: int, batches: list[list[Row]]) -> None:
        self.latencies: list[float] = []
        self.bytes = 0
        self.errors: list[GroupError] = []
        self.stream = stream
        self.session = SessionClient(runtime, stream, window=window)
        stream.on_connected = self.session.reconnected
        self._batches = iter(batches)
        self._window = window
        self._waiting = 0
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self) -> None:
        """Send all batches, as many at a time as the window allows; returns when each has its answer."""
        for _ in range(self._window):
            self._next()
        await self._done

    def _next(self) -> None:
        rows = next(self._batches, None)
        if rows is None:
            if self._waiting == 0 and not self._done.done():
                self._done.set_result(None)
            return
        began = perf_counter()
        body = pack(rows)
        self.bytes += len(body)
        self._waiting += 1

        def done(answer: BatchAnswer | None, error: GroupError | None) -> None:
            self._waiting -= 1
            self.latencies.append(perf_counter() - began)
            if error is not None:
                self.errors.append(error)
            self._next()

        self.session.submit(len(rows), body, done)


async def measure(runtime: Runtime, group: LocalGroup, load: Load) -> dict[str, Any]:
    """Drive ``load`` through a running group. Raises RuntimeError where a batch failed or the states differ."""
    async with group.http_session() as http:
        statuses = await online(http, group)
        leader = next(node for node in group.nodes if node.name == statuses[0]["leader"])
        addresses = [endpoints.clients for node in _leader_first(group, leader) if (endpoints := node.endpoints())]
        traders = []
        for number in range(load.clients):
            count = max(load.commands // load.clients // load.batch, 1)
            batches = made_batches(number, load.clients, count, load.batch)
            traders.append(Trader(runtime, OrderStream(runtime, http, addresses), load.window, batches))
        await _define_pairs(runtime, http, addresses)
        gc.collect()
        gc.freeze()
        gc.disable()
        before = [_cpu_seconds(node) for node in group.nodes]
        own_before = _own_cpu_seconds()
        began = perf_counter()
        await asyncio.gather(*(trader.run() for trader in traders))
        answered = perf_counter()
        statuses = await _all_applied(http, group)
        spent = perf_counter() - began
        gc.enable()
        cpu = {node.name: _cpu_seconds(node) - b for node, b in zip(group.nodes, before, strict=True)}
        own = _own_cpu_seconds() - own_before
        for trader in traders:
            await trader.stream.close()
    errors = [error for trader in traders for error in trader.errors]
    if errors:
        raise RuntimeError(f"{len(errors)} batches failed, the first with {errors[0]!r}")
    commands = sum(len(trader.latencies) for trader in traders) * load.batch
    latencies = sorted(latency for trader in traders for latency in trader.latencies)
    return {
        "orders_per_second": int(commands / spent),
        "latency_ms": percentiles(latencies, (50, 99, 99.9)),
        "cpu_us_per_order": {
            "leader": round(cpu[leader.name] / commands * 1e6, 2),
            "follower": [round(cpu[n.name] / commands * 1e6, 2) for n in group.nodes if n is not leader],
            "client": round(own / commands * 1e6, 2),
        },
        "bytes_per_order": round(sum(trader.bytes for trader in traders) / commands, 1),
        "orders": commands,
        "applied_everywhere_after_ms": round((spent - (answered - began)) * 1000, 1),
        "state_hash_equal": len({status["state_hash"] for status in statuses}) == 1,
        "mix": MIX,
        "load": load._asdict(),
    }


def made_batches(seed: int, flows: int, count: int, batch: int) -> list[list[Row]]:
    """Flow ``seed`` of ``flows`` on one group. A book of its own tells which orders are still there to be cancelled."""
    context = EntryContext()
    book = open_book(context)
    flow = OrderFlow(seed, first_id=seed + 1, step=flows)
    batches = []
    for _ in range(count):
        rows = flow.batch(batch)
        flow.follow(book.apply(context, pack(rows), batch))
        batches.append(rows)
    return batches


def percentiles(ordered: list[float], wanted: tuple[float, ...]) -> dict[str, float]:
    """``{"p50": ...}`` in milliseconds of sorted seconds."""
    last = len(ordered) - 1
    return {
        "p" + f"{percent:g}".replace(".", ""): round(ordered[round(last * percent / 100)] * 1000, 3)
        for percent in wanted
    }


async def online(http: aiohttp.ClientSession, group: LocalGroup) -> list[dict[str, Any]]:
    """The status of each node, once all serve and name one leader."""
    while True:
        statuses = [await _status(http, node) for node in group.nodes]
        leaders = {status["leader"] for status in statuses if status}
        if all(statuses) and len(leaders) == 1 and None not in leaders:
            return [status for status in statuses if status]
        await asyncio.sleep(0.02)


async def _all_applied(http: aiohttp.ClientSession, group: LocalGroup) -> list[dict[str, Any]]:
    while True:
        statuses = await online(http, group)
        if len({status["applied"] for status in statuses}) == 1:
            return statuses
        await asyncio.sleep(0.002)


async def _status(http: aiohttp.ClientSession, node: NodeProcess) -> dict[str, Any] | None:
    endpoints = node.endpoints()
    if endpoints is None:
        return None
    try:
        async with http.get(f"{endpoints.clients}/v1/group?consistency=weak") as response:
            document: dict[str, Any] = await response.json()
            return document if response.status == 200 else None
    except aiohttp.ClientError:
        return None


async def _define_pairs(runtime: Runtime, http: aiohttp.ClientSession, addresses: list[str]) -> None:
    stream = OrderStream(runtime, http, addresses)
    session = SessionClient(runtime, stream)
    stream.on_connected = session.reconnected
    defined: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def done(answer: BatchAnswer | None, error: GroupError | None) -> None:
        if error is not None:
            defined.set_exception(error)
        else:
            defined.set_result(None)

    session.submit(len(PAIRS), pack([DefinePair(pair).encoded() for pair in PAIRS]), done)
    await defined
    session.close()
    await stream.close()


def _leader_first(group: LocalGroup, leader: NodeProcess) -> list[NodeProcess]:
    return [leader, *(node for node in group.nodes if node is not leader)]


def _cpu_seconds(node: NodeProcess) -> float:
    if node.process is None:
        return 0.0
    fields = Path(f"/proc/{node.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _CLOCK_TICKS


def _own_cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system
