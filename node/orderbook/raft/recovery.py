"""A node's state from what was found on disk."""

from __future__ import annotations

from collections.abc import Sequence

from orderbook.raft.config import RaftConfig
from orderbook.raft.log import Log
from orderbook.raft.membership import History
from orderbook.raft.state import State
from orderbook.raft.types import Configuration, Entry, HardState, SnapshotMeta


def recovered_state(
    config: RaftConfig,
    hard_state: HardState,
    configuration: Configuration,
    configuration_index: int,
    snapshot: SnapshotMeta | None,
    entries: Sequence[Entry],
    applied: int,
) -> State:
    """A follower with these durable promises and log; see ``RawNode.__init__``. Raises ValueError.

    The commit index is what the snapshot, the state machine or the hard state vouch for. The last was no further than
    the durable log when it was written, so no entry that a crash lost or a leader replaced counts as committed.
    """
    log = _recovered_log(snapshot, entries)
    if applied > log.last_index:
        raise ValueError(f"{applied} is applied, but the log ends at {log.last_index}")
    if hard_state.term < log.last_term:
        raise ValueError(f"the log has term {log.last_term}, but the hard state only {hard_state.term}")
    log.commit_to(max(applied, min(hard_state.commit, log.last_index), snapshot.index if snapshot else 0))
    history = History(configuration_index, configuration, log.entries(log.first_index, log.last_index))
    return State(config, hard_state, log, history)


def _recovered_log(snapshot: SnapshotMeta | None, entries: Sequence[Entry]) -> Log:
    """The log of what was found on disk; the entry that a tail begins with only tells its term."""
    if snapshot is None:
        return Log(0, 0, entries)
    if not entries or entries[0].index > snapshot.index:
        return Log(snapshot.index, snapshot.term, entries)
    place = snapshot.index - entries[0].index
    if place < len(entries) and entries[place].term == snapshot.term:
        first = entries[0]
        return Log(first.index, first.term, entries[1:])
    return Log(snapshot.index, snapshot.term, ())
