"""Limits by trader: open orders and rate. Replicated, checked when a command is applied, changed only by an admin."""

from orderbook.book import Configure, Limits
from unit.book.market import Market


def test_a_trader_may_have_so_many_open_orders() -> None:
    market = Market()
    market.do(Configure(max_open_orders=2))
    market.buy(1, 10, at=300)
    market.buy(2, 10, at=300)
    assert market.buy(3, 10, at=300) == ["rejected 3 too_many_open_orders"]
    assert market.buy(3, 10, at=300, trader="carol") == ["accepted 3 rests 10"]
    assert market.buy(4, 10, at=300, tif="ioc") == ["accepted 4 rests 0", "cancelled 4 10 ioc_remainder"]
    assert market.amend(1, price=301) == ["amended 1 10@301 rests 10"]
    market.cancel(1)
    assert market.buy(5, 10, at=300) == ["accepted 5 rests 10"]


def test_a_limit_that_falls_cancels_nothing() -> None:
    market = Market()
    market.buy(1, 10, at=300)
    market.buy(2, 10, at=300)
    market.do(Configure(max_open_orders=1))
    assert market.bids == [(300, 20, 2)]
    assert market.buy(3, 10, at=300) == ["rejected 3 too_many_open_orders"]


def test_a_trader_may_do_so_much_in_a_window() -> None:
    market = Market()
    market.do(Configure(rate_commands=3, rate_window_ms=100))
    market.context.now_ms = 1_000
    market.buy(1, 10, at=300)
    market.context.now_ms = 1_050
    market.amend(1, quantity=9)
    market.buy(2, 10, at=300)
    assert market.buy(3, 10, at=300) == ["rejected 3 rate_limited"]
    assert market.amend(1, quantity=8) == ["rejected 1 rate_limited"]
    assert market.buy(4, 10, at=300, trader="carol") == ["accepted 4 rests 10"]
    market.context.now_ms = 1_099
    assert market.buy(3, 10, at=300) == ["rejected 3 rate_limited"]
    market.context.now_ms = 1_100
    assert market.buy(3, 10, at=300) == ["accepted 3 rests 10"]


def test_cancels_are_never_limited_and_refusals_do_not_count() -> None:
    market = Market()
    market.do(Configure(rate_commands=2, rate_window_ms=100))
    market.buy(1, 10, at=300)
    for _ in range(5):
        assert market.buy(1, 10, at=300) == ["rejected 1 duplicate_order_id"]
    market.buy(2, 10, at=300)
    assert market.buy(3, 10, at=300) == ["rejected 3 rate_limited"]
    assert market.cancel(1) == ["cancelled 1 10 requested"]


def test_a_trader_may_have_limits_of_its_own() -> None:
    market = Market()
    market.do(Configure(max_open_orders=1), Configure(max_open_orders=0, trader="bob"))
    market.buy(1, 10, at=300)
    assert market.buy(2, 10, at=300) == ["accepted 2 rests 10"]
    assert market.machine.query(Limits("bob")).max_open_orders == 0
    market.do(Configure(trader="bob"))
    assert market.buy(3, 10, at=300) == ["rejected 3 too_many_open_orders"]
    assert market.machine.query(Limits("bob")).max_open_orders == 1


def test_limits_that_are_left_out_stay() -> None:
    market = Market()
    market.do(Configure(5, 10, 1_000))
    assert market.do(Configure(rate_commands=20)) == ["configured 5 20 1000"]


def test_nothing_is_kept_of_a_trader_of_whom_there_is_nothing_to_know() -> None:
    market = Market()
    market.do(Configure(rate_commands=10, rate_window_ms=100))
    market.buy(1, 10, at=300)
    market.cancel(1)
    assert list(market.machine._book.traders) == ["bob"], "its window is open"
    market.tick(100)
    assert market.machine._book.traders == {}
    assert market.machine._book.windows == []
