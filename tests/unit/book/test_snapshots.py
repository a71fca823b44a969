"""A snapshot is the whole state: the same hash, the same answers and the same future."""

from collections.abc import Callable

import msgpack
import pytest

from orderbook.book import (
    CancelAll,
    Configure,
    Fills,
    Halt,
    HaltPair,
    Limits,
    OrderById,
    OrderCount,
    Orders,
    Pairs,
    PairSpec,
    SelfTrade,
    TopOfBook,
)
from unit.book.market import PAIR, Market, restored


def busy_market() -> Market:
    """Something of everything that a snapshot holds."""
    market = Market(PairSpec(PAIR, tick="0.01", lot="0.001", fills_kept=3), "BTC/USDC")
    market.do(Configure(50, 100, 1_000), Configure(10, trader="carol"), HaltPair("BTC/USDC"))
    market.context.now_ms = 500
    market.context.session = 3
    for id in range(1, 6):
        market.buy(id, 10, at=300 - id % 2, trader="bob", self_trade=SelfTrade.CANCEL_OLDEST)
    market.context.session = 0
    market.sell(6, 10, at=310, trader="carol", tif="gtd", expires=900)
    market.sell(7, 10, at=311, trader="carol", post_only=True)
    market.sell(None, 10, at=312, trader="alice")
    market.amend(2, quantity=11)
    market.cancel(4, 3)
    for id in range(20, 26):
        market.sell(id, 2, at=300, tif="ioc")
    return market


FUTURES: list[Callable[[Market], list[str]]] = [
    lambda market: market.sell(50, 100, at=200, tif="ioc"),
    lambda market: market.buy(50, 25, at=311, trader="carol", self_trade=SelfTrade.CANCEL_BOTH),
    lambda market: market.tick(900),
    lambda market: market.tick(10_000),
    lambda market: market.close_session(3, cancel=True),
    lambda market: market.do(CancelAll("bob"), CancelAll("carol")),
    lambda market: market.amend(7, price=300),
    lambda market: market.buy(None, 5, at=1),
    lambda market: market.do(Halt(cancel=True)),
    lambda market: [line for id in range(60, 180) for line in market.buy(id, 1, at=5, trader="dave")],
]


@pytest.mark.parametrize("future", range(len(FUTURES)))
def test_a_restored_book_goes_on_as_the_other(future: int) -> None:
    one, other = busy_market(), busy_market()
    other.machine = restored(one.machine)
    assert other.machine.state_hash == one.machine.state_hash
    assert FUTURES[future](other) == FUTURES[future](one)
    assert other.machine.state_hash == one.machine.state_hash
    assert list(other.machine.snapshot()) == list(one.machine.snapshot())


def test_a_restored_book_answers_as_the_other() -> None:
    market = busy_market()
    other = restored(market.machine)
    queries = [
        TopOfBook(PAIR, 100), TopOfBook("BTC/USDC"), Fills(), Fills(PAIR), OrderCount(), Orders("bob"), Orders("carol"),
        OrderById(2), OrderById(2**52), Pairs(), Limits(), Limits("carol"),
    ]  # fmt: skip
    for query in queries:
        assert other.query(query) == market.machine.query(query), query
    assert other.next_deadline() == market.machine.next_deadline() == 900
    assert len(other.query(Fills(PAIR))) == 3


def test_the_ring_of_fills_goes_on_where_it_was() -> None:
    market = busy_market()
    market.machine = restored(market.machine)
    market.sell(40, 1, at=298)
    assert [fill.ask_order_id for fill in market.machine.query(Fills(PAIR))] == [24, 25, 40]


def test_the_old_state_answers_until_the_new_one_is_whole() -> None:
    market = busy_market()
    chunks = list(market.machine.snapshot())
    market.do(CancelAll("bob"))
    before = market.machine.state_hash
    steps = market.machine.restore(chunks)
    for _ in range(len(chunks) - 1):
        next(steps)
        assert market.machine.state_hash == before
    for _ in steps:
        pass
    assert market.machine.state_hash != before
    assert market.machine.query(OrderCount()) == 7


def test_chunks_are_bounded_however_much_there_is() -> None:
    market = Market(PairSpec(PAIR, fills_kept=1_000))
    market.rows(*([1, 2**52 - id, PAIR, 1, 2**53 - 1, 2**53 - 1 - id, "x" * 256] for id in range(1, 1_500)))
    market.rows(*([1, None, PAIR, 2, 1, 10**15, f"{id:0256}", 1, 2] for id in range(2_000)))
    market.rows(*([14, f"{id:0256}", 10**9, 10**9, 86_400_000] for id in range(500)))
    chunks = list(market.machine.snapshot())
    assert len(chunks) > 20
    assert max(map(len, chunks)) <= 1 << 16
    assert restored(market.machine).state_hash == market.machine.state_hash


@pytest.mark.parametrize(
    "damage",
    [
        lambda chunks: chunks[:-1],
        lambda chunks: [],
        lambda chunks: [*chunks[:-2], chunks[-1]],
        lambda chunks: [msgpack.packb(["b", 2, 0, 0, False, 0, 0, 1])],
        lambda chunks: [msgpack.packb(["z"])],
    ],
)
def test_chunks_that_are_no_whole_snapshot_are_refused(damage: Callable[[list[bytes]], list[bytes]]) -> None:
    market = busy_market()
    before = market.machine.state_hash
    with pytest.raises(ValueError, match="snapshot"):
        for _ in market.machine.restore(damage(list(market.machine.snapshot()))):
            pass
    assert market.machine.state_hash == before


def test_a_restored_book_leaves_no_orders_of_the_old_one_behind() -> None:
    market = Market()
    for id in range(1, 10):
        market.buy(id, 1, at=300)
    old = market.machine._book
    orders = list(old.orders.values())
    for _ in market.machine.restore(list(Market().machine.snapshot())):
        pass
    assert all(order.next is order.previous is order.trader_next is order.level is None for order in orders)
    assert not old.orders


def test_a_restore_that_is_given_up_changes_nothing_and_leaves_nothing() -> None:
    market = busy_market()
    before = market.machine.state_hash
    steps = market.machine.restore(list(market.machine.snapshot()))
    next(steps)
    steps.close()  # type: ignore[attr-defined]
    assert market.machine.state_hash == before
    assert market.sell(70, 1, at=300) != []
