"""What happens when an order meets one of its own trader. The taker's mode governs."""

import pytest

from orderbook.book import SelfTrade
from unit.book.market import Market


@pytest.mark.parametrize(
    ("mode", "outcome", "asks_left"),
    [
        (
            SelfTrade.ALLOW,
            ["accepted 9 rests 0", "fill 9x1 10@300", "fill 9x2 5@300", "fill 9x3 5@300"],
            [(300, 5, 1)],
        ),
        (
            SelfTrade.CANCEL_NEWEST,
            ["accepted 9 rests 0", "fill 9x1 10@300", "cancelled 9 10 self_trade_taker"],
            [(300, 15, 2)],
        ),
        (
            SelfTrade.CANCEL_OLDEST,
            ["accepted 9 rests 0", "fill 9x1 10@300", "cancelled 2 5 self_trade", "fill 9x3 10@300"],
            [],
        ),
        (
            SelfTrade.CANCEL_BOTH,
            ["accepted 9 rests 0", "fill 9x1 10@300", "cancelled 2 5 self_trade", "cancelled 9 10 self_trade_taker"],
            [(300, 10, 1)],
        ),
    ],
)
def test_modes(mode: SelfTrade, outcome: list[str], asks_left: list[tuple[int, int, int]]) -> None:
    market = Market()
    market.sell(1, 10, at=300, trader="alice")
    market.sell(2, 5, at=300, trader="bob")
    market.sell(3, 10, at=300, trader="alice")
    assert market.buy(9, 20, at=300, trader="bob", self_trade=mode) == outcome
    assert market.asks == asks_left


def test_the_resting_orders_mode_does_not_matter() -> None:
    market = Market()
    market.sell(1, 10, at=300, trader="bob", self_trade=SelfTrade.CANCEL_BOTH)
    assert market.buy(2, 10, at=300, trader="bob") == ["accepted 2 rests 0", "fill 2x1 10@300"]


def test_what_is_left_after_own_orders_were_cancelled_rests() -> None:
    market = Market()
    market.sell(1, 10, at=300, trader="bob")
    assert market.buy(2, 10, at=300, trader="bob", self_trade=SelfTrade.CANCEL_OLDEST) == [
        "accepted 2 rests 10",
        "cancelled 1 10 self_trade",
    ]


def test_an_amend_that_crosses_keeps_the_orders_mode() -> None:
    market = Market()
    market.sell(1, 10, at=300, trader="bob")
    market.buy(2, 10, at=299, trader="bob", self_trade=SelfTrade.CANCEL_NEWEST)
    assert market.amend(2, price=300) == ["amended 2 10@300 rests 0", "cancelled 2 10 self_trade_taker"]
    assert (market.bids, market.asks) == ([], [(300, 10, 1)])
