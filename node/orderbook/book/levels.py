"""The level-2 book as a sum over events: nothing but events is needed to follow it."""

from __future__ import annotations

from typing import NamedTuple

from orderbook.book import constants as c
from orderbook.book.events import Event


class LevelChange(NamedTuple):
    """What to add to one level. A level whose quantity becomes 0 is gone."""

    pair: str
    side: int
    price: int
    quantity: int
    orders: int


def level_changes(event: Event) -> tuple[LevelChange, ...]:
    """What an event does to the levels of its pair."""
    kind = event[0]
    if kind == c.ACCEPTED:
        _, _, _, pair, side, price, _, resting, *_ = event
        return (LevelChange(pair, side, price, resting, 1),) if resting else ()
    if kind == c.FILL:
        _, _, _, _, pair, price, quantity, taker_side, bid_open, ask_open, *_ = event
        maker_open = ask_open if taker_side == c.BID else bid_open
        maker_side = c.ASK if taker_side == c.BID else c.BID
        return (LevelChange(pair, maker_side, price, -quantity, 0 if maker_open else -1),)
    if kind == c.CANCELLED:
        _, _, _, pair, side, price, quantity, open, _, reason = event
        return () if reason >= c.IOC_REMAINDER else (LevelChange(pair, side, price, -quantity, 0 if open else -1),)
    if kind == c.EXPIRED:
        _, _, _, pair, side, price, quantity, _ = event
        return (LevelChange(pair, side, price, -quantity, -1),)
    if kind == c.AMENDED:
        _, _, _, pair, side, price, _, _, resting, _, old_price, _, old_open, _ = event
        gone = LevelChange(pair, side, old_price, -old_open, -1)
        return (gone, LevelChange(pair, side, price, resting, 1)) if resting else (gone,)
    return ()


class LevelBook:
    """Levels of any number of pairs, followed from events."""

    def __init__(self) -> None:
        self.levels: dict[tuple[str, int, int], tuple[int, int]] = {}  # (pair, side, price) -> (quantity, orders)

    def follow(self, event: Event) -> None:
        for pair, side, price, quantity, orders in level_changes(event):
            key = (pair, side, price)
            had_quantity, had_orders = self.levels.get(key, (0, 0))
            if had_orders + orders:
                self.levels[key] = (had_quantity + quantity, had_orders + orders)
            else:
                self.levels.pop(key, None)

    def side(self, pair: str, side: int) -> list[tuple[int, int, int]]:
        """(price, quantity, orders) of each level, best first."""
        rows = [(key[2], *row) for key, row in self.levels.items() if key[:2] == (pair, side)]
        return sorted(rows, reverse=side == c.BID)
