"""Cancels of many orders: each entry does a bounded part, and none of them trades from the command on."""

import pytest

from orderbook.book import CancelAll, CancelOrder, Halt, HaltPair, OrderCount, PlaceOrder, Resume, ResumePair, Side
from orderbook.book.constants import CANCELS_PER_ENTRY
from unit.book.market import PAIR, Market, order, restored

OTHER = "BTC/USDC"


def slow(*pairs: str, limit: int = 2) -> Market:
    """Few orders are looked at in an entry."""
    market = Market(*(pairs or (PAIR,)))
    market.machine._book.pending.limit = limit
    return market


def bids(market: Market, *ids: int, trader: str = "bob", pair: str = PAIR, at: int = 300) -> None:
    market.do(*(PlaceOrder(order(id, Side.BID, 10, at, trader, pair=pair)) for id in ids))


def under_way(market: Market) -> bool:
    return market.machine._book.pending.is_under_way()


def drain(market: Market) -> list[str]:
    told = []
    while under_way(market):
        told += market.tick(market.context.now_ms)
    return told


def gone(*ids: int, reason: str = "requested") -> list[str]:
    return [f"cancelled {id} 10 {reason}" for id in ids]


def test_an_entry_does_its_part_and_the_following_ones_the_rest() -> None:
    market = slow()
    bids(market, 1, 2, 3, 4, 5)
    assert market.do(CancelAll("bob")) == [*gone(1, 2), "cancelled_all bob 2 and more"]
    assert market.machine.next_deadline() == 0
    assert market.tick(0) == gone(3, 4)
    assert market.tick(0) == gone(5)
    assert market.tick(0) == []
    assert market.machine.next_deadline() is None


def test_what_goes_on_belongs_to_no_command_and_does_not_use_up_the_commands_part() -> None:
    market = slow()
    bids(market, 1, 2, 3, 4, 5)
    bids(market, 6, trader="carol")
    market.do(CancelAll("bob"))
    events = market.entry(market.machine.encode([CancelAll("carol")]), 1)
    assert [event[1] for event in events] == [-1, -1, 0, 0]


def test_all_commands_of_an_entry_share_one_part() -> None:
    market = slow(limit=3)
    bids(market, 1, 2)
    bids(market, 3, 4, trader="carol")
    told = market.do(CancelAll("bob"), CancelAll("carol"), CancelAll("nobody"))
    assert told[-3:] == [*gone(3), "cancelled_all carol 1 and more", "cancelled_all nobody 0"]
    assert drain(market) == gone(4)


def test_an_entry_looks_at_so_many_and_no_more() -> None:
    market = Market()
    for first in (1, 4001, 8001):
        bids(market, *range(first, first + 4000))
    told = market.do(CancelAll("bob"))
    assert len(told) == CANCELS_PER_ENTRY + 1
    assert len(market.tick(0)) == CANCELS_PER_ENTRY
    assert len(drain(market)) == 12_000 - 2 * CANCELS_PER_ENTRY
    assert market.machine.query(OrderCount()) == 0


def test_no_doomed_order_trades() -> None:
    market = slow()
    bids(market, 1, 2, 3, 4, 5)
    bids(market, 6, trader="carol", at=299)
    market.do(CancelAll("bob"))
    market.machine._book.pending.limit = 0  # nothing goes on by itself
    assert market.sell(7, 10, at=299) == [*gone(3, 4, 5), "accepted 7 rests 0", "fill 6x7 10@299"]


@pytest.mark.parametrize("terms", [{"tif": "fok"}, {"tif": "ioc"}, {"post_only": True}])
def test_doomed_orders_count_for_no_kind_of_taker(terms: dict[str, object]) -> None:
    market = slow()
    bids(market, 1, 2, 3)
    market.do(CancelAll("bob"))
    market.machine._book.pending.limit = 0
    left = {"fok": "rejected 7 would_not_fill", "ioc": "accepted 7 rests 0"}.get(str(terms.get("tif")))
    assert market.sell(7, 10, at=300, **terms)[:2] == [*gone(3), left or "accepted 7 rests 10"]


def test_commands_find_a_doomed_order_gone() -> None:
    market = slow()
    bids(market, 1, 2, 3, 4, 5)
    market.do(CancelAll("bob"))
    market.machine._book.pending.limit = 0
    assert market.cancel(3, 1) == [*gone(3), "rejected 3 unknown_order"]
    assert market.amend(4, quantity=1) == [*gone(4), "rejected 4 unknown_order"]
    assert market.buy(5, 7, at=300) == [*gone(5), "accepted 5 rests 7"]
    assert drain_fast(market) == []
    assert market.bids == [(300, 7, 1)]


def drain_fast(market: Market) -> list[str]:
    market.machine._book.pending.limit = 1000
    return drain(market)


def test_orders_that_come_later_stay() -> None:
    market = slow(PAIR, OTHER)
    bids(market, 1, 2, 3, 4)
    market.do(CancelAll("bob", PAIR))
    market.machine._book.pending.limit = 0
    bids(market, 5, 6)
    bids(market, 7, 8, pair=OTHER)
    assert drain_fast(market) == gone(3, 4)
    assert market.bids == [(300, 20, 2)]


