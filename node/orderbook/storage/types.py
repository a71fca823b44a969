"""The nouns of storage: identity, snapshot, what an opening found, and the knobs.

Entries and hard states are plain positional tuples, as ``orderbook.raft.types`` shapes them:
entry = (index, term, kind, payload), hard state = (term, vote, commit). Storage never looks into a payload or a
configuration.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol, TypeAlias

EntryTuple: TypeAlias = tuple[int, int, int, bytes]
HardStateTuple: TypeAlias = tuple[int, int, int]
Position: TypeAlias = tuple[int, int]  # (index, term) of an entry; (0, 0) stands before the first
Entries: TypeAlias = Sequence[EntryTuple]
Health: TypeAlias = Literal["ok", "full", "stalled"]

MIB = 1 << 20


class Identity(NamedTuple):
    """Whose directory this is. Written with the directory's first segment and repeated in each later one."""

    name: str  # stable: the pod's
    member_id: int  # 1 .. 2^63-1, drawn with the directory
    incarnation: bytes  # 16 bytes; empty until the group has begun
    configuration: bytes  # the group's first configuration, encoded; empty until the group has begun


class SnapshotInfo(NamedTuple):
    """A complete snapshot in the directory."""

    index: int  # the last entry that it covers
    term: int  # that entry's term
    configuration: bytes  # in force at ``index``, encoded
    configuration_index: int
    size: int  # bytes of the whole file

    @property
    def name(self) -> str:
        """The file's name. Made of numbers only, so that a peer's offer can't point elsewhere."""
        return f"{self.index:020d}-{self.term:020d}.snapshot"


class SnapshotHeader(NamedTuple):
    """What a snapshot says about itself."""

    index: int
    term: int
    configuration: bytes
    configuration_index: int


class SnapshotOffer(Protocol):
    """What names a snapshot that another member sends: a ``SnapshotInfo``, or anything with these three."""

    @property
    def index(self) -> int: ...

    @property
    def term(self) -> int: ...

    @property
    def size(self) -> int: ...


class Recovered(NamedTuple):
    """What an opening found. ``entries`` follow ``base`` without a gap.

    ``base`` lies at or below ``snapshot.index``: entries that the snapshot covers are kept for slow followers.
    ``hard_state[2]`` (commit) never exceeds the last index.
    """

    identity: Identity | None  # None: an empty directory
    hard_state: HardStateTuple
    snapshot: SnapshotInfo | None  # the newest that is whole
    entries: list[EntryTuple]
    truncated: str | None  # what was dropped or passed over, in words for the operator's log
    base: Position = (0, 0)


class StoreOptions(NamedTuple):
    """Sizes in bytes, times in seconds. The defaults fit a node of the budget in docs/performance.md."""

    segment_bytes: int = 64 * MIB
    write_bytes: int = 8 * MIB  # gathered writes go as one up to here
    slice_bytes: int = MIB // 4  # zeros written at a time while a segment is prepared: 0.4 ms on an SSD
    tail_entries: int = 10_000  # kept behind the older snapshot for slow followers, in whole segments,
    tail_bytes: int = 64 * MIB  # whichever bound is met first
    watermark_bytes: int = 128 * MIB  # fewer free bytes: health is "full"
    ballast_snapshot_bytes: int = 64 * MIB  # room kept for a snapshot; 1.5 times the newest, when that is more
    stall_seconds: float = 1.0  # a write under way for longer: health is "stalled"
    space_check_seconds: float = 1.0
