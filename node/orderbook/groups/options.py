"""How one member runs. Nothing here changes what ``apply`` does: that is replicated state (``settings``)."""

from __future__ import annotations

from typing import NamedTuple


class ReplicaOptions(NamedTuple):
    """Times are seconds of the monotonic clock, sizes bytes."""

    initial_size: int = 3  # how many members begin the group
    incarnation: bytes = b""  # recorded elsewhere: this member never begins another
    tick: float = 0.05
    election_ticks: int = 10
    heartbeat_ticks: int = 2
    announce_every: float = 0.25  # while there is no group yet
    unheard_every: float = 2.0  # how often a member that hears no leader asks whether it was removed
    snapshot_entries: int = 50_000  # applied since the last snapshot: take one
    snapshot_bytes: int = 256 << 20
    snapshot_chunk_bytes: int = 256 << 10  # of a snapshot in one frame to another member; the peers' limit is larger
    tail_entries: int = 5_000  # kept in memory and on disk before a snapshot, for slow followers
    check_every: int = 1_000  # entries between two checks for divergence
    clock_lead_ms: int = 500  # how far the leader's stamp may be ahead of the voters' median clock
    proposal_timeout: float = 10.0
    max_pending_bytes: int = 64 << 20
    commit_hold: float = 0.002  # how long a commit index that nobody elsewhere waits for may wait for an append
    apply_slice: float = 0.01  # how long entries are applied before the loop turns
    max_append_bytes: int = 1 << 20
    max_inflight_bytes: int = 8 << 20
