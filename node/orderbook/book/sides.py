"""The two sides of a pair's book and the pair itself.

A side is an index of levels by price with the best level at hand: what a SortedDict is made of, a dict and a SortedList
of its keys, held apart because compiled code looks up faster in an exact dict.

Its sign turns both sides into one rule: a level is better the greater ``sign * price`` is, +1 for bids, -1 for asks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, final

from mypy_extensions import i64
from sortedcontainers import SortedList

from orderbook.book.constants import ASK, BID, LAST_REASON, MAX_INTEGER, MAX_LEVEL_TOTAL
from orderbook.book.mixing import mix_fill, mix_integers, mix_text
from orderbook.book.orders import Level

_PAIR_SEED = 1
_INCREMENT_SEED = 3


@final
class BookSide:
    """One side of one pair. The counters at the end are for metrics: no part of the state, not in snapshots."""

    __slots__ = (
        "accepted", "amended", "best", "cancelled", "code", "code_key", "expired", "filled", "is_bid", "levels",
        "open_orders", "pair", "prices", "rejected", "sign", "text", "volume",
    )  # fmt: skip

    def __init__(self, pair: Pair, code: i64) -> None:
        self.pair = pair
        self.code = code
        self.code_key: Any = code
        self.is_bid = code == BID
        self.sign: i64 = 1 if code == BID else -1
        self.text: i64 = pair.text
        self.levels: dict[Any, Level] = {}
        self.prices: Any = SortedList()  # of the levels
        self.best: Level | None = None
        self.open_orders: i64 = 0
        self.volume = 0  # open quantity of all levels; unbounded, unlike a level's
        self.accepted: i64 = 0
        self.filled: i64 = 0
        self.cancelled: i64 = 0
        self.expired: i64 = 0
        self.amended: i64 = 0
        self.rejected: i64 = 0

    def opposite(self) -> BookSide:
        return self.pair.asks if self.is_bid else self.pair.bids

    def is_reached(self, price: i64) -> bool:
        """Whether an order of the other side at ``price`` would trade with this side's best."""
        best = self.best
        return best is not None and self.sign * best.price >= self.sign * price

    def grow(self, change: int) -> None:
        """Open quantity came or went. The argument is a Python integer: the sum of machine ones might not fit."""
        self.volume += change

    def has_room(self, key: Any, quantity: i64, standing: i64) -> bool:
        """Whether a level can take ``quantity`` in place of ``standing`` and still be counted in 63 bits."""
        added: int = quantity
        if self.volume + added <= MAX_LEVEL_TOTAL:
            return True
        level = self.levels.get(key)
        return level is None or level.total - standing <= MAX_LEVEL_TOTAL - quantity

    def level_at(self, price: i64, key: Any) -> Level:
        """The level at a price; a new one where there is none yet. ``key`` is the same price."""
        best = self.best
        if best is not None and best.price == price:
            return best
        found = self.levels.get(key)
        if found is not None:
            return found
        level = Level(price, key)
        self.levels[key] = level
        self.prices.add(key)
        if best is None or self.sign * price > self.sign * best.price:
            self.best = level
        return level

    def drop(self, level: Level) -> None:
        """Forget a level that became empty."""
        key = level.key
        del self.levels[key]
        self.prices.remove(key)
        if level is self.best:
            self.best = self.levels[self.prices[-1 if self.is_bid else 0]] if self.levels else None

    def worse(self, level: Level) -> Level | None:
        """The next level behind this one."""
        position: int = self.prices.bisect_left(level.key)
        position += -1 if self.is_bid else 1
        if position < 0 or position >= len(self.levels):
            return None
        return self.levels[self.prices[position]]

    def best_first(self) -> Iterator[Level]:
        prices = reversed(self.prices) if self.is_bid else self.prices
        return map(self.levels.__getitem__, prices)


@final
class FillRing:
    """The newest fills of a pair, a fixed number of them. ``chain`` is a hash over all fills there ever were."""

    __slots__ = ("capacity", "chain", "count", "items")

    def __init__(self, capacity: i64) -> None:
        self.capacity = capacity
        self.items: list[tuple[Any, Any, Any]] = []  # (log index, ordinal, event); fill n stands at n % capacity
        self.count: i64 = 0  # fills ever
        self.chain: i64 = 0

    def push(self, item: tuple[Any, Any, Any], bid: i64, ask: i64, price: i64, quantity: i64) -> None:
        if self.capacity > 0:
            if self.count < self.capacity:
                self.items.append(item)
            else:
                self.items[self.count % self.capacity] = item
        self.count += 1
        self.chain = mix_fill(self.chain, bid, ask, price, quantity)

    def oldest_first(self) -> list[tuple[Any, Any, Any]]:
        if self.count <= self.capacity or self.capacity == 0:
            return self.items
        start = self.count % self.capacity
        return self.items[start:] + self.items[:start]


@final
class Pair:
    """A pair of assets: what it is traded in, its limits, both sides of its book and its newest fills.

    ``tick`` and ``lot`` say what one unit of price and quantity is worth, as decimals; they never change.
    """

    __slots__ = (
        "asks", "bids", "fills", "is_halted", "lot", "max_price", "max_quantity", "min_price", "name", "place",
        "rejections", "text", "tick", "traded",
    )  # fmt: skip

    def __init__(self, name: str, place: i64, tick: str, lot: str, fills_kept: i64) -> None:
        self.name = name
        self.place = place  # in the order of definition, from 0
        self.tick = tick
        self.lot = lot
        self.text: i64 = mix_text(name, _PAIR_SEED)
        self.max_quantity: i64 = MAX_INTEGER
        self.min_price: i64 = 1
        self.max_price: i64 = MAX_INTEGER
        self.is_halted = False
        self.bids = BookSide(self, BID)
        self.asks = BookSide(self, ASK)
        self.fills = FillRing(fills_kept)
        self.traded = 0  # quantity ever; for metrics
        self.rejections = [0] * (LAST_REASON + 1)  # by reason; for metrics

    def count_trade(self, quantity: int) -> None:
        self.traded += quantity

    def mixed(self) -> i64:
        """Its part of the state hash. Its orders have their own."""
        increments: list[int] = [mix_text(self.tick, _INCREMENT_SEED), mix_text(self.lot, _INCREMENT_SEED)]
        limits: list[int] = [self.max_quantity, self.min_price, self.max_price, 1 if self.is_halted else 0]
        fills: list[int] = [self.fills.capacity, self.fills.count, self.fills.chain]
        return mix_integers([self.text, self.place, *increments, *limits, *fills])
