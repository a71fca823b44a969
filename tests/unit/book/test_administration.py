"""Pairs, limits of pairs, halts: replicated, changed only by an admin's logged commands."""

import pytest

from orderbook.book import (
    ChangePair,
    DefinePair,
    Halt,
    HaltPair,
    OrderBook,
    Pairs,
    PairSpec,
    Resume,
    ResumePair,
)
from orderbook.book.constants import MAX_INTEGER, MAX_PAIRS
from unit.book.market import PAIR, Market

ONCE = f"pair_defined BTC/USD 0.01 1 1000 {MAX_INTEGER} 1 {MAX_INTEGER}"


def test_a_pair_that_is_not_defined_is_not_traded() -> None:
    assert Market().buy(1, 10, at=300, pair="BTC/USD") == ["rejected 1 unknown_pair"]


def test_a_pair_is_defined_once_and_defining_it_again_changes_nothing() -> None:
    market = Market()
    assert market.do(DefinePair(PairSpec("BTC/USD", tick="0.01"))) == [f"{ONCE} True"]
    before = market.machine.state_hash
    assert market.do(DefinePair(PairSpec("BTC/USD", tick="0.010"))) == [f"{ONCE} False"]
    assert market.machine.state_hash == before


@pytest.mark.parametrize("spec", [PairSpec(PAIR, tick="0.1"), PairSpec(PAIR, lot="0.1")])
def test_tick_and_lot_never_change(spec: PairSpec) -> None:
    assert Market().do(DefinePair(spec)) == ["rejected 0 pair_exists"]


def test_defining_a_pair_again_does_not_undo_changed_limits() -> None:
    market = Market()
    market.do(ChangePair(PAIR, max_quantity=5))
    market.do(DefinePair(PairSpec(PAIR)))
    assert market.buy(1, 6, at=300) == ["rejected 1 quantity_above_limit"]


def test_what_a_leader_proposes_at_first_defines_the_pairs_it_was_told() -> None:
    market = Market()
    machine = OrderBook(["BTC/USD", PairSpec("SOL/USD", tick="0.001")])
    for body in machine.initial_commands():
        market.entry(body, 1)
    assert [pair.pair for pair in market.machine.query(Pairs())] == [PAIR, "BTC/USD", "SOL/USD"]


@pytest.mark.parametrize(
    "name", ["ETH", "ETH/", "/USD", "ETH/USD/X", "ETH USD", "ETH/US D", "ÄTH/USD", "A" * 33 + "/USD", "", 7, None]
)
def test_a_pair_is_two_assets(name: object) -> None:
    assert Market().rows([10, name]) == ["rejected 0 invalid_pair"]


@pytest.mark.parametrize("tick", ["0", "0.0", "", ".5", "1.", "-1", "1e3", "+1", "1,5", "1.2.3", " 1", "٣", 1, 0.5])
def test_a_tick_is_a_positive_decimal(tick: object) -> None:
    assert Market().rows([10, "BTC/USD", tick]) == ["rejected 0 invalid_increment"]


@pytest.mark.parametrize(
    "limits",
    [[-1], [100_001], [True], [None, 0], [None, None, 0], [None, None, 5, 4], [None, None, None, 2**53], [1.0]],
)
def test_limits_of_a_pair_have_their_ranges(limits: list[object]) -> None:
    assert Market().rows([10, "BTC/USD", "1", "1", *limits]) == ["rejected 0 invalid_limit"]


def test_there_is_a_bound_on_pairs() -> None:
    market = Market()
    market.do(*(DefinePair(PairSpec(f"A{number}/USD")) for number in range(MAX_PAIRS - 1)))
    assert market.do(DefinePair(PairSpec("B/USD"))) == ["rejected 0 too_many_pairs"]


