"""The engine says the same as the naive matcher, and its invariants hold after every command."""

import pytest
from hypothesis import given, settings

from property.book.flows import Row, steps
from property.book.naive import ASK, BID, NaiveBook
from unit.book.market import Market, restored


@settings(max_examples=250, deadline=None)
@given(flow=steps)
def test_same_events_and_same_book(flow: list[tuple[int, Row]]) -> None:
    market, naive = Market(), NaiveBook()
    for waited, row in flow:
        market.context.now_ms += waited
        assert market.rows(row) == naive.run(row, market.context.now_ms), row
    for side, levels in ((BID, market.bids), (ASK, market.asks)):
        expected = [order for order in naive.resting if order.side == side]
        prices = sorted({order.price for order in expected}, reverse=side == BID)
        at = [[order.open for order in expected if order.price == price] for price in prices]
        assert levels == [(price, sum(open), len(open)) for price, open in zip(prices, at, strict=True)]


@settings(max_examples=100, deadline=None)
@given(before=steps, after=steps)
def test_replay_and_snapshot_give_the_same_hash_and_the_same_future(
    before: list[tuple[int, Row]], after: list[tuple[int, Row]]
) -> None:
    original, replayed = Market(), Market()
    for market in (original, replayed):
        for waited, row in before:
            market.context.now_ms += waited
            market.rows(row)
    assert replayed.machine.state_hash == original.machine.state_hash
    replayed.machine = restored(original.machine)
    for waited, row in after:
        for market in (original, replayed):
            market.context.now_ms += waited
        assert replayed.rows(row) == original.rows(row)
        assert replayed.machine.state_hash == original.machine.state_hash


@pytest.mark.parametrize("size", [2, 7, 60])
@settings(max_examples=60, deadline=None)
@given(flow=steps)
def test_a_batch_is_its_commands_one_by_one(size: int, flow: list[tuple[int, Row]]) -> None:
    rows = [row for _, row in flow if row[0] != 1 or row[8] != 4]  # no expiry: it comes at the start of entries only
    batched, single = Market(), Market()
    told = [line for start in range(0, len(rows), size) for line in batched.rows(*rows[start : start + size])]
    assert told == [line for row in rows for line in single.rows(row)]
    assert batched.machine.state_hash == single.machine.state_hash
