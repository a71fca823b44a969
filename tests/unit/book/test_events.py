"""The forms of events: names for their places, JSON, what is private and what is public."""

import pytest

from orderbook.book import (
    AmendOrder,
    CancelAll,
    CancelOrder,
    Configure,
    EventKind,
    HaltPair,
    OrderType,
    PlaceOrder,
    Side,
)
from orderbook.book.events import VIEWS, Event, fill_of, public, to_json, traders_of, view
from unit.book.market import PAIR, Market, order


def some_events() -> list[Event]:
    """An event of each kind that concerns orders."""
    market = Market()
    commands = [
        PlaceOrder(order(1, Side.ASK, 10, 300, "alice")),
        PlaceOrder(order(2, Side.BID, 4, 300, "bob")),
        AmendOrder(1, price=301, quantity=9),
        CancelOrder(1, 2),
        PlaceOrder(order(3, Side.BID, 1, None, "bob", kind="market", tif="fok")),
        PlaceOrder(order(4, Side.BID, 9, None, "bob", kind="market")),
        PlaceOrder(order(5, Side.BID, 9, 7, "bob", tif="gtd", expires=5)),
        CancelOrder(77, trader="bob"),
        CancelAll("bob"),
        Configure(5, trader="bob"),
        Configure(6),
    ]
    return market.entry(market.machine.encode(commands), len(commands))


def test_events_are_tuples_whose_places_are_documented() -> None:
    assert some_events() == [
        (1, 0, 1, PAIR, 2, 300, 10, 10, "alice", 1, 1),
        (1, 1, 2, PAIR, 1, 300, 4, 0, "bob", 1, 1),
        (3, 1, 2, 1, PAIR, 300, 4, 1, 0, 6, 0, "bob", "alice"),
        (5, 2, 1, PAIR, 2, 301, 9, 5, 5, "alice", 300, 10, 6, False),
        (4, 3, 1, PAIR, 2, 301, 2, 3, "alice", 1),
        (1, 4, 3, PAIR, 1, 0, 1, 0, "bob", 2, 3),
        (3, 4, 3, 1, PAIR, 301, 1, 1, 0, 2, 0, "bob", "alice"),
        (1, 5, 4, PAIR, 1, 0, 9, 0, "bob", 2, 1),
        (3, 5, 4, 1, PAIR, 301, 2, 1, 7, 0, 0, "bob", "alice"),
        (4, 5, 4, PAIR, 1, 0, 7, 0, "bob", 12),
        (1, 6, 5, PAIR, 1, 7, 9, 9, "bob", 1, 4),
        (2, 7, 77, 7, "bob", ""),
        (4, 8, 5, PAIR, 1, 7, 9, 0, "bob", 1),
        (13, 8, "bob", "", 1, False),
        (12, 9, "bob", 5, -1, -1),
        (12, 10, "", 6, 0, 1000),
    ]


def test_events_hold_nothing_but_exact_integers_strings_and_truths() -> None:
    assert {type(place) for event in some_events() for place in event} == {int, str, bool}


def test_every_kind_has_names_for_its_places() -> None:
    assert set(VIEWS) == {int(kind) for kind in EventKind}
    for event in some_events():
        assert tuple(view(event)) == event  # type: ignore[arg-type]


def test_json_names_codes() -> None:
    documents = [to_json(event, line=17, sequence=(5, place)) for place, event in enumerate(some_events())]
    assert documents[2] == {
        "event": "fill", "line": 17, "sequence": [5, 2], "bid_order_id": 2, "ask_order_id": 1, "pair": PAIR,
        "price": 300, "quantity": 4, "taker_side": "bid", "bid_open": 0, "ask_open": 6, "time_ms": 0,
        "bid_trader": "bob", "ask_trader": "alice",
    }  # fmt: skip
    assert documents[7]["price"] is None, "a market order"
    assert (documents[7]["type"], documents[7]["time_in_force"], documents[7]["side"]) == ("market", "gtc", "bid")
    assert documents[9]["reason"] == "market_remainder"
    assert documents[11] == {
        "event": "rejected", "line": 17, "sequence": [5, 11], "order_id": 77, "reason": "unknown_order",
        "trader": "bob", "pair": "",
    }  # fmt: skip
    assert to_json((EventKind.KILLED, 0)) == {"event": "killed"}


@pytest.mark.parametrize(
    ("place", "traders"),
    [(0, ("alice",)), (2, ("bob", "alice")), (3, ("alice",)), (4, ("alice",)), (11, ("bob",)), (15, ())],
)
def test_private_events_are_their_traders(place: int, traders: tuple[str, ...]) -> None:
    assert traders_of(some_events()[place]) == traders


def test_public_events_have_no_names() -> None:
    shown = [public(event) for event in some_events()]
    names = {"alice", "bob"}
    assert not any(names & set(event) for event in shown if event is not None)
    kinds = [EventKind(event[0]).name if event else "" for event in shown]
    assert kinds == [
        "ACCEPTED", "", "FILL", "AMENDED", "CANCELLED", "", "FILL", "", "FILL", "", "ACCEPTED", "", "CANCELLED", "", "",
        "CONFIGURED",
    ]  # fmt: skip
    assert public((EventKind.HALTED, 0, PAIR)) == (EventKind.HALTED, 0, PAIR)


def test_a_fill_of_one_trader_with_itself_is_told_once() -> None:
    event = (3, 1, 2, 1, PAIR, 300, 4, 1, 0, 6, 0, "bob", "bob")
    assert traders_of(event) == ("bob",)
    assert str(fill_of(event)) == "Fill(bid=2, ask=1, ETH/USDC@300, qty=4)"


def test_a_halt_is_an_event_too() -> None:
    assert Market().do(HaltPair(PAIR)) == [f"halted {PAIR}"]


def test_orders_read_as_in_the_log_of_a_trading_desk() -> None:
    assert str(order(1, Side.ASK, 10, 300_000, "alice")) == "alice ASK ETH/USDC@300000 qty=10"
    assert str(order(1, Side.BID, 10, None, "", kind="market")) == "BID ETH/USDC@market qty=10"
    assert order(1, Side.BID, 10, None, "", kind="market").type is OrderType.MARKET
