"""The whole state of the engine, and the few operations through which it changes.

Every order enters by ``add`` and leaves by ``remove``, every change of its open quantity is followed by ``rehash``:
so index, levels, traders, sessions, expiries and the state hash can't disagree.

``orders`` holds the live orders by id, in the order of arrival: an order that goes to the back of its queue is removed
and added anew. A snapshot is therefore a walk over it, and a restore is adding them again one after the other.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import Any, Final, final

from mypy_extensions import i64

from orderbook.book.constants import EXPIRIES_PER_ENTRY, FIRST_ASSIGNED_ID, LAST_REASON, NEVER
from orderbook.book.mixing import HASH_MASK, mix_integers
from orderbook.book.orders import LiveOrder, Session, Trader
from orderbook.book.pending_cancels import PendingCancels
from orderbook.book.sides import Pair

_FEW_STALE: Final = 64
_MANY_DIRTY: Final = 4096


@final
class Book:
    """State that is replicated (in snapshot and hash), then the frame of the entry that is being applied."""

    __slots__ = (
        "arrivals", "base", "dirty", "expiries", "index_key", "is_halted", "last_index", "max_open_orders",
        "next_id", "now", "now_key", "orders", "orders_hash", "overdue", "pairs", "pending", "principal",
        "rate_commands", "rate_window_ms", "refused", "role", "session", "sessions", "stale", "traders",
        "traders_hash", "windows",
    )  # fmt: skip

    def __init__(self) -> None:
        self.pairs: dict[str, Pair] = {}
        self.orders: dict[Any, LiveOrder] = {}
        self.traders: dict[str, Trader] = {}
        self.sessions: dict[i64, Session] = {}
        self.expiries: list[tuple[int, int, LiveOrder]] = []  # heap of (expiry, arrival, order)
        self.stale: i64 = 0  # how many of these have left the book or moved; the first never has
        self.pending = PendingCancels()
        self.windows: list[tuple[int, str]] = []  # heap of (end of a rate window, trader)
        self.arrivals: i64 = 0
        self.next_id: i64 = FIRST_ASSIGNED_ID
        self.is_halted = False
        self.max_open_orders: i64 = 0  # a trader's limits where it has none of its own; 0: none
        self.rate_commands: i64 = 0
        self.rate_window_ms: i64 = 1000
        self.orders_hash: i64 = 0
        self.traders_hash: i64 = 0
        self.dirty: list[Trader] = []  # whose part of traders_hash is old
        self.refused = [0] * (LAST_REASON + 1)  # commands rejected, by reason; for metrics
        # The entry that is being applied
        self.now: i64 = 0
        self.now_key: Any = 0
        self.index_key: Any = 0
        self.last_index = -1
        self.base: i64 = 0  # ordinal of the first event of this call within its entry
        self.principal = ""
        self.role: i64 = 0
        self.session: i64 = 0
        self.overdue = False  # orders rest that are due or doomed

    def begin(self, index: int, now_ms: int, principal: str, role: int, session: int) -> None:
        """Start a call of the machine. Several may belong to one entry: their events are numbered on."""
        if index != self.last_index:
            self.last_index = index
            self.base = 0
            self.pending.begin_entry()
        self.index_key = index
        now: i64 = now_ms
        if now > self.now:
            self.now = now
        self.now_key = self.now
        self.principal = principal
        self.role = role
        self.session = session

    def end(self, events: int) -> None:
        self.base += events

    def state_hash(self) -> int:
        """0 .. 2^62 - 1, never 0."""
        self._settle_all()
        settings: list[int] = [self.max_open_orders, self.rate_commands, self.rate_window_ms]
        counters: list[int] = [self.arrivals, self.next_id, 1 if self.is_halted else 0]
        total = (self.orders_hash + self.traders_hash) & HASH_MASK
        total = (total + mix_integers(settings + counters)) & HASH_MASK
        for pair in self.pairs.values():
            total = (total + pair.mixed()) & HASH_MASK
        total = (total + self.pending.mixed()) & HASH_MASK
        return total or 1

    # Orders

    def add(self, order: LiveOrder) -> None:
        """An order comes to rest at the back of its level."""
        self.arrivals += 1
        order.arrival = self.arrivals
        self.link(order)

    def link(self, order: LiveOrder) -> None:
        """Put an order that has its arrival number into all lists and indexes."""
        side = order.side
        side.level_at(order.price, order.price_key).append(order)
        side.open_orders += 1
        side.grow(order.open)
        trader = order.trader
        if not trader.is_registered:
            self.register(trader)
        trader.append(order)
        session = order.session
        if session is not None:
            if session.first is None:
                self.sessions[session.id] = session
            session.append(order)
        self.orders[order.key] = order
        if order.expiry != NEVER:
            heappush(self.expiries, (order.expiry, order.arrival, order))
        contribution = order.mixed()
        order.contribution = contribution
        self.orders_hash = (self.orders_hash + contribution) & HASH_MASK

    def remove(self, order: LiveOrder) -> None:
        """A resting order leaves the book, or its place in it. ``open`` keeps what was left of it."""
        level = order.level
        assert level is not None
        level.unlink(order)
        side = order.side
        side.open_orders -= 1
        side.grow(-order.open)
        if level.count == 0:
            side.drop(level)
        if self.pending.traders:
            self.pending.leaving(order)
        trader = order.trader
        trader.unlink(order)
        if trader.open_orders == 0:
            self.forget_idle(trader)
        session = order.session
        if session is not None:
            session.unlink(order)
            if session.first is None:
                del self.sessions[session.id]
        del self.orders[order.key]
        self.orders_hash = (self.orders_hash - order.contribution) & HASH_MASK
        if order.expiry != NEVER:
            self.stale += 1
            self._drop_stale()

    def resize(self, order: LiveOrder, quantity: i64) -> None:
        """A resting order gets another total quantity where it stands."""
        change: i64 = quantity - order.quantity
        order.quantity = quantity
        order.open += change
        level = order.level
        assert level is not None
        level.total += change
        order.side.grow(change)
        self.rehash(order)

    def rehash(self, order: LiveOrder) -> None:
        """The open or total quantity of a resting order changed."""
        contribution = order.mixed()
        self.orders_hash = (self.orders_hash - order.contribution + contribution) & HASH_MASK
        order.contribution = contribution

    def session_for(self, id: i64) -> Session | None:
        if id == 0:
            return None
        session = self.sessions.get(id)
        return Session(id) if session is None else session

    def orders_of(self, name: str, pair: str | None, after: tuple[int, int] | None, limit: i64) -> list[LiveOrder]:
        """The first ``limit`` orders of a trader, in the order of arrival, in one pair or all.

        ``after`` is (id, arrival number) of an order: begin behind it, or where it stood if it left that place.
        """
        trader = self.traders.get(name)
        order = None if trader is None else trader.first
        if after is not None and trader is not None:
            arrival: i64 = after[1]
            known = self.orders.get(after[0])
            if known is not None and known.trader is trader and known.arrival == arrival:
                order = known.trader_next
            while order is not None and order.arrival <= arrival:
                order = order.trader_next
        found: list[LiveOrder] = []
        while order is not None and len(found) < limit:
            if pair is None or pair == order.side.pair.name:
                found.append(order)
            order = order.trader_next
        return found

    # Expiries

    def next_deadline(self) -> int | None:
        if self.pending.is_under_way():
            return self.now
        return self.expiries[0][0] if self.expiries else None

    def due(self) -> LiveOrder | None:
        """The order to expire next, if one is due."""
        if not self.expiries:
            return None
        expiry, _, order = self.expiries[0]
        return order if expiry <= self.now else None

    def _drop_stale(self) -> None:
        heap = self.expiries
        while heap and not _is_current(heap[0]):
            heappop(heap)
            self.stale -= 1
        if self.stale > _FEW_STALE and self.stale * 2 > len(heap):
            self.expiries = [entry for entry in heap if _is_current(entry)]
            heapify(self.expiries)
            self.stale = 0

    # Traders

    def trader_named(self, name: str) -> Trader:
        """What is known of a trader; a blank record, not yet kept, where nothing is."""
        trader = self.traders.get(name)
        return Trader(name) if trader is None else trader

    def register(self, trader: Trader) -> None:
        trader.is_registered = True
        self.traders[trader.name] = trader

    def touch(self, trader: Trader) -> None:
        """Limits or rate window of a trader changed: its part of the hash is computed when somebody asks."""
        if not trader.is_registered:
            self.register(trader)
        if not trader.is_dirty:
            trader.is_dirty = True
            self.dirty.append(trader)
            if len(self.dirty) >= _MANY_DIRTY:
                self._settle_all()

    def forget_idle(self, trader: Trader) -> None:
        if trader.is_registered and trader.is_idle():
            trader.is_registered = False
            del self.traders[trader.name]

    def count_command(self, trader: Trader) -> None:
        """An accepted order or amend counts towards the trader's rate."""
        limit = trader.rate_commands if trader.rate_commands >= 0 else self.rate_commands
        if limit == 0:
            return
        if trader.window_end <= self.now:
            length = trader.rate_window_ms if trader.rate_window_ms >= 0 else self.rate_window_ms
            trader.window_end = self.now + length
            trader.window_count = 0
            heappush(self.windows, (trader.window_end, trader.name))
        trader.window_count += 1
        self.touch(trader)

    def is_over_rate(self, trader: Trader) -> bool:
        limit = trader.rate_commands if trader.rate_commands >= 0 else self.rate_commands
        return limit > 0 and trader.window_end > self.now and trader.window_count >= limit

    def is_at_open_limit(self, trader: Trader) -> bool:
        limit = trader.max_open_orders if trader.max_open_orders >= 0 else self.max_open_orders
        return limit > 0 and trader.open_orders >= limit

    def close_windows(self) -> None:
        """Forget rate windows that are over, a bounded number of them an entry."""
        windows = self.windows
        left: i64 = EXPIRIES_PER_ENTRY
        while left > 0 and windows and windows[0][0] <= self.now:
            end, name = heappop(windows)
            trader = self.traders.get(name)
            if trader is not None and trader.window_end == end:  # else another window was opened since: not counted
                left -= 1
                trader.window_end = 0
                trader.window_count = 0
                self.touch(trader)
                self.forget_idle(trader)

    def _settle_all(self) -> None:
        for trader in self.dirty:
            self._settle(trader)
        self.dirty = []

    def _settle(self, trader: Trader) -> None:
        contribution = trader.mixed()
        self.traders_hash = (self.traders_hash - trader.contribution + contribution) & HASH_MASK
        trader.contribution = contribution
        trader.is_dirty = False


def _is_current(entry: tuple[int, int, LiveOrder]) -> bool:
    """Whether the order still rests where this deadline was noted."""
    _, arrival, order = entry
    return order.level is not None and order.arrival == arrival
