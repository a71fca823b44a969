"""Cancels of all that take many entries lead to the same trades and answers as a cancel of all at one stroke."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from property.book.flows import Row, entries_with_mass_cancels
from property.book.naive import ASK, BID, NaiveBook
from unit.book.market import Market, restored


class Slow:
    """A market whose entries look at few orders for a mass cancel, beside a naive book that cancels all at once."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.market, self.naive = Market(), NaiveBook()
        self.owed: Counter[tuple[str, str]] = Counter()  # (id, open quantity) of what has yet to leave the market
        self.went_on = 0
        self.slow_down()

    def slow_down(self) -> None:
        self.market.machine._book.pending.limit = self.limit

    def restore(self) -> None:
        before = self.market.machine.state_hash
        self.market.machine = restored(self.market.machine)
        assert self.market.machine.state_hash == before
        self.slow_down()

    def entry(self, rows: list[Row]) -> None:
        """Run an entry in both; say that they differ in nothing but when orders leave."""
        self.went_on += bool(self.owed)
        expected: list[str] = []
        for row in rows:
            told = self.naive.run(row, self.market.context.now_ms)
            if row[0] == 4:
                self.owed.update(_order(line) for line in told if line.startswith("cancelled "))
                told = [line for line in told if line.startswith("expired")]
            expected += told
        self._compare(self.market.rows(*rows), expected)

    def _compare(self, told: list[str], expected: list[str]) -> None:
        """What the market told beyond ``expected`` is owed by a mass cancel: orders leave by that or by expiry."""
        surplus = Counter(filter(_may_be_owed, told)) - Counter(filter(_may_be_owed, expected))
        self.owed.subtract(_order(line) for line in surplus.elements())
        assert min(self.owed.values(), default=0) >= 0, (told, expected)
        self.owed = +self.owed
        rest = [line for line in told if not _may_be_owed(line) and not line.startswith("cancelled_all")]
        assert rest == [line for line in expected if not _may_be_owed(line)], (told, expected)
        assert not Counter(expected) - Counter(told), (told, expected)

    def drain(self) -> None:
        """Empty entries, until nothing is under way."""
        book = self.market.machine._book
        while book.pending.is_under_way():
            left = book.pending.mixed()
            assert self.market.machine.next_deadline() == book.now
            self._compare(self.market.rows(), [])
            assert book.pending.mixed() != left, "it gets on"
        assert not self.owed


def _may_be_owed(line: str) -> bool:
    return line.startswith("expired ") or (line.startswith("cancelled ") and " requested" in line)


def _order(line: str) -> tuple[str, str]:
    _, id, open, *_ = line.split()
    return id, open


@settings(max_examples=200, deadline=None)
@given(
    entries=entries_with_mass_cancels,
    limit=st.sampled_from([1, 1, 2, 3, 7]),
    restores=st.sets(st.integers(0, 20), max_size=3),
)
def test_trades_and_answers_are_those_of_a_cancel_at_one_stroke(
    entries: list[tuple[int, list[Row]]], limit: int, restores: set[int]
) -> None:
    slow = Slow(limit)
    for number, (waited, rows) in enumerate(entries):
        slow.market.context.now_ms += waited
        slow.entry(rows)
        if number in restores:
            slow.restore()
    slow.drain()
    for side, levels in ((BID, slow.market.bids), (ASK, slow.market.asks)):
        expected = [order for order in slow.naive.resting if order.side == side]
        prices = sorted({order.price for order in expected}, reverse=side == BID)
        at = [[order.open for order in expected if order.price == price] for price in prices]
        assert levels == [(price, sum(open), len(open)) for price, open in zip(prices, at, strict=True)]


def test_the_flows_of_this_test_do_leave_orders_to_later_entries() -> None:
    slow = Slow(1)
    bids = [(1, id, "ETH/USDC", BID, 100, 5, "bob", None, None, None, None, None) for id in range(1, 5)]
    slow.entry(bids)
    slow.entry([(4, "bob", None)])
    assert sum(slow.owed.values()) == 3
    slow.entry([(1, 9, "ETH/USDC", ASK, 100, 5, "alice", None, None, None, None, None)])
    assert slow.market.asks == [(100, 5, 1)]
    slow.drain()
    assert slow.went_on == 1
