"""Orders over HTTP: place, cancel, amend, and those that rest. A request is one entry of the log."""

from __future__ import annotations

from typing import Any

from orderbook.book import CancelAll, CancelOrder, EventKind, OrderById, Orders, to_json
from orderbook.book.queries import OrderView
from orderbook.server.api_calls import INDEX_HEADER, Answer, Call, Outcomes, rejection_of
from orderbook.server.api_errors import ApiError
from orderbook.server.api_fields import NoParameters
from orderbook.server.api_requests import (
    Amendment,
    CancelAllOf,
    CancelOf,
    NewOrder,
    OrderPath,
    OrdersReading,
    Reading,
)
from orderbook.wire.roles import Role


async def place_orders(call: Call[NoParameters, NoParameters, NewOrder | list[NewOrder]]) -> Answer:
    """One order: 201, or 422 if it is rejected. A list: 200 with what became of each."""
    if isinstance(call.body, list):
        outcomes = await call.run([order.command() for order in call.body])
        results = [_result(outcomes, number) for number in range(len(call.body))]
        document = {"index": outcomes.index, "results": results, "events_omitted": outcomes.omitted}
        return Answer(document, headers=outcomes.headers)
    outcomes = await call.run_one(call.body.command())
    accepted = next(event for event, _ in outcomes.by_command[0] if event[0] == EventKind.ACCEPTED)
    return Answer(executed(outcomes, order_id=accepted[2]), 201, outcomes.headers)


async def cancel_all(call: Call[NoParameters, CancelAllOf, None]) -> Answer:
    outcomes = await call.run_one(CancelAll(call.query.trader or "", call.query.pair))
    done = next(event for event, _ in outcomes.by_command[0] if event[0] == EventKind.CANCELLED_ALL)
    told = to_json(done)
    return Answer(executed(outcomes, orders=told["orders"], more=told["more"]), headers=outcomes.headers)


async def list_orders(call: Call[NoParameters, OrdersReading, None]) -> Answer:
    query = call.query
    _observers_see_none(call)
    after = None
    if query.after is not None:
        id, arrival = query.after.split(",")
        after = int(id), int(arrival)
    asked = Orders(call.trader(query.trader), query.pair, query.limit + 1, after)  # one beyond tells of others
    found, index = await call.ask(asked, query)
    orders = [_order(order) for order in found[: query.limit]]
    document = {"index": index, "orders": orders, "more": len(found) > query.limit}
    return Answer(document, headers={INDEX_HEADER: str(index)})


async def get_order(call: Call[OrderPath, Reading, None]) -> Answer:
    """An order that does not rest is not found: it was filled, cancelled, or never there. The events tell."""
    _observers_see_none(call)
    order, index = await call.ask(OrderById(call.path.id), call.query)
    own = order is not None and (call.principal.role is Role.ADMIN or order.trader == call.principal.name)
    if not own:
        raise ApiError(404, "unknown_order", f"no order {call.path.id} rests", {INDEX_HEADER: str(index)}, index=index)
    return Answer({"index": index, "order": _order(order)}, headers={INDEX_HEADER: str(index)})


async def amend_order(call: Call[OrderPath, NoParameters, Amendment]) -> Answer:
    outcomes = await call.run_one(call.body.command(call.path.id))
    return Answer(executed(outcomes, order_id=call.path.id), headers=outcomes.headers)


async def cancel_order(call: Call[OrderPath, CancelOf, None]) -> Answer:
    query = call.query
    outcomes = await call.run_one(CancelOrder(call.path.id, query.quantity, query.trader or ""))
    return Answer(executed(outcomes, order_id=call.path.id), headers=outcomes.headers)


def executed(outcomes: Outcomes, **more: Any) -> dict[str, Any]:
    """The document of one command that was done."""
    events = outcomes.documents()
    return {"index": outcomes.index, **more, "events": events, "events_omitted": outcomes.omitted}


def _result(outcomes: Outcomes, number: int) -> dict[str, Any]:
    reason = rejection_of(outcomes, number)
    own = EventKind.REJECTED if reason is not None else EventKind.ACCEPTED
    order_id = next((event[2] for event, _ in outcomes.by_command[number] if event[0] == own), 0)
    outcome = "rejected" if reason is not None else "accepted"
    return {"outcome": outcome, "order_id": order_id, "reason": reason, "events": outcomes.documents(number)}


def _observers_see_none(call: Call[Any, Any, Any]) -> None:
    if call.principal.role is Role.OBSERVER:
        raise ApiError(403, "forbidden", "observers see no orders of traders", reason="not_permitted")


def _order(order: OrderView) -> dict[str, Any]:
    document = order._asdict()
    document["side"] = order.side.name.lower()
    document["time_in_force"] = order.time_in_force.name.lower()
    return document
