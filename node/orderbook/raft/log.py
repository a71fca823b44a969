"""The log in memory: the entries after ``offset``, and how far they are known to be committed.

``offset`` is the place of the last entry that compaction or a snapshot removed; its term is kept, because the first
append after it names it. Index arithmetic lives here and nowhere else. A running byte count stands beside the entries,
so that a batch of at most n bytes is found by bisection instead of by adding up sizes.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from orderbook.raft.errors import ConsensusViolated
from orderbook.raft.types import Entry

ENTRY_OVERHEAD = 16  # what index, term and kind cost in memory and on the wire, roughly: bounds count empty entries too


def _size(entry: Entry) -> int:
    return len(entry.payload) + ENTRY_OVERHEAD


def _term(entry: Entry) -> int:
    return entry.term


class Log:
    """Entries ``offset + 1 .. last_index`` and the commit index. Committed entries never change."""

    __slots__ = ("_ends", "_entries", "_start", "commit", "last_index", "offset", "offset_term")

    def __init__(self, offset: int, offset_term: int, entries: Sequence[Entry]) -> None:
        """An empty or recovered log; ``entries`` must follow ``offset`` without a gap. Raises ValueError otherwise."""
        self.offset = offset
        self.offset_term = offset_term
        self.last_index = offset
        self.commit = offset
        self._entries: list[Entry] = []
        self._start = 0  # bytes before the first entry held
        self._ends: list[int] = []  # bytes up to and including each entry
        term = offset_term
        for place, entry in enumerate(entries, offset + 1):
            if entry.index != place or entry.term < term:
                raise ValueError(f"entry {entry.index} of term {entry.term} can't follow {place - 1} of term {term}")
            term = entry.term
        self.append(entries)

    @property
    def first_index(self) -> int:
        return self.offset + 1

    @property
    def last_term(self) -> int:
        return self._entries[-1].term if self._entries else self.offset_term

    def term_at(self, index: int) -> int | None:
        """The term of the entry at ``index``, None where this log has nothing (compacted, or not yet written)."""
        place = index - self.offset
        if place == 0:
            return self.offset_term
        if 0 < place <= len(self._entries):
            return self._entries[place - 1].term
        return None

    def has(self, index: int, term: int) -> bool:
        return self.term_at(index) == term

    def entries(self, first: int, last: int) -> tuple[Entry, ...]:
        """Entries ``first .. last``, both included; both must be held."""
        return tuple(self._entries[first - self.offset - 1 : last - self.offset])

    def batch(self, first: int, max_bytes: int) -> tuple[tuple[Entry, ...], int]:
        """As many entries from ``first`` on as fit ``max_bytes``, at least one, and their size in bytes."""
        low = first - self.offset - 1
        before = self._ends[low - 1] if low else self._start
        high = max(bisect_right(self._ends, before + max_bytes, low), low + 1)
        return tuple(self._entries[low:high]), self._ends[high - 1] - before

    def bytes_after(self, index: int) -> int:
        """The size of all entries after ``index``."""
        if not self._entries:
            return 0
        place = index - self.offset
        return self._ends[-1] - (self._ends[place - 1] if place > 0 else self._start)

    def append(self, entries: Sequence[Entry]) -> None:
        """Add entries that follow the last one."""
        before = self._ends[-1] if self._ends else self._start
        ends = accumulate(map(_size, entries), initial=before)
        next(ends)
        self._ends.extend(ends)
        self._entries.extend(entries)
        self.last_index += len(entries)

    def first_unknown(self, entries: Sequence[Entry]) -> int:
        """The position in ``entries`` of the first one that this log doesn't have; their number if it has them all."""
        if not entries or entries[0].index > self.last_index:
            return 0
        for position, entry in enumerate(entries):
            if not self.has(entry.index, entry.term):
                return position
        return len(entries)

    def truncate(self, index: int) -> None:
        """Remove ``index`` and everything after it. Raises ConsensusViolated if it is committed."""
        if index <= self.commit:
            raise ConsensusViolated(f"entry {index} conflicts with a leader's, but {self.commit} is committed")
        place = index - self.offset - 1
        del self._entries[place:]
        del self._ends[place:]
        self.last_index = index - 1

    def commit_to(self, index: int) -> bool:
        """Raise the commit index, never lower it. True if it moved."""
        if index <= self.commit:
            return False
        if index > self.last_index:
            raise ConsensusViolated(f"entry {index} is called committed, but the log ends at {self.last_index}")
        self.commit = index
        return True

    def compact(self, index: int) -> None:
        """Forget the entries up to and including ``index``, which must be committed. Their bytes stay counted."""
        place = index - self.offset
        if place <= 0:
            return
        self.offset_term = self._entries[place - 1].term
        self._start = self._ends[place - 1]
        del self._entries[:place]
        del self._ends[:place]
        self.offset = index

    def restart_after(self, index: int, term: int) -> None:
        """Become the empty log that follows a snapshot of everything up to ``index``."""
        self._entries.clear()
        self._ends.clear()
        self._start = 0
        self.offset = index
        self.offset_term = term
        self.last_index = index
        self.commit = index

    def last_of_term(self, index: int, term: int) -> int:
        """The greatest place at or below ``index`` whose term is at most ``term``; below ``offset`` nothing is known.

        Terms never fall along a log, so where two logs differ, no place of a later term than the other side's can
        match: both sides skip whole terms at once instead of single entries (paper, end of section 5.3).
        """
        if index <= self.offset:
            return index
        return self.offset + bisect_right(
            self._entries, term, 0, min(index - self.offset, len(self._entries)), key=_term
        )

    def is_up_to_date(self, last_index: int, last_term: int) -> bool:
        """Whether a log that ends at this place is at least as up to date as this one (paper, section 5.4.1)."""
        return (last_term, last_index) >= (self.last_term, self.last_index)
