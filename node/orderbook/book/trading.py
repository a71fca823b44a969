"""What traders ask for: place, cancel, amend, cancel all.

Each function reads and checks its command whole and gives the reason of a refusal, or OK when it was done. Until it
knows that it will be done it changes nothing, but for orders found due or doomed on the way, which expire or are
cancelled. An order's own event comes before its fills.

Decoded values are objects of any type; ``integer`` and the checks of exact types let nothing else in. The forms, with
trailing defaults left out and nil for what is left out before::

    [PLACE, id, pair, side, price, quantity, trader, type, time in force, expires, post only, self trade]
    [CANCEL, id, quantity, trader]
    [AMEND, id, price, quantity, trader]
    [CANCEL_ALL, trader, pair]
"""

from __future__ import annotations

from typing import Any

from mypy_extensions import i64

from orderbook.book import constants as c
from orderbook.book.mass_cancel import cancel_of_trader
from orderbook.book.matching import cancel_doomed, cancel_resting, cancelled, expire, fillable, match
from orderbook.book.orders import LiveOrder
from orderbook.book.pending_cancels import EVERY_PAIR
from orderbook.book.state import Book

Command = tuple[Any, ...]


def integer(value: Any) -> i64:
    """A decoded integer from 0 to 2^53 - 1; -1 for everything else. A bool is no integer."""
    if type(value) is not int:
        return -1
    if value < 0 or value > c.MAX_INTEGER:
        return -1
    return value


def is_name(value: Any) -> bool:
    """Whether a decoded value can be a trader's name."""
    return type(value) is str and 0 < len(value) <= c.MAX_TRADER


def place(book: Book, command: Command, offset: Any, events: list[Any]) -> i64:
    count = len(command)
    if count < 6 or count > 12:
        return c.MALFORMED
    reason = _may_trade(book, command[6] if count > 6 else None)
    if reason != c.OK:
        return reason
    if type(command[2]) is not str:
        return c.INVALID_PAIR
    pair = book.pairs.get(command[2])
    if pair is None:
        return c.UNKNOWN_PAIR
    code = integer(command[3])
    if code != c.BID and code != c.ASK:
        return c.INVALID_SIDE
    trader = book.trader_named(_trader_of(book, command[6] if count > 6 else None))
    order = LiveOrder(pair.bids if code == c.BID else pair.asks, trader)
    reason = _read_numbers(order, command)
    if reason == c.OK and count > 7:
        reason = _read_terms(order, command, count)
    if reason == c.OK:
        reason = _read_price(order, command[4])
    if reason == c.OK:
        reason = _check_place(book, order, offset, events)
    if reason == c.OK:
        reason = _check_way(book, order, order.price, order.open, offset, events)
    if reason == c.OK:
        _accept(book, order, command[5], offset, events)
    else:
        order.side.rejected += 1
    return reason


def _may_trade(book: Book, trader: Any) -> i64:
    """Whether the principal may act for the trader that its command names (None: names none)."""
    if book.role == c.ADMIN:
        return c.OK if trader is None or is_name(trader) else c.INVALID_TRADER
    if book.role != c.TRADER:
        return c.NOT_PERMITTED
    if trader is None:
        return c.OK
    if not is_name(trader):
        return c.INVALID_TRADER
    return c.OK if trader == book.principal else c.NOT_OWNER


def _trader_of(book: Book, trader: Any) -> str:
    return book.principal if trader is None else trader


def _read_numbers(order: LiveOrder, command: Command) -> i64:
    key = command[1]
    if key is not None:
        order.number = integer(key)
        if order.number < 1 or order.number >= c.FIRST_ASSIGNED_ID:
            return c.INVALID_ID
        order.key = key
    quantity = integer(command[5])
    if quantity < 1:
        return c.INVALID_QUANTITY
    order.quantity = quantity
    order.open = quantity
    if not is_name(order.trader.name):  # a principal without a name, who named no trader
        return c.INVALID_TRADER
    return c.OK


