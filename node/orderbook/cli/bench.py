"""``orderbook bench``: measurements."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
import uvloop

from orderbook.cli import engine_bench, failover_bench
from orderbook.cli.group_bench import Load, measure
from orderbook.cli.order_flow import MIX
from orderbook.client.local_group import LocalGroup
from orderbook.server.runtime import AsyncioRuntime

RATE_GUESS = 150_000  # orders a second that batches are made for
FAILOVER_BATCH = 500  # commands; enough batches a second to see when answers begin again


def bench(
    engine: Annotated[bool, typer.Option("--engine", help="The matching engine alone, on one core.")] = False,
    one: Annotated[bool, typer.Option("--one", help="One order at a time, each awaited.")] = False,
    failover: Annotated[bool, typer.Option("--failover", help="Kill the leader under half load.")] = False,
    kills: Annotated[int, typer.Option(help="With --failover: how often.", min=1, max=1000)] = 20,
    rate: Annotated[int | None, typer.Option(help="With --failover: orders a second; left out: half load.")] = None,
    nodes: Annotated[int, typer.Option(help="Nodes of the group.", min=1, max=7)] = 3,
    batch: Annotated[int, typer.Option(help="Commands in a batch.", min=1, max=4096)] = 1000,
    window: Annotated[int, typer.Option(help="Batches in flight, a client.", min=1, max=1000)] = 16,
    clients: Annotated[int, typer.Option(help="Clients, each with a session.", min=1, max=100)] = 1,
    seconds: Annotated[float, typer.Option(help="For about how long.", min=0.1, max=600)] = 10.0,
    commands: Annotated[int | None, typer.Option(help="How many commands instead of how long.", min=1)] = None,
    directory: Annotated[
        Path | None, typer.Option(help="Where the group's data goes: a real disk.", exists=True, file_okay=False)
    ] = None,
    tls: Annotated[bool, typer.Option("--tls", help="With TLS between all of them.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Measure how fast this machine is: a fresh durable group of real processes and a client process.

    Exit code 1 if an order failed, was lost or doubled, or the nodes' states differ.

    Example: orderbook bench --seconds 10 --json
    """
    typer.echo(f"mix: {MIX}", err=True)
    if engine:
        _print(engine_bench.measure(commands or 1_000_000, batch), as_json)
        return
    if failover:
        job = partial(failover_bench.measure, kills=kills, batch=min(batch, FAILOVER_BATCH), rate=rate)
        result = uvloop.run(_with_group(job, nodes, directory, tls=tls))
        _print(result, as_json)
        faults = result["lost"] + result["doubled"] + result["uncertain"]
        raise typer.Exit(1 if faults or not (result["state_hash_equal"] and result["book_equal"]) else 0)
    if one:
        load = Load(commands or int(seconds * 1000), 1, 1, clients)
    else:
        load = Load(commands or int(seconds * RATE_GUESS), batch, window, clients)
    result = uvloop.run(_with_group(partial(measure, load=load), nodes, directory, tls=tls))
    _print(result, as_json)
    if not result["state_hash_equal"]:
        raise typer.Exit(1)


async def _with_group(
    job: Callable[[AsyncioRuntime, LocalGroup], Awaitable[dict[str, Any]]],
    nodes: int,
    directory: Path | None,
    *,
    tls: bool,
) -> dict[str, Any]:
    """Run ``job`` on a fresh group of processes."""

    def failed(error: BaseException) -> None:
        raise error

    runtime = AsyncioRuntime(failed)
    with tempfile.TemporaryDirectory(prefix="orderbook-bench-", dir=directory or Path.cwd()) as root:
        group = LocalGroup(runtime, Path(root), nodes, tls=tls)
        try:
            await group.start({"ORDERBOOK_KEY": "bench-key", "ORDERBOOK_LOG": "json"})
            return {**await job(runtime, group), "tls": tls}
        finally:
            await asyncio.shield(group.stop())


def _print(result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(result))
        return
    for name, value in result.items():
        typer.echo(f"{name}: {value:,}" if isinstance(value, int) else f"{name}: {value}")
