"""Matching: price first, then time, at the resting order's price.

An incoming order (the taker) trades with the other side's best level, there with the first order, until it is filled,
nothing is left at its price, or its self-trade mode stops it. Before a taker that might meet orders that are due or
doomed (``Book.overdue``) changes anything, ``fillable`` walks the same way, expires and cancels those that it meets.
"""

from __future__ import annotations

from typing import Any

from mypy_extensions import i64

from orderbook.book.constants import (
    ALLOW,
    BID,
    CANCEL_BOTH,
    CANCEL_NEWEST,
    CANCELLED,
    EXPIRED,
    EXPIRIES_PER_ENTRY,
    FILL,
    OK,
    SELF_TRADE,
)
from orderbook.book.orders import Level, LiveOrder, Trader
from orderbook.book.sides import BookSide
from orderbook.book.state import Book


def expire(book: Book, order: LiveOrder, offset: Any, events: list[Any]) -> None:
    book.remove(order)
    side = order.side
    side.expired += 1
    events.append(
        (EXPIRED, offset, order.key, side.pair.name, side.code_key, order.price_key, order.open, order.trader.name)
    )


def expire_due(book: Book, events: list[Any]) -> None:
    """The start of an entry: expire what is due by (expiry, arrival), a bounded number, and note whether more is."""
    left: i64 = EXPIRIES_PER_ENTRY
    order = book.due()
    while order is not None and left > 0:
        expire(book, order, -1, events)
        left -= 1
        order = book.due()
    book.overdue = order is not None
    book.close_windows()


def cancel_resting(book: Book, order: LiveOrder, reason: i64, offset: Any, events: list[Any]) -> None:
    """All that is open of a resting order leaves the book."""
    book.remove(order)
    side = order.side
    side.cancelled += 1
    events.append(cancelled(order, offset, order.open, 0, reason))


def cancel_doomed(book: Book, order: LiveOrder, offset: Any, events: list[Any]) -> bool:
    """Cancel an order that a mass cancel has yet to come to; False where none has."""
    reason = book.pending.reason_for(order)
    if reason == OK:
        return False
    cancel_resting(book, order, reason, offset, events)
    return True


def cancelled(order: LiveOrder, offset: Any, quantity: i64, open: i64, reason: i64) -> tuple[Any, ...]:
    """The event of ``quantity`` taken away by a cancel, with ``open`` left."""
    side = order.side
    return (
        CANCELLED,
        offset,
        order.key,
        side.pair.name,
        side.code_key,
        order.price_key,
        quantity,
        open,
        order.trader.name,
        reason,
    )


def fillable(
    book: Book, side: BookSide, price: i64, wanted: i64, trader: Trader, mode: i64, offset: Any, events: list[Any]
) -> i64:
    """How much of ``wanted`` a taker at ``price`` could trade with ``side`` now; due orders in its way expire.

    Doomed ones are cancelled, so many in an entry; -1: there are more.
    """
    found: i64 = 0
    pending = book.pending
    meets = pending.is_under_way()
    level = side.best
    while level is not None and side.sign * level.price >= side.sign * price:
        behind = side.worse(level)
        order = level.first
        while order is not None:
            after = order.next
            if order.expiry <= book.now:
                expire(book, order, offset, events)
            elif meets and pending.reason_for(order) != OK:
                if pending.meets_left == 0:
                    return -1
                pending.meets_left -= 1
                cancel_doomed(book, order, offset, events)
            elif mode == ALLOW or order.trader is not trader:
                found += order.open
                if found >= wanted:
                    return wanted
            elif mode in (CANCEL_NEWEST, CANCEL_BOTH):
                return found
            order = after
        level = behind
    return found


def match(book: Book, taker: LiveOrder, offset: Any, events: list[Any]) -> bool:
    """Trade ``taker``, reducing its ``open``. True where its self-trade mode cancels what is left of it."""
    side = taker.side.opposite()
    sign = side.sign
    reach: i64 = sign * taker.price
    mode = taker.self_trade
    level = side.best
    while level is not None and taker.open > 0 and sign * level.price >= reach:
        maker = level.first
        while maker is not None and taker.open > 0:
            after = maker.next
            if mode != ALLOW and maker.trader is taker.trader:
                if mode != CANCEL_NEWEST:
                    cancel_resting(book, maker, SELF_TRADE, offset, events)
                if mode in (CANCEL_NEWEST, CANCEL_BOTH):
                    return True
            else:
                _trade(book, taker, maker, level, offset, events)
            maker = after
        level = side.best
    return False


def _trade(book: Book, taker: LiveOrder, maker: LiveOrder, level: Level, offset: Any, events: list[Any]) -> None:
    """One fill."""
    quantity: i64 = maker.open if maker.open < taker.open else taker.open
    taker.open -= quantity
    maker.open -= quantity
    level.total -= quantity
    maker.side.grow(-quantity)
    bid = taker if taker.side.code == BID else maker
    ask = maker if taker.side.code == BID else taker
    pair = taker.side.pair
    event = (
        FILL,
        offset,
        bid.key,
        ask.key,
        pair.name,
        maker.price_key,
        quantity,
        taker.side.code_key,
        bid.open,
        ask.open,
        book.now_key,
        bid.trader.name,
        ask.trader.name,
    )
    ordinal: i64 = book.base + len(events)
    pair.fills.push((book.index_key, ordinal, event), bid.number, ask.number, maker.price, quantity)
    events.append(event)
    pair.count_trade(quantity)
    if maker.open == 0:
        maker.side.filled += 1
        book.remove(maker)
    else:
        book.rehash(maker)
