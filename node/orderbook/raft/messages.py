"""The messages between members, one tuple each, and their form on the wire.

Every message begins with its sender's term. Delivery may fail, repeat and reorder; no message relies on another's
arrival. ``to_wire`` gives a tuple of plain values for any codec; ``from_wire`` meets bytes of the network and so
believes nothing: a value of the wrong type, out of range or out of order is a ValueError that names the field.

    PreVote, Vote             candidate -> voters      PreVoteReply, VoteReply    back
    Append, InstallSnapshot   leader -> follower       AppendReply                back, for what is durable
    Heartbeat                 leader -> follower       HeartbeatReply             back, waits for no disk
    ReadIndex                 follower -> leader       ReadIndexReply             back
    TimeoutNow                leader -> its chosen successor
    Removed                   anyone -> a member that a committed change removed
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from orderbook.raft.membership import configuration_from, decode
from orderbook.raft.types import Entry, EntryKind, SnapshotMeta

MAX_INT = 2**63 - 1


class PreVote(NamedTuple):
    """Would you vote for me? ``term`` is the one that the sender would campaign in; nobody enters it by this."""

    term: int
    last_index: int
    last_term: int


class PreVoteReply(NamedTuple):
    """``term`` is the one asked for if granted, otherwise that of who refuses."""

    term: int
    granted: bool


class Vote(NamedTuple):
    """Vote for me in ``term``. ``transfer``: the leader asked for it, so its lease doesn't count."""

    term: int
    last_index: int
    last_term: int
    transfer: bool


class VoteReply(NamedTuple):
    term: int
    granted: bool


class Append(NamedTuple):
    """Entries that follow ``prev_index``, which has ``prev_term`` in the leader's log; and what is committed."""

    term: int
    prev_index: int
    prev_term: int
    commit: int
    entries: tuple[Entry, ...]


class AppendReply(NamedTuple):
    """Everything up to ``index`` is durable here and equals the leader's log.

    Rejected: there is no such entry at ``index`` (the append's ``prev_index``); the greatest place that may match is
    ``hint_index``, where this log has ``hint_term``. From a higher term it carries nothing but that term.
    """

    term: int
    index: int
    rejected: bool = False
    hint_index: int = 0
    hint_term: int = 0


class Heartbeat(NamedTuple):
    """``commit`` is at most what this follower is known to have; ``round`` counts up, and its echo confirms reads."""

    term: int
    commit: int
    round: int


class HeartbeatReply(NamedTuple):
    term: int
    round: int


class InstallSnapshot(NamedTuple):
    """The complete snapshot file ``meta`` is here. The caller hands this in when the transfer has ended."""

    term: int
    meta: SnapshotMeta


class TimeoutNow(NamedTuple):
    """Campaign now: the leader gives its leadership to you."""

    term: int


class ReadIndex(NamedTuple):
    """Which commit index must I have applied to answer reads that arrived before this?"""

    term: int
    request: int


class ReadIndexReply(NamedTuple):
    """``index`` 0: the receiver couldn't say; ask again."""

    term: int
    request: int
    index: int


class Removed(NamedTuple):
    """The receiver isn't in the configuration that was appended at ``configuration_index`` and is committed.

    ``committed_term`` is the term of the last entry that its sender knows to be committed. No entry of an earlier term
    will ever follow that one.
    """

    term: int
    configuration_index: int
    committed_term: int


Message: TypeAlias = (
    PreVote
    | PreVoteReply
    | Vote
    | VoteReply
    | Append
    | AppendReply
    | Heartbeat
    | HeartbeatReply
    | InstallSnapshot
    | TimeoutNow
    | ReadIndex
    | ReadIndexReply
    | Removed
)

# The numbers are part of the wire format: never reused, only added to.
MESSAGE_TYPES: dict[type[Any], int] = {
    PreVote: 1,
    PreVoteReply: 2,
    Vote: 3,
    VoteReply: 4,
    Append: 5,
    AppendReply: 6,
    Heartbeat: 7,
    HeartbeatReply: 8,
    InstallSnapshot: 9,
    TimeoutNow: 10,
    ReadIndex: 11,
    ReadIndexReply: 12,
    Removed: 13,
}
_CLASSES: dict[int, type[Any]] = {number: kind for kind, number in MESSAGE_TYPES.items()}


