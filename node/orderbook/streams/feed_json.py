"""The frames of the feeds as JSON: the same content, with names for codes. For browsers and for people.

A frame is an object with a ``type``; a sequence is ``[index, ordinal]``. ``next`` is what to ask for after it.
"""

from __future__ import annotations

import json
from typing import Any

from orderbook.book.commands import Side
from orderbook.book.events import to_json
from orderbook.wire.feed_frames import FeedFrameKind, unpack_feed_frame


def feed_text(frame: bytes, is_book: bool = True) -> bytes:
    """The JSON of a packed frame. ``is_book``: its events are the order book's, which have names."""
    return json.dumps(feed_document(frame, is_book), separators=(",", ":"), default=str).encode()


def feed_document(frame: bytes, is_book: bool = True) -> dict[str, Any]:
    values = unpack_feed_frame(frame)
    if values is None:
        raise ValueError("a kind of frame that this version does not make")
    kind = FeedFrameKind(values[0])
    fields = values[1:]
    document: dict[str, Any] = {"type": kind.name.lower()}
    if kind is FeedFrameKind.SUBSCRIBED:
        document |= {"incarnation": fields[0].hex(), "next": fields[1:3]}
    elif kind is FeedFrameKind.EVENTS:
        index, time_ms, rows, more = fields[:4]
        after = [index, rows[-1][0] + 1] if more else [index + 1, 0]
        document |= {"index": index, "time_ms": time_ms, "next": after}
        document["events"] = [_event(event, [index, ordinal], is_book) for ordinal, event in rows]
    elif kind is FeedFrameKind.BOOK:
        document |= {"pair": fields[0], "bids": fields[1], "asks": fields[2]}
    elif kind is FeedFrameKind.LEVELS:
        index, time_ms, rows = fields[:3]
        document |= {"index": index, "time_ms": time_ms, "next": [index + 1, 0]}
        document["changes"] = [
            {"pair": pair, "side": Side(side).name.lower(), "price": price, "quantity": quantity, "orders": orders}
            for pair, side, price, quantity, orders in rows
        ]
    elif kind is FeedFrameKind.MARK:
        document["next"] = [fields[0], 0]
    elif kind is FeedFrameKind.GAP:
        document["first"] = [fields[0], 0]
    else:
        document |= {"incarnation": fields[0].hex(), "first": [fields[1], 0]}
    return document


def _event(event: list[Any], sequence: list[int], is_book: bool) -> dict[str, Any]:
    if is_book:
        return to_json(tuple(event), sequence=(sequence[0], sequence[1]))
    return {"sequence": sequence, "fields": event}
