"""What a command leads to. An event is a positional tuple; its kind says what stands where.

========== ==== ================================================================================================
kind       code the places after (kind, offset, ...)
========== ==== ================================================================================================
accepted   1    order_id, pair, side, price, quantity, resting, trader, type, time_in_force
rejected   2    order_id, reason, trader, pair
fill       3    bid_order_id, ask_order_id, pair, price, quantity, taker_side, bid_open, ask_open, time_ms,
                bid_trader, ask_trader
cancelled  4    order_id, pair, side, price, quantity, open, trader, reason
amended    5    order_id, pair, side, price, quantity, open, resting, trader, old_price, old_quantity, old_open,
                kept_place
expired    6    order_id, pair, side, price, quantity, trader
pair_      7    pair, tick, lot, fills_kept, max_quantity, min_price, max_price, is_new
defined
pair_      8    pair, max_quantity, min_price, max_price
changed
halted     9    pair
resumed    10   pair (empty: the whole group)
killed     11
configured 12   trader (empty: all without limits of their own), max_open_orders, rate_commands, rate_window_ms
cancelled_ 13   trader, pair (empty: every pair), orders, more
all
========== ==== ================================================================================================

``offset`` is the place in its batch of the command that caused it, -1 where none did: orders that expired, orders of a
session that was closed, orders that an earlier entry had yet to cancel. An event's sequence is (log index, its place
among the events of the entry); it is implied.

An order's own event comes before its fills. ``resting`` is what will be left of it in the book after them, so that the
level book is a plain sum over events (see ``levels``). ``quantity`` of an amended order is its new total, ``open`` what
of it is not filled when it starts to trade. ``quantity`` of a cancel is what was taken away, ``open`` what is left.
``more`` of a cancel of all: others of them trade no more either, and are cancelled by the entries that follow.
Prices of market orders are 0. Ids and names that a refused command did not give in the right form are 0 and empty.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, NamedTuple

from orderbook.book import constants as c
from orderbook.book.commands import OrderType, Side, TimeInForce

Event = tuple[Any, ...]


class EventKind(IntEnum):
    ACCEPTED = c.ACCEPTED
    REJECTED = c.REJECTED
    FILL = c.FILL
    CANCELLED = c.CANCELLED
    AMENDED = c.AMENDED
    EXPIRED = c.EXPIRED
    PAIR_DEFINED = c.PAIR_DEFINED
    PAIR_CHANGED = c.PAIR_CHANGED
    HALTED = c.HALTED
    RESUMED = c.RESUMED
    KILLED = c.KILLED
    CONFIGURED = c.CONFIGURED
    CANCELLED_ALL = c.CANCELLED_ALL


class CancelReason(IntEnum):
    """Up to TRADING_HALTED the order rested; what comes after never did."""

    REQUESTED = c.REQUESTED
    SELF_TRADE = c.SELF_TRADE
    SESSION_CLOSED = c.SESSION_CLOSED
    TRADING_HALTED = c.TRADING_HALTED
    IOC_REMAINDER = c.IOC_REMAINDER
    MARKET_REMAINDER = c.MARKET_REMAINDER
    SELF_TRADE_TAKER = c.SELF_TRADE_TAKER


class RejectReason(IntEnum):
    """Why a command was refused: the whole list. In JSON a reason is its name in small letters."""

    MALFORMED = c.MALFORMED
    NOT_PERMITTED = c.NOT_PERMITTED
    NOT_OWNER = c.NOT_OWNER
    HALTED = c.IS_HALTED
    PAIR_HALTED = c.PAIR_IS_HALTED
    UNKNOWN_PAIR = c.UNKNOWN_PAIR
    UNKNOWN_ORDER = c.UNKNOWN_ORDER
    DUPLICATE_ORDER_ID = c.DUPLICATE_ORDER_ID
    INVALID_ID = c.INVALID_ID
    INVALID_PAIR = c.INVALID_PAIR
    INVALID_SIDE = c.INVALID_SIDE
    INVALID_PRICE = c.INVALID_PRICE
    INVALID_QUANTITY = c.INVALID_QUANTITY
    INVALID_TRADER = c.INVALID_TRADER
    INVALID_TYPE = c.INVALID_TYPE
    INVALID_TIME_IN_FORCE = c.INVALID_TIME_IN_FORCE
    INVALID_EXPIRY = c.INVALID_EXPIRY
    INVALID_POST_ONLY = c.INVALID_POST_ONLY
    INVALID_SELF_TRADE = c.INVALID_SELF_TRADE
    INVALID_INCREMENT = c.INVALID_INCREMENT
    INVALID_LIMIT = c.INVALID_LIMIT
    PRICE_OUT_OF_BAND = c.PRICE_OUT_OF_BAND
    QUANTITY_ABOVE_LIMIT = c.QUANTITY_ABOVE_LIMIT
    QUANTITY_BELOW_FILLED = c.QUANTITY_BELOW_FILLED
    LEVEL_FULL = c.LEVEL_FULL
    EXPIRY_PASSED = c.EXPIRY_PASSED
    WOULD_CROSS = c.WOULD_CROSS
    WOULD_NOT_FILL = c.WOULD_NOT_FILL
    TOO_MANY_OPEN_ORDERS = c.TOO_MANY_OPEN_ORDERS
    RATE_LIMITED = c.RATE_LIMITED
    PAIR_EXISTS = c.PAIR_EXISTS
    TOO_MANY_PAIRS = c.TOO_MANY_PAIRS
    CANCELS_PENDING = c.CANCELS_PENDING


class Accepted(NamedTuple):
    kind: int
    offset: int
    order_id: int
    pair: str
    side: int
    price: int
    quantity: int
    resting: int
    trader: str
    type: int
    time_in_force: int


class Rejected(NamedTuple):
    kind: int
    offset: int
    order_id: int
    reason: int
    trader: str
    pair: str


class Filled(NamedTuple):
    kind: int
    offset: int
    bid_order_id: int
    ask_order_id: int
    pair: str
    price: int
    quantity: int
    taker_side: int
    bid_open: int
    ask_open: int
    time_ms: int
    bid_trader: str
    ask_trader: str


class Cancelled(NamedTuple):
    kind: int
    offset: int
    order_id: int
    pair: str
    side: int
    price: int
    quantity: int
    open: int
    trader: str
    reason: int


class Amended(NamedTuple):
    kind: int
    offset: int
    order_id: int
    pair: str
    side: int
    price: int
    quantity: int
    open: int
    resting: int
    trader: str
    old_price: int
    old_quantity: int
    old_open: int
    kept_place: bool


class Expired(NamedTuple):
    kind: int
    offset: int
    order_id: int
    pair: str
    side: int
    price: int
    quantity: int
    trader: str


class PairDefined(NamedTuple):
    kind: int
    offset: int
    pair: str
    tick: str
    lot: str
    fills_kept: int
    max_quantity: int
    min_price: int
    max_price: int
    is_new: bool


class PairChanged(NamedTuple):
    kind: int
    offset: int
    pair: str
    max_quantity: int
    min_price: int
    max_price: int


class Halted(NamedTuple):
    kind: int
    offset: int
    pair: str


class Resumed(NamedTuple):
    kind: int
    offset: int
    pair: str


class Killed(NamedTuple):
    kind: int
    offset: int


class Configured(NamedTuple):
    kind: int
    offset: int
    trader: str
    max_open_orders: int
    rate_commands: int
    rate_window_ms: int


class CancelledAll(NamedTuple):
    kind: int
    offset: int
    trader: str
    pair: str
    orders: int
    more: bool


View = (
    Accepted
    | Rejected
    | Filled
    | Cancelled
    | Amended
    | Expired
    | PairDefined
    | PairChanged
    | Halted
    | Resumed
    | Killed
    | Configured
    | CancelledAll
)

VIEWS: dict[int, type[Any]] = {
    c.ACCEPTED: Accepted,
    c.REJECTED: Rejected,
    c.FILL: Filled,
    c.CANCELLED: Cancelled,
    c.AMENDED: Amended,
    c.EXPIRED: Expired,
    c.PAIR_DEFINED: PairDefined,
    c.PAIR_CHANGED: PairChanged,
    c.HALTED: Halted,
    c.RESUMED: Resumed,
    c.KILLED: Killed,
    c.CONFIGURED: Configured,
    c.CANCELLED_ALL: CancelledAll,
}


class Fill(NamedTuple):
    """A trade at the resting order's price. ``sequence`` is (log index, ordinal); None where it is not known.

    ``bid_open`` and ``ask_open`` are what is left of both orders, ``time_ms`` the log's time.
    """

    bid_order_id: int
    ask_order_id: int
    pair: str
    price: int
    quantity: int
    taker_side: Side = Side.BID
    bid_open: int = 0
    ask_open: int = 0
    time_ms: int = 0
    sequence: tuple[int, int] | None = None

    def __str__(self) -> str:
        return f"Fill(bid={self.bid_order_id}, ask={self.ask_order_id}, {self.pair}@{self.price}, qty={self.quantity})"


def view(event: Event) -> View:
    """The event with names to its places."""
    named: View = VIEWS[event[0]](*event)
    return named


def fill_of(event: Event, sequence: tuple[int, int] | None = None) -> Fill:
    """The public part of a fill event."""
    bid, ask, pair, price, quantity, taker_side, bid_open, ask_open, time_ms = event[2:11]
    return Fill(bid, ask, pair, price, quantity, Side(taker_side), bid_open, ask_open, time_ms, sequence)


def traders_of(event: Event) -> tuple[str, ...]:
    """Whose private event this is: both sides of a fill, the trader of an order; nobody for what concerns all."""
    kind = event[0]
    if kind == c.FILL:
        return (event[11],) if event[11] == event[12] else (event[11], event[12])
    position = _TRADER_PLACES.get(kind)
    return () if position is None or not event[position] else (event[position],)


def public(event: Event) -> Event | None:
    """What everybody may see of an event: no names; None where it is nobody else's business."""
    kind = event[0]
    if kind == c.FILL:
        return (*event[:11], "", "")
    if kind == c.REJECTED or kind == c.CANCELLED_ALL or (kind == c.CONFIGURED and event[2]):
        return None
    if kind == c.ACCEPTED and event[7] == 0:
        return None  # it never rested: its fills tell
    if kind == c.CANCELLED and event[9] >= c.IOC_REMAINDER:
        return None
    position = _TRADER_PLACES.get(kind)
    return event if position is None else (*event[:position], "", *event[position + 1 :])


