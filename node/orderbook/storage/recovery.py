"""Opening a log: what is taken, what is cut off, what is refused.

Segments are read from the first to the last that has begun (any byte isn't zero).

    what is found                                           what is done
    a segment that hasn't begun                             removed; it is made anew
    bad bytes in a segment before the last that has begun   refused: it was durable before the next began
    a segment missing in the middle                         the ones before it are leftovers of a cut if a snapshot
                                                            reaches the rest; otherwise refused
    bad bytes in the last, a valid mark behind them         refused: they were durable when that write began
    bad bytes in the last, no mark behind them              cut off there, whatever follows
    the last one's header isn't whole, no mark above 0      the segment hasn't begun: its first write was cut short
    entries behind the newest snapshot, or another branch   the log begins anew after the snapshot

"Bad" is whatever isn't a valid record, up to where only zeros follow.

The last segment is then written to a new file, synced and renamed into place before anyone votes or acknowledges:
after a failed fsync the page cache shows bytes that the disk doesn't have, and a restarted process can't tell. Older
segments that it makes useless are removed only after that, for the same reason.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import NamedTuple

from orderbook.storage.ballast import Ballast
from orderbook.storage.errors import DiskFull, LogCorrupt, StorageError
from orderbook.storage.filesystem import FileSystem
from orderbook.storage.records import last_mark
from orderbook.storage.replay import Replay
from orderbook.storage.segment import (
    Active,
    Closed,
    Header,
    begin_segment,
    read_header,
    read_whole,
    segment_name,
    segment_sequence,
    write_zeros,
)
from orderbook.storage.types import SnapshotInfo, StoreOptions

TEMPORARY = ".new"


class RecoveredLog(NamedTuple):
    replay: Replay
    snapshot: SnapshotInfo | None
    active: Active | None  # None: nothing was ever written
    closed: list[Closed]
    notes: list[str]


class Recovery:
    """One opening. ``run`` reads first, and changes files only after all was found good."""

    def __init__(
        self, filesystem: FileSystem, directory: str, options: StoreOptions, snapshots: Sequence[SnapshotInfo]
    ) -> None:
        self._filesystem = filesystem
        self._directory = directory
        self._options = options
        self._snapshot = snapshots[-1] if snapshots else None
        self._replay = Replay()
        self._notes: list[str] = []
        self._unbegun: list[int] = []  # segments to remove first,
        self._useless: list[int] = []  # and those to remove once the newest one is durable
        self._closed: list[Closed] = []

    def run(self) -> RecoveredLog:
        replay, snapshot = self._replay, self._snapshot
        found = self._sequences()
        data, sequences, proven = self._begun(found)
        if not sequences:
            if snapshot is not None:
                raise StorageError(
                    f"directory {self._directory} holds a snapshot but no log: votes may be forgotten. Set it aside "
                    "and start: the node comes back as a new member"
                )
            self._remove(self._unbegun)
            return RecoveredLog(replay, None, None, [], self._notes)
        end, crc = self._read(sequences, data, proven)
        self._check_reach(sequences[0])
        branched = snapshot is not None and not replay.covers((snapshot.index, snapshot.term))
        if snapshot is not None and branched:
            self._notes.append(
                f"the log ended with {replay.last}; it begins anew after the snapshot at {snapshot.index}"
            )
            replay.restart_after((snapshot.index, snapshot.term))
        term, vote, commit = replay.hard_state
        replay.hard_state = (term, vote, min(commit, replay.last[0]))
        self._remove(self._unbegun)
        if branched:
            active = self._begin_anew(sequences[-1] + 1, end, crc)
            self._useless += [each.sequence for each in self._closed]
            self._closed = [Closed(active.sequence, replay.base[0], active.size)]
        else:
            active = self._rewrite(sequences[-1], data[:end], crc)
            self._closed[-1] = self._closed[-1]._replace(size=active.size)
        self._remove(self._useless)
        return RecoveredLog(replay, snapshot, active, self._closed, self._notes)

    # --- reading ------------------------------------------------------------------------------------------------------

    def _path(self, sequence: int) -> str:
        return f"{self._directory}/{segment_name(sequence)}"

    def _sequences(self) -> list[int]:
        found = [segment_sequence(name) for name in self._filesystem.list_directory(self._directory)]
        return [sequence for sequence in found if sequence is not None]

    def _begun(self, found: list[int]) -> tuple[bytes, list[int], bool]:
        """(bytes of the last segment that has begun, the run of segments up to it, whether a later one proves it)."""
        proven = False
        while found:
            sequence, path = found[-1], self._path(found[-1])
            data = read_whole(self._filesystem, path)
            used = len(data.rstrip(b"\0"))
            if used:
                if read_header(data, sequence, path) is not None:
                    break
                mark = last_mark(data, sequence, 0)
                if mark:
                    raise LogCorrupt(path, 0, f"the header is damaged, but it was durable when a write began at {mark}")
                self._notes.append(f"{path}: its first write was cut short, {used} bytes dropped")
                proven = True
            self._unbegun.append(found.pop())
        else:
            return b"", [], False
        start = len(found) - 1
        while start and found[start - 1] == found[start] - 1:
            start -= 1
        self._useless += found[:start]
        return data, found[start:], proven

    def _read(self, sequences: list[int], last_data: bytes, proven: bool) -> tuple[int, int]:
        """Replay all; (where the last valid record of the last segment ends, its CRC)."""
        end = crc = 0
        for sequence in sequences:
            path = self._path(sequence)
            last = sequence == sequences[-1]
            data = last_data if last else read_whole(self._filesystem, path)
            opened = read_header(data, sequence, path)
            if opened is None:
                raise LogCorrupt(path, 0, "the header is damaged, and a later segment has begun")
            header, previous_crc, start, header_crc = opened
            if sequence != sequences[0] and (header.previous_end, previous_crc) != (end, crc):
                what = f"records are missing: the next segment says that this one reaches {header.previous_end}"
                raise LogCorrupt(self._path(sequence - 1), end, what)
            if header.fresh:
                self._useless += [each.sequence for each in self._closed]
                self._closed = []
            self._replay.begin(header, path)
            self._closed.append(Closed(sequence, header.base[0], len(data)))
            end, crc = self._replay.read(data, sequence, start, header_crc, path)
            self._check_end(data, sequence, end, path, proven or not last)
        return end, crc

    def _check_end(self, data: bytes, sequence: int, end: int, path: str, durable: bool) -> None:
        used = len(data.rstrip(b"\0"))
        if used <= end:
            return
        if durable:
            raise LogCorrupt(path, end, "no valid record, in a segment that was durable when the next one began")
        mark = last_mark(data, sequence, end)
        if mark is not None:
            raise LogCorrupt(path, end, f"no valid record, but a write began at {mark} when this place was durable")
        self._notes.append(f"{path}: the last write was cut short, {used - end} bytes from offset {end} on dropped")

    def _check_reach(self, first: int) -> None:
        """The log has to begin where the newest snapshot ends, or before."""
        base = self._replay.base[0]
        if base and (self._snapshot is None or self._snapshot.index < base):
            held = f"reaches {self._snapshot.index}" if self._snapshot else "is missing"
            raise LogCorrupt(
                self._path(first), 0, f"the log begins after entry {base}, but the newest whole snapshot {held}"
            )

    # --- writing ------------------------------------------------------------------------------------------------------

    def _rewrite(self, sequence: int, kept: bytes, crc: int) -> Active:
        size = max(self._options.segment_bytes, len(kept))
        return self._write(sequence, kept, crc, size)

    def _begin_anew(self, sequence: int, end: int, crc: int) -> Active:
        replay = self._replay
        assert replay.identity is not None
        header = Header(replay.identity, replay.hard_state, replay.base, True, end)
        prologue, encoder = begin_segment(sequence, header, crc)
        return self._write(sequence, prologue + encoder.take(), encoder.crc, self._options.segment_bytes)

    def _write(self, sequence: int, kept: bytes, crc: int, size: int) -> Active:
        """The segment ``kept``, with room up to ``size``, durable under its name."""
        filesystem, path = self._filesystem, self._path(sequence)
        ballast = Ballast(filesystem, self._directory, self._options)
        while True:
            file = filesystem.create(path + TEMPORARY)
            try:
                file.write(0, kept)
                file.sync()
                write_zeros(file, len(kept), size, self._options.slice_bytes)
                break
            except OSError as error:
                file.close()
                filesystem.unlink(path + TEMPORARY)
                if error.errno != errno.ENOSPC:
                    raise
                if not ballast.give_segment():
                    raise DiskFull(f"{self._directory}: no room to open the log, {size} bytes are needed") from error
        filesystem.rename(path + TEMPORARY, path)
        filesystem.sync_directory(self._directory)
        return Active(sequence, file, len(kept), crc, size)

    def _remove(self, sequences: Sequence[int]) -> None:
        if sequences:
            for sequence in sorted(sequences):
                self._filesystem.unlink(self._path(sequence))
            self._filesystem.sync_directory(self._directory)
