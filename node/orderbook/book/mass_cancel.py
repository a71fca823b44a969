"""Cancels of many orders at once: of a trader, of a pair that is halted, of a session that ended.

Each looks at orders until the entry's share is used up, and leaves the rest to ``PendingCancels``. An entry goes on
with those before its commands run, and the leader proposes another TICK while there are any. Commands behave as if all
had been cancelled at once, with three exceptions: until they have left, doomed orders count towards a trader's limits
and a level's; a pair or group is not resumed before it is clear; and a taker that would meet more of them than an entry
may cancel on the way is rejected with CANCELS_PENDING.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

from mypy_extensions import i64

from orderbook.book.constants import REQUESTED, SESSION_CLOSED, TRADING_HALTED
from orderbook.book.matching import cancel_resting, expire_due
from orderbook.book.orders import Trader
from orderbook.book.pending_cancels import TraderCancel
from orderbook.book.sides import Pair
from orderbook.book.state import Book


def begin_entry(book: Book, events: list[Any]) -> None:
    """What comes before an entry's commands: orders that are due expire, and some that are doomed are cancelled."""
    expire_due(book, events)
    if book.pending.is_under_way():
        _go_on(book, events)
        book.overdue = book.overdue or book.pending.is_under_way()


def cancel_of_trader(book: Book, trader: Trader, pair: str, offset: Any, events: list[Any]) -> tuple[i64, bool]:
    """Orders of a trader, of one pair or EVERY_PAIR: how many were cancelled, and whether others follow."""
    pending = book.pending
    number: i64 = 0
    order = trader.first
    while order is not None and pending.left > 0:
        after = order.trader_next
        pending.left -= 1
        if not pair or pair == order.side.pair.name:
            cancel_resting(book, order, REQUESTED, offset, events)
            number += 1
        order = after
    if order is None:
        return number, False
    pending.add_trader(trader.name, pair, book.arrivals, order)
    book.overdue = True
    return number, True


def clear_pair(book: Book, pair: Pair, offset: Any, events: list[Any]) -> None:
    """Every order of a pair that is halted: bids, then asks, each in the order in which they would trade."""
    pending = book.pending
    for side in (pair.bids, pair.asks):
        level = side.best
        while level is not None:
            if pending.left == 0:
                pending.pairs[pair.name] = pair
                book.overdue = True
                return
            pending.left -= 1
            order = level.first
            assert order is not None
            cancel_resting(book, order, TRADING_HALTED, offset, events)
            level = side.best
    if pair.name in pending.pairs:
        del pending.pairs[pair.name]


def clear_session(book: Book, id: i64, events: list[Any]) -> None:
    """The orders of a session that ended; nobody asked for it by a command."""
    pending = book.pending
    session = book.sessions.get(id)
    order = None if session is None else session.first
    while order is not None:
        if pending.left == 0:
            pending.sessions[id] = True
            book.overdue = True
            return
        pending.left -= 1
        after = order.session_next
        cancel_resting(book, order, SESSION_CLOSED, -1, events)
        order = after
    if id in pending.sessions:
        del pending.sessions[id]


def _go_on(book: Book, events: list[Any]) -> None:
    """With what earlier entries left, oldest first of each kind. What the commands may use is not touched."""
    pending = book.pending
    of_commands = pending.left
    pending.left = pending.limit
    for pair in list(islice(pending.pairs.values(), pending.limit)):
        clear_pair(book, pair, -1, events)
        if pending.left == 0:
            break
    for id in list(islice(pending.sessions, pending.left)):
        clear_session(book, id, events)
        if pending.left == 0:
            break
    for cancel in list(islice(pending.traders.values(), pending.left)):
        _walk(book, cancel, events)
        if pending.left == 0:
            break
    pending.left = of_commands


def _walk(book: Book, cancel: TraderCancel, events: list[Any]) -> None:
    pending = book.pending
    while pending.left > 0:
        order = cancel.next
        if order is None and cancel.again:
            cancel.again = False
            trader = book.traders.get(cancel.trader)
            order = None if trader is None else trader.first
            cancel.next = order
        if order is None:
            del pending.traders[cancel.trader]
            return
        pending.left -= 1
        if cancel.covers(order):
            cancel_resting(book, order, REQUESTED, -1, events)
        elif order.arrival > cancel.last:
            cancel.next = None  # what comes behind it is younger still
        else:
            cancel.next = order.trader_next
