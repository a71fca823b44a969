"""Files of commands: JSON Lines, one command a line, as ``match`` and ``replay`` read them.

    {"op":"place","id":1,"pair":"ETH/USDC","side":"bid","price":300500,"quantity":15,"trader":"bob",
     "type":"limit","tif":"gtc","post_only":false}
    {"op":"cancel","id":1,"quantity":5,"trader":"bob"}
    {"op":"amend","id":1,"price":300400,"quantity":12}

``type``, ``tif``, ``post_only``, ``self_trade`` and ``expires`` may be left out, so may ``trader`` (as the order's
owner), ``quantity`` of a cancel (all of it) and either of an amend's two (it stays). Unknown keys are ignored; ``t`` is
the time of the line in seconds since the start.

A line that isn't such an object ends the reading (NotACommand). A value that isn't allowed doesn't: it becomes -1,
which is allowed nowhere, and the book refuses the command by its reason.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from orderbook.book import constants as c
from orderbook.book.commands import OrderType, PairSpec, SelfTrade, Side, TimeInForce

INVALID = -1
_LONGEST_INTEGER = 1 << 63


class Line(NamedTuple):
    """One command: its line, its time (ms since the start, None where not given), its form in the log, its pair."""

    number: int
    time_ms: int | None
    row: tuple[Any, ...]
    pair: str | None


class NotACommand(ValueError):
    """A line that holds no command: the file is not what it should be."""

    def __init__(self, number: int, problem: str) -> None:
        super().__init__(f"line {number}: {problem}")
        self.number = number


def read_json_lines(lines: Iterable[bytes]) -> Iterator[Line]:
    """The commands of a file. Raises NotACommand."""
    for number, text in enumerate(lines, start=1):
        try:
            document = json.loads(text.decode("utf-8").rstrip("\r\n"))
        except json.JSONDecodeError as error:
            raise NotACommand(number, f"no JSON: {error.msg}, at character {error.pos + 1}") from error
        except (ValueError, RecursionError) as error:
            raise NotACommand(number, f"no JSON: {error}") from error
        if type(document) is not dict:
            raise NotACommand(number, "no JSON object")
        reader = _READERS.get(document["op"]) if type(document.get("op")) is str else None
        if reader is None:
            raise NotACommand(number, f'"op" is one of {", ".join(_READERS)}, not {document.get("op")!r}')
        pair = document.get("pair")
        yield Line(number, _milliseconds(document.get("t")), reader(document), pair if type(pair) is str else None)


def read_instruments(text: str) -> list[PairSpec]:
    """The pairs of an instruments file: {"ETH/USDC":{"tick":"0.01","lot":"0.001"}}. Raises ValueError."""
    document = json.loads(text)
    if type(document) is not dict:
        raise ValueError("no JSON object")
    pairs = []
    for name, increments in document.items():
        if type(increments) is not dict or not {"tick", "lot"} <= increments.keys():
            raise ValueError(f'{name}: no object with "tick" and "lot"')
        for key in ("tick", "lot"):
            if type(increments[key]) is not str:
                raise ValueError(f"{name}: {key} is a decimal in quotes, not {increments[key]!r}")
        pairs.append(PairSpec(name, increments["tick"], increments["lot"]))
    return pairs


def _milliseconds(seconds: Any) -> int | None:
    if type(seconds) not in (int, float) or not math.isfinite(seconds) or seconds < 0:
        return None
    return min(int(seconds * 1000), c.MAX_INTEGER)


def _place(document: dict[str, Any]) -> tuple[Any, ...]:
    value = _values(document)
    terms = (
        value("trader"),
        _code(OrderType, value("type")),
        _code(TimeInForce, value("tif")),
        value("expires"),
        value("post_only"),
        _code(SelfTrade, value("self_trade")),
    )
    side = _code(Side, value("side"))
    return (c.PLACE, value("id"), value("pair"), side, value("price"), value("quantity"), *terms)


def _cancel(document: dict[str, Any]) -> tuple[Any, ...]:
    value = _values(document)
    return (c.CANCEL, value("id"), value("quantity"), value("trader"))


def _amend(document: dict[str, Any]) -> tuple[Any, ...]:
    value = _values(document)
    return (c.AMEND, value("id"), value("price"), value("quantity"), value("trader"))


_READERS: dict[str, Callable[[dict[str, Any]], tuple[Any, ...]]] = {"place": _place, "cancel": _cancel, "amend": _amend}


def _values(document: dict[str, Any]) -> Callable[[str], Any]:
    """Look a key up: None where it is left out, INVALID for what no field of a command can be."""

    def value(key: str) -> Any:
        found = document.get(key)
        if found is None or type(found) is bool:
            return found
        if type(found) is int:
            return found if -_LONGEST_INTEGER <= found < _LONGEST_INTEGER else INVALID
        return found if type(found) is str and _is_text(found) else INVALID

    return value


def _is_text(value: str) -> bool:
    """JSON can spell half a surrogate pair, which no encoding can."""
    return not any("\ud800" <= character <= "\udfff" for character in value)


def _code(enum: Any, name: Any) -> Any:
    if name is None:
        return None
    member = enum.__members__.get(name.upper()) if type(name) is str and name.islower() else None
    return INVALID if member is None else int(member)