def test_a_cancel_in_one_pair_passes_over_the_others_within_its_part() -> None:
    market = slow(PAIR, OTHER, limit=3)
    bids(market, 1, 2, 3, 4, pair=OTHER)
    bids(market, 5, 6)
    assert market.do(CancelAll("bob", PAIR)) == [f"cancelled_all bob {PAIR} 0 and more"]
    assert market.tick(0) == gone(5, 6)
    assert drain(market) == []
    assert market.machine.query(OrderCount()) == 4


def test_more_can_be_asked_for_on_the_way() -> None:
    market = slow(PAIR, OTHER, limit=2)
    bids(market, 1, pair=OTHER)
    bids(market, 2, 3, 4, 5)
    bids(market, 6, pair=OTHER)
    assert market.do(CancelAll("bob", PAIR)) == [*gone(2), f"cancelled_all bob {PAIR} 1 and more"]
    assert market.do(CancelAll("bob")) == [*gone(3, 4, 1, 5), "cancelled_all bob 2 and more"]
    assert drain(market) == gone(6)
    assert market.machine.query(OrderCount()) == 0


def test_a_walk_goes_on_where_the_order_it_stands_at_leaves_or_moves() -> None:
    market = slow(PAIR, OTHER, limit=1)
    bids(market, 1, 2, 3, pair=OTHER)
    bids(market, 4, 5)
    market.do(CancelAll("bob", PAIR))
    market.amend(2, price=301)
    market.do(CancelOrder(3))
    assert drain(market) == gone(4, 5)
    assert market.machine.query(OrderCount()) == 2


def test_a_halt_holds_at_once_and_clears_the_book_entry_by_entry() -> None:
    market = slow(PAIR, OTHER)
    bids(market, 1, 2, 3)
    bids(market, 4, pair=OTHER)
    assert market.do(Halt(cancel=True)) == ["killed", *gone(1, 2, reason="trading_halted")]
    market.machine._book.pending.limit = 0
    assert market.do(Resume()) == ["rejected 0 cancels_pending"]
    assert drain_fast(market) == gone(3, 4, reason="trading_halted")
    assert market.do(Resume()) == ["resumed"]
    assert market.bids == []


def test_a_pair_is_resumed_when_it_is_clear() -> None:
    market = slow(PAIR, OTHER)
    bids(market, 1, 2, 3, 4, 5)
    market.do(HaltPair(PAIR, cancel=True))
    market.machine._book.pending.limit = 0
    assert market.do(ResumePair(PAIR)) == ["rejected 0 cancels_pending"]
    assert market.do(ResumePair(OTHER)) == [f"resumed {OTHER}"]
    assert market.cancel(3) == [*gone(3, reason="trading_halted"), "rejected 3 unknown_order"]
    assert drain_fast(market) == gone(4, 5, reason="trading_halted")
    assert market.do(ResumePair(PAIR)) == [f"resumed {PAIR}"]


def test_the_orders_of_a_closed_session_leave_in_parts_too() -> None:
    market = slow()
    market.context.session = 7
    bids(market, 1, 2, 3, 4)
    market.context.session = 0
    assert market.close_session(7, cancel=True) == gone(1, 2, reason="session_closed")
    market.machine._book.pending.limit = 0
    assert market.sell(9, 5, at=300, tif="ioc")[:2] == gone(3, 4, reason="session_closed")
    assert drain_fast(market) == []


def test_a_taker_that_would_meet_too_many_doomed_orders_is_refused() -> None:
    market = Market()
    for first in range(1, 4 * CANCELS_PER_ENTRY, CANCELS_PER_ENTRY):
        bids(market, *range(first, first + CANCELS_PER_ENTRY))
    bids(market, 100_000, trader="carol", at=299)
    assert market.do(CancelAll("bob"))[-1] == f"cancelled_all bob {CANCELS_PER_ENTRY} and more"
    told = market.sell(100_001, 5, at=299)
    assert len(told) == 2 * CANCELS_PER_ENTRY + 1
    assert told[-1] == "rejected 100001 cancels_pending"
    told = market.sell(100_001, 5, at=299)
    assert told[-2:] == ["accepted 100001 rests 0", "fill 100000x100001 5@299"]


def test_a_doomed_order_that_falls_due_first_expires() -> None:
    market = slow()
    market.do(*(PlaceOrder(order(id, Side.BID, 10, 300, "bob", tif="gtd", expires=50)) for id in (1, 2, 3)))
    market.do(CancelAll("bob"))
    assert market.tick(50) == ["expired 3 10"]
    assert drain(market) == []


def test_the_hash_and_a_snapshot_hold_what_is_under_way() -> None:
    def busy() -> Market:
        market = slow(PAIR, OTHER, limit=1)
        market.context.session = 7
        bids(market, 1, 2, 3)
        market.context.session = 0
        bids(market, 4, 5, 6, pair=OTHER)
        bids(market, 7, 8, 9, trader="carol")
        market.do(CancelAll("bob", OTHER))
        market.do(CancelAll("carol"))
        market.close_session(7, cancel=True)
        market.do(HaltPair(OTHER, cancel=True))
        return market

    one, other, idle = busy(), busy(), busy()
    other.machine = restored(one.machine)
    other.machine._book.pending.limit = 1
    assert other.machine.state_hash == one.machine.state_hash
    assert list(other.machine.snapshot()) == list(one.machine.snapshot())
    book = idle.machine._book.pending
    book.pairs, book.sessions, book.traders = {}, {}, {}
    assert idle.machine.state_hash != one.machine.state_hash
    assert drain(other) == drain(one)
    assert other.machine.state_hash == one.machine.state_hash
