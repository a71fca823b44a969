"""The frames of typed streams between members, as msgpack arrays ``[kind, ...]``, over one channel of the network.

===========  ================================  ===========================================================
kind         fields                            who says it to whom
===========  ================================  ===========================================================
OFFER        producer, name of its type        a producer's member to all: it is there
WITHDRAW     producer                          the same: it is gone
SUBSCRIBE    producer, consumer                a consumer's member to the producer's
SUBSCRIBED   producer, consumer                the producer's in return: what comes from now on is sent
UNSUBSCRIBE  producer, consumer, reason        the same
DATUM        producer, consumer, sequence,     the producer's to the consumer's. Sequences of a producer
             bytes                             rise by one; one that is left out was lost
END          producer, consumer, reason        the producer's to the consumer's: no more comes
===========  ================================  ===========================================================

Producers and consumers are numbered by their member, never twice in one life of its process; who speaks is known from
the channel. Fields of a later version are appended and ignored, kinds that a member does not know are ignored.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import msgpack

MAX_DATUM_BYTES = 1 << 20
MAX_NAME_BYTES = 256
_MAX_NUMBER = (1 << 63) - 1


class DatumFrameKind(IntEnum):
    """Numbers are never reused."""

    OFFER = 1
    WITHDRAW = 2
    SUBSCRIBE = 3
    UNSUBSCRIBE = 4
    DATUM = 5
    END = 6
    SUBSCRIBED = 7


FIELDS: dict[int, tuple[type, ...]] = {
    DatumFrameKind.OFFER: (int, str),
    DatumFrameKind.WITHDRAW: (int,),
    DatumFrameKind.SUBSCRIBE: (int, int),
    DatumFrameKind.UNSUBSCRIBE: (int, int, str),
    DatumFrameKind.DATUM: (int, int, int, bytes),
    DatumFrameKind.END: (int, int, str),
    DatumFrameKind.SUBSCRIBED: (int, int),
}


class MalformedDatumFrame(ValueError):
    """A peer sent what is no frame: the message says which field and what is allowed."""


def pack_datum_frame(kind: DatumFrameKind, *fields: Any) -> bytes:
    packed: bytes = msgpack.packb((int(kind), *fields))
    return packed


def unpack_datum_frame(data: bytes) -> list[Any] | None:
    """``[kind, ...]`` without what a later version appended; None for a kind that only a later version knows."""
    try:
        values = msgpack.unpackb(data)
    except Exception as error:
        raise MalformedDatumFrame(f"not msgpack: {error}") from error
    if type(values) is not list or not values or type(values[0]) is not int:
        raise MalformedDatumFrame("a frame is an array [kind, ...]")
    wanted = FIELDS.get(values[0])
    if wanted is None:
        return None
    name, fields = DatumFrameKind(values[0]).name, values[1 : 1 + len(wanted)]
    if len(fields) < len(wanted):
        raise MalformedDatumFrame(f"{name} has {len(wanted)} fields, not {len(fields)}")
    for position, allowed in enumerate(wanted):
        if not _fits(fields[position], allowed):
            raise MalformedDatumFrame(f"field {position} of {name} is {_said(allowed)}, not {fields[position]!r:.40}")
    return [values[0], *fields]


def _fits(value: Any, allowed: type) -> bool:
    if allowed is int:
        return type(value) is int and 0 <= value <= _MAX_NUMBER
    if allowed is str:
        return type(value) is str and len(value.encode()) <= MAX_NAME_BYTES
    return type(value) is allowed


def _said(allowed: type) -> str:
    if allowed is int:
        return "an integer from 0 to 2^63-1"
    return "bytes" if allowed is bytes else f"a string of at most {MAX_NAME_BYTES} bytes"
