"""Order types, times in force and post only."""

import pytest

from orderbook.book import SelfTrade
from unit.book.market import Market


def asks(*levels: tuple[int, int]) -> Market:
    """A market with an order of alice at each (quantity, price), ids from 1."""
    market = Market()
    for id, (quantity, price) in enumerate(levels, start=1):
        market.sell(id, quantity, at=price)
    return market


def test_ioc_takes_what_there_is_and_cancels_the_rest() -> None:
    market = asks((10, 300), (10, 302))
    assert market.buy(9, 15, at=301, tif="ioc") == [
        "accepted 9 rests 0",
        "fill 9x1 10@300",
        "cancelled 9 5 ioc_remainder",
    ]
    assert market.bids == []


def test_ioc_that_meets_nothing_is_accepted_and_cancelled() -> None:
    assert Market().buy(1, 5, at=300, tif="ioc") == ["accepted 1 rests 0", "cancelled 1 5 ioc_remainder"]


def test_a_market_order_takes_every_price_and_cancels_the_rest() -> None:
    market = asks((10, 300), (10, 9_000_000))
    assert market.buy(9, 25, at=None, kind="market") == [
        "accepted 9 rests 0",
        "fill 9x1 10@300",
        "fill 9x2 10@9000000",
        "cancelled 9 5 market_remainder",
    ]
    market.buy(10, 5, at=1)
    assert market.sell(11, 5, at=None, kind="market") == ["accepted 11 rests 0", "fill 10x11 5@1"]


def test_fok_fills_whole_or_is_rejected() -> None:
    market = asks((10, 300), (10, 301))
    assert market.buy(9, 20, at=300, tif="fok") == ["rejected 9 would_not_fill"]
    assert market.buy(9, 21, at=301, tif="fok") == ["rejected 9 would_not_fill"]
    assert market.buy(9, 20, at=301, tif="fok") == ["accepted 9 rests 0", "fill 9x1 10@300", "fill 9x2 10@301"]
    assert market.buy(10, 1, at=301, tif="fok") == ["rejected 10 would_not_fill"]


def test_a_market_order_may_be_fok() -> None:
    market = asks((10, 300))
    assert market.buy(9, 11, at=None, kind="market", tif="fok") == ["rejected 9 would_not_fill"]
    assert market.buy(9, 10, at=None, kind="market", tif="fok") == ["accepted 9 rests 0", "fill 9x1 10@300"]


@pytest.mark.parametrize(
    ("mode", "outcome"),
    [
        (SelfTrade.ALLOW, ["accepted 9 rests 0", "fill 9x1 10@300", "fill 9x2 5@300", "fill 9x3 10@300"]),
        (SelfTrade.CANCEL_NEWEST, ["rejected 9 would_not_fill"]),
        (SelfTrade.CANCEL_OLDEST, ["rejected 9 would_not_fill"]),
        (SelfTrade.CANCEL_BOTH, ["rejected 9 would_not_fill"]),
    ],
)
def test_fok_counts_only_what_its_self_trade_mode_may_take(mode: SelfTrade, outcome: list[str]) -> None:
    market = asks((10, 300))
    market.sell(2, 5, at=300, trader="bob")
    market.sell(3, 10, at=300)
    assert market.buy(9, 25, at=300, tif="fok", self_trade=mode) == outcome


def test_fok_may_pass_its_own_orders_when_the_oldest_is_cancelled() -> None:
    market = asks((10, 300))
    market.sell(2, 5, at=300, trader="bob")
    market.sell(3, 10, at=300)
    assert market.buy(9, 20, at=300, tif="fok", self_trade=SelfTrade.CANCEL_OLDEST) == [
        "accepted 9 rests 0",
        "fill 9x1 10@300",
        "cancelled 2 5 self_trade",
        "fill 9x3 10@300",
    ]


def test_post_only_rests_or_is_rejected() -> None:
    market = asks((10, 300))
    assert market.buy(9, 5, at=300, post_only=True) == ["rejected 9 would_cross"]
    assert market.buy(9, 5, at=299, post_only=True) == ["accepted 9 rests 5"]
    assert market.sell(10, 5, at=299, post_only=True) == ["rejected 10 would_cross"]


@pytest.mark.parametrize(
    ("terms", "reason"),
    [
        ({"kind": "market", "at": 300}, "invalid_price"),
        ({"kind": "market", "at": None, "tif": "gtd", "expires": 9}, "invalid_time_in_force"),
        ({"kind": "market", "at": None, "post_only": True}, "invalid_post_only"),
        ({"at": 300, "tif": "ioc", "post_only": True}, "invalid_post_only"),
        ({"at": 300, "tif": "fok", "post_only": True}, "invalid_post_only"),
        ({"at": 300, "tif": "gtd"}, "invalid_expiry"),
        ({"at": 300, "expires": 9}, "invalid_expiry"),
        ({"at": 300, "tif": "ioc", "expires": 9}, "invalid_expiry"),
        ({"at": None}, "invalid_price"),
    ],
)
def test_terms_that_contradict_each_other_are_rejected(terms: dict[str, object], reason: str) -> None:
    assert Market().buy(1, 5, **terms) == [f"rejected 1 {reason}"]  # type: ignore[arg-type]
