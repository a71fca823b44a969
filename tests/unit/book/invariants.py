"""What holds in a book after every entry, checked from the inside (structure) and from the events (the ledger)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from orderbook.book import EventKind, OrderBook, Pairs, Side, TopOfBook, view
from orderbook.book.constants import NEVER
from orderbook.book.events import Event
from orderbook.book.levels import LevelBook
from orderbook.book.mixing import HASH_MASK


def check_structure(machine: OrderBook) -> None:
    book = machine._book
    found: list[Any] = []
    for pair in book.pairs.values():
        for side in (pair.bids, pair.asks):
            found += _check_side(side)
        if pair.bids.best is not None and pair.asks.best is not None:
            assert pair.bids.best.price < pair.asks.best.price, "a crossed book"
    assert {order.key: order.arrival for order in found} == {key: order.arrival for key, order in book.orders.items()}
    arrivals = [order.arrival for order in book.orders.values()]
    assert arrivals == sorted(arrivals), "the index is in the order of arrival"
    assert book.orders_hash == sum(order.mixed() for order in found) & HASH_MASK, "the hash follows the orders"
    _check_traders(book)
    _check_sessions(book)
    _check_expiries(book)


def _check_side(side: Any) -> list[Any]:
    found: list[Any] = []
    levels = list(side.best_first())
    prices = [level.price for level in levels]
    assert prices == sorted(prices, reverse=side.is_bid), "levels in the order of price"
    assert side.best is (levels[0] if levels else None)
    for level in levels:
        queue = _walk(level, "previous", "next")
        assert queue, "an empty level"
        assert level.total == sum(order.open for order in queue) > 0
        assert level.count == len(queue)
        assert all(order.level is level and order.side is side and order.price == level.price for order in queue)
        assert all(0 < order.open <= order.quantity for order in queue)
        arrivals = [order.arrival for order in queue]
        assert arrivals == sorted(arrivals), "a queue in the order of arrival"
        found += queue
    assert list(side.prices) == sorted(side.levels)
    assert side.open_orders == len(found)
    assert side.volume == sum(order.open for order in found)
    return found


def _check_traders(book: Any) -> None:
    held = 0
    for name, trader in book.traders.items():
        orders = _walk(trader, "trader_previous", "trader_next")
        assert trader.name == name
        assert trader.is_registered
        assert trader.open_orders == len(orders)
        assert not trader.is_idle(), "a trader of whom there is nothing to know"
        assert [order.arrival for order in orders] == sorted(order.arrival for order in orders)
        assert all(order.trader is trader for order in orders)
        held += len(orders)
    assert held == len(book.orders)


def _check_sessions(book: Any) -> None:
    held = 0
    for id, session in book.sessions.items():
        orders = _walk(session, "session_previous", "session_next")
        assert session.id == id
        assert orders, "a session without orders"
        assert all(order.session is session for order in orders)
        held += len(orders)
    assert held == sum(order.session is not None for order in book.orders.values())


def _check_expiries(book: Any) -> None:
    waiting = sorted((order.expiry, order.arrival) for order in book.orders.values() if order.expiry != NEVER)
    noted = sorted(
        (expiry, arrival)
        for expiry, arrival, order in book.expiries
        if order.level is not None and order.arrival == arrival
    )
    assert noted == waiting
    if not book.pending.is_under_way():
        assert book.next_deadline() == (waiting[0][0] if waiting else None)
    assert book.stale == len(book.expiries) - len(noted)


def _walk(holder: Any, previous: str, following: str) -> list[Any]:
    orders: list[Any] = []
    order = holder.first
    while order is not None:
        assert getattr(order, previous) is (orders[-1] if orders else None)
        orders.append(order)
        order = getattr(order, following)
    assert holder.last is (orders[-1] if orders else None)
    return orders


class Ledger:
    """Quantities and levels, told by events alone."""

    def __init__(self) -> None:
        self.levels = LevelBook()
        self.accepted = self.traded = self.cancelled = self.expired = self.amended_up = self.amended_down = 0

    def follow(self, events: Iterable[Event]) -> None:
        for event in events:
            self.levels.follow(event)
            named: Any = view(event)
            kind = event[0]
            if kind == EventKind.ACCEPTED:
                self.accepted += named.quantity
            elif kind == EventKind.FILL:
                self.traded += named.quantity
            elif kind == EventKind.CANCELLED:
                self.cancelled += named.quantity
            elif kind == EventKind.EXPIRED:
                self.expired += named.quantity
            elif kind == EventKind.AMENDED:
                change = named.quantity - named.old_quantity
                assert change == named.open - named.old_open
                self.amended_up += max(change, 0)
                self.amended_down += max(-change, 0)

    def check(self, machine: OrderBook) -> None:
        open_ = sum(order.open for order in machine._book.orders.values())
        gone = 2 * self.traded + open_ + self.cancelled + self.expired + self.amended_down
        assert self.accepted + self.amended_up == gone
        for pair in machine.query(Pairs()):
            book = machine.query(TopOfBook(pair.pair, 1_000_000))
            assert self.levels.side(pair.pair, Side.BID) == book.bids
            assert self.levels.side(pair.pair, Side.ASK) == book.asks
