"""What an admin asks for: pairs, limits, halts. A principal of another role is refused.

Pairs and limits are replicated state: nothing outside the log may change what the engine does. The forms::

    [DEFINE_PAIR, pair, tick, lot, fills kept, max quantity, min price, max price]
    [CHANGE_PAIR, pair, max quantity, min price, max price]      nil: stays
    [HALT_PAIR, pair, cancel]   [RESUME_PAIR, pair]
    [CONFIGURE, trader, max open orders, rate commands, rate window ms]
    [HALT, cancel]   [RESUME]

Defining a pair again with the same tick and lot changes nothing, not even limits that were changed since: a leader and
an operator may both propose the pairs they were told. Another tick or lot is ``pair_exists``: they never change.

CONFIGURE without a trader sets the limits of all that have none of their own, nil staying as it is; with one, that
trader's own, where all nil gives them up. 0 is no limit. Orders that rest when a limit falls stay.

A halt that cancels holds at once; orders beyond an entry's share leave with the entries that follow (``mass_cancel``).
Until the last has left, nothing is resumed: CANCELS_PENDING.
"""

from __future__ import annotations

from typing import Any

from mypy_extensions import i64

from orderbook.book import constants as c
from orderbook.book.mass_cancel import clear_pair
from orderbook.book.sides import Pair
from orderbook.book.state import Book
from orderbook.book.trading import Command, integer, is_name

_ASSET_CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_"
_DIGITS = "0123456789"
_LONGEST_ASSET = 32
_MOST_DIGITS = 36
_DEFAULT_FILLS_KEPT = 1000
_MAX_LIMIT = 1000000000


def administer(book: Book, operation: i64, command: Command, offset: Any, events: list[Any]) -> i64:
    if book.role != c.ADMIN:
        return c.NOT_PERMITTED if c.DEFINE_PAIR <= operation <= c.RESUME else c.MALFORMED
    if operation == c.DEFINE_PAIR:
        return _define_pair(book, command, offset, events)
    if operation == c.CHANGE_PAIR:
        return _change_pair(book, command, offset, events)
    if operation == c.HALT_PAIR:
        return _halt_pair(book, command, offset, events)
    if operation == c.RESUME_PAIR:
        return _resume_pair(book, command, offset, events)
    if operation == c.CONFIGURE:
        return _configure(book, command, offset, events)
    if operation == c.HALT:
        return _halt(book, command, offset, events)
    if operation == c.RESUME and len(command) == 1:
        return _resume(book, offset, events)
    return c.MALFORMED


def is_pair_name(value: Any) -> bool:
    """Two assets and a slash: ``ETH/USDC``."""
    if type(value) is not str:
        return False
    parts = value.split("/")
    if len(parts) != 2:
        return False
    for part in parts:
        if not 0 < len(part) <= _LONGEST_ASSET:
            return False
        for character in part:
            if character not in _ASSET_CHARACTERS:
                return False
    return True


def increment(value: Any) -> str | None:
    """The one spelling of a positive decimal (``0.010`` is ``0.01``), None for everything else."""
    if type(value) is not str:
        return None
    text = value
    whole, point, fraction = text.partition(".")
    if not whole or len(text) > _MOST_DIGITS or (point and not fraction):
        return None
    for character in whole + fraction:
        if character not in _DIGITS:
            return None
    whole = whole.lstrip("0")
    fraction = fraction.rstrip("0")
    if not whole and not fraction:
        return None
    return (whole or "0") + ("." + fraction if fraction else "")


def _optional(value: Any, default: i64) -> i64:
    return default if value is None else integer(value)


def _value(command: Command, position: int) -> Any:
    return command[position] if position < len(command) else None


def _define_pair(book: Book, command: Command, offset: Any, events: list[Any]) -> i64:
    count = len(command)
    if count < 2 or count > 8:
        return c.MALFORMED
    if not is_pair_name(command[1]):
        return c.INVALID_PAIR
    name = command[1]
    tick = increment("1" if _value(command, 2) is None else command[2])
    lot = increment("1" if _value(command, 3) is None else command[3])
    if tick is None or lot is None:
        return c.INVALID_INCREMENT
    fills_kept = _optional(_value(command, 4), _DEFAULT_FILLS_KEPT)
    max_quantity = _optional(_value(command, 5), c.MAX_INTEGER)
    min_price = _optional(_value(command, 6), 1)
    max_price = _optional(_value(command, 7), c.MAX_INTEGER)
    if fills_kept < 0 or fills_kept > c.MAX_FILLS_KEPT or not _are_limits(max_quantity, min_price, max_price):
        return c.INVALID_LIMIT
    known = book.pairs.get(name)
    if known is not None and (known.tick != tick or known.lot != lot):
        return c.PAIR_EXISTS
    if known is None and len(book.pairs) >= c.MAX_PAIRS:
        return c.TOO_MANY_PAIRS
    pair = known
    if pair is None:
        pair = Pair(name, len(book.pairs), tick, lot, fills_kept)
        pair.max_quantity = max_quantity
        pair.min_price = min_price
        pair.max_price = max_price
        book.pairs[name] = pair
    limits = (pair.fills.capacity, pair.max_quantity, pair.min_price, pair.max_price)
    events.append((c.PAIR_DEFINED, offset, name, tick, lot, *limits, known is None))
    return c.OK


