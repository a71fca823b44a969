"""A naive matcher: one sorted list a side, everything by scanning. It shares no code with the engine.

It takes commands in their positional form and tells what happens in the words of ``unit.book.market.short``. It knows
orders, cancels (of all at one stroke, too), amends and expiry; who may do what, limits and halts are not its matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

BID, ASK, MARKET, IOC, FOK = 1, 2, 2, 2, 3
ALLOW, NEWEST, OLDEST, BOTH = 1, 2, 3, 4
ENDLESS = 1 << 60


@dataclass
class Resting:
    id: int
    side: int
    price: int
    total: int
    open: int
    trader: str
    expires: int
    post_only: bool
    mode: int
    arrival: int = 0


class NaiveBook:
    def __init__(self) -> None:
        self.resting: list[Resting] = []
        self.arrivals = 0

    def run(self, row: tuple[Any, ...], now: int) -> list[str]:
        due = sorted((o for o in self.resting if o.expires <= now), key=lambda o: (o.expires, o.arrival))
        self.resting = [o for o in self.resting if o.expires > now]
        told = [f"expired {o.id} {o.open}" for o in due]
        return told + {1: self.place, 2: self.cancel, 3: self.amend, 4: self.cancel_all}[row[0]](*row[1:], now=now)

    def place(self, id: int, _: str, side: int, price: int | None, quantity: int, *terms: Any, now: int) -> list[str]:
        trader, kind, tif, expires, post_only, mode = terms
        limit = price if price is not None else (ENDLESS if side == BID else 0)
        new = Resting(id, side, limit, quantity, quantity, trader, expires or ENDLESS, bool(post_only), mode or ALLOW)
        if any(o.id == id for o in self.resting):
            return [f"rejected {id} duplicate_order_id"]
        if new.expires <= now:
            return [f"rejected {id} expiry_passed"]
        if new.post_only and self.opposite(side, limit):
            return [f"rejected {id} would_cross"]
        if tif == FOK and self.fillable(new) < quantity:
            return [f"rejected {id} would_not_fill"]
        told, stopped = self.trade(new)
        rests = new.open > 0 and not stopped and kind != MARKET and tif not in (IOC, FOK)
        if rests:
            self.rest(new)
        elif new.open:
            reason = "self_trade_taker" if stopped else "market_remainder" if kind == MARKET else "ioc_remainder"
            told.append(f"cancelled {id} {new.open} {reason}")
        return [f"accepted {id} rests {new.open if rests else 0}", *told]

    def cancel(self, id: int, quantity: int | None, *, now: int) -> list[str]:
        for order in self.resting:
            if order.id == id:
                taken = min(quantity or ENDLESS, order.open)
                order.open, order.total = order.open - taken, order.total - taken
                self.resting = [o for o in self.resting if o.open]
                return [f"cancelled {id} {taken} requested" + (f" leaves {order.open}" if order.open else "")]
        return [f"rejected {id} unknown_order"]

    def cancel_all(self, trader: str, pair: str | None, *, now: int) -> list[str]:
        gone = [o for o in self.resting if o.trader == trader]
        self.resting = [o for o in self.resting if o.trader != trader]
        told = [f"cancelled {o.id} {o.open} requested" for o in gone]
        return [*told, f"cancelled_all {trader} {pair or ''}".rstrip() + f" {len(gone)}"]

    def amend(self, id: int, price: int | None, total: int | None, *, now: int) -> list[str]:
        found = [o for o in self.resting if o.id == id]
        if not found:
            return [f"rejected {id} unknown_order"]
        [order] = found
        price, total = price or order.price, total or order.total
        if total <= order.total - order.open:
            return [f"rejected {id} quantity_below_filled"]
        if price == order.price and total <= order.total:
            order.open, order.total = order.open - (order.total - total), total
            return [f"amended {id} {total}@{price} rests {order.open}, keeps its place"]
        if order.post_only and self.opposite(order.side, price):
            return [f"rejected {id} would_cross"]
        self.resting.remove(order)
        order.open, order.total, order.price = order.open + total - order.total, total, price
        told, stopped = self.trade(order)
        if order.open and not stopped:
            self.rest(order)
        elif order.open:
            told.append(f"cancelled {id} {order.open} self_trade_taker")
        return [f"amended {id} {total}@{price} rests {0 if stopped else order.open}", *told]

    def rest(self, order: Resting) -> None:
        self.arrivals += 1
        order.arrival = self.arrivals
        self.resting.append(order)

    def opposite(self, side: int, limit: int) -> list[Resting]:
        """The orders of the other side that one at ``limit`` would meet, in the order of meeting."""
        others = [o for o in self.resting if o.side != side and (o.price <= limit if side == BID else o.price >= limit)]
        return sorted(others, key=lambda o: (o.price if side == BID else -o.price, o.arrival))

    def fillable(self, taker: Resting) -> int:
        found = 0
        for maker in self.opposite(taker.side, taker.price):
            if maker.trader != taker.trader or taker.mode == ALLOW:
                found += maker.open
            elif taker.mode != OLDEST and found < taker.total:
                break
        return found

    def trade(self, taker: Resting) -> tuple[list[str], bool]:
        told = []
        for maker in self.opposite(taker.side, taker.price):
            if not taker.open:
                break
            if maker.trader == taker.trader and taker.mode != ALLOW:
                if taker.mode in (OLDEST, BOTH):
                    self.resting.remove(maker)
                    told.append(f"cancelled {maker.id} {maker.open} self_trade")
                if taker.mode in (NEWEST, BOTH):
                    return told, True
                continue
            quantity = min(taker.open, maker.open)
            taker.open, maker.open = taker.open - quantity, maker.open - quantity
            bid, ask = (taker, maker) if taker.side == BID else (maker, taker)
            told.append(f"fill {bid.id}x{ask.id} {quantity}@{maker.price}")
            if not maker.open:
                self.resting.remove(maker)
        return told, False