_TRADER_PLACES = {kind: named._fields.index("trader") for kind, named in VIEWS.items() if "trader" in named._fields}
_LABELS: dict[str, type[IntEnum]] = {
    "side": Side,
    "taker_side": Side,
    "type": OrderType,
    "time_in_force": TimeInForce,
}
_NO_PRICE = {c.ACCEPTED, c.CANCELLED}
_HIDDEN = ("kind", "offset")


def to_json(event: Event, *, line: int | None = None, sequence: tuple[int, int] | None = None) -> dict[str, Any]:
    """The event as a JSON object: names for codes, and ``line`` and ``sequence`` where they are given."""
    kind = event[0]
    document: dict[str, Any] = {"event": EventKind(kind).name.lower()}
    if line is not None:
        document["line"] = line
    if sequence is not None:
        document["sequence"] = list(sequence)
    reasons = CancelReason if kind == c.CANCELLED else RejectReason
    for name, value in zip(VIEWS[kind]._fields, event, strict=True):
        if name in _HIDDEN:
            continue
        if name in _LABELS:
            value = _LABELS[name](value).name.lower()
        elif name == "reason":
            value = reasons(value).name.lower()
        elif name == "price" and value == 0 and kind in _NO_PRICE:
            value = None
        document[name] = value
    return document