def _read_terms(order: LiveOrder, command: Command, count: int) -> i64:
    """Type, time in force, expiry, post only and self-trade mode, and whether they go together."""
    kind = command[7]
    if kind is not None:
        order.kind = integer(kind)
        if order.kind != c.LIMIT and order.kind != c.MARKET:
            return c.INVALID_TYPE
    tif = command[8] if count > 8 else None
    if tif is not None:
        order.time_in_force = integer(tif)
        if order.time_in_force < c.GTC or order.time_in_force > c.GTD:
            return c.INVALID_TIME_IN_FORCE
    expires = command[9] if count > 9 else None
    if (expires is not None) != (order.time_in_force == c.GTD):
        return c.INVALID_EXPIRY
    if expires is not None:
        order.expiry = integer(expires)
        if order.expiry < 1:
            return c.INVALID_EXPIRY
    post_only = command[10] if count > 10 else None
    if post_only is not None:
        if type(post_only) is not bool:
            return c.INVALID_POST_ONLY
        order.post_only = post_only
    mode = command[11] if count > 11 else None
    if mode is not None:
        order.self_trade = integer(mode)
        if order.self_trade < c.ALLOW or order.self_trade > c.CANCEL_BOTH:
            return c.INVALID_SELF_TRADE
    if order.kind == c.MARKET and order.time_in_force == c.GTD:
        return c.INVALID_TIME_IN_FORCE
    may_rest = order.kind == c.LIMIT and (order.time_in_force == c.GTC or order.time_in_force == c.GTD)
    return c.OK if may_rest or not order.post_only else c.INVALID_POST_ONLY


def _read_price(order: LiveOrder, price: Any) -> i64:
    """A limit order has a price. A market order has none: it reaches every level of the other side."""
    if order.kind == c.MARKET:
        order.price = c.MAX_INTEGER if order.side.is_bid else 0
        return c.OK if price is None else c.INVALID_PRICE
    order.price = integer(price)
    order.price_key = price
    return c.OK if order.price > 0 else c.INVALID_PRICE


def _check_place(book: Book, order: LiveOrder, offset: Any, events: list[Any]) -> i64:
    """Everything that speaks against a well-formed order but for what it would trade with."""
    pair = order.side.pair
    if book.is_halted:
        return c.IS_HALTED
    if pair.is_halted:
        return c.PAIR_IS_HALTED
    known = book.orders.get(order.key) if order.number != 0 else None
    if known is not None and not (book.overdue and cancel_doomed(book, known, offset, events)):
        return c.DUPLICATE_ORDER_ID
    if order.quantity > pair.max_quantity:
        return c.QUANTITY_ABOVE_LIMIT
    if order.kind == c.LIMIT and (order.price < pair.min_price or order.price > pair.max_price):
        return c.PRICE_OUT_OF_BAND
    if order.expiry <= book.now:
        return c.EXPIRY_PASSED
    if book.is_over_rate(order.trader):
        return c.RATE_LIMITED
    if order.kind == c.LIMIT and order.time_in_force != c.IOC and order.time_in_force != c.FOK:
        if book.is_at_open_limit(order.trader):
            return c.TOO_MANY_OPEN_ORDERS
        if not order.side.has_room(order.price_key, order.open, 0):
            return c.LEVEL_FULL
    return c.OK


def _check_way(book: Book, order: LiveOrder, price: i64, wanted: i64, offset: Any, events: list[Any]) -> i64:
    """What speaks against an order at ``price`` in what it would trade with. Orders found due on the way expire."""
    side = order.side.opposite()
    if not side.is_reached(price):
        return c.WOULD_NOT_FILL if order.time_in_force == c.FOK else c.OK
    if order.post_only:
        crosses = fillable(book, side, price, 1, order.trader, c.ALLOW, offset, events)
        return c.WOULD_CROSS if crosses > 0 else c.CANCELS_PENDING if crosses < 0 else c.OK
    if order.time_in_force == c.FOK or book.overdue:
        found = fillable(book, side, price, wanted, order.trader, order.self_trade, offset, events)
        if found < 0:
            return c.CANCELS_PENDING
        if order.time_in_force == c.FOK and found < wanted:
            return c.WOULD_NOT_FILL
    return c.OK


