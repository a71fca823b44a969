"""What mass cancels have yet to cancel.

A mass cancel (CANCEL_ALL, HALT and HALT_PAIR with cancel, the end of a session) holds from its own place in the log on:
an order that rested then never trades again. But one entry looks at a bounded number of orders for it. Those that are
left are *doomed*: they rest, queries show them and limits count them, until a later entry cancels them: at its start,
or where a command meets one (see ``mass_cancel``).

No order is marked. Which are doomed follows from three dictionaries, each in the order in which its cancels began:
pairs that are halted and being cleared, sessions that were closed, and traders with the arrival numbers up to which
their orders go. The orders of a trader are walked in the order of arrival, from ``TraderCancel.next`` on.
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import i64, mypyc_attr

from orderbook.book.constants import CANCELS_PER_ENTRY, OK, REQUESTED, SESSION_CLOSED, TRADING_HALTED
from orderbook.book.mixing import HASH_MASK, mix_integers, mix_text
from orderbook.book.orders import LiveOrder
from orderbook.book.sides import Pair

EVERY_PAIR: Final = ""
_PAIR_SEED: Final = 11
_SESSION_SEED: Final = 12
_TRADER_SEED: Final = 13
_MARK_SEED: Final = 14


@final
@mypyc_attr(acyclic=True)
class TraderCancel:
    """A walk over the orders of a trader. ``through`` says by pair, or for EVERY_PAIR, the last arrival that goes."""

    __slots__ = ("again", "last", "next", "through", "trader")

    def __init__(self, trader: str, next: LiveOrder | None) -> None:
        self.trader = trader
        self.through: dict[str, int] = {}
        self.last: i64 = 0  # the greatest of these
        self.next: LiveOrder | None = next  # all before it were looked at
        self.again = False  # more was asked for on the way: walk once more from the first order on

    def mark(self, pair: str, arrival: i64) -> None:
        self.through[pair] = arrival
        self.last = arrival

    def covers(self, order: LiveOrder) -> bool:
        """Whether the order is doomed by this."""
        through = self.through
        arrival: int = order.arrival
        return arrival <= through.get(EVERY_PAIR, 0) or arrival <= through.get(order.side.pair.name, 0)


@final
class PendingCancels:
    """``limit`` orders are looked at at the start of an entry, ``left`` more by the commands of this entry, and
    ``meets_left`` more may stand in the way of its takers."""

    __slots__ = ("left", "limit", "meets_left", "pairs", "sessions", "traders")

    def __init__(self) -> None:
        self.pairs: dict[str, Pair] = {}
        self.sessions: dict[int, bool] = {}
        self.traders: dict[str, TraderCancel] = {}
        self.limit: i64 = CANCELS_PER_ENTRY
        self.left: i64 = CANCELS_PER_ENTRY
        self.meets_left: i64 = CANCELS_PER_ENTRY

    def is_under_way(self) -> bool:
        return bool(self.traders) or bool(self.pairs) or bool(self.sessions)

    def begin_entry(self) -> None:
        self.left = self.limit
        self.meets_left = CANCELS_PER_ENTRY

    def add_trader(self, trader: str, pair: str, arrivals: i64, next: LiveOrder) -> None:
        """Orders of a trader are left, ``next`` the first of them; all that have come so far go."""
        cancel = self.traders.get(trader)
        if cancel is None:
            cancel = TraderCancel(trader, next)
            self.traders[trader] = cancel
        else:
            cancel.again = True
        cancel.mark(pair, arrivals)

    def reason_for(self, order: LiveOrder) -> i64:
        """Why an order is doomed; OK if it is not."""
        if order.side.pair.name in self.pairs:
            return TRADING_HALTED
        session = order.session
        if session is not None and session.id in self.sessions:
            return SESSION_CLOSED
        cancel = self.traders.get(order.trader.name)
        return REQUESTED if cancel is not None and cancel.covers(order) else OK

    def leaving(self, order: LiveOrder) -> None:
        """An order is about to leave its place: a walk that stands there goes on to the next."""
        cancel = self.traders.get(order.trader.name)
        if cancel is not None and cancel.next is order:
            cancel.next = order.trader_next

    def mixed(self) -> i64:
        """Its part of the state hash; 0 where nothing is under way."""
        total: i64 = 0
        for place, pair in enumerate(self.pairs.values()):
            total = (total + mix_integers([_PAIR_SEED, place, pair.text])) & HASH_MASK
        for place, id in enumerate(self.sessions):
            total = (total + mix_integers([_SESSION_SEED, place, id])) & HASH_MASK
        for place, cancel in enumerate(self.traders.values()):
            next = cancel.next
            name = mix_text(cancel.trader, _TRADER_SEED)
            walk: list[int] = [place, name, 1 if cancel.again else 0, 0 if next is None else next.number, cancel.last]
            total = (total + mix_integers(walk)) & HASH_MASK
            for of_pair, through in cancel.through.items():
                total = (total + mix_integers([name, mix_text(of_pair, _MARK_SEED), through])) & HASH_MASK
        return total
