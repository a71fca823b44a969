"""LOBSTER message files (NASDAQ order flow, https://lobsterdata.com) as commands.

A line is ``seconds after midnight, type, order id, size, price in 1/10,000 dollars, direction`` (1 buy, -1 sell):

==== ================================ ==================================================================
type what happened                    command
==== ================================ ==================================================================
1    a new limit order                place, GTC, trader ``lobster``
2    part of an order was cancelled   cancel with its quantity
3    an order was deleted             cancel
4    a visible order was executed     place on the other side at that price, IOC, trader ``taker``: by price
                                      and time it meets that order
5    a hidden order was executed      none: it was not in the book
6    a cross trade (auction)          none: it was not with the book
7    a trading halt                   price -1: halt the pair; 0 (quoting) and 1 (trading): resume it
==== ================================ ==================================================================

A file starts with the day's book already there. An execution of an order that the file never placed gives no command:
it would meet another order. A cancel of such an order does, and the book refuses it.

The pair is the ticker that begins the file's name against USD (``AAPL_2012-06-21_..._message_10.csv``: AAPL/USD).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from orderbook.book import constants as c
from orderbook.book.commands import PairSpec
from orderbook.cli.command_file import Line, NotACommand

NEW, PARTLY_CANCELLED, DELETED, EXECUTED, EXECUTED_HIDDEN, CROSS_TRADE, HALT = range(1, 8)


def pair_of(file_name: str) -> PairSpec:
    ticker = file_name.split("_", 1)[0].split(".", 1)[0].upper() or "STOCK"
    return PairSpec(f"{ticker}/USD", tick="0.0001", lot="1")


def read_lobster(lines: Iterable[bytes], pair: str) -> Iterator[Line]:
    """The commands of a message file. Raises NotACommand."""
    left: dict[int, int] = {}  # what is open of the orders that this file placed
    for number, text in enumerate(lines, start=1):
        try:
            seconds, *fields = text.decode("ascii").strip().split(",")
            time_ms = int(float(seconds) * 1000)
            kind, order, size, price, direction = (int(field) for field in fields[:5])
        except (ValueError, OverflowError) as error:
            raise NotACommand(number, f"no LOBSTER message: {error}") from error
        if not NEW <= kind <= HALT:
            raise NotACommand(number, f"LOBSTER knows message types 1 to 7, not {kind}")
        row = _row(left, pair, kind, order, size, price, direction)
        if row is not None:
            yield Line(number, time_ms, row, pair)


def _row(
    left: dict[int, int], pair: str, kind: int, order: int, size: int, price: int, direction: int
) -> tuple[Any, ...] | None:
    side, other = (c.BID, c.ASK) if direction == 1 else (c.ASK, c.BID)
    if kind == NEW:
        left[order] = size
        return (c.PLACE, order, pair, side, price, size, "lobster")
    if kind == PARTLY_CANCELLED:
        _reduce(left, order, size)
        return (c.CANCEL, order, size)
    if kind == DELETED:
        left.pop(order, None)
        return (c.CANCEL, order)
    if kind == EXECUTED and order in left:
        _reduce(left, order, size)
        return (c.PLACE, None, pair, other, price, size, "taker", None, c.IOC)
    if kind == HALT:
        return (c.HALT_PAIR, pair) if price == -1 else (c.RESUME_PAIR, pair)
    return None


def _reduce(left: dict[int, int], order: int, size: int) -> None:
    remaining = left.pop(order, 0) - size
    if remaining > 0:
        left[order] = remaining
