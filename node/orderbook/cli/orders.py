"""``orderbook place``, ``cancel``, ``amend``, ``orders``: a trader's commands, in decimals."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any

import typer

from orderbook.cli.connection import DEFAULT_NODES, AsJson, Call, Nodes, Patience, run
from orderbook.cli.increments import Increments, increments, increments_of
from orderbook.cli.tables import PlainTable, printable, show
from orderbook.server.api_fields import SelfTradeName, SideName, TimeInForceName

MARKET = "market"
PAGE_ORDERS = 1000

Trader = Annotated[str | None, typer.Option(help="For whom; left out: whoever asks, or the order's owner.")]
Key = Annotated[str | None, typer.Option("--key", help="Idempotency key: the same again is done once.")]


def place(
    side: Annotated[SideName, typer.Argument(help="bid to buy, ask to sell.")],
    pair: Annotated[str, typer.Argument(help="BASE/QUOTE.")],
    quantity: Annotated[str, typer.Argument(help="How much of BASE.")],
    price: Annotated[str, typer.Argument(help="Limit in QUOTE, or the word market.")],
    trader: Trader = None,
    id: Annotated[int | None, typer.Option(help="The order's id; left out: one is assigned.")] = None,
    tif: Annotated[TimeInForceName, typer.Option(help="How long it may rest.")] = "gtc",
    expires: Annotated[str | None, typer.Option(help="With gtd: when, in ISO 8601.")] = None,
    post_only: Annotated[bool, typer.Option("--post-only", help="Refuse it rather than trade at once.")] = False,
    self_trade: Annotated[SelfTradeName, typer.Option(help="When it meets an order of its own trader.")] = "allow",
    key: Key = None,
    node: Nodes = DEFAULT_NODES,
    patience: Patience = 15.0,
    as_json: AsJson = False,
) -> None:
    """Place an order; what it did at once is printed.

    Exit codes: 0 accepted, 1 rejected, 2 wrong options or off tick or lot, 3 unavailable, 4 uncertain.

    Example: orderbook place bid ETH/USDC 1.5 3005.00 --trader bob
    """
    if (tif == "gtd") != (expires is not None):
        raise typer.BadParameter("--tif gtd and --expires go together: either both or neither")

    async def job(call: Call) -> tuple[Increments, dict[str, Any]]:
        units = await increments_of(call, pair)
        order: dict[str, Any] = {"pair": pair, "side": side, "quantity": units.lots(quantity)}
        optional = {"id": id, "trader": trader, "expires": None if expires is None else _milliseconds(expires)}
        order |= {name: value for name, value in optional.items() if value is not None}
        order |= {"time_in_force": tif, "post_only": post_only, "self_trade": self_trade}
        if price == MARKET:
            order["type"] = MARKET
            order["time_in_force"] = "ioc" if tif == "gtc" else tif
        else:
            order["price"] = units.ticks(price)
        return units, await call.api.place(order, key)

    units, document = run(node, job, patience=patience, as_json=as_json)
    _print_done(document, {pair: units}, as_json)


def cancel(
    id: Annotated[int | None, typer.Argument(help="The order's id.")] = None,
    quantity: Annotated[str | None, typer.Option(help="Take away this much; left out: all.")] = None,
    trader: Trader = None,
    every: Annotated[bool, typer.Option("--all", help="All orders of the trader instead of one.")] = False,
    pair: Annotated[str | None, typer.Option(help="With --all: only in this pair.")] = None,
    key: Key = None,
    node: Nodes = DEFAULT_NODES,
    patience: Patience = 15.0,
    as_json: AsJson = False,
) -> None:
    """Cancel an order, a part of it, or all orders of a trader.

    Exit codes: 0 done, 1 rejected, 2 wrong options or off lot, 3 unavailable, 4 uncertain.

    Example: orderbook cancel 17 --quantity 0.5
    """
    if every == (id is not None) or (every and quantity is not None) or (pair is not None and not every):
        raise typer.BadParameter("say either an order's id or --all; --quantity goes with an id, --pair with --all")

    async def job(call: Call) -> tuple[dict[str, Increments], dict[str, Any]]:
        known = await increments(call)
        if id is None:
            return known, await call.api.cancel_all(trader, pair, key)
        lots = None
        if quantity is not None:
            units = await increments_of(call, (await call.api.order(id))["pair"])
            lots = units.lots(quantity)
        return known, await call.api.cancel(id, lots, trader, key)

    known, document = run(node, job, patience=patience, as_json=as_json)
    _print_done(document, known, as_json)


def amend(
    id: Annotated[int, typer.Argument(help="The order's id.")],
    price: Annotated[str | None, typer.Option(help="The new limit.")] = None,
    quantity: Annotated[str | None, typer.Option(help="The new total, filled and open together.")] = None,
    trader: Trader = None,
    key: Key = None,
    node: Nodes = DEFAULT_NODES,
    patience: Patience = 15.0,
    as_json: AsJson = False,
) -> None:
    """Change the price or the total quantity of an order. Less at the same price keeps its place in the queue.

    Exit codes: 0 done, 1 rejected, 2 wrong options or off tick or lot, 3 unavailable, 4 uncertain.

    Example: orderbook amend 17 --price 3004.50 --quantity 2
    """
    if price is None and quantity is None:
        raise typer.BadParameter("say --price, --quantity or both")

    async def job(call: Call) -> tuple[Increments, dict[str, Any]]:
        units = await increments_of(call, (await call.api.order(id))["pair"])
        changes: dict[str, Any] = {"trader": trader} if trader is not None else {}
        if price is not None:
            changes["price"] = units.ticks(price)
        if quantity is not None:
            changes["quantity"] = units.lots(quantity)
        return units, await call.api.amend(id, changes, key)

    units, document = run(node, job, patience=patience, as_json=as_json)
    _print_done(document, {units.pair: units}, as_json)


def orders(
    trader: Annotated[str | None, typer.Option(help="Whose; left out: whoever asks.")] = None,
    pair: Annotated[str | None, typer.Option(help="Only in this pair.")] = None,
    id: Annotated[int | None, typer.Option(help="Only this one.")] = None,
    limit: Annotated[int | None, typer.Option(help="At most so many; left out: all.", min=1)] = None,
    node: Nodes = DEFAULT_NODES,
    patience: Patience = 15.0,
    as_json: AsJson = False,
) -> None:
    """The resting orders of a trader, in the order of arrival.

    Exit codes: 0 done, 1 refused (no such order), 2 wrong options, 3 unavailable.

    Example: orderbook orders --trader bob --pair ETH/USDC
    """

    async def job(call: Call) -> tuple[dict[str, Increments], dict[str, Any]]:
        known = await increments(call)
        if id is not None:
            return known, {"orders": [await call.api.order(id)], "more": False}
        return known, await _pages(call, trader, pair, limit)

    known, document = run(node, job, patience=patience, as_json=as_json)
    if as_json:
        typer.echo(json.dumps(document))
        return
    table = PlainTable("id", "pair", "side", "price", "open", "of", "trader", "in force")
    for order in document["orders"]:
        units = known[order["pair"]]
        numbers = (units.price(order["price"]), units.quantity(order["open"]), units.quantity(order["quantity"]))
        force = order["time_in_force"] + (" post-only" if order["post_only"] else "")
        table.add_row(str(order["id"]), order["pair"], order["side"], *numbers, order["trader"], force)
    show(table)
    if document["more"]:
        typer.echo(f"... and more than these {limit}", err=True)


async def _pages(call: Call, trader: str | None, pair: str | None, limit: int | None) -> dict[str, Any]:
    """The orders page by page, as one document: ``index`` is that of the last page."""
    found: list[dict[str, Any]] = []
    document: dict[str, Any] = {"more": True}
    while document["more"] and (limit is None or len(found) < limit):
        after = f"{found[-1]['id']},{found[-1]['arrival']}" if found else None
        size = PAGE_ORDERS if limit is None else min(PAGE_ORDERS, limit - len(found))
        document = await call.api.orders(trader, pair, limit=size, after=after)
        found += document["orders"]
    return document | {"orders": found}


def _milliseconds(text: str) -> int:
    """Raises typer.BadParameter. A time without a zone is this machine's."""
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1000)
    except ValueError:
        raise typer.BadParameter(f"a time is ISO 8601, as 2030-12-31T17:30:00+00:00, not {text!r}") from None


