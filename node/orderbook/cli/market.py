"""``orderbook book``, ``fills``, ``pairs``: market data, in decimals."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.table import Table

from orderbook.cli.connection import DEFAULT_NODES, AsJson, Call, Nodes, Patience, run
from orderbook.cli.increments import Increments, increments, increments_of
from orderbook.cli.tables import PlainTable, show

Weak = Annotated[bool, typer.Option("--weak", help="The node's state as it is, without asking the leader.")]
Levels = list[list[int]]


def book(
    pair: Annotated[str, typer.Argument(help="BASE/QUOTE.")],
    depth: Annotated[int, typer.Option(help="Levels a side.", min=1, max=1000)] = 10,
    weak: Weak = False,
    node: Nodes = DEFAULT_NODES,
    patience: Patience = 15.0,
    as_json: AsJson = False,
) -> None:
    """The best levels of a pair. JSON is in ticks and lots.

    Exit codes: 0 done, 2 no such pair or wrong options, 3 unavailable.

    Example: orderbook book ETH/USDC --depth 5
    """

    async def job(call: Call) -> tuple[Increments, dict[str, Any]]:
        units = await increments_of(call, pair)
        return units, await call.api.book(pair, depth, consistency=consistency(weak))

    units, document = run(node, job, patience=patience, as_json=as_json)
    if as_json:
        typer.echo(json.dumps(document))
    else:
        show(ladder(units, document["bids"], document["asks"]))


def fills(
    pair: Annotated[str | None, typer.Option(help="Only of this pair.")] = None,
    since: Annotated[str | None, typer.Option(help="Only after this sequence, as index,ordinal.")] = None,
    limit: Annotated[int, typer.Option(help="At most so many.", min=1, max=10_000)] = 100,
    weak: Weak = False,
    node: Nodes = DEFAULT_NODES,
    patience: Patience = 15.0,
    as_json: AsJson = False,
) -> None:
    """The newest fills that the group keeps, oldest first; with --since the first ones after it.

    Exit codes: 0 done, 1 refused (no such pair), 2 wrong options, 3 unavailable.

    Example: orderbook fills --pair ETH/USDC --limit 20
    """
    after = None if since is None else _sequence(since)

    async def job(call: Call) -> tuple[dict[str, Increments], dict[str, Any]]:
        document = await call.api.fills(pair, after, limit, consistency=consistency(weak))
        return await increments(call), document

    known, document = run(node, job, patience=patience, as_json=as_json)
    if as_json:
        typer.echo(json.dumps(document))
        return
    table = PlainTable("sequence", "time", "pair", "taker", "price", "quantity", "bid", "ask")
    for fill in document["fills"]:
        units = known[fill["pair"]]
        numbers = (units.price(fill["price"]), units.quantity(fill["quantity"]))
        sequence = ",".join(str(part) for part in fill["sequence"])
        ids = (str(fill["bid_order_id"]), str(fill["ask_order_id"]))
        table.add_row(sequence, time_of(fill["time_ms"]), fill["pair"], fill["taker_side"], *numbers, *ids)
    show(table)


def pairs(
    define: Annotated[str | None, typer.Option(help="Define this pair, as BASE/QUOTE, first.")] = None,
    tick: Annotated[str, typer.Option(help="With --define: the smallest step of its price.")] = "1",
    lot: Annotated[str, typer.Option(help="With --define: the smallest step of its quantity.")] = "1",
    node: Nodes = DEFAULT_NODES,
    patience: Patience = 15.0,
    as_json: AsJson = False,
) -> None:
    """All pairs, or first define another one. A pair's tick and lot never change.

    Exit codes: 0 done, 1 rejected (it exists with others), 2 wrong options, 3 unavailable, 4 uncertain.

    Example: orderbook pairs --define ETH/USDC --tick 0.01 --lot 0.001
    """

    async def job(call: Call) -> dict[str, Any]:
        if define is not None:
            await call.api.define_pair({"pair": define, "tick": tick, "lot": lot})
        return await call.api.pairs()

    document = run(node, job, patience=patience, as_json=as_json)
    if as_json:
        typer.echo(json.dumps(document))
        return
    table = PlainTable("pair", "tick", "lot", "prices", "largest order", "")
    for known in document["pairs"]:
        units = Increments.of(known)
        prices = f"{units.price(known['min_price'])} .. {units.price(known['max_price'])}"
        state = "halted" if known["halted"] else ""
        table.add_row(units.pair, known["tick"], known["lot"], prices, units.quantity(known["max_quantity"]), state)
    show(table)
    if document["halted"]:
        typer.echo("the kill switch is on: no new orders in any pair")


def consistency(weak: bool) -> str:
    return "weak" if weak else "strong"


def ladder(units: Increments, bids: Levels, asks: Levels) -> Table:
    """Asks above bids, the best ones in the middle."""
    table = Table(title=units.pair, box=None, title_justify="left")
    for name in ("orders", "bid", "price", "ask", "orders"):
        table.add_column(name, justify="center" if name == "price" else "right")
    for price, quantity, count in reversed(asks):
        table.add_row("", "", f"[red]{units.price(price)}[/red]", units.quantity(quantity), str(count))
    for price, quantity, count in bids:
        table.add_row(str(count), units.quantity(quantity), f"[green]{units.price(price)}[/green]", "", "")
    return table


def time_of(milliseconds: int) -> str:
    """UTC, to the millisecond."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%H:%M:%S.%f")[:-3]


def _sequence(text: str) -> tuple[int, int]:
    try:
        index, ordinal = (int(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"a sequence is index,ordinal, not {text!r}") from None
    return index, ordinal
