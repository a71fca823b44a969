"""What clients of the simulated and of the real groups do, one operation after the other, as plainly as can be said."""

from __future__ import annotations

from typing import Any, NamedTuple

from linearizability.checker import UNKNOWN
from property.book.naive import BID, NaiveBook, Resting


class Observed(NamedTuple):
    """The call of a reader; its answer is the whole of what the model says."""


class _ObservedModel:
    def is_read(self, call: Any) -> bool:
        return isinstance(call, Observed)


Registers = tuple[tuple[str, int], ...]


class RegisterModel(_ObservedModel):
    """Batches of ``[key, "put", value]`` and ``[key, "add", n]``: each answers with the value that the key then has."""

    def start(self) -> Registers:
        return ()

    def step(self, state: Registers, call: Any, answer: Any) -> Registers | None:
        if isinstance(call, Observed):
            return state if answer is UNKNOWN or answer == state else None
        values = dict(state)
        said = []
        for key, verb, number in call:
            values[key] = number if verb == "put" else values.get(key, 0) + number
            said.append((key, values[key]))
        return tuple(sorted(values.items())) if answer is UNKNOWN or answer == tuple(said) else None


RestingOrder = tuple[int, int, int, int, int, str, bool, int]


class BookModel(_ObservedModel):
    """Batches of the book's positional commands for one pair, without expiry; answers in ``market.short``'s words.

    The state is the resting orders by side, price and place in the queue: in which order they came to different levels
    changes nothing that follows. A reader sees how many orders rest, and the best ``depth`` levels of each side as
    (price, quantity, orders).
    """

    def __init__(self, depth: int = 3) -> None:
        self._depth = depth

    def start(self) -> tuple[RestingOrder, ...]:
        return ()

    def step(self, state: tuple[RestingOrder, ...], call: Any, answer: Any) -> tuple[RestingOrder, ...] | None:
        if isinstance(call, Observed):
            return state if answer is UNKNOWN or answer == self.observed(state) else None
        book = _book_of(state)
        said = [line for row in call for line in book.run(tuple(row), 0)]
        return _state_of(book) if answer is UNKNOWN or answer == tuple(said) else None

    def observed(self, state: tuple[RestingOrder, ...]) -> tuple[Any, ...]:
        sides = []
        for side in (BID, 3 - BID):
            levels: dict[int, tuple[int, int]] = {}
            for order in state:
                if order[1] == side:
                    quantity, orders = levels.get(order[2], (0, 0))
                    levels[order[2]] = (quantity + order[4], orders + 1)
            best = sorted(levels.items(), reverse=side == BID)[: self._depth]
            sides.append(tuple((price, *level) for price, level in best))
        return (len(state), *sides)


def _book_of(state: tuple[RestingOrder, ...]) -> NaiveBook:
    book = NaiveBook()
    for id, side, price, total, left, trader, post_only, mode in state:
        book.rest(Resting(id, side, price, total, left, trader, 1 << 60, post_only, mode))
    return book


def _state_of(book: NaiveBook) -> tuple[RestingOrder, ...]:
    rows = sorted(book.resting, key=lambda order: (order.side, order.price, order.arrival))
    return tuple((o.id, o.side, o.price, o.total, o.open, o.trader, o.post_only, o.mode) for o in rows)
