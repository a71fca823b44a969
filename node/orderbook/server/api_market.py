"""Market data over HTTP: the level book, fills, pairs. Anonymous: it names no trader."""

from __future__ import annotations

from typing import Any

from orderbook.book import Fill, Fills, Limits, Pairs, TopOfBook
from orderbook.server.api_calls import INDEX_HEADER, Answer, Call
from orderbook.server.api_errors import ApiError
from orderbook.server.api_fields import NoParameters
from orderbook.server.api_requests import BookReading, FillsReading, PairPath, Reading


async def get_book(call: Call[PairPath, BookReading, None]) -> Answer:
    pair = call.path.pair
    book, index = await call.ask(TopOfBook(pair, call.query.depth), call.query)
    if book is None:
        raise _unknown_pair(pair, index)
    return _at(index, pair=pair, bids=book.bids, asks=book.asks)


async def get_fills(call: Call[NoParameters, FillsReading, None]) -> Answer:
    """The fills that the group keeps (a fixed number a pair); all that there were are in the fill stream."""
    query = call.query
    index, ordinal = query.since.split(",") if query.since is not None else (0, 0)
    since = (int(index), int(ordinal)) if query.since is not None else None
    found, at = await call.ask(Fills(query.pair, since), query)
    if query.pair is not None and call.group.machine.query(TopOfBook(query.pair)) is None:
        raise _unknown_pair(query.pair, at)
    some = found[: query.limit] if since is not None else found[-query.limit :]
    return _at(at, fills=[_fill(fill) for fill in some], more=len(found) > len(some))


async def list_pairs(call: Call[NoParameters, Reading, None]) -> Answer:
    pairs, index = await call.ask(Pairs(), call.query)
    halted = call.group.machine.query(Limits()).halted  # of the same moment: nothing was awaited in between
    return _at(index, halted=halted, pairs=[pair._asdict() for pair in pairs])


def _at(index: int, **document: Any) -> Answer:
    return Answer({"index": index, **document}, headers={INDEX_HEADER: str(index)})


def _unknown_pair(pair: str, index: int) -> ApiError:
    return ApiError(404, "unknown_pair", f"{pair} is not defined", {INDEX_HEADER: str(index)}, index=index)


def _fill(fill: Fill) -> dict[str, Any]:
    document = fill._asdict()
    document["taker_side"] = fill.taker_side.name.lower()
    return document
