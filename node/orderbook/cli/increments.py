"""Decimals of a user against a pair's tick and lot. The node speaks in whole ticks and lots only."""

from __future__ import annotations

from decimal import ROUND_FLOOR, Decimal, InvalidOperation
from typing import Any, NamedTuple

import typer

from orderbook.book.constants import MAX_INTEGER
from orderbook.cli.connection import Call


class OffIncrement(typer.BadParameter):
    """A price off tick or a quantity off lot; the message says what is allowed next to it."""


class Increments(NamedTuple):
    """What one unit of price and quantity of ``pair`` is worth."""

    pair: str
    tick: Decimal
    lot: Decimal

    @classmethod
    def of(cls, document: dict[str, Any]) -> Increments:
        """From a pair as /v1/pairs gives it."""
        return cls(document["pair"], Decimal(document["tick"]), Decimal(document["lot"]))

    def ticks(self, text: str) -> int:
        """Raises OffIncrement."""
        return _units(text, self.tick, "price", f"the tick of {self.pair}")

    def lots(self, text: str) -> int:
        """Raises OffIncrement."""
        return _units(text, self.lot, "quantity", f"the lot of {self.pair}")

    def price(self, ticks: int) -> str:
        return _plain(ticks * self.tick)

    def quantity(self, lots: int) -> str:
        return _plain(lots * self.lot)


async def increments(call: Call) -> dict[str, Increments]:
    """Those of all pairs, by name."""
    return {pair["pair"]: Increments.of(pair) for pair in (await call.api.pairs(consistency="weak"))["pairs"]}


async def increments_of(call: Call, pair: str) -> Increments:
    """Raises typer.BadParameter for a pair that is not defined: asked strongly, for it may be new."""
    known = (await increments(call)).get(pair)
    if known is None:
        pairs = (await call.api.pairs())["pairs"]
        known = next((Increments.of(document) for document in pairs if document["pair"] == pair), None)
        if known is None:
            names = ", ".join(document["pair"] for document in pairs) or "none"
            raise typer.BadParameter(f"{pair} is not defined; there are: {names}")
    return known


def _units(text: str, increment: Decimal, what: str, of: str) -> int:
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise OffIncrement(f"{what} is a decimal, not {text!r}") from None
    if not value.is_finite() or value <= 0:
        raise OffIncrement(f"{what} is above 0, not {text}")
    if value > increment * MAX_INTEGER:
        raise OffIncrement(f"{what} is at most {_plain(increment * MAX_INTEGER)}, not {text}")
    below = int((value / increment).to_integral_value(ROUND_FLOOR))
    if below * increment != value:
        near = [_plain(units * increment) for units in (below, below + 1) if units > 0]
        raise OffIncrement(f"{what} {text} is no multiple of {of}, {_plain(increment)}; next to it: {', '.join(near)}")
    return below


def _plain(value: Decimal) -> str:
    """Without an exponent, with as many digits as it has."""
    return f"{value:f}"