def test_a_pair_has_a_price_band_and_a_largest_quantity() -> None:
    market = Market(PairSpec(PAIR, max_quantity=100, min_price=200, max_price=400))
    assert market.buy(1, 101, at=300) == ["rejected 1 quantity_above_limit"]
    assert market.buy(1, 100, at=199) == ["rejected 1 price_out_of_band"]
    assert market.buy(1, 100, at=401) == ["rejected 1 price_out_of_band"]
    assert market.buy(1, 100, at=200) == ["accepted 1 rests 100"]
    assert market.amend(1, price=401) == ["rejected 1 price_out_of_band"]
    assert market.amend(1, quantity=101) == ["rejected 1 quantity_above_limit"]
    market.sell(2, 100, at=400)
    assert market.buy(3, 100, at=None, kind="market") == ["accepted 3 rests 0", "fill 3x2 100@400"]


def test_changed_limits_hold_for_what_comes() -> None:
    market = Market()
    market.buy(1, 100, at=300)
    assert market.do(ChangePair(PAIR, max_quantity=50, min_price=400)) == [f"pair_changed {PAIR} 50 400 {MAX_INTEGER}"]
    assert market.amend(1, quantity=90) == ["amended 1 90@300 rests 90, keeps its place"]
    assert market.buy(2, 10, at=300) == ["rejected 2 price_out_of_band"]
    assert market.do(ChangePair("NO/PAIR")) == ["rejected 0 unknown_pair"]
    assert market.do(ChangePair(PAIR, max_price=399)) == ["rejected 0 invalid_limit"]


def test_a_halted_pair_takes_cancels_only() -> None:
    market = Market("ETH/USDC", "BTC/USDC")
    market.buy(1, 10, at=300)
    assert market.do(HaltPair(PAIR)) == [f"halted {PAIR}"]
    assert market.buy(2, 10, at=300) == ["rejected 2 pair_halted"]
    assert market.amend(1, quantity=5) == ["rejected 1 pair_halted"]
    assert market.buy(3, 10, at=300, pair="BTC/USDC") == ["accepted 3 rests 10"]
    assert market.cancel(1, 4) == ["cancelled 1 4 requested leaves 6"]
    assert market.do(ResumePair(PAIR)) == [f"resumed {PAIR}"]
    assert market.amend(1, quantity=5) == ["amended 1 5@300 rests 5, keeps its place"]
    assert market.do(HaltPair("NO/PAIR"), ResumePair("NO/PAIR")) == ["rejected 0 unknown_pair"] * 2


def test_a_halt_may_clear_the_book() -> None:
    market = Market()
    for id, price in ((1, 299), (2, 300), (3, 300)):
        market.buy(id, 10, at=price)
    market.sell(4, 10, at=301)
    assert market.do(HaltPair(PAIR, cancel=True)) == [
        f"halted {PAIR}",
        "cancelled 2 10 trading_halted",
        "cancelled 3 10 trading_halted",
        "cancelled 1 10 trading_halted",
        "cancelled 4 10 trading_halted",
    ]


def test_the_kill_switch_stops_all_pairs() -> None:
    market = Market("ETH/USDC", "BTC/USDC")
    market.buy(1, 10, at=300)
    market.buy(2, 10, at=300, pair="BTC/USDC")
    market.do(HaltPair(PAIR))
    assert market.do(Halt()) == ["killed"]
    assert market.buy(3, 10, at=300, pair="BTC/USDC") == ["rejected 3 halted"]
    assert market.amend(2, quantity=5) == ["rejected 2 halted"]
    assert market.cancel(2, 1) == ["cancelled 2 1 requested leaves 9"]
    assert market.do(Halt(cancel=True)) == ["killed", "cancelled 1 10 trading_halted", "cancelled 2 9 trading_halted"]
    assert market.do(Resume()) == ["resumed"]
    assert market.buy(4, 10, at=300, pair="BTC/USDC") == ["accepted 4 rests 10"]
    assert market.buy(5, 10, at=300) == ["rejected 5 pair_halted"], "what was halted by itself stays halted"
