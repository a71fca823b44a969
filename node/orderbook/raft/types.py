"""The nouns of consensus: members, configurations, entries, hard state, snapshots, and what ``ready()`` hands over.

All are tuples of ints, strings, bytes and tuples, so a codec can pack them without knowing them.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from orderbook.raft.messages import Message


class Member(NamedTuple):
    """A voter or learner. ``name`` is stable (the pod's), ``id`` (1 .. 2^63-1) is drawn with its directory.

    A node that lost its disk comes back under the same name with another id: it is another member.
    """

    name: str
    id: int


class Configuration(NamedTuple):
    """Who votes and who only listens. Each tuple is sorted by (name, id).

    ``outgoing`` is empty except in the joint state, where it holds the voters of the configuration being left and every
    decision needs a majority of ``voters`` and one of ``outgoing``. ``learners_next`` are outgoing voters that become
    learners when the joint state is left.
    """

    voters: tuple[Member, ...]
    outgoing: tuple[Member, ...] = ()
    learners: tuple[Member, ...] = ()
    learners_next: tuple[Member, ...] = ()


class EntryKind(IntEnum):
    NORMAL = 0  # the payload is the caller's; empty is the no-op of an election
    CONFIGURATION = 1  # the payload is an encoded Configuration


class Entry(NamedTuple):
    """One place of the log. ``index`` counts from 1."""

    index: int
    term: int
    kind: int
    payload: bytes


class HardState(NamedTuple):
    """What must be durable before a vote or an append response that depends on it leaves. ``vote`` 0 is nobody.

    ``commit`` is a hint that saves work after a restart: a new commit alone is no reason to sync.
    """

    term: int = 0
    vote: int = 0
    commit: int = 0


class SnapshotMeta(NamedTuple):
    """The last entry that a snapshot covers, and the configuration in force there (with its own index)."""

    index: int
    term: int
    configuration: Configuration
    configuration_index: int


class ReadState(NamedTuple):
    """A linearizable read: once ``index`` is applied here, the read registered under ``context`` may be answered."""

    context: int
    index: int


class Outgoing(NamedTuple):
    """A message to send now, in the order given. Losing it is allowed."""

    to: int
    message: Message


class SnapshotSend(NamedTuple):
    """``to`` needs entries that this log no longer has: send it a snapshot of at least ``min_index``.

    The caller transfers the newest snapshot by its own means and calls ``report_snapshot``.
    """

    to: int
    min_index: int


class Role(IntEnum):
    FOLLOWER = 0
    PRE_CANDIDATE = 1
    CANDIDATE = 2
    LEADER = 3
    LEARNER = 4  # a follower that has no vote in the configuration in force


class Ready(NamedTuple):
    """Work handed over once; see the duties at the top of ``orderbook.raft.node``."""

    hard_state: HardState | None
    entries: tuple[Entry, ...]
    messages: tuple[Outgoing, ...]
    committed: tuple[Entry, ...]
    snapshot: SnapshotMeta | None
    snapshots_to_send: tuple[SnapshotSend, ...]
    read_states: tuple[ReadState, ...]
    reads_failed: tuple[int, ...]