def _accept(book: Book, order: LiveOrder, quantity: Any, offset: Any, events: list[Any]) -> None:
    if order.number == 0:
        order.number = book.next_id
        order.key = book.next_id
        book.next_id += 1
    side = order.side
    order.session = book.session_for(book.session)
    side.accepted += 1
    book.count_command(order.trader)
    position = len(events)
    events.append(None)  # its event comes before its fills, and says how much will rest
    rests = _work(book, order, offset, events)
    resting: Any = quantity if rests == order.quantity else rests
    events[position] = (
        c.ACCEPTED,
        offset,
        order.key,
        side.pair.name,
        side.code_key,
        order.price_key,
        quantity,
        resting,
        order.trader.name,
        order.kind,
        order.time_in_force,
    )


def _work(book: Book, order: LiveOrder, offset: Any, events: list[Any]) -> i64:
    """Trade an order; what is left of it rests or is cancelled. Gives the quantity that rests."""
    side = order.side
    stopped = False
    if side.opposite().is_reached(order.price):
        stopped = match(book, order, offset, events)
        if order.open == 0:
            side.filled += 1
            return 0
    reason: i64 = c.OK
    if stopped:
        reason = c.SELF_TRADE_TAKER
    elif order.kind == c.MARKET:
        reason = c.MARKET_REMAINDER
    elif order.time_in_force == c.IOC:
        reason = c.IOC_REMAINDER
    if reason == c.OK:
        book.add(order)
        return order.open
    side.cancelled += 1
    events.append(cancelled(order, offset, order.open, 0, reason))
    return 0


def cancel(book: Book, command: Command, offset: Any, events: list[Any]) -> i64:
    """All of an order, or a part: its total goes down, its place stays. More than is open is all of it."""
    count = len(command)
    if count < 2 or count > 4:
        return c.MALFORMED
    trader = command[3] if count > 3 else None
    reason = _may_trade(book, trader)
    if reason != c.OK:
        return reason
    key = command[1]
    if integer(key) < 1:
        return c.INVALID_ID
    part = command[2] if count > 2 else None
    quantity: i64 = c.MAX_INTEGER if part is None else integer(part)
    if quantity < 1:
        return c.INVALID_QUANTITY
    order = book.orders.get(key)
    if order is None or (book.overdue and cancel_doomed(book, order, offset, events)):
        return c.UNKNOWN_ORDER
    if not _owns(book, order, trader):
        return c.NOT_OWNER
    if quantity >= order.open:
        cancel_resting(book, order, c.REQUESTED, offset, events)
        return c.OK
    book.resize(order, order.quantity - quantity)
    events.append(cancelled(order, offset, quantity, order.open, c.REQUESTED))
    return c.OK


def _owns(book: Book, order: LiveOrder, trader: Any) -> bool:
    """Whether the order is of whom the command acts for: an admin that names nobody acts for its owner."""
    if trader is None and book.role == c.ADMIN:
        return True
    return _trader_of(book, trader) == order.trader.name


def amend(book: Book, command: Command, offset: Any, events: list[Any]) -> i64:
    """A new price, a new total quantity or both. Less or as much at the same price keeps the place."""
    count = len(command)
    if count < 2 or count > 5:
        return c.MALFORMED
    trader = command[4] if count > 4 else None
    reason = _may_trade(book, trader)
    if reason != c.OK:
        return reason
    key = command[1]
    if integer(key) < 1:
        return c.INVALID_ID
    order = book.orders.get(key)
    if order is None or (book.overdue and cancel_doomed(book, order, offset, events)):
        return c.UNKNOWN_ORDER
    if not _owns(book, order, trader):
        return c.NOT_OWNER
    if order.expiry <= book.now:
        expire(book, order, offset, events)
        return c.UNKNOWN_ORDER
    price_key = command[2] if count > 2 and command[2] is not None else order.price_key
    quantity_key = command[3] if count > 3 and command[3] is not None else order.quantity
    price = integer(price_key)
    quantity = integer(quantity_key)
    reason = _check_amend(book, order, price, price_key, quantity)
    if reason != c.OK:
        return reason
    if price == order.price and quantity <= order.quantity:
        _amend_in_place(book, order, quantity, offset, events)
        return c.OK
    reason = _check_way(book, order, price, quantity - order.quantity + order.open, offset, events)
    if reason == c.OK:
        _amend_and_move(book, order, price, price_key, quantity, offset, events)
    return reason


