"""A book to talk to in short sentences, which checks all invariants after every entry.

market = Market()
market.sell(1, 10, at=300, trader="alice")
assert market.buy(2, 15, at=300, trader="bob") == ["accepted 2 rests 5", "fill 2x1 10@300"]
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from orderbook.book import (
    AmendOrder,
    CancelOrder,
    CancelReason,
    Command,
    DefinePair,
    EventKind,
    Order,
    OrderBook,
    OrderType,
    PairSpec,
    PlaceOrder,
    RejectReason,
    Role,
    Side,
    TimeInForce,
    TopOfBook,
    view,
)
from orderbook.book.codec import pack
from orderbook.book.events import Event
from unit.book.invariants import Ledger, check_structure

PAIR = "ETH/USDC"


class Context:
    """Where, when and for whom the next entry is applied."""

    def __init__(self) -> None:
        self.index = 0
        self.now_ms = 0
        self.principal = "root"
        self.role: int = Role.ADMIN
        self.session = 0
        self.machine_version = 1


class Market:
    def __init__(self, *pairs: PairSpec | str) -> None:
        self.machine = OrderBook()
        self.context = Context()
        self.ledger = Ledger()
        for pair in pairs or (PAIR,):
            self.do(DefinePair(PairSpec(pair) if isinstance(pair, str) else pair))

    # Entries

    def entry(self, body: bytes, count: int) -> list[Event]:
        self.context.index += 1
        events = self.machine.apply(self.context, body, count)
        return self._checked(events)

    def tick(self, now_ms: int) -> list[str]:
        self.context.index += 1
        self.context.now_ms = now_ms
        return [short(event) for event in self._checked(self.machine.tick(self.context))]

    def close_session(self, session: int, *, cancel: bool) -> list[str]:
        self.context.index += 1
        self.context.session = session
        events = self._checked(self.machine.session_closed(self.context, cancel))
        self.context.session = 0
        return [short(event) for event in events]

    def rows(self, *rows: Any) -> list[str]:
        """Commands in their positional form, right or wrong."""
        return [short(event) for event in self.entry(pack(rows), len(rows))]

    def do(self, *commands: Command) -> list[str]:
        return [short(event) for event in self.entry(self.machine.encode(commands), len(commands))]

    def as_trader(self, name: str) -> Market:
        """The same market for a principal who is a trader."""
        return self._as(name, Role.TRADER)

    def as_observer(self, name: str) -> Market:
        return self._as(name, Role.OBSERVER)

    def _as(self, name: str, role: Role) -> Market:
        self.context.principal = name
        self.context.role = role
        return self

    # Commands

    def buy(self, id: int | None, quantity: int, at: int | None, trader: str = "bob", **terms: Any) -> list[str]:
        return self.do(PlaceOrder(order(id, Side.BID, quantity, at, trader, **terms)))

    def sell(self, id: int | None, quantity: int, at: int | None, trader: str = "alice", **terms: Any) -> list[str]:
        return self.do(PlaceOrder(order(id, Side.ASK, quantity, at, trader, **terms)))

    def cancel(self, id: int, quantity: int | None = None, trader: str = "") -> list[str]:
        return self.do(CancelOrder(id, quantity, trader))

    def amend(self, id: int, *, price: int | None = None, quantity: int | None = None, trader: str = "") -> list[str]:
        return self.do(AmendOrder(id, price, quantity, trader))

    # What there is

    @property
    def bids(self) -> list[tuple[int, int, int]]:
        return self._levels().bids

    @property
    def asks(self) -> list[tuple[int, int, int]]:
        return self._levels().asks

    def _levels(self) -> Any:
        return self.machine.query(TopOfBook(PAIR, 1_000))

    def _checked(self, events: list[Event]) -> list[Event]:
        self.ledger.follow(events)
        check_structure(self.machine)
        self.ledger.check(self.machine)
        return events


def order(id: int | None, side: Side, quantity: int, price: int | None, trader: str, **terms: Any) -> Order:
    """An order with terms by their short names: tif="ioc", kind="market", expires=, post_only=, self_trade=, pair=."""
    named: dict[str, Any] = {"pair": PAIR, **terms}
    if "tif" in named:
        named["time_in_force"] = TimeInForce[named.pop("tif").upper()]
    if "kind" in named:
        named["type"] = OrderType[named.pop("kind").upper()]
    return Order(id=id, side=side, price=price, quantity=quantity, trader=trader, **named)


def short(event: Event) -> str:
    """An event in a few words."""
    named: Any = view(event)
    kind = EventKind(event[0])
    if kind is EventKind.ACCEPTED:
        return f"accepted {named.order_id} rests {named.resting}"
    if kind is EventKind.REJECTED:
        return f"rejected {named.order_id} {RejectReason(named.reason).name.lower()}"
    if kind is EventKind.FILL:
        return f"fill {named.bid_order_id}x{named.ask_order_id} {named.quantity}@{named.price}"
    if kind is EventKind.CANCELLED:
        left = f" leaves {named.open}" if named.open else ""
        return f"cancelled {named.order_id} {named.quantity} {CancelReason(named.reason).name.lower()}{left}"
    if kind is EventKind.AMENDED:
        place = ", keeps its place" if named.kept_place else ""
        return f"amended {named.order_id} {named.quantity}@{named.price} rests {named.resting}{place}"
    if kind is EventKind.EXPIRED:
        return f"expired {named.order_id} {named.quantity}"
    if kind is EventKind.CANCELLED_ALL:
        event = (*event[:-1], "and more" if named.more else "")
    return " ".join(str(part) for part in (kind.name.lower(), *event[2:]) if part != "")


def restored(machine: OrderBook) -> OrderBook:
    """The same state in another machine, by way of a snapshot."""
    other = OrderBook()
    for _ in other.restore(list(machine.snapshot())):
        pass
    return other


def fills(told: Sequence[str]) -> list[str]:
    return [line for line in told if line.startswith("fill")]