def _print_done(document: dict[str, Any], known: dict[str, Increments], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(document))
        return
    for event in document["events"]:
        typer.echo(printable(sentence(event, known)))
    if document["events_omitted"]:
        typer.echo(f"... and {document['events_omitted']} more events")


def sentence(event: dict[str, Any], known: dict[str, Increments]) -> str:
    """An event of an order for people, in decimals."""
    kind = event["event"]
    units = known.get(event.get("pair", ""))
    if kind == "cancelled_all":
        rest = "; the others trade no more and leave with the next entries" if event["more"] else ""
        return f"cancelled {event['orders']} orders of {event['trader']}{rest}"
    if units is None:
        return json.dumps(event)
    quantity = units.quantity(event["quantity"])
    if kind == "fill":
        ids = f"bid {event['bid_order_id']}, ask {event['ask_order_id']}"
        return f"filled {quantity} {units.pair} at {units.price(event['price'])} ({ids})"
    price = MARKET if event["price"] is None else units.price(event["price"])
    what = f"{event['order_id']} {event['side']} {quantity} {units.pair} at {price}"
    if kind == "cancelled":
        return f"cancelled {what}, {units.quantity(event['open'])} left ({event['reason'].replace('_', ' ')})"
    if kind in ("accepted", "amended"):
        return f"{kind} {what}, {units.quantity(event['resting'])} in the book"
    return f"{kind} {what}"