def _check_amend(book: Book, order: LiveOrder, price: i64, price_key: Any, quantity: i64) -> i64:
    pair = order.side.pair
    if price < 1:
        return c.INVALID_PRICE
    if quantity < 1:
        return c.INVALID_QUANTITY
    if book.is_halted:
        return c.IS_HALTED
    if pair.is_halted:
        return c.PAIR_IS_HALTED
    filled: i64 = order.quantity - order.open
    if quantity <= filled:
        return c.QUANTITY_BELOW_FILLED
    if quantity > order.quantity and quantity > pair.max_quantity:
        return c.QUANTITY_ABOVE_LIMIT
    if price != order.price and (price < pair.min_price or price > pair.max_price):
        return c.PRICE_OUT_OF_BAND
    if book.is_over_rate(order.trader):
        return c.RATE_LIMITED
    standing: i64 = order.open if price == order.price else 0
    if not order.side.has_room(price_key, quantity - filled, standing):
        return c.LEVEL_FULL
    return c.OK


def _amend_in_place(book: Book, order: LiveOrder, quantity: i64, offset: Any, events: list[Any]) -> None:
    old_quantity: Any = order.quantity
    old_open: Any = order.open
    book.count_command(order.trader)
    book.resize(order, quantity)
    order.side.amended += 1
    old = (order.price_key, old_quantity, old_open, True)
    events.append(_amended(order, offset, order.open, order.open, old))


def _amend_and_move(
    book: Book, order: LiveOrder, price: i64, price_key: Any, quantity: i64, offset: Any, events: list[Any]
) -> None:
    """To the back of the queue at its new price, trading first with what it crosses now."""
    old: tuple[Any, ...] = (order.price_key, order.quantity, order.open, False)
    book.count_command(order.trader)
    book.remove(order)
    order.open += quantity - order.quantity
    order.quantity = quantity
    order.price = price
    order.price_key = price_key
    order.side.amended += 1
    open: i64 = order.open
    position = len(events)
    events.append(None)
    resting = _work(book, order, offset, events)
    events[position] = _amended(order, offset, open, resting, old)


def _amended(order: LiveOrder, offset: Any, open: i64, resting: i64, old: tuple[Any, ...]) -> tuple[Any, ...]:
    side = order.side
    new = (order.key, side.pair.name, side.code_key, order.price_key, order.quantity, open, resting, order.trader.name)
    return (c.AMENDED, offset, *new, *old)


def cancel_all(book: Book, command: Command, offset: Any, events: list[Any]) -> i64:
    """All orders of a trader, or those in one pair, in the order in which they came. See ``mass_cancel``."""
    count = len(command)
    if count > 3:
        return c.MALFORMED
    named = command[1] if count > 1 else None
    reason = _may_trade(book, named)
    if reason != c.OK:
        return reason
    pair = command[2] if count > 2 else None
    if pair is not None:
        if type(pair) is not str:
            return c.INVALID_PAIR
        if pair not in book.pairs:
            return c.UNKNOWN_PAIR
    name = _trader_of(book, named)
    number: i64 = 0
    more = False
    trader = book.traders.get(name)
    if trader is not None:
        number, more = cancel_of_trader(book, trader, EVERY_PAIR if pair is None else pair, offset, events)
    events.append((c.CANCELLED_ALL, offset, name, "" if pair is None else pair, number, more))
    return c.OK
