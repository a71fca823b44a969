"""The frames between a client and a node on the order stream, as msgpack arrays.

Requests, client to node: ``[kind, request, ...]``, the request's number being the client's own.

==========  ==================================================
OPEN        timeout_ms, cancel_on_close
BATCH       session, first, commands, acked, body, metadata or nil
KEEP_ALIVE  session, acked
CLOSE       session
==========  ==================================================

Replies, node to client: ``[kind, request, ...]``; each request gets exactly one.

===========  ===================================================================================
OPENED       session, timeout_ms (as granted)
ANSWER       log index, ordinal of the first event in it, [event, or nil for one that is not the client's, ...]
DONE         (nothing more)
REFUSED      outcome, detail
UNAVAILABLE  reason
UNCERTAIN    sentence
===========  ===================================================================================

Fields of a later version are appended and ignored; an unknown kind of request ends the connection with a reason.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import msgpack

from orderbook.wire.envelope import MAX_BODY_BYTES, MAX_COMMANDS

SUBPROTOCOL = "orderbook.v1.msgpack"
MAX_REQUEST_BYTES = MAX_BODY_BYTES + 8192
_MAX_NUMBER = (1 << 63) - 1


class RequestKind(IntEnum):
    OPEN = 1
    BATCH = 2
    KEEP_ALIVE = 3
    CLOSE = 4


class ReplyKind(IntEnum):
    OPENED = 1
    ANSWER = 2
    DONE = 3
    REFUSED = 4
    UNAVAILABLE = 5
    UNCERTAIN = 6


class MalformedRequest(ValueError):
    """A client sent what is no request; the message names the field and what is allowed."""


_NUMBER = "an integer from 0 to 2^63-1"
_REQUEST_FIELDS: dict[int, tuple[tuple[str, type, str], ...]] = {
    RequestKind.OPEN: (("timeout_ms", int, _NUMBER), ("cancel_on_close", bool, "true or false")),
    RequestKind.BATCH: (
        ("session", int, _NUMBER),
        ("first", int, _NUMBER),
        ("commands", int, f"an integer from 1 to {MAX_COMMANDS}"),
        ("acked", int, _NUMBER),
        ("body", bytes, f"at most {MAX_BODY_BYTES} bytes"),
    ),
    RequestKind.KEEP_ALIVE: (("session", int, _NUMBER), ("acked", int, _NUMBER)),
    RequestKind.CLOSE: (("session", int, _NUMBER),),
}
_REPLY_LENGTHS = {
    ReplyKind.OPENED: 4,
    ReplyKind.ANSWER: 5,
    ReplyKind.DONE: 2,
    ReplyKind.REFUSED: 4,
    ReplyKind.UNAVAILABLE: 3,
    ReplyKind.UNCERTAIN: 3,
}


def pack(kind: RequestKind | ReplyKind, request: int, *fields: Any) -> bytes:
    packed: bytes = msgpack.packb((int(kind), request, *fields))
    return packed


def unpack_request(data: bytes) -> list[Any]:
    """``[kind, request, ...]`` with every field checked. Raises MalformedRequest."""
    try:
        values = msgpack.unpackb(data)
    except Exception as error:
        raise MalformedRequest(f"not msgpack: {error}") from error
    if type(values) is not list or len(values) < 2:
        raise MalformedRequest("a request is an array [kind, request, ...]")
    if type(values[0]) is not int or values[0] not in _REQUEST_FIELDS:
        allowed = ", ".join(f"{int(kind)} ({kind.name})" for kind in RequestKind)
        raise MalformedRequest(f"kind is one of {allowed}, not {values[0]!r:.40}")
    if type(values[1]) is not int or not 0 <= values[1] <= _MAX_NUMBER:
        raise MalformedRequest(f"request is {_NUMBER}, not {values[1]!r:.40}")
    fields = _REQUEST_FIELDS[values[0]]
    if len(values) < 2 + len(fields):
        raise MalformedRequest(f"{RequestKind(values[0]).name} has {len(fields)} fields, not {len(values) - 2}")
    for (name, wanted, allowed), value in zip(fields, values[2:], strict=False):
        if type(value) is not wanted or (isinstance(value, int) and not 0 <= value <= _MAX_NUMBER):
            raise MalformedRequest(f"{name} is {allowed}, not {value!r:.40}")
    if values[0] == RequestKind.BATCH and not 1 <= values[4] <= MAX_COMMANDS:
        raise MalformedRequest(f"commands is an integer from 1 to {MAX_COMMANDS}, not {values[4]}")
    if values[0] == RequestKind.BATCH and len(values[6]) > MAX_BODY_BYTES:
        raise MalformedRequest(f"body is at most {MAX_BODY_BYTES} bytes, not {len(values[6])}")
    return values


def unpack_reply(data: bytes) -> list[Any]:
    """``[kind, request, ...]``; events are lists. Raises ValueError for what no node sends."""
    values = msgpack.unpackb(data)
    if type(values) is not list or len(values) < 2 or values[0] not in _REPLY_LENGTHS:
        raise ValueError(f"no reply of this version: {values!r:.80}")
    if len(values) < _REPLY_LENGTHS[values[0]]:
        raise ValueError(f"{ReplyKind(values[0]).name} has {_REPLY_LENGTHS[values[0]]} places, not {len(values)}")
    return values
