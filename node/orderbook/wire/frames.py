"""The frames that members of a group send each other, as msgpack arrays ``[kind, incarnation, sender, receiver, ...]``.

=================  ===========================================================================================
kind               fields after the four of the front
=================  ===========================================================================================
ANNOUNCE           view: [name, id, initial_size, incarnation, initial configuration, [[name, id], ...] whom it sees]
RAFT               clock_ms, machine version, check: [index, hash] or nil, messages: [[type, field, ...], ...]
PROPOSE            [sealed envelope, ...]
PROPOSED           [[request, term, index] or [request, refusal], ...]
SNAPSHOT_CHUNK     snapshot: [index, term, configuration, configuration index, size], offset, bytes
SNAPSHOT_PROGRESS  snapshot index, offset held, problem or nil
LOG_END_WANTED     (nothing more)
LOG_END            term and index of the sender's last entry
=================  ===========================================================================================

Sender and receiver are member ids. A frame of another incarnation, or for another id, is dropped by its receiver (only
ANNOUNCE, which introduces members to each other, has neither). Fields of a later version are appended and ignored.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, NamedTuple

import msgpack

MAX_FRAME_BYTES = 16 << 20
NO_INCARNATION = b""
INCARNATION_BYTES = 16
_MAX_ID = (1 << 63) - 1


class FrameKind(IntEnum):
    """Numbers are never reused. A receiver ignores kinds that it does not know."""

    ANNOUNCE = 1
    RAFT = 2
    PROPOSE = 3
    PROPOSED = 4
    SNAPSHOT_CHUNK = 5
    SNAPSHOT_PROGRESS = 6
    LOG_END_WANTED = 7
    LOG_END = 8


FIELDS = {
    FrameKind.ANNOUNCE: (list,),
    FrameKind.RAFT: (int, int, (list, type(None)), list),
    FrameKind.PROPOSE: (list,),
    FrameKind.PROPOSED: (list,),
    FrameKind.SNAPSHOT_CHUNK: (list, int, bytes),
    FrameKind.SNAPSHOT_PROGRESS: (int, int, (str, type(None))),
    FrameKind.LOG_END_WANTED: (),
    FrameKind.LOG_END: (int, int),
}


class MalformedFrame(ValueError):
    """Bytes that are no frame: the message says which field and what is allowed."""


class Frame(NamedTuple):
    kind: int
    incarnation: bytes
    sender: int
    receiver: int
    fields: tuple[Any, ...]


def pack_frame(kind: FrameKind, incarnation: bytes, sender: int, receiver: int, *fields: Any) -> bytes:
    packed: bytes = msgpack.packb((int(kind), incarnation, sender, receiver, *fields))
    return packed


def unpack_frame(data: bytes) -> Frame | None:
    """The frame, None for a kind that only a newer version knows. Raises MalformedFrame."""
    if len(data) > MAX_FRAME_BYTES:
        raise MalformedFrame(f"a frame of {len(data)} bytes; at most {MAX_FRAME_BYTES} are allowed")
    try:
        values = msgpack.unpackb(data, use_list=True, strict_map_key=True)
    except Exception as error:
        raise MalformedFrame(f"not msgpack: {error}") from error
    if type(values) is not list or len(values) < 4:
        raise MalformedFrame("a frame is an array of at least four")
    kind, incarnation, sender, receiver = values[:4]
    if type(kind) is not int or kind < 1:
        raise MalformedFrame(f"kind is a positive integer, not {kind!r}")
    if type(incarnation) is not bytes or len(incarnation) not in (0, INCARNATION_BYTES):
        raise MalformedFrame(f"incarnation is {INCARNATION_BYTES} bytes or none")
    for name, value in (("sender", sender), ("receiver", receiver)):
        if type(value) is not int or not 0 <= value <= _MAX_ID:
            raise MalformedFrame(f"{name} is an integer from 0 to 2^63-1, not {value!r}")
    if kind not in _KINDS:
        return None
    fields = tuple(values[4:])
    _check_fields(FrameKind(kind), fields)
    return Frame(kind, incarnation, sender, receiver, fields)


def _check_fields(kind: FrameKind, fields: tuple[Any, ...]) -> None:
    wanted = FIELDS[kind]
    if len(fields) < len(wanted):
        raise MalformedFrame(f"{kind.name} has {len(wanted)} fields, not {len(fields)}")
    for position, (value, allowed) in enumerate(zip(fields, wanted, strict=False)):
        if type(value) is bool or not isinstance(value, allowed):
            raise MalformedFrame(f"field {position} of {kind.name} is {value!r:.80}, not {allowed}")


_KINDS = frozenset(int(kind) for kind in FrameKind)
