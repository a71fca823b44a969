"""``kubectl orderbook top``: what each node of a group does, live."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated

import aiohttp
import typer
from rich.console import Console
from rich.live import Live
from rich.text import Text

from orderbook.cli.connection import EXIT_UNAVAILABLE
from orderbook.cli.tables import PlainTable, printable, show
from orderbook_operator.plugin.entrance import Found, Trust, pods_of, through
from orderbook_operator.plugin.kubernetes import Problem, open_kubernetes, told
from orderbook_operator.plugin.options import SUBJECT, AsJson, Asker, Context, GroupName, Namespace, Place
from orderbook_operator.plugin.rates import Look, NodeRates, document, rates, read

LOOK_SECONDS = 2.0


@told
def top(
    group: GroupName,
    interval: Annotated[float, typer.Option(help="Seconds between two looks.", min=0.2, max=60.0)] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="One interval, printed once.")] = False,
    namespace: Namespace = None,
    context: Context = None,
    as_json: AsJson = False,
) -> None:
    """Orders, fills and commits a second, lag and the disk's times of each node, from their metrics. It needs no token.

    Exit codes: 0 ended, 1 refused, 2 wrong options, 3 no node can be asked.

    Example: kubectl orderbook top eth --interval 1
    """
    place = Place(namespace, context)
    found, asker = asyncio.run(_found(place, group)), Asker(SUBJECT, "observer")
    with through(found, asker, everyone=True, probes=True) as entrance, suppress(KeyboardInterrupt):
        asyncio.run(_follow(group, entrance.probes, interval, once=once, as_json=as_json))


async def _found(place: Place, group: str) -> Found:
    """Metrics are neither encrypted nor behind a token."""
    async with open_kubernetes(place) as kubernetes:
        resource = await kubernetes.group(group)
        return Found(kubernetes, resource, await pods_of(kubernetes, group), Trust(), None)


async def _follow(group: str, probes: Mapping[str, str], interval: float, *, once: bool, as_json: bool) -> None:
    if not probes:
        raise Problem(f"{group} has no member that is known", EXIT_UNAVAILABLE)
    order = sorted(probes, key=lambda name: (len(name), name))
    console = Console()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=LOOK_SECONDS)) as http:
        before = await looks(http, probes)
        if once or as_json or not console.is_terminal:
            while True:
                await asyncio.sleep(interval)
                after = await looks(http, probes)
                rows = rates(before, after, order)
                typer.echo(json.dumps(document(rows))) if as_json else show(table(rows))
                if once:
                    _judge(after)
                    return
                before = after
        with Live(console=console, auto_refresh=False, screen=True) as live:
            while True:
                await asyncio.sleep(interval)
                after = await looks(http, probes)
                live.update(table(rates(before, after, order)), refresh=True)
                before = after


def _judge(found: Mapping[str, Look | str]) -> None:
    if all(isinstance(look, str) for look in found.values()):
        raise Problem("; ".join(f"{name}: {why}" for name, why in found.items()), EXIT_UNAVAILABLE)


async def looks(http: aiohttp.ClientSession, probes: Mapping[str, str]) -> dict[str, Look | str]:
    """At each node's metrics; of those that can't be read, why."""
    found = await asyncio.gather(*(_look(http, url) for url in probes.values()))
    return dict(zip(probes, found, strict=True))


async def _look(http: aiohttp.ClientSession, url: str) -> Look | str:
    try:
        async with http.get(f"{url}/metrics") as response:
            text = await response.text()
            if response.status != 200:
                return f"status {response.status} of /metrics"
            return read(text, time.monotonic())
    except TimeoutError:
        return f"no answer within {LOOK_SECONDS:g} s"
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return str(error) or type(error).__name__


def table(rows: list[NodeRates]) -> PlainTable:
    shown = PlainTable(
        *("member", "role", "term", "ready", "orders/s", "fills/s", "commits/s", "lag"),
        *("fsync p50 ms", "p99 ms", "log MiB", ""),
    )
    for row in rows:
        ready = Text("yes") if row.ready else Text("no", style="yellow")
        counts = [_number(row.orders, 0), _number(row.fills, 0), _number(row.commits, 0), _number(row.lag, 0)]
        disk = [_number(row.fsync_ms[0], 2), _number(row.fsync_ms[1], 2)]
        size = _number(None if row.log_bytes is None else row.log_bytes / (1 << 20), 0)
        problem = Text(printable(row.problem), style="yellow")
        shown.add_row(row.name, row.role, _number(row.term, 0), ready, *counts, *disk, size, problem)
    return shown


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:,.{digits}f}"
