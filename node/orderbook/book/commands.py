"""Orders and commands as users write them, with the enums of their fields.

A command knows its positional form (``encoded``); ``codec`` makes the body of a log entry of many. Nothing is checked
here: ``OrderBook.apply`` checks every command on every node, and refuses with a ``RejectReason``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Protocol

from orderbook.book import constants as c

Row = tuple[Any, ...]


class Role(IntEnum):
    """What a principal may do. Observers may do nothing here: they ask and listen."""

    OBSERVER = c.OBSERVER
    TRADER = c.TRADER
    ADMIN = c.ADMIN


class Side(IntEnum):
    BID = c.BID
    ASK = c.ASK


class OrderType(IntEnum):
    LIMIT = c.LIMIT
    MARKET = c.MARKET


class TimeInForce(IntEnum):
    """How long an order may rest: until cancelled, not at all (what is left is cancelled, or all or nothing), until a
    time of the log."""

    GTC = c.GTC
    IOC = c.IOC
    FOK = c.FOK
    GTD = c.GTD


class SelfTrade(IntEnum):
    """What happens when an incoming order meets one of its own trader. The incoming order's mode governs."""

    ALLOW = c.ALLOW
    CANCEL_NEWEST = c.CANCEL_NEWEST
    CANCEL_OLDEST = c.CANCEL_OLDEST
    CANCEL_BOTH = c.CANCEL_BOTH


class Command(Protocol):
    def encoded(self) -> Row:
        """The positional form, trailing defaults left out."""
        ...


@dataclass(frozen=True, slots=True)
class Order:
    """What a trader wants: ``quantity`` lots of ``pair`` at ``price`` ticks or better.

    ``id`` is 1 .. 2^52 - 1, unique among live orders; None: the book assigns one from 2^52 on. ``price`` and
    ``quantity`` are 1 .. 2^53 - 1; a market order has no price. ``trader`` left empty is the principal who sends it.
    ``expires`` (milliseconds of log time) goes with GTD and only with it.
    """

    id: int | None
    pair: str
    side: Side
    price: int | None
    quantity: int
    trader: str = ""
    type: OrderType = OrderType.LIMIT
    time_in_force: TimeInForce = TimeInForce.GTC
    expires: int | None = None
    post_only: bool = False
    self_trade: SelfTrade = SelfTrade.ALLOW

    def __str__(self) -> str:
        who = f"{self.trader} " if self.trader else ""
        price = "market" if self.price is None else self.price
        return f"{who}{Side(self.side).name} {self.pair}@{price} qty={self.quantity}"


@dataclass(frozen=True, slots=True)
class PlaceOrder:
    order: Order

    def encoded(self) -> Row:
        order = self.order
        row = (c.PLACE, order.id, order.pair, int(order.side), order.price, order.quantity)
        terms = (
            order.trader or None,
            _unless(order.type, c.LIMIT),
            _unless(order.time_in_force, c.GTC),
            order.expires,
            order.post_only or None,
            _unless(order.self_trade, c.ALLOW),
        )
        return (*row, *_trimmed(terms))


@dataclass(frozen=True, slots=True)
class CancelOrder:
    """All that is open of an order, or ``quantity`` of it. An admin that names no trader acts for the owner."""

    id: int
    quantity: int | None = None
    trader: str = ""

    def encoded(self) -> Row:
        return (c.CANCEL, self.id, *_trimmed((self.quantity, self.trader or None)))


@dataclass(frozen=True, slots=True)
class AmendOrder:
    """A new price, a new total quantity (filled and open together), or both; None stays as it is."""

    id: int
    price: int | None = None
    quantity: int | None = None
    trader: str = ""

    def encoded(self) -> Row:
        return (c.AMEND, self.id, *_trimmed((self.price, self.quantity, self.trader or None)))


@dataclass(frozen=True, slots=True)
class CancelAll:
    """All orders of a trader (left out: the principal), or those in one pair."""

    trader: str = ""
    pair: str | None = None

    def encoded(self) -> Row:
        return (c.CANCEL_ALL, *_trimmed((self.trader or None, self.pair)))


@dataclass(frozen=True, slots=True)
class PairSpec:
    """A pair to be traded. ``tick`` and ``lot`` (decimals) and ``fills_kept`` never change, the limits may."""

    pair: str
    tick: str = "1"
    lot: str = "1"
    fills_kept: int = 1000
    max_quantity: int | None = None
    min_price: int | None = None
    max_price: int | None = None


@dataclass(frozen=True, slots=True)
class DefinePair:
    """Make a pair tradable. Defined again with the same tick and lot, nothing changes."""

    spec: PairSpec

    def encoded(self) -> Row:
        spec = self.spec
        terms = (
            None if spec.tick == "1" else spec.tick,
            None if spec.lot == "1" else spec.lot,
            _unless(spec.fills_kept, 1000),
            spec.max_quantity,
            spec.min_price,
            spec.max_price,
        )
        return (c.DEFINE_PAIR, spec.pair, *_trimmed(terms))


@dataclass(frozen=True, slots=True)
class ChangePair:
    """Other limits for a pair; None stays as it is."""

    pair: str
    max_quantity: int | None = None
    min_price: int | None = None
    max_price: int | None = None

    def encoded(self) -> Row:
        return (c.CHANGE_PAIR, self.pair, *_trimmed((self.max_quantity, self.min_price, self.max_price)))


@dataclass(frozen=True, slots=True)
class HaltPair:
    """No new orders and amends in a pair until it is resumed. Cancels go on; ``cancel`` clears the book at once."""

    pair: str
    cancel: bool = False

    def encoded(self) -> Row:
        return (c.HALT_PAIR, self.pair, *_trimmed((self.cancel or None,)))


@dataclass(frozen=True, slots=True)
class ResumePair:
    pair: str

    def encoded(self) -> Row:
        return (c.RESUME_PAIR, self.pair)


@dataclass(frozen=True, slots=True)
class Configure:
    """Limits of every trader without its own, or of one ``trader``. 0 is no limit, None stays as it is.

    At most ``max_open_orders`` resting orders and ``rate_commands`` accepted orders and amends in each window of
    ``rate_window_ms``, which begins with the first of them. For one trader, all None gives its own limits up.
    """

    max_open_orders: int | None = None
    rate_commands: int | None = None
    rate_window_ms: int | None = None
    trader: str = ""

    def encoded(self) -> Row:
        limits = (self.max_open_orders, self.rate_commands, self.rate_window_ms)
        return (c.CONFIGURE, self.trader or None, *_trimmed(limits))


@dataclass(frozen=True, slots=True)
class Halt:
    """The kill switch: no new orders and amends in any pair until Resume. ``cancel`` cancels every order."""

    cancel: bool = False

    def encoded(self) -> Row:
        return (c.HALT, *_trimmed((self.cancel or None,)))


@dataclass(frozen=True, slots=True)
class Resume:
    """Undo Halt. Pairs that were halted by themselves stay halted."""

    def encoded(self) -> Row:
        return (c.RESUME,)


def _unless(value: int, default: int) -> int | None:
    return None if value == default else int(value)


def _trimmed(places: tuple[Any, ...]) -> tuple[Any, ...]:
    """Without what is left out at the end."""
    end = len(places)
    while end and places[end - 1] is None:
        end -= 1
    return places[:end]
