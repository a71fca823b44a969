"""What was handed to the disk, and what is known to be on it.

Votes and append responses are promises that must survive a crash, so they wait here for the report of their own write.
A report names the last entry of a write by index and term. That alone is ambiguous: an entry may be written, truncated
by another leader's and come back from a third; a late report of the first write would then vouch for the last, while a
crash in between could still leave the second. So writes are kept in the order they were handed out, and a report
vouches only for what no later write touches. If only the later of two equal ones is reported, it is taken for the
earlier: the next report, at the latest that of the next leader's no-op, makes up for it.
"""

from __future__ import annotations

from collections import deque

from orderbook.raft.log import Log
from orderbook.raft.types import Entry, HardState, SnapshotMeta


class Durability:
    """Places of the log on their way to disk: ``stable`` <= ``handed`` <= the log's last index."""

    def __init__(self, log: Log, hard_state: HardState) -> None:
        self._log = log
        self._in_flight: deque[tuple[Entry, ...]] = deque()
        self._handed_hard_state = hard_state
        self._durable_hard_state = hard_state
        self.stable = log.last_index  # durable up to here
        self.handed = log.last_index  # handed out to be written up to here
        self.snapshot: SnapshotMeta | None = None  # being installed: the log restarts after it once that is durable

    def has_entries(self) -> bool:
        return self.handed < self._log.last_index and self.snapshot is None

    def take_entries(self) -> tuple[Entry, ...]:
        """The entries to write next, once. None while a snapshot is being installed: they stand on it."""
        if not self.has_entries():
            return ()
        entries = self._log.entries(self.handed + 1, self._log.last_index)
        self.handed = self._log.last_index
        self._in_flight.append(entries)
        return entries

    def persisted(self, index: int, term: int) -> bool:
        """The write with this entry, and all handed out before it, are done up to it. True if ``stable`` moved."""
        position = next((at for at, write in enumerate(self._in_flight) if _holds(write, index, term)), None)
        if position is None:
            return False
        for _ in range(position):
            self._in_flight.popleft()
        later = list(self._in_flight)[1:]
        if self._in_flight[0][-1].index == index:
            self._in_flight.popleft()
        stable = min([index, self.handed, *(write[0].index - 1 for write in later)])
        if stable <= self.stable:
            return False
        self.stable = stable
        return True

    def truncated(self, index: int) -> None:
        """The log lost ``index`` and all after it."""
        self.stable = min(self.stable, index - 1)
        self.handed = min(self.handed, index - 1)

    def install(self, meta: SnapshotMeta) -> None:
        """A snapshot replaces the log. Until it is durable, only the committed part of the old one counts: behind it
        there may be entries that the snapshot contradicts, and a crash would bring them back."""
        self._in_flight.clear()
        self.stable = min(self.stable, self._log.commit)
        self.snapshot = meta
        self.handed = meta.index

    def installed(self, meta: SnapshotMeta) -> bool:
        """The snapshot is durable. False if it isn't the one awaited."""
        if meta != self.snapshot:
            return False
        self.snapshot = None
        self.stable = meta.index
        return True

    def hard_state_changed(self, term: int, vote: int) -> bool:
        """Whether term or vote differ from what was handed out last."""
        return (term, vote) != self._handed_hard_state[:2]

    def take_hard_state(self, term: int, vote: int) -> HardState | None:
        """The hard state to write next, once; None if only the commit index changed, which is worth no sync.

        The commit index goes no further than the durable log: after a crash it must not vouch for what was lost.
        """
        if not self.hard_state_changed(term, vote):
            return None
        self._handed_hard_state = HardState(term, vote, min(self._log.commit, self.stable))
        return self._handed_hard_state

    def persisted_hard_state(self, hard_state: HardState) -> None:
        self._durable_hard_state = max(self._durable_hard_state, hard_state)

    def knows_term(self, term: int) -> bool:
        """Whether ``term`` would be remembered after a crash."""
        return self._durable_hard_state.term >= term

    def knows_vote(self, term: int, vote: int) -> bool:
        """Whether the vote for ``vote`` in ``term`` would be remembered after a crash."""
        return self._durable_hard_state[:2] == (term, vote)


def _holds(write: tuple[Entry, ...], index: int, term: int) -> bool:
    place = index - write[0].index
    return 0 <= place < len(write) and write[place].term == term
