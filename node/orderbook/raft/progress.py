"""What a leader knows of one follower, and when it may send to it.

    PROBE      The follower's place is unknown. One append at a time, holding one entry at most, until it is found.
    REPLICATE  Appends are pipelined: ``next`` runs ahead of ``match`` within a window of bytes and of messages.
    SNAPSHOT   The log no longer has what it needs. Nothing is sent until the caller reports on the snapshot.

A rejection or a lost connection leads from REPLICATE to PROBE, an accepted append from PROBE to REPLICATE.
"""

from __future__ import annotations

from collections import deque
from enum import IntEnum
from typing import NamedTuple


class ProgressState(IntEnum):
    PROBE = 0
    REPLICATE = 1
    SNAPSHOT = 2


class ProgressStatus(NamedTuple):
    """A follower as its leader sees it. ``match`` is durable there: its lag is the leader's last index - ``match``."""

    id: int
    match: int
    next: int
    state: ProgressState
    recent_active: bool  # heard from within an election timeout
    caught_up: bool  # lag below the promotion bound for an election timeout
    inflight_appends: int
    inflight_bytes: int


class Inflight:
    """Appends sent and not yet answered, oldest first: (last index, bytes) of each."""

    __slots__ = ("_max_appends", "_max_bytes", "_sent", "bytes")

    def __init__(self, max_appends: int, max_bytes: int) -> None:
        self._max_appends = max_appends
        self._max_bytes = max_bytes
        self._sent: deque[tuple[int, int]] = deque()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._sent)

    @property
    def full(self) -> bool:
        """A window that still has room takes one more append whole, so a large one can't block for good."""
        return self.bytes >= self._max_bytes or len(self._sent) >= self._max_appends

    def add(self, last_index: int, size: int) -> None:
        self._sent.append((last_index, size))
        self.bytes += size

    def free_to(self, index: int) -> None:
        """An answer for ``index`` covers every append that ends at or below it."""
        while self._sent and self._sent[0][0] <= index:
            self.bytes -= self._sent.popleft()[1]

    def clear(self) -> None:
        self._sent.clear()
        self.bytes = 0


class Progress:
    """One follower (or the leader itself, of which only ``match`` and ``acked_round`` count)."""

    __slots__ = (
        "acked_round",
        "caught_up_ticks",
        "inflight",
        "match",
        "next",
        "pending_snapshot",
        "sent_commit",
        "silent_ticks",
        "state",
        "waits",
    )

    def __init__(self, next_index: int, inflight: Inflight) -> None:
        self.match = 0  # durable and equal to the leader's log up to here
        self.next = next_index  # the next entry to send
        self.state = ProgressState.PROBE
        self.waits = False  # PROBE: one append is out, or a heartbeat's answer must come first
        self.pending_snapshot = 0
        self.inflight = inflight
        self.sent_commit = 0  # the greatest commit index that an append carried
        self.acked_round = 0  # the greatest heartbeat round that it answered
        self.silent_ticks = 0
        self.caught_up_ticks = 0

    def may_send(self, last_index: int, commit: int) -> bool:
        """Whether an append would tell the follower something and the flow control lets it go."""
        if self.state is ProgressState.REPLICATE:
            return (self.next <= last_index or self.sent_commit < commit) and not self.inflight.full
        return self.state is ProgressState.PROBE and not self.waits

    def sent(self, count: int, size: int) -> None:
        """An append with ``count`` entries of ``size`` bytes is on its way."""
        if self.state is ProgressState.PROBE:
            self.waits = True
        elif count:
            self.next += count
            self.inflight.add(self.next - 1, size)

    def accepted(self, index: int, first_index: int) -> bool:
        """The follower has everything up to ``index`` on disk. True if that, or its state, is news."""
        news = index > self.match
        self.match = max(self.match, index)
        self.next = max(self.next, index + 1)
        if self.state is ProgressState.REPLICATE:
            self.inflight.free_to(index)
        elif self.state is ProgressState.PROBE or self.match + 1 >= first_index:
            self._enter(ProgressState.REPLICATE)
            self.next = self.match + 1
            return True
        return news

    def rejected(self, index: int, next_index: int) -> None:
        """The follower lacks the entry at ``index``, which an append followed; try at ``next_index``. May be stale."""
        if self.state is ProgressState.REPLICATE:
            if index > self.match:
                self.probe()
        elif self.state is ProgressState.PROBE and index == self.next - 1:
            self.next = max(min(index, next_index), self.match + 1)
            self.waits = False

    def probe(self) -> None:
        """Start over from what is known for certain."""
        self._enter(ProgressState.PROBE)
        self.next = self.match + 1

    def await_snapshot(self, index: int) -> None:
        self._enter(ProgressState.SNAPSHOT)
        self.pending_snapshot = index

    def snapshot_done(self, index: int) -> None:
        """The transfer ended, having reached ``index`` (0: it failed). Look again after the next heartbeat's answer."""
        self._enter(ProgressState.PROBE)
        self.next = max(self.match, index) + 1
        self.waits = True

    def _enter(self, state: ProgressState) -> None:
        self.state = state
        self.waits = False
        self.pending_snapshot = 0
        self.sent_commit = 0
        self.inflight.clear()