def _are_limits(max_quantity: i64, min_price: i64, max_price: i64) -> bool:
    return max_quantity >= 1 and 1 <= min_price <= max_price


def _known_pair(book: Book, value: Any) -> Pair | None:
    return book.pairs.get(value) if type(value) is str else None


def _change_pair(book: Book, command: Command, offset: Any, events: list[Any]) -> i64:
    count = len(command)
    if count < 2 or count > 5:
        return c.MALFORMED
    pair = _known_pair(book, command[1])
    if pair is None:
        return c.UNKNOWN_PAIR
    max_quantity = _optional(_value(command, 2), pair.max_quantity)
    min_price = _optional(_value(command, 3), pair.min_price)
    max_price = _optional(_value(command, 4), pair.max_price)
    if not _are_limits(max_quantity, min_price, max_price):
        return c.INVALID_LIMIT
    pair.max_quantity = max_quantity
    pair.min_price = min_price
    pair.max_price = max_price
    events.append((c.PAIR_CHANGED, offset, pair.name, max_quantity, min_price, max_price))
    return c.OK


def _halt_pair(book: Book, command: Command, offset: Any, events: list[Any]) -> i64:
    count = len(command)
    cancels = _value(command, 2)
    if count < 2 or count > 3 or (cancels is not None and type(cancels) is not bool):
        return c.MALFORMED
    pair = _known_pair(book, command[1])
    if pair is None:
        return c.UNKNOWN_PAIR
    pair.is_halted = True
    events.append((c.HALTED, offset, pair.name))
    if cancels:
        clear_pair(book, pair, offset, events)
    return c.OK


def _resume_pair(book: Book, command: Command, offset: Any, events: list[Any]) -> i64:
    if len(command) != 2:
        return c.MALFORMED
    pair = _known_pair(book, command[1])
    if pair is None:
        return c.UNKNOWN_PAIR
    if pair.name in book.pending.pairs:
        return c.CANCELS_PENDING
    pair.is_halted = False
    events.append((c.RESUMED, offset, pair.name))
    return c.OK


def _halt(book: Book, command: Command, offset: Any, events: list[Any]) -> i64:
    """The kill switch: no order or amend is taken until RESUME; cancels are. Optionally every order is cancelled."""
    cancels = _value(command, 1)
    if len(command) > 2 or (cancels is not None and type(cancels) is not bool):
        return c.MALFORMED
    book.is_halted = True
    events.append((c.KILLED, offset))
    if cancels:
        for pair in book.pairs.values():
            clear_pair(book, pair, offset, events)
    return c.OK


def _resume(book: Book, offset: Any, events: list[Any]) -> i64:
    if book.pending.pairs:
        return c.CANCELS_PENDING
    book.is_halted = False
    events.append((c.RESUMED, offset, ""))
    return c.OK


def _configure(book: Book, command: Command, offset: Any, events: list[Any]) -> i64:
    count = len(command)
    if count < 2 or count > 5:
        return c.MALFORMED
    name = command[1]
    if name is not None and not is_name(name):
        return c.INVALID_TRADER
    max_open_orders = _optional(_value(command, 2), c.NEVER)
    rate_commands = _optional(_value(command, 3), c.NEVER)
    rate_window_ms = _optional(_value(command, 4), c.NEVER)
    if not (_is_limit(max_open_orders, 0) and _is_limit(rate_commands, 0) and _is_limit(rate_window_ms, 1)):
        return c.INVALID_LIMIT
    if rate_window_ms != c.NEVER and rate_window_ms > c.MAX_WINDOW_MS:
        return c.INVALID_LIMIT
    if name is None:
        book.max_open_orders = _chosen(max_open_orders, book.max_open_orders)
        book.rate_commands = _chosen(rate_commands, book.rate_commands)
        book.rate_window_ms = _chosen(rate_window_ms, book.rate_window_ms)
        events.append((c.CONFIGURED, offset, "", book.max_open_orders, book.rate_commands, book.rate_window_ms))
        return c.OK
    trader = book.trader_named(name)
    gives_up = max_open_orders == c.NEVER and rate_commands == c.NEVER and rate_window_ms == c.NEVER
    trader.max_open_orders = _chosen(max_open_orders, -1 if gives_up else trader.max_open_orders)
    trader.rate_commands = _chosen(rate_commands, -1 if gives_up else trader.rate_commands)
    trader.rate_window_ms = _chosen(rate_window_ms, -1 if gives_up else trader.rate_window_ms)
    book.touch(trader)
    own = (trader.max_open_orders, trader.rate_commands, trader.rate_window_ms)
    events.append((c.CONFIGURED, offset, trader.name, *own))
    book.forget_idle(trader)
    return c.OK


def _is_limit(value: i64, least: i64) -> bool:
    return value == c.NEVER or least <= value <= _MAX_LIMIT


def _chosen(value: i64, present: i64) -> i64:
    return present if value == c.NEVER else value
