"""open = total - filled; who keeps the place in the queue and who loses it."""

import pytest

from orderbook.book import CancelAll
from unit.book.market import PAIR, Market, fills


def queue(*quantities: int) -> Market:
    """A market with bids of bob at 300, ids from 1."""
    market = Market()
    for id, quantity in enumerate(quantities, start=1):
        market.buy(id, quantity, at=300)
    return market


def next_fill(market: Market) -> str:
    return fills(market.sell(99, 1, at=300))[0]


def test_less_at_the_same_price_keeps_the_place() -> None:
    market = queue(10, 10)
    assert market.amend(1, quantity=4) == ["amended 1 4@300 rests 4, keeps its place"]
    assert next_fill(market) == "fill 1x99 1@300"


def test_the_same_again_keeps_the_place() -> None:
    market = queue(10, 10)
    assert market.amend(1, price=300, quantity=10) == ["amended 1 10@300 rests 10, keeps its place"]
    assert market.amend(1) == ["amended 1 10@300 rests 10, keeps its place"]
    assert next_fill(market) == "fill 1x99 1@300"


def test_more_goes_to_the_back() -> None:
    market = queue(10, 10)
    assert market.amend(1, quantity=11) == ["amended 1 11@300 rests 11"]
    assert next_fill(market) == "fill 2x99 1@300"


def test_a_new_price_goes_to_the_back_there() -> None:
    market = queue(10)
    market.buy(2, 10, at=301)
    assert market.amend(1, price=301) == ["amended 1 10@301 rests 10"]
    assert market.bids == [(301, 20, 2)]
    assert next_fill(market) == "fill 2x99 1@301"


def test_less_at_a_new_price_goes_to_the_back_there() -> None:
    market = queue(10, 10)
    market.amend(2, price=299)
    assert market.amend(1, price=299, quantity=5) == ["amended 1 5@299 rests 5"]
    assert fills(market.sell(99, 11, at=299)) == ["fill 2x99 10@299", "fill 1x99 1@299"]


def test_the_quantity_is_the_total_so_an_amend_in_flight_cannot_overfill() -> None:
    market = queue(10)
    market.sell(2, 6, at=300)
    assert market.amend(1, quantity=8) == ["amended 1 8@300 rests 2, keeps its place"]
    assert market.bids == [(300, 2, 1)]


@pytest.mark.parametrize("total", [1, 5, 6])
def test_a_total_that_is_filled_already_is_refused(total: int) -> None:
    market = queue(10)
    market.sell(2, 6, at=300)
    assert market.amend(1, quantity=total) == ["rejected 1 quantity_below_filled"]
    assert market.bids == [(300, 4, 1)]


def test_an_amend_that_crosses_trades() -> None:
    market = queue(10)
    market.sell(2, 4, at=302)
    assert market.amend(1, price=303) == ["amended 1 10@303 rests 6", "fill 1x2 4@302"]
    assert (market.bids, market.asks) == ([(303, 6, 1)], [])


def test_an_amend_that_crosses_can_be_filled_whole() -> None:
    market = queue(10)
    market.sell(2, 40, at=302)
    assert market.amend(1, price=302) == ["amended 1 10@302 rests 0", "fill 1x2 10@302"]


def test_a_post_only_order_is_not_amended_across() -> None:
    market = Market()
    market.buy(1, 10, at=300, post_only=True)
    market.sell(2, 5, at=302)
    assert market.amend(1, price=302) == ["rejected 1 would_cross"]
    assert market.bids == [(300, 10, 1)]
    assert market.amend(1, price=301) == ["amended 1 10@301 rests 10"]


def test_a_cancel_takes_all_or_a_part_and_a_part_keeps_the_place() -> None:
    market = queue(10, 10)
    assert market.cancel(1, 4) == ["cancelled 1 4 requested leaves 6"]
    assert next_fill(market) == "fill 1x99 1@300"
    assert market.cancel(1) == ["cancelled 1 5 requested"]
    assert market.cancel(1) == ["rejected 1 unknown_order"]


@pytest.mark.parametrize("gone", [1, 2, 3])
def test_an_order_that_leaves_refers_to_no_other(gone: int) -> None:
    """Garbage collection is off in a node: what is unlinked must be free at once."""
    market = queue(10, 10, 10)
    order = market.machine._book.orders[gone]
    market.cancel(gone)
    links = (order.previous, order.next, order.trader_previous, order.trader_next, order.level)
    assert links == (None, None, None, None, None)


@pytest.mark.parametrize("quantity", [10, 11])
def test_a_cancel_of_more_than_is_open_takes_what_is_open(quantity: int) -> None:
    assert queue(10).cancel(1, quantity) == ["cancelled 1 10 requested"]


def test_a_partial_cancel_reduces_the_total() -> None:
    market = queue(10)
    market.sell(2, 3, at=300)
    market.cancel(1, 4)
    assert market.amend(1, quantity=7) == ["amended 1 7@300 rests 4"], "6 was the total: 7 is more"


def test_cancel_all_takes_a_traders_orders_in_the_order_of_arrival() -> None:
    market = Market("ETH/USDC", "BTC/USDC")
    market.buy(1, 1, at=300)
    market.buy(2, 1, at=301, pair="BTC/USDC")
    market.buy(3, 1, at=302, trader="carol")
    market.buy(4, 1, at=303)
    market.amend(1, price=299)
    assert market.do(CancelAll("bob")) == [
        "cancelled 2 1 requested",
        "cancelled 4 1 requested",
        "cancelled 1 1 requested",
        "cancelled_all bob 3",
    ]
    assert market.do(CancelAll("bob")) == ["cancelled_all bob 0"]
    assert market.bids == [(302, 1, 1)]


def test_cancel_all_in_one_pair() -> None:
    market = Market("ETH/USDC", "BTC/USDC")
    market.buy(1, 1, at=300)
    market.buy(2, 1, at=301, pair="BTC/USDC")
    assert market.do(CancelAll("bob", PAIR)) == ["cancelled 1 1 requested", "cancelled_all bob ETH/USDC 1"]
    assert market.do(CancelAll("bob", "NO/PAIR")) == ["rejected 0 unknown_pair"]


def test_the_id_of_an_order_that_is_gone_may_be_used_again() -> None:
    market = queue(10)
    assert market.buy(1, 5, at=300) == ["rejected 1 duplicate_order_id"]
    market.cancel(1)
    assert market.buy(1, 5, at=300) == ["accepted 1 rests 5"]


def test_an_order_without_an_id_gets_one_from_2_to_the_52() -> None:
    market = Market()
    assert market.buy(None, 5, at=300) == [f"accepted {2**52} rests 5"]
    assert market.buy(None, 5, at=300, tif="fok") == ["rejected 0 would_not_fill"]
    assert market.buy(None, 5, at=300) == [f"accepted {2**52 + 1} rests 5"]
    assert market.buy(2**52 + 2, 5, at=300) == ["rejected 4503599627370498 invalid_id"]
    assert market.cancel(2**52) == [f"cancelled {2**52} 5 requested"]
