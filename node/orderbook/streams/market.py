"""What the feeds hand out, beside ``book.Fill``: events, level-2 books and their changes, and how a feed can break."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from orderbook.book import constants as c
from orderbook.book.events import View, to_json, view
from orderbook.book.levels import LevelChange

Place = tuple[int, int]  # (log index, ordinal)


class Token(NamedTuple):
    """Where to go on, on any node: the first sequence that was not had, in this life of the group."""

    incarnation: bytes
    next: Place


class Event(NamedTuple):
    """An event of the applied log. ``fields`` is its positional form; see ``book.events``.

    ``time_ms`` is the log's time; None where the answer of a command tells of it.
    """

    sequence: Place
    fields: tuple[Any, ...]
    time_ms: int | None = None

    @property
    def view(self) -> View:
        """With names to its places: an order book's event."""
        return view(self.fields)

    def document(self) -> dict[str, Any]:
        """As a JSON object: an order book's event."""
        return to_json(self.fields, sequence=self.sequence)


class BookSnapshot(NamedTuple):
    """All levels of a pair before ``sequence``: (price, quantity, orders), best first. It replaces what was known."""

    sequence: Place
    pair: str
    bids: list[tuple[int, int, int]]
    asks: list[tuple[int, int, int]]


class BookDelta(NamedTuple):
    """What one entry did to levels: quantities and orders to add. A level without orders is gone."""

    sequence: Place
    time_ms: int
    changes: list[LevelChange]


class Depth:
    """A level-2 book of any number of pairs, kept up to date by what a book feed hands out."""

    def __init__(self) -> None:
        self._levels: dict[tuple[str, int], dict[int, tuple[int, int]]] = {}

    def follow(self, item: BookSnapshot | BookDelta) -> None:
        if isinstance(item, BookSnapshot):
            for side, rows in ((c.BID, item.bids), (c.ASK, item.asks)):
                self._levels[item.pair, side] = {price: (quantity, orders) for price, quantity, orders in rows}
            return
        for pair, side, price, quantity, orders in item.changes:
            levels = self._levels.setdefault((pair, side), {})
            had_quantity, had_orders = levels.get(price, (0, 0))
            if had_orders + orders:
                levels[price] = (had_quantity + quantity, had_orders + orders)
            else:
                levels.pop(price, None)

    def side(self, pair: str, side: int) -> list[tuple[int, int, int]]:
        """(price, quantity, orders) of each level, best first."""
        rows = [(price, *row) for price, row in self._levels.get((pair, side), {}).items()]
        return sorted(rows, reverse=side == c.BID)


class FeedBroken(Exception):
    """The feed has a hole here. Whoever reads on gets what comes behind it."""


class Gap(FeedBroken):
    """No node has what comes next any more: the feed goes on at ``first_available``."""

    def __init__(self, wanted: Place, first_available: Place) -> None:
        super().__init__(f"events from {wanted} on are gone; the first that a node has is {first_available}")
        self.wanted = wanted
        self.first_available = first_available


class Reset(FeedBroken):
    """The group began another life (a lost majority was recovered): what was seen may not have happened in it."""

    def __init__(self, incarnation: bytes, first_available: Place) -> None:
        super().__init__(f"the group has a new incarnation {incarnation.hex()}")
        self.incarnation = incarnation
        self.first_available = first_available


class FeedRefused(Exception):
    """Every node refuses this feed, for a reason that waiting does not change. ``code`` is for programs."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def levels_from_wire(rows: Sequence[Sequence[int]]) -> list[tuple[int, int, int]]:
    return [(price, quantity, orders) for price, quantity, orders in rows]
