"""The newest applied entries with their events, from which feeds are served; what falls out of it is a Gap.

Bounded by log indexes and by bytes, about: an event counts EVENT_BYTES. It is no part of the replicated state and in no
snapshot: a node that starts fills it again from its log, and a node that installs a snapshot begins anew behind it.

Recording costs an append an entry, whatever the number of its events, and nothing where there are none.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from operator import itemgetter
from typing import Any, NamedTuple

from orderbook.groups.statemachine import Event

EVENT_BYTES = 256
_FEW = 1024


class RingEntry(NamedTuple):
    """One applied entry that led to something."""

    log_index: int
    time_ms: int
    events: list[Event]


class EventRing:
    """``first``: every event from (first, 0) on is here. ``last``: the newest log index recorded, events or not."""

    def __init__(self, max_indexes: int, max_bytes: int) -> None:
        self.first = 1
        self.last = 0
        self.events = 0
        self._max_indexes = max_indexes
        self._max_events = max(1, max_bytes // EVENT_BYTES)
        self._entries: list[Any] = []  # of RingEntry; None before _start
        self._start = 0

    def __len__(self) -> int:
        return len(self._entries) - self._start

    def restart(self, first: int) -> None:
        """What comes next has at least the index ``first``; nothing before it is known."""
        self.first = first
        self.last = first - 1
        self.events = 0
        self._entries = []
        self._start = 0

    def record(self, index: int, time_ms: int, events: list[Event]) -> None:
        """An entry was applied. ``events`` is kept as it is: nobody changes it any more."""
        self.last = index
        if events:
            self._entries.append(RingEntry(index, time_ms, events))
            self.events += len(events)
            if self.events > self._max_events:
                self._drop_beyond_bytes()
        oldest = index - self._max_indexes
        if self.first <= oldest:
            self._drop_through(oldest)

    def after(self, index: int) -> Iterator[RingEntry]:
        """The entries from ``index`` on, oldest first. The ring may not change meanwhile."""
        start = bisect_left(self._entries, index, lo=self._start, key=itemgetter(0))
        for position in range(start, len(self._entries)):
            yield self._entries[position]

    def _drop_beyond_bytes(self) -> None:
        """The newest entry always stays."""
        while self.events > self._max_events and len(self) > 1:
            self.first = self._drop_oldest() + 1
        self._compact()

    def _drop_through(self, index: int) -> None:
        while len(self) and self._entries[self._start].log_index <= index:
            self._drop_oldest()
        self.first = index + 1
        self._compact()

    def _drop_oldest(self) -> int:
        entry: RingEntry = self._entries[self._start]
        self._entries[self._start] = None
        self._start += 1
        self.events -= len(entry.events)
        return entry.log_index

    def _compact(self) -> None:
        if self._start > _FEW and self._start * 2 > len(self._entries):
            del self._entries[: self._start]
            self._start = 0
