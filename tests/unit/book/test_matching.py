"""Price, then time; execution at the resting order's price."""

from orderbook.book import Fill, Fills, PairSpec, PlaceOrder, Side
from orderbook.book.constants import MAX_INTEGER
from unit.book.market import PAIR, Market, fills, order


def test_an_order_that_meets_nothing_rests() -> None:
    market = Market()
    assert market.buy(1, 10, at=300) == ["accepted 1 rests 10"]
    assert market.sell(2, 5, at=301) == ["accepted 2 rests 5"]
    assert (market.bids, market.asks) == ([(300, 10, 1)], [(301, 5, 1)])


def test_the_better_price_trades_first_and_gives_its_price_to_the_taker() -> None:
    market = Market()
    market.sell(1, 10, at=302)
    market.sell(2, 10, at=300)
    market.sell(3, 10, at=301)
    assert market.buy(4, 25, at=305) == ["accepted 4 rests 0", "fill 4x2 10@300", "fill 4x3 10@301", "fill 4x1 5@302"]
    market.buy(5, 10, at=200)
    market.buy(6, 10, at=202)
    assert fills(market.sell(7, 15, at=200)) == ["fill 6x7 10@202", "fill 5x7 5@200"]


def test_at_one_price_the_earlier_order_trades_first() -> None:
    market = Market()
    for id in (3, 1, 2):
        market.sell(id, 10, at=300)
    assert fills(market.buy(4, 25, at=300)) == ["fill 4x3 10@300", "fill 4x1 10@300", "fill 4x2 5@300"]


def test_a_partly_filled_order_keeps_its_place() -> None:
    market = Market()
    market.sell(1, 10, at=300)
    market.sell(2, 10, at=300)
    market.buy(3, 4, at=300)
    assert fills(market.buy(4, 10, at=300)) == ["fill 4x1 6@300", "fill 4x2 4@300"]


def test_an_order_takes_nothing_beyond_its_price_and_its_remainder_rests() -> None:
    market = Market()
    market.sell(1, 10, at=300)
    market.sell(2, 10, at=302)
    assert market.buy(3, 15, at=301) == ["accepted 3 rests 5", "fill 3x1 10@300"]
    assert (market.bids, market.asks) == ([(301, 5, 1)], [(302, 10, 1)])


def test_pairs_do_not_meet() -> None:
    market = Market("ETH/USDC", "BTC/USDC")
    market.sell(1, 10, at=300, pair="BTC/USDC")
    assert market.buy(2, 10, at=300) == ["accepted 2 rests 10"]


def test_a_fill_tells_both_remainders_the_takers_side_and_the_time() -> None:
    market = Market()
    market.sell(1, 10, at=300)
    market.context.now_ms = 77
    market.buy(4, 15, at=300)
    assert market.machine.query(Fills()) == [
        Fill(4, 1, PAIR, 300, 10, Side.BID, bid_open=5, ask_open=0, time_ms=77, sequence=(market.context.index, 1))
    ]
    assert str(market.machine.query(Fills())[0]) == "Fill(bid=4, ask=1, ETH/USDC@300, qty=10)"


def test_the_largest_prices_and_quantities_match() -> None:
    market = Market()
    market.sell(1, MAX_INTEGER, at=MAX_INTEGER)
    told = market.buy(2, MAX_INTEGER, at=MAX_INTEGER)
    assert told == ["accepted 2 rests 0", f"fill 2x1 {MAX_INTEGER}@{MAX_INTEGER}"]


def test_a_level_whose_total_would_leave_63_bits_takes_no_more() -> None:
    market = Market()
    market.do(*(PlaceOrder(order(id, Side.BID, MAX_INTEGER, 300, "bob")) for id in range(1, 1025)))
    assert market.bids == [(300, 1024 * MAX_INTEGER, 1024)]
    market.amend(1, quantity=MAX_INTEGER - 1)
    assert market.amend(1, quantity=MAX_INTEGER) == [f"amended 1 {MAX_INTEGER}@300 rests {MAX_INTEGER}"]
    assert market.buy(2000, 1024, at=300) == ["rejected 2000 level_full"]
    assert market.buy(2000, 1023, at=300) == ["accepted 2000 rests 1023"]
    assert market.buy(2001, MAX_INTEGER, at=299) == ["accepted 2001 rests 9007199254740991"]
    market.cancel(2000)
    assert market.buy(2000, 1023, at=300) == ["accepted 2000 rests 1023"], "another level does not count"
    assert market.amend(2001, price=300) == ["rejected 2001 level_full"]
    assert market.amend(2000, quantity=1024) == ["rejected 2000 level_full"]


def test_fills_are_kept_up_to_the_number_of_the_pair() -> None:
    market = Market(PairSpec(PAIR, fills_kept=3))
    for id in range(1, 11, 2):
        market.sell(id, 1, at=300)
        market.buy(id + 1, 1, at=300)
    assert [fill.bid_order_id for fill in market.machine.query(Fills(PAIR))] == [6, 8, 10]
