"""Orders and the doubly linked lists that run through them.

A live order is in three lists at once, each linked through the order itself, so that it leaves all of them in constant
time wherever it stands: the queue of its price level, the orders of its trader, the orders of its session. All three
are in the order of arrival: an order that loses its place (an amend) goes to the back of each.

Who leaves a list breaks its links. The order then refers to no other and is freed at once, without garbage collection:
compiled, these classes do not even take part in it (``acyclic``), so a book that is given up must be taken apart
(``release``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

from mypy_extensions import i64, mypyc_attr

from orderbook.book.constants import ALLOW, BID, GTC, LIMIT, NEVER
from orderbook.book.mixing import HASH_MASK, mix_integers, mix_order, mix_text

if TYPE_CHECKING:
    from orderbook.book.sides import BookSide

_TRADER_SEED = 2


@final
@mypyc_attr(acyclic=True)
class Trader:
    """What the book knows of a trader. It is kept only while there is something to know (``is_idle``)."""

    __slots__ = (
        "contribution", "first", "is_dirty", "is_registered", "last", "max_open_orders", "name", "open_orders",
        "rate_commands", "rate_window_ms", "text", "window_count", "window_end",
    )  # fmt: skip

    def __init__(self, name: str) -> None:
        self.name = name
        self.text: i64 = mix_text(name, _TRADER_SEED)
        self.open_orders: i64 = 0
        self.first: LiveOrder | None = None
        self.last: LiveOrder | None = None
        self.max_open_orders: i64 = -1  # limits of its own; -1: the group's
        self.rate_commands: i64 = -1
        self.rate_window_ms: i64 = -1
        self.window_end: i64 = 0  # 0: no window is open
        self.window_count: i64 = 0
        self.contribution: i64 = 0  # to the state hash
        self.is_dirty = False
        self.is_registered = False

    def has_limits(self) -> bool:
        return self.max_open_orders >= 0 or self.rate_commands >= 0 or self.rate_window_ms >= 0

    def is_idle(self) -> bool:
        return self.open_orders == 0 and self.window_end == 0 and not self.has_limits()

    def mixed(self) -> i64:
        """Its part of the state hash. Its orders have their own."""
        if self.window_end == 0 and not self.has_limits():
            return 0
        limits: list[int] = [self.max_open_orders + 1, self.rate_commands + 1, self.rate_window_ms + 1]
        return mix_integers([self.text, *limits, self.window_end, self.window_count])

    def append(self, order: LiveOrder) -> None:
        last = self.last
        order.trader_previous = last
        if last is None:
            self.first = order
        else:
            last.trader_next = order
        self.last = order
        self.open_orders += 1

    def unlink(self, order: LiveOrder) -> None:
        before = order.trader_previous
        after = order.trader_next
        if before is None:
            self.first = after
        else:
            before.trader_next = after
            order.trader_previous = None
        if after is None:
            self.last = before
        else:
            after.trader_previous = before
            order.trader_next = None
        self.open_orders -= 1


@final
@mypyc_attr(acyclic=True)
class Session:
    """The live orders that were placed in one session."""

    __slots__ = ("first", "id", "last")

    def __init__(self, id: i64) -> None:
        self.id = id
        self.first: LiveOrder | None = None
        self.last: LiveOrder | None = None

    def append(self, order: LiveOrder) -> None:
        last = self.last
        order.session_previous = last
        if last is None:
            self.first = order
        else:
            last.session_next = order
        self.last = order

    def unlink(self, order: LiveOrder) -> None:
        before = order.session_previous
        after = order.session_next
        if before is None:
            self.first = after
        else:
            before.session_next = after
            order.session_previous = None
        if after is None:
            self.last = before
        else:
            after.session_previous = before
            order.session_next = None


@final
@mypyc_attr(acyclic=True)
class Level:
    """The orders at one price, first come first."""

    __slots__ = ("count", "first", "key", "last", "price", "total")

    def __init__(self, price: i64, key: Any) -> None:
        self.price = price
        self.key = key  # the price as an object, as events and the index of levels need it
        self.total: i64 = 0  # open quantity
        self.count: i64 = 0
        self.first: LiveOrder | None = None
        self.last: LiveOrder | None = None

    def append(self, order: LiveOrder) -> None:
        last = self.last
        order.previous = last
        if last is None:
            self.first = order
        else:
            last.next = order
        self.last = order
        order.level = self
        self.total += order.open
        self.count += 1

    def unlink(self, order: LiveOrder) -> None:
        before = order.previous
        after = order.next
        if before is None:
            self.first = after
        else:
            before.next = after
            order.previous = None
        if after is None:
            self.last = before
        else:
            after.previous = before
            order.next = None
        order.level = None
        self.total -= order.open
        self.count -= 1


@final
@mypyc_attr(acyclic=True)
class LiveOrder:
    """An order that is being matched or rests. ``quantity`` is its total, ``quantity - open`` what was filled.

    ``key`` and ``price_key`` are ``number`` and ``price`` as objects: what came decoded from the log goes into events
    and dictionaries as it is.
    """

    __slots__ = (
        "arrival", "contribution", "expiry", "key", "kind", "level", "next", "number", "open", "post_only", "previous",
        "price", "price_key", "quantity", "self_trade", "session", "session_next", "session_previous", "side",
        "time_in_force", "trader", "trader_next", "trader_previous",
    )  # fmt: skip

    def __init__(self, side: BookSide, trader: Trader) -> None:
        # In the order of use: what a neighbour in a list touches stays together in memory.
        self.side = side
        self.trader = trader
        self.key: Any = 0
        self.price_key: Any = 0
        self.level: Level | None = None  # None: it does not rest
        self.previous: LiveOrder | None = None
        self.next: LiveOrder | None = None
        self.trader_previous: LiveOrder | None = None
        self.trader_next: LiveOrder | None = None
        self.session: Session | None = None
        self.open: i64 = 0
        self.expiry: i64 = NEVER
        self.contribution: i64 = 0  # to the state hash
        self.quantity: i64 = 0
        self.number: i64 = 0
        self.price: i64 = 0
        self.arrival: i64 = 0
        self.kind: i64 = LIMIT
        self.time_in_force: i64 = GTC
        self.self_trade: i64 = ALLOW
        self.post_only = False
        self.session_previous: LiveOrder | None = None
        self.session_next: LiveOrder | None = None

    def mixed(self) -> i64:
        """Its part of the state hash: everything that may decide what becomes of it."""
        session = self.session
        number: i64 = 0 if session is None else session.id
        terms: i64 = self.self_trade + (8 if self.post_only else 0) + (16 if self.side.code == BID else 32)
        rest: i64 = ((self.side.text + self.trader.text) & HASH_MASK) ^ terms
        return mix_order(self.number, self.price, self.open, self.quantity, self.arrival, self.expiry, number, rest)


def release(orders: list[LiveOrder]) -> None:
    """Break all links of orders whose book is given up, so that they can be freed."""
    for order in orders:
        level = order.level
        if level is not None:
            level.first = level.last = None
        session = order.session
        if session is not None:
            session.first = session.last = None
        trader = order.trader
        trader.first = trader.last = None
        order.level = None
        order.session = None
        order.previous = order.next = None
        order.trader_previous = order.trader_next = None
        order.session_previous = order.session_next = None
