"""A synthetic order flow with the proportions of a busy market, the same for the same seed.

55 of 100 commands are new orders that rest some ticks from the touch (most of them near it), 35 cancel a resting order,
10 are crossing orders (IOC) that trade with about one and a half resting ones. Pairs and traders are drawn evenly.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random
from typing import Any

from orderbook.book import constants as c
from orderbook.book.commands import PairSpec
from orderbook.book.events import Event

MIX = "55 % new, 35 % cancel, 10 % crossing; 10 pairs, 200 traders"
PAIRS = tuple(PairSpec(f"{base}/USD", tick="0.01", lot="0.001") for base in (
    "BTC", "ETH", "SOL", "ADA", "XRP", "DOT", "LTC", "LINK", "UNI", "AVAX"
))  # fmt: skip
_MIDDLE = 100_000
_MEAN_DISTANCE = 12
_REACH = 25

Row = tuple[Any, ...]


class OrderFlow:
    """Commands in their positional form. ``follow`` the events, and cancels meet few orders that are gone.

    Ids are ``first_id``, ``first_id + step``, ...: several flows on one group keep out of each other's way.
    """

    def __init__(self, seed: int, first_id: int = 1, step: int = 1, pairs: Sequence[str] = ()) -> None:
        """``pairs``: other ones than ``PAIRS``."""
        self._random = Random(seed)
        self._next_id = first_id
        self._step = step
        self._names = list(pairs) or [pair.pair for pair in PAIRS]
        self._traders = [f"trader-{number:03}" for number in range(200)]
        self._live: list[tuple[int, str]] = []  # (id, trader) of orders that rest, in no order
        self._places: dict[int, int] = {}

    def batch(self, size: int) -> list[Row]:
        return [self._command() for _ in range(size)]

    def follow(self, events: Iterable[Event]) -> None:
        """Forget the orders that were filled."""
        for event in events:
            if event[0] == c.FILL:
                for order, left in ((event[2], event[8]), (event[3], event[9])):
                    if left == 0:
                        self._forget(order)

    def _command(self) -> Row:
        draw = self._random.random()
        if draw < 0.55 or (draw < 0.90 and not self._live):
            return self._new()
        return self._cancel() if draw < 0.90 else self._crossing()

    def _order(self, side: int, price: int, quantity: int) -> Row:
        number = self._next_id
        self._next_id += self._step
        pair = self._names[int(self._random.random() * len(self._names))]
        trader = self._traders[int(self._random.random() * len(self._traders))]
        return (c.PLACE, number, pair, side, price, quantity, trader)

    def _new(self) -> Row:
        distance = 1 + int(self._random.expovariate(1 / _MEAN_DISTANCE))
        side = c.BID if self._random.random() < 0.5 else c.ASK
        price = _MIDDLE - distance if side == c.BID else _MIDDLE + distance
        row = self._order(side, price, 1 + int(self._random.random() * 100))
        self._places[row[1]] = len(self._live)
        self._live.append((row[1], row[6]))
        return row

    def _crossing(self) -> Row:
        side = c.BID if self._random.random() < 0.5 else c.ASK
        price = _MIDDLE + _REACH if side == c.BID else _MIDDLE - _REACH
        return (*self._order(side, price, 1 + int(self._random.random() * 100)), None, c.IOC)

    def _cancel(self) -> Row:
        number, trader = self._live[int(self._random.random() * len(self._live))]
        self._forget(number)
        return (c.CANCEL, number, None, trader)

    def _forget(self, number: int) -> None:
        place = self._places.pop(number, None)
        if place is None:
            return
        last = self._live.pop()
        if last[0] != number:
            self._live[place] = last
            self._places[last[0]] = place
