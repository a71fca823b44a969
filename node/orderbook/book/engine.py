"""One batch of decoded commands through the book: each is done or refused, in order, and leaves at least one event."""

from __future__ import annotations

from typing import Any, Final

from mypy_extensions import i64

from orderbook.book import constants as c
from orderbook.book.administration import administer, is_pair_name
from orderbook.book.state import Book
from orderbook.book.trading import Command, amend, cancel, cancel_all, integer, is_name, place

_MANY: Final = 4096  # as many commands as an entry may have
_OFFSETS: Final = list(range(_MANY))  # one object for each place, instead of a new one for each command


def run(book: Book, commands: tuple[Any, ...], events: list[Any]) -> None:
    """Apply a batch. ``commands`` is as decoded from the log: its places may be anything."""
    number: i64 = 0
    for value in commands:
        offset: Any = _OFFSETS[number] if number < _MANY else number
        number += 1
        if type(value) is not tuple or not value:
            _reject(book, (), offset, c.MALFORMED, events)
            continue
        operation = integer(value[0])
        if operation == c.PLACE:
            reason = place(book, value, offset, events)
        elif operation == c.CANCEL:
            reason = cancel(book, value, offset, events)
        elif operation == c.AMEND:
            reason = amend(book, value, offset, events)
        elif operation == c.CANCEL_ALL:
            reason = cancel_all(book, value, offset, events)
        else:
            reason = administer(book, operation, value, offset, events)
        if reason != c.OK:
            _reject(book, value, offset, reason, events)


def reject_all(book: Book, count: int, events: list[Any]) -> None:
    """A body that is no batch of ``count`` commands: each of them is refused."""
    for offset in range(count):
        _reject(book, (), offset, c.MALFORMED, events)


_TRADER_PLACES = {c.PLACE: 6, c.CANCEL: 3, c.AMEND: 4, c.CANCEL_ALL: 1}
_PAIR_PLACES = {c.PLACE: 2, c.CANCEL_ALL: 2, c.DEFINE_PAIR: 1, c.CHANGE_PAIR: 1, c.HALT_PAIR: 1, c.RESUME_PAIR: 1}


def _reject(book: Book, command: Command, offset: Any, reason: i64, events: list[Any]) -> None:
    """The event of a refusal names the order, trader and pair as far as the command names them in the right form."""
    book.refused[reason] += 1
    operation = integer(command[0]) if command else -1
    key: Any = 0
    if c.PLACE <= operation <= c.AMEND and len(command) > 1 and integer(command[1]) > 0:
        key = command[1]
    trader: Any = _named(command, _TRADER_PLACES.get(operation, 0))
    pair: Any = _named(command, _PAIR_PLACES.get(operation, 0))
    events.append(
        (
            c.REJECTED,
            offset,
            key,
            reason,
            trader if is_name(trader) else book.principal,
            pair if is_pair_name(pair) else "",
        )
    )


def _named(command: Command, position: int) -> Any:
    return command[position] if 0 < position < len(command) else None
