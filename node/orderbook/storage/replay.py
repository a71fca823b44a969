"""What the records of a log add up to.

Rules:

- An entry follows the one before, or takes the place of it and of all after it. A gap is damage.
- Entries at or below ``base`` are passed over: after a cut the first segment may still hold ones that were written
  again (the log had branched there), of which only the last writing counts. ``base`` keeps the term of the last one.
- A ``fresh`` header drops everything before; any other has to go on where the segment before stopped.
"""

from __future__ import annotations

from orderbook.storage.errors import LogCorrupt
from orderbook.storage.records import RecordType, decode_hard_state, read_records
from orderbook.storage.segment import Header
from orderbook.storage.types import EntryTuple, HardStateTuple, Identity, Position

_ENTRY, _HARD_STATE = int(RecordType.ENTRY), int(RecordType.HARD_STATE)


class Replay:
    def __init__(self) -> None:
        self.identity: Identity | None = None
        self.hard_state: HardStateTuple = (0, 0, 0)
        self.base: Position = (0, 0)
        self.last: Position = (0, 0)
        self.entries: list[EntryTuple] = []

    def begin(self, header: Header, path: str) -> None:
        if self.identity is None or header.fresh:
            self.base = self.last = header.base
            self.entries = []
        elif header.base != self.last:
            raise LogCorrupt(path, 0, f"it follows entry {header.base}, but the segment before ends with {self.last}")
        self.identity = header.identity
        self.hard_state = header.hard_state

    def read(self, data: bytes, sequence: int, start: int, crc: int, path: str) -> tuple[int, int]:
        """Take in the records from ``start`` on; (where the last valid one ends, its CRC)."""
        entries, base, last = self.entries, self.base[0], self.last[0]
        end, last_crc = start, crc
        for type_, kind, index, term, payload, after, after_crc in read_records(data, sequence, start, crc):
            if type_ == _ENTRY:
                if index == last + 1 and index > base:
                    entries.append((index, term, kind, payload))
                elif index > last + 1:
                    raise LogCorrupt(path, end, f"entry {index} follows entry {last}")
                elif index > base:
                    del entries[index - base - 1 :]
                    entries.append((index, term, kind, payload))
                else:
                    entries.clear()
                    if index == base:
                        self.base = (index, term)
                last = index
                self.last = (index, term)
            elif type_ == _HARD_STATE:
                self.hard_state = decode_hard_state(payload)
            end, last_crc = after, after_crc
        return end, last_crc

    def restart_after(self, snapshot: Position) -> None:
        """The log is behind a snapshot, or on another branch: it begins anew after it."""
        self.base = self.last = snapshot
        self.entries = []

    def covers(self, position: Position) -> bool:
        """Whether the log still stands on this committed entry: it is its base or among its entries."""
        index, term = position
        if index == self.base[0]:
            return self.base[1] == term
        return self.base[0] < index <= self.last[0] and self.entries[index - self.base[0] - 1][1] == term