def to_wire(message: Message) -> tuple[Any, ...]:
    """(type number, field, ...). Entries, configurations and members stay nested tuples, which msgpack packs as is."""
    return (MESSAGE_TYPES[type(message)], *message)


def from_wire(values: Any) -> Message:
    """The message that ``to_wire`` turned into ``values`` (lists may stand for tuples). Raises ValueError."""
    if not isinstance(values, tuple | list) or not values:
        raise ValueError("message: not a sequence")
    kind = _CLASSES.get(values[0]) if type(values[0]) is int else None
    if kind is None:
        raise ValueError(f"message: unknown type {values[0]!r}")
    fields: tuple[str, ...] = kind._fields
    if len(values) != len(fields) + 1:
        raise ValueError(f"{kind.__name__}: {len(values) - 1} fields instead of {len(fields)}")
    read = [_READERS[field](f"{kind.__name__}.{field}", value) for field, value in zip(fields, values[1:], strict=True)]
    message: Message = kind(*read)
    if message.term < 1:
        raise ValueError(f"{kind.__name__}.term: terms of messages begin at 1")
    if isinstance(message, Append):
        _check_append(message)
    return message


def _count(field: str, value: Any) -> int:
    if type(value) is not int or not 0 <= value <= MAX_INT:
        raise ValueError(f"{field}: {value!r} isn't an integer of 0 .. 2^63-1")
    return value


def _flag(field: str, value: Any) -> bool:
    if type(value) is not bool:
        raise ValueError(f"{field}: {value!r} isn't true or false")
    return value


def _entries(field: str, value: Any) -> tuple[Entry, ...]:
    if not isinstance(value, tuple | list):
        raise ValueError(f"{field}: not a sequence")
    return tuple([_entry(field, item) for item in value])


def _entry(field: str, value: Any) -> Entry:
    if not isinstance(value, tuple | list) or len(value) != len(Entry._fields):
        raise ValueError(f"{field}: an entry isn't index, term, kind, payload")
    index, term, kind, payload = value
    _count(f"{field}.index", index)
    _count(f"{field}.term", term)
    if type(payload) is not bytes:
        raise ValueError(f"{field}.payload: {type(payload).__name__} instead of bytes")
    if kind == EntryKind.CONFIGURATION and type(kind) is not bool:
        decode(payload)
    elif kind != EntryKind.NORMAL or type(kind) is bool:
        raise ValueError(f"{field}.kind: unknown kind {kind!r}")
    return Entry(index, term, int(kind), payload)


def _meta(field: str, value: Any) -> SnapshotMeta:
    if not isinstance(value, tuple | list) or len(value) != len(SnapshotMeta._fields):
        raise ValueError(f"{field}: not index, term, configuration, configuration_index")
    index, term, configuration, configuration_index = value
    meta = SnapshotMeta(
        _count(f"{field}.index", index),
        _count(f"{field}.term", term),
        configuration_from(configuration),
        _count(f"{field}.configuration_index", configuration_index),
    )
    if meta.index < 1 or meta.term < 1 or meta.configuration_index > meta.index or not meta.configuration.voters:
        raise ValueError(f"{field}: {meta!r} can't be the place of a snapshot")
    return meta


def _check_append(message: Append) -> None:
    place, term = message.prev_index, message.prev_term
    for entry in message.entries:
        place += 1
        if entry.index != place or entry.term < term:
            raise ValueError(f"Append.entries: {entry.index} of term {entry.term} can't stand at {place} after {term}")
        term = entry.term
    if term > message.term:
        raise ValueError(f"Append.entries: term {term} is above the message's {message.term}")


_READERS: dict[str, Callable[[str, Any], Any]] = {
    "term": _count,
    "last_index": _count,
    "last_term": _count,
    "prev_index": _count,
    "prev_term": _count,
    "commit": _count,
    "index": _count,
    "hint_index": _count,
    "hint_term": _count,
    "round": _count,
    "request": _count,
    "configuration_index": _count,
    "committed_term": _count,
    "granted": _flag,
    "transfer": _flag,
    "rejected": _flag,
    "entries": _entries,
    "meta": _meta,
}
