"""Questions and their answers."""

import json
from typing import Any

import pytest

from orderbook.book import (
    CancelAll,
    Fills,
    OrderById,
    OrderCount,
    Orders,
    Pairs,
    Side,
    TimeInForce,
    TopOfBook,
)
from orderbook.book.queries import BookView, OrderView, PairView
from unit.book.market import PAIR, Market


@pytest.fixture
def market() -> Market:
    market = Market(PAIR, "BTC/USDC")
    market.buy(1, 10, at=300)
    market.buy(2, 5, at=300, trader="carol")
    market.buy(3, 7, at=299, tif="gtd", expires=50)
    market.buy(4, 7, at=100, pair="BTC/USDC")
    market.sell(5, 4, at=300)
    return market


def test_top_of_book(market: Market) -> None:
    assert market.machine.query(TopOfBook(PAIR)) == BookView(PAIR, [(300, 11, 2)], [])
    assert market.machine.query(TopOfBook(PAIR, 9)) == BookView(PAIR, [(300, 11, 2), (299, 7, 1)], [])
    assert market.machine.query(TopOfBook("NO/PAIR")) is None


@pytest.mark.parametrize("depth", [0, -1, 1.5, "1", True])
def test_a_depth_is_a_positive_integer(market: Market, depth: int) -> None:
    with pytest.raises(ValueError, match="depth"):
        market.machine.query(TopOfBook(PAIR, depth))


def test_orders(market: Market) -> None:
    one = OrderView(1, PAIR, Side.BID, 300, 10, 6, "bob", TimeInForce.GTC, None, False, 1)
    three = OrderView(3, PAIR, Side.BID, 299, 7, 7, "bob", TimeInForce.GTD, 50, False, 3)
    assert market.machine.query(OrderById(1)) == one
    assert market.machine.query(OrderById(5)) is None
    assert market.machine.query(Orders("bob", PAIR)) == [one, three]
    assert [order.id for order in market.machine.query(Orders("bob"))] == [1, 3, 4]
    assert market.machine.query(Orders("nobody")) == []
    assert market.machine.query(OrderCount()) == 4


def ids(market: Market, **terms: Any) -> list[int]:
    return [order.id for order in market.machine.query(Orders("bob", **terms))]


def place_of(market: Market, id: int) -> tuple[int, int]:
    return id, market.machine.query(OrderById(id)).arrival


def test_orders_come_in_pages(market: Market) -> None:
    assert ids(market, limit=2) == [1, 3]
    assert ids(market, after=place_of(market, 1), limit=1) == [3]
    assert ids(market, after=place_of(market, 3)) == [4]
    assert ids(market, after=place_of(market, 4)) == []
    assert ids(market, pair=PAIR, after=place_of(market, 1)) == [3]
    assert ids(market, pair="BTC/USDC", limit=1) == [4]


def test_a_page_begins_where_the_order_before_it_stood_whatever_became_of_that(market: Market) -> None:
    third, first = place_of(market, 3), place_of(market, 1)
    market.amend(1, price=297)
    assert ids(market) == [3, 4, 1]
    assert ids(market, after=first) == [3, 4, 1], "it went to the back: it comes again"
    market.cancel(3)
    assert ids(market, after=third) == [4, 1]
    market.buy(3, 1, at=290)
    assert ids(market, after=third) == [4, 1, 3], "another order of that id"
    assert ids(market, after=(2, 2)) == [4, 1, 3], "another trader's order"
    market.do(CancelAll("bob"))
    assert ids(market, after=first) == []


@pytest.mark.parametrize("limit", [0, -1, 1.5, "1", True])
def test_a_limit_is_a_positive_integer(market: Market, limit: Any) -> None:
    with pytest.raises(ValueError, match="limit"):
        ids(market, limit=limit)


@pytest.mark.parametrize("after", [(1,), (1, 0), (0, 1), (1, "2"), (1, True), (1, 2**53), (1, 2, 3)])
def test_a_place_to_go_on_from_is_an_id_and_an_arrival(market: Market, after: Any) -> None:
    with pytest.raises(ValueError, match="after"):
        ids(market, after=after)


def test_fills_of_all_pairs_come_in_their_sequence(market: Market) -> None:
    market.sell(6, 1, at=100, pair="BTC/USDC")
    market.sell(7, 1, at=300)
    fills = market.machine.query(Fills())
    assert [fill.ask_order_id for fill in fills] == [5, 6, 7]
    assert [fill.ask_order_id for fill in market.machine.query(Fills(since=fills[0].sequence))] == [6, 7]
    assert [fill.ask_order_id for fill in market.machine.query(Fills(PAIR))] == [5, 7]
    assert market.machine.query(Fills("NO/PAIR")) == []


def test_pairs(market: Market) -> None:
    assert market.machine.query(Pairs())[1] == PairView("BTC/USDC", "1", "1", 1000, 2**53 - 1, 1, 2**53 - 1, False)


def test_answers_turn_into_json_as_they_are(market: Market) -> None:
    for query in (TopOfBook(PAIR), Orders("bob"), Fills(), Pairs(), OrderById(1)):
        json.dumps(market.machine.query(query))


@pytest.mark.parametrize("query", [None, "book", 5, (), object()])
def test_what_is_no_query_is_refused(market: Market, query: object) -> None:
    with pytest.raises(ValueError, match="no query"):
        market.machine.query(query)


def test_statistics_count_by_pair_side_and_outcome(market: Market) -> None:
    market.cancel(1)
    market.tick(50)
    market.buy(1, 5, at=None)
    market.amend(2, quantity=4)
    first, second = market.machine.statistics().pairs
    bids = first.bids
    assert (bids.accepted, bids.filled, bids.cancelled, bids.expired, bids.amended, bids.rejected) == (3, 0, 1, 1, 1, 1)
    assert (bids.orders, bids.levels, bids.quantity, bids.best) == (1, 1, 4, 300)
    assert (first.asks.accepted, first.asks.filled, first.asks.best) == (1, 1, 0)
    assert (first.fills, first.traded, second.fills) == (1, 4, 0)
    assert sum(market.machine.statistics().rejected) == 1
