"""Groups of real processes for tests: started, watched, always ended by their pid."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp

from orderbook.cli.group_bench import online
from orderbook.cli.order_flow import PAIRS, OrderFlow
from orderbook.cli.order_ledger import OrderLedger
from orderbook.cli.paced_load import EventReader, PacedTrader
from orderbook.client.api import ApiClient
from orderbook.client.feed_socket import WebSocketFeedSource
from orderbook.client.local_group import LocalGroup, NodeProcess, last_lines
from orderbook.client.order_stream import OrderStream
from orderbook.server.runtime import AsyncioRuntime

SECONDS = 100.0  # how long a test waits for what takes a moment on an idle machine
KEY = "the key of the tests"
BATCH = 50


class Running(NamedTuple):
    """A group that is online. ``api`` asks any of its nodes."""

    group: LocalGroup
    runtime: AsyncioRuntime
    http: aiohttp.ClientSession
    api: ApiClient

    @property
    def nodes(self) -> str:
        """As ``--node`` and ``--group`` take them."""
        return ",".join(self.group.addresses())

    async def leader(self) -> NodeProcess:
        name = (await self.api.group(consistency="strong"))["leader"]
        return next(node for node in self.group.nodes if node.name == name)

    async def settled(self) -> list[dict[str, Any]]:
        """The status of every node, once all serve and have applied the same."""
        while True:
            statuses = await online(self.http, self.group)
            if len({status["applied"] for status in statuses}) == 1:
                return statuses
            await asyncio.sleep(0.05)

    async def agreed(self) -> list[dict[str, Any]]:
        """``settled``, and all nodes have one state hash."""
        statuses = await self.settled()
        hashes = {status["name"]: status["state_hash"] for status in statuses}
        assert len(set(hashes.values())) == 1, f"the state hashes differ: {hashes}"
        return statuses


@asynccontextmanager
async def running_group(root: Path, size: int = 3, pairs: Iterable[str] = ()) -> AsyncIterator[Running]:
    """``size`` nodes below ``root``, online; each keeps its client port when it starts again."""
    runtime = AsyncioRuntime(raise_it)
    options = [part for pair in pairs for part in ("--pair", pair)]
    group = LocalGroup(runtime, root, size, options, free_ports(size))
    async with aiohttp.ClientSession() as http:
        try:
            await group.start({"ORDERBOOK_KEY": KEY})
            api = ApiClient(runtime, http, group.addresses(), patience=SECONDS)
            running = Running(group, runtime, http, api)
            await running.settled()
            yield running
        except BaseException:
            for node in group.nodes:
                print(f"--- {node.name}: {last_lines(node.log_file, 20)}")
            raise
        finally:
            await end_group(group)


async def end_group(group: LocalGroup) -> None:
    for node in group.nodes:
        if node.running and node.process is not None:
            node.process.send_signal(signal.SIGCONT)
    try:
        async with asyncio.timeout(30):
            await group.stop()
    except TimeoutError:
        for node in group.nodes:
            await group.kill(node)
        raise


async def under_load(running: Running, job: Callable[[], Awaitable[None]], rate: int = 2000) -> int:
    """Run ``job`` while a client sends orders; every answer must be in the log, once, and all nodes must agree.

    How many commands were answered.
    """
    for pair in PAIRS:
        await running.api.define_pair({"pair": pair.pair, "tick": pair.tick, "lot": pair.lot})
    ledger = OrderLedger()
    reader = EventReader(running.runtime, WebSocketFeedSource(running.http, running.group.addresses()), ledger)
    await reader.ready()
    answered, ended = asyncio.Event(), asyncio.Event()

    def on_answer(answer: Any, _sent: float) -> None:
        ledger.answered(BATCH, *answer)
        answered.set()

    stream = OrderStream(running.runtime, running.http, running.group.addresses())
    trader = PacedTrader(running.runtime, stream, OrderFlow(1), BATCH, on_answer)
    sending = asyncio.create_task(trader.run(BATCH / rate, ended))
    try:
        for step in (answered.wait, job):
            await step()
            answered.clear()
        await answered.wait()  # orders are answered after it, too
        ended.set()
        await sending
        statuses = await running.agreed()
        await reader.reached(statuses[0]["applied"])
    finally:
        sending.cancel()
        with suppress(asyncio.CancelledError):
            await sending
        await trader.close()
        await reader.close()
    assert not trader.errors, f"{len(trader.errors)} batches failed, the first with {trader.errors[0]!r}"
    assert not ledger.lost and not ledger.doubled, f"{ledger.lost} commands lost, {ledger.doubled} orders doubled"
    assert ledger.acknowledged == trader.commands > 0, f"{ledger.acknowledged} of {trader.commands} answered"
    return ledger.acknowledged


class Finished(NamedTuple):
    code: int
    out: str
    err: str


async def start_command(*arguments: object) -> asyncio.subprocess.Process:
    """``orderbook ...`` as a process of its own."""
    words = [str(argument) for argument in arguments]
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(sys.executable, "-m", "orderbook", *words, stdout=pipe, stderr=pipe)


async def finish(process: asyncio.subprocess.Process) -> Finished:
    try:
        async with asyncio.timeout(SECONDS):
            out, err = await process.communicate()
    except TimeoutError:
        process.kill()
        raise
    assert process.returncode is not None
    return Finished(process.returncode, out.decode(), err.decode())


async def command(*arguments: object) -> Finished:
    return await finish(await start_command(*arguments))


async def until(condition: Callable[[], object], what: str) -> None:
    try:
        async with asyncio.timeout(SECONDS):
            while not condition():  # noqa: ASYNC110 - any condition
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"never came true: {what}") from None


def free_ports(count: int) -> int:
    """The first of ``count`` ports in a row that nobody listens at, below those that the system draws."""
    while True:
        first = random.SystemRandom().randrange(20_000, 32_000)
        if all(is_free(port) for port in range(first, first + count)):
            return first


def is_free(port: int) -> bool:
    """Nobody listens there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def json_lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def raise_it(error: BaseException) -> None:
    raise error
