"""The write-ahead log of one member, as the event loop sees it.

Rules:

1. One write is under way at a time. What is handed over meanwhile gathers, and goes as one write that is durable when
   it returns; then each ``on_durable`` runs, in the order of the calls.
2. The loop never blocks: the worker does all that touches the disk. Records are encoded here all the same. It takes
   microseconds, and leaves the worker one system call, so that it asks a busy loop for the interpreter's lock once.
3. A segment takes its first record only when the one before is durable, which rule 1 gives.
4. Hard state goes before the entries of the same write. A write that is cut short may keep a newer hard state than
   anyone was told of, never an older one.
5. Any error of a write is the end: ``on_failure`` is called, nothing is repeated, nothing is acknowledged any more.
   (After a failed fsync the kernel may count the lost pages as clean; a second one would succeed.)
6. Where no segment can be allocated, writes wait; ``health`` is "full". They go on when there is room.
7. Jobs beside the writes (zeros for the next segment, removal, looks at the free space) take turns with them, one
   after each write.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import NamedTuple, TypeVar, cast

from orderbook.runtime import Worker
from orderbook.storage.allocation import NextSegment
from orderbook.storage.ballast import Ballast
from orderbook.storage.errors import DiskFull, StorageError, StoreFailed
from orderbook.storage.filesystem import File, FileSystem
from orderbook.storage.records import HARD_STATE_SIZE, MARK_SIZE, Encoder, entries_size
from orderbook.storage.segment import Active, Closed, Header, begin_segment, segment_name
from orderbook.storage.statistics import Statistics
from orderbook.storage.types import Entries, HardStateTuple, Health, Identity, Position, StoreOptions

T = TypeVar("T")
DISCARD_SLICES = 4  # given back at a time of an unlinked segment: freeing 64 MiB at once takes 15 ms


class Beginning(NamedTuple):
    """Where a log goes on from: what recovery found."""

    identity: Identity | None
    hard_state: HardStateTuple
    last: Position
    active: Active | None
    closed: list[Closed]  # all segments in the directory, the active one too, oldest first


class _Item(NamedTuple):
    hard_state: HardStateTuple | None
    entries: Entries
    size: int
    on_durable: Callable[[], None]
    identity: Identity | None = None  # begin a segment under this identity
    fresh: Position | None = None  # begin a segment after this snapshot; nothing before counts


class _Write(NamedTuple):
    """A write ready to go, and what holds once it is durable."""

    items: list[_Item]
    data: bytes
    crc: int
    identity: Identity | None
    hard_state: HardStateTuple
    last: Position
    begins: Position | None  # it begins the next segment, after this entry
    entries: int


class Log:
    def __init__(
        self,
        filesystem: FileSystem,
        directory: str,
        worker: Worker,
        options: StoreOptions,
        monotonic: Callable[[], float],
        on_failure: Callable[[BaseException], None],
        beginning: Beginning,
        statistics: Statistics,
        snapshot_bytes: Callable[[], int],
    ) -> None:
        self._filesystem = filesystem
        self._directory = directory
        self._worker = worker
        self._options = options
        self._monotonic = monotonic
        self._on_failure = on_failure
        self._statistics = statistics
        self._snapshot_bytes = snapshot_bytes
        self._ballast = Ballast(filesystem, directory, options)
        self._identity = beginning.identity
        self._hard_state = beginning.hard_state  # as encoded so far
        self._written = beginning.last  # last entry encoded so far
        self._last_index = beginning.last[0]  # last entry handed over
        self._active = beginning.active
        self._segments = list(beginning.closed)
        self._next: NextSegment | None = None
        self._pending: deque[_Item] = deque()
        self._chores: deque[Callable[[], None]] = deque()
        self._discarded: deque[tuple[File, int]] = deque()  # (unlinked or left file, bytes to give back)
        self._busy = False
        self._wrote = False  # the last job was a write: it's a chore's turn
        self._writing_since: float | None = None
        self._waiting_for_room = False
        self._full = False
        self._space_checked_at: float | None = None
        self._space_wanted = False
        self._failed = False
        self._closed = False
        self._count()

    # --- asked by the owner -------------------------------------------------------------------------------------------

    @property
    def last_index(self) -> int:
        return self._last_index

    def append(self, hard_state: HardStateTuple | None, entries: Entries, on_durable: Callable[[], None]) -> None:
        self._check_usable()
        if entries:
            first, last = entries[0][0], entries[-1][0]
            if not 0 < first <= self._last_index + 1 or last - first + 1 != len(entries):
                raise ValueError(f"entries {first}..{last} ({len(entries)}) can't follow entry {self._last_index}")
            self._last_index = last
        size = entries_size(entries) + (HARD_STATE_SIZE if hard_state is not None else 0)
        self._add(_Item(hard_state, entries, size, on_durable))

    def begin_anew(self, snapshot: Position, hard_state: HardStateTuple, on_durable: Callable[[], None]) -> None:
        """Drop every entry; the next one follows ``snapshot``."""
        self._check_usable()
        self._last_index = snapshot[0]
        self._add(_Item(hard_state, (), 0, on_durable, fresh=snapshot))

    def change_identity(self, identity: Identity, hard_state: HardStateTuple, on_durable: Callable[[], None]) -> None:
        """Begin a segment under ``identity``; entries stay."""
        self._check_usable()
        self._add(_Item(hard_state, (), 0, on_durable, identity=identity))

    def identify(self, identity: Identity) -> None:
        """Begin a segment under ``identity`` and return when it is durable. Blocks.

        Safe on any thread while the group hasn't begun: until there is an incarnation no job is started.
        """
        if self._failed or self._closed:
            raise StoreFailed("the log failed or was closed")
        if self._busy or self._pending:
            raise StorageError("the identity can't change in place while something is under way")
        write = self._encode([_Item(None, (), 0, lambda: None, identity=identity)], begins=True)
        following = self._following()
        if not following.grow(max(len(write.data), self._options.segment_bytes)):
            raise DiskFull(f"{self._directory}: no room for a segment of {self._options.segment_bytes} bytes")
        following.file.write_durable(0, write.data)
        self._advance(write)

    def cut(self, index: int) -> None:
        """Remove whole segments whose entries all lie at or below ``index``, but for the tail."""
        segments, options = self._segments, self._options
        keep = len(segments) - 1
        while keep and segments[keep].base_index > index:
            keep -= 1
        tail = 0
        while keep and index - segments[keep].base_index < options.tail_entries:
            tail += segments[keep - 1].size
            if tail > options.tail_bytes or segments[keep - 1].base_index > index:
                break
            keep -= 1
        obsolete, self._segments = self._segments[:keep], self._segments[keep:]
        if obsolete:
            self._chores.append(lambda: self._remove(obsolete))
            self._count()
            self._pump()

    @property
    def health(self) -> Health:
        """Reading it has the worker look at the free space, at most once in ``space_check_seconds``."""
        now = self._monotonic()
        self._look_at_space(now)
        if self._writing_since is not None and now - self._writing_since > self._options.stall_seconds:
            return "stalled"
        return "full" if self._full or self._waiting_for_room else "ok"

    def close(self) -> None:
        """Start nothing more. Files are closed on the worker, behind what is under way there."""
        self._closed = True
        self._pending.clear()

        def close_files() -> None:
            if self._active is not None:
                self._active.file.close()
            if self._next is not None:
                self._next.close()
            for file, _ in self._discarded:
                file.close()

        self._worker.submit(close_files, lambda _result, _error: None)

    # --- jobs ---------------------------------------------------------------------------------------------------------

    def _check_usable(self) -> None:
        if self._failed or self._closed:
            raise StoreFailed("the log failed or was closed")
        if self._active is None:
            raise StorageError("the directory has no identity yet")

    def _add(self, item: _Item) -> None:
        self._statistics.waiting_bytes += item.size
        self._pending.append(item)
        if self._waiting_for_room:
            self._look_at_space(self._monotonic())
        self._pump()

    def _pump(self) -> None:
        """Start the next job, if none is under way."""
        if self._busy or self._failed or self._closed or self._identity is None:
            return
        begun = bool(self._identity.incarnation)
        chores_turn = begun and self._wrote and self._chore_waits()
        if self._pending and not chores_turn and self._start_write():
            return
        self._wrote = False
        if begun:
            self._start_chore()

    def _submit(self, job: Callable[[], T], done: Callable[[T], None]) -> None:
        self._busy = True

        def finished(result: T | None, error: BaseException | None) -> None:
            if self._failed or self._closed:
                return
            if error is not None:
                self._failed = True
                self._pending.clear()
                self._on_failure(error)
                return
            done(cast("T", result))
            self._busy = False
            self._pump()

        self._worker.submit(job, finished)

    # --- writes -------------------------------------------------------------------------------------------------------

    def _gather(self) -> tuple[list[_Item], bool]:
        """What goes as the next write, and whether it begins a segment."""
        first = self._pending[0]
        active = self._active
        room = active.size - active.offset - MARK_SIZE if active is not None else 0
        begins = first.identity is not None or first.fresh is not None or first.size > room
        limit = self._options.write_bytes if begins else min(room, self._options.write_bytes)
        items, size = [first], first.size
        for item in islice(self._pending, 1, None):
            size += item.size
            if size > limit or item.identity is not None or item.fresh is not None:
                break
            items.append(item)
        return items, begins

    def _start_write(self) -> bool:
        """Whether a job was submitted."""
        items, begins = self._gather()
        if begins and self._waiting_for_room:
            return False
        write = self._encode(items, begins)
        if begins:
            following = self._following()
            need = max(len(write.data), self._options.segment_bytes)
            if following.size < need:
                self._submit_growth(lambda: following.grow(need))
                return True
            file, offset = following.file, 0
        else:
            assert self._active is not None
            file, offset = self._active.file, self._active.offset
        for _ in items:
            self._pending.popleft()
        self._wrote = True
        self._writing_since = self._monotonic()
        clock, data = self._monotonic, write.data

        def job() -> float:
            began = clock()
            file.write_durable(offset, data)
            return clock() - began

        self._submit(job, lambda seconds: self._durable(write, seconds))
        return True

    def _encode(self, items: list[_Item], begins: bool) -> _Write:
        first, active = items[0], self._active
        identity = first.identity or self._identity
        hard_state = self._hard_state
        changed = False
        for item in items:
            if item.hard_state is not None:
                hard_state, changed = item.hard_state, True
        base = first.fresh or self._written
        prologue = b""
        if begins:
            assert identity is not None
            header = Header(identity, hard_state, base, first.fresh is not None, active.offset if active else 0)
            prologue, encoder = begin_segment(self._following().sequence, header, active.crc if active else 0)
        else:
            assert active is not None
            encoder = Encoder(active.sequence, active.offset, active.crc)
            encoder.mark(active.offset)
            if changed:
                encoder.hard_state(hard_state)
        last, count = base, 0
        for item in items:
            for entry in item.entries:
                encoder.entry(entry)
            if item.entries:
                count += len(item.entries)
                last = (item.entries[-1][0], item.entries[-1][1])
        data = prologue + encoder.take() if prologue else encoder.take()
        return _Write(items, data, encoder.crc, identity, hard_state, last, base if begins else None, count)

    def _durable(self, write: _Write, seconds: float) -> None:
        self._writing_since = None
        statistics = self._statistics
        statistics.synced(len(write.data), seconds)
        statistics.entries_written += write.entries
        self._advance(write)
        for item in write.items:
            statistics.waiting_bytes -= item.size
            item.on_durable()

    def _advance(self, write: _Write) -> None:
        """``write`` is durable: go on behind it."""
        active = self._active
        self._hard_state, self._written = write.hard_state, write.last
        if write.begins is None:
            assert active is not None
            self._active = active._replace(offset=active.offset + len(write.data), crc=write.crc)
            return
        if active is not None:
            self._discarded.append((active.file, 0))
        following, self._next = self._following(), None
        self._active = Active(following.sequence, following.file, len(write.data), write.crc, following.size)
        if write.items[0].fresh is not None:
            obsolete, self._segments = self._segments, []
            self._chores.append(lambda: self._remove(obsolete))
        self._segments.append(Closed(following.sequence, write.begins[0], following.size))
        self._count()
        self._identity = write.identity  # last: with an incarnation, jobs begin

    # --- segments and space -------------------------------------------------------------------------------------------

    def _following(self) -> NextSegment:
        if self._next is None:
            sequence = self._active.sequence + 1 if self._active is not None else 1
            self._next = NextSegment(self._filesystem, self._directory, sequence, self._options)
        return self._next

    def _slice_due(self) -> bool:
        """The next segment is filled twice as fast as the current one; all of it when there is nothing else to do."""
        active, options = self._active, self._options
        if active is None or self._waiting_for_room:
            return False
        size = self._following().size
        return size < options.segment_bytes and (not self._pending or size < 2 * active.offset)

    def _chore_waits(self) -> bool:
        return self._space_wanted or bool(self._chores) or bool(self._discarded) or self._slice_due()

    def _start_chore(self) -> None:
        if self._space_wanted:
            self._space_wanted = False
            snapshot_bytes = self._snapshot_bytes()
            self._submit(lambda: self._ballast.restore(snapshot_bytes), self._looked_at_space)
        elif self._chores:
            self._submit(self._chores.popleft(), lambda _: None)
        elif self._discarded:
            self._submit(self._discard, lambda _: None)
        elif self._slice_due():
            self._submit_growth(self._following().grow_slice)

    def _submit_growth(self, grow: Callable[[], bool]) -> None:
        def grown(there_was_room: bool) -> None:
            self._waiting_for_room = not there_was_room

        self._submit(grow, grown)

    def _look_at_space(self, now: float) -> None:
        if self._space_checked_at is None or now - self._space_checked_at >= self._options.space_check_seconds:
            self._space_checked_at = now
            self._space_wanted = True
            self._pump()

    def _looked_at_space(self, found: tuple[int, bool]) -> None:
        free, complete = found
        self._statistics.free_bytes = free
        self._full = free < self._options.watermark_bytes or not complete
        if self._waiting_for_room and free >= self._options.segment_bytes:
            self._waiting_for_room = False

    def _remove(self, segments: list[Closed]) -> None:
        """Unlink oldest first, so that what a crash leaves has no gap. Their room is given back in steps."""
        for segment in segments:
            path = f"{self._directory}/{segment_name(segment.sequence)}"
            file = self._filesystem.open(path)
            self._filesystem.unlink(path)
            self._discarded.append((file, segment.size))
        self._filesystem.sync_directory(self._directory)

    def _discard(self) -> None:
        file, size = self._discarded[0]
        step = DISCARD_SLICES * self._options.slice_bytes
        if size > step:
            size -= step
            file.truncate(size)
            self._discarded[0] = (file, size)
        else:
            file.close()
            self._discarded.popleft()

    def _count(self) -> None:
        self._statistics.segments = len(self._segments)
        self._statistics.log_bytes = sum(segment.size for segment in self._segments)
