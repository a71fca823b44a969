"""The frames of the feeds (fills, events, book), node to client only, as msgpack arrays ``[kind, ...]``.

==========  ============================================================================================
kind        fields
==========  ============================================================================================
SUBSCRIBED  incarnation, next index, next ordinal: everything from this sequence on follows, nothing before
EVENTS      log index, time (log's, ms), [[ordinal, event], ...], whether more of this entry follows
BOOK        pair, bids, asks: [[price, quantity, orders], ...], best first, as they stand where the feed begins
LEVELS      log index, time, [[pair, side, price, quantity, orders], ...]: what to add to which level
MARK        next index: everything before (next index, 0) was sent. Also a sign of life, at least each second
GAP         first index: this node has nothing of what was asked for before (first index, 0); the last frame
RESET       incarnation, first index: the token is of another life of the group; the last frame
==========  ============================================================================================

A sequence is (log index, ordinal of the event within its entry), the same on every node. With the incarnation it is the
resume token: a client asks for the first sequence that it does not have. The version is the connection's (its
subprotocol); fields of a later version are appended and ignored, kinds that a client does not know are ignored.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import msgpack

from orderbook.wire.order_frames import SUBPROTOCOL

MSGPACK_SUBPROTOCOL = SUBPROTOCOL
JSON_SUBPROTOCOL = "orderbook.v1.json"
OLDEST = "oldest"  # in the place of a sequence: everything that the node has
_MAX_NUMBER = (1 << 63) - 1


class FeedFrameKind(IntEnum):
    """Numbers are never reused."""

    SUBSCRIBED = 1
    EVENTS = 2
    BOOK = 3
    LEVELS = 4
    MARK = 5
    GAP = 6
    RESET = 7


FIELDS: dict[int, tuple[type, ...]] = {
    FeedFrameKind.SUBSCRIBED: (bytes, int, int),
    FeedFrameKind.EVENTS: (int, int, list, bool),
    FeedFrameKind.BOOK: (str, list, list),
    FeedFrameKind.LEVELS: (int, int, list),
    FeedFrameKind.MARK: (int,),
    FeedFrameKind.GAP: (int,),
    FeedFrameKind.RESET: (bytes, int),
}
_EVENT_ROW = "[ordinal, event]"
_BOOK_ROW = (int, int, int)
_LEVEL_ROW = (str, int, int, int, int)


class MalformedFeedFrame(ValueError):
    """Bytes that no node sends: the message says which field and what is allowed."""


def pack_feed_frame(kind: FeedFrameKind, *fields: Any) -> bytes:
    packed: bytes = msgpack.packb((int(kind), *fields))
    return packed


def unpack_feed_frame(data: bytes) -> list[Any] | None:
    """``[kind, ...]``, every field checked, rows as lists; None for a kind that only a later version knows.

    What stands behind the kind in an event is its producer's business. Raises MalformedFeedFrame.
    """
    try:
        values = msgpack.unpackb(data)
    except Exception as error:
        raise MalformedFeedFrame(f"not msgpack: {error}") from error
    if type(values) is not list or not values or type(values[0]) is not int:
        raise MalformedFeedFrame("a frame is an array [kind, ...]")
    kind, fields = values[0], values[1:]
    if kind not in FIELDS:
        return None
    name = FeedFrameKind(kind).name
    wanted = FIELDS[kind]
    if len(fields) < len(wanted):
        raise MalformedFeedFrame(f"{name} has {len(wanted)} fields, not {len(fields)}")
    for position, allowed in enumerate(wanted):
        if not _fits(fields[position], allowed):
            raise MalformedFeedFrame(f"field {position} of {name} is {_said(allowed)}, not {fields[position]!r:.40}")
    if kind == FeedFrameKind.EVENTS:
        _check_events(fields[2])
    elif kind == FeedFrameKind.LEVELS:
        _check_rows(name, fields[2], _LEVEL_ROW)
    elif kind == FeedFrameKind.BOOK:
        _check_rows(name, fields[1], _BOOK_ROW)
        _check_rows(name, fields[2], _BOOK_ROW)
    return values


def _fits(value: Any, allowed: type) -> bool:
    if allowed is int:
        return type(value) is int and 0 <= value <= _MAX_NUMBER
    return type(value) is allowed


def _said(allowed: type) -> str:
    return "an integer from 0 to 2^63-1" if allowed is int else f"of type {allowed.__name__}"


def _check_events(rows: list[Any]) -> None:
    if not rows:
        raise MalformedFeedFrame("EVENTS has at least one row")
    before = -1
    for row in rows:
        if type(row) is not list or len(row) != 2 or type(row[0]) is not int or type(row[1]) is not list:
            raise MalformedFeedFrame(f"a row of EVENTS is {_EVENT_ROW}, not {row!r:.40}")
        if row[0] <= before or not row[1]:
            raise MalformedFeedFrame(f"rows of EVENTS are in rising order and none is empty: {row!r:.40}")
        before = row[0]


def _check_rows(name: str, rows: list[Any], wanted: tuple[type, ...]) -> None:
    for row in rows:
        if type(row) is not list or tuple(map(type, row)) != wanted:
            raise MalformedFeedFrame(f"a row of {name} is [{', '.join(t.__name__ for t in wanted)}], not {row!r:.40}")
