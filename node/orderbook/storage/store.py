"""The storage of one member: its log and its snapshots, in one directory.

What the caller has to do:

1. ``open`` (blocks), look at ``take_recovered()``, and give an empty directory its identity with ``identify`` (blocks)
   before the first ``write``.
2. On the event loop: ``write`` each ``Ready``, and let votes and acknowledgements wait for its ``on_durable``.
3. After ``on_failure``: end the process. Nothing is written or acknowledged any more.
4. Snapshots: ``snapshot_writer`` in a forked child or on a worker of one's own, then ``snapshot_committed`` there or on
   the loop, then ``cut``. All methods with "snapshot" or "receive" in their names block, but for ``snapshots`` and
   ``reset_to_snapshot``; one thread at a time may write or receive.
5. Read ``health`` every second or so: that is also what has the free space looked at.
6. ``close``, then close the worker: the directory is released behind what is under way there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from orderbook.runtime import Worker
from orderbook.storage.aside import finish_setting_aside
from orderbook.storage.errors import StorageError
from orderbook.storage.filesystem import FileSystem, Lock
from orderbook.storage.recovery import TEMPORARY, Recovery
from orderbook.storage.snapshots import Snapshots, SnapshotWriter
from orderbook.storage.statistics import Statistics
from orderbook.storage.types import (
    Entries,
    HardStateTuple,
    Health,
    Identity,
    Recovered,
    SnapshotHeader,
    SnapshotInfo,
    SnapshotOffer,
    StoreOptions,
)
from orderbook.storage.wal import Beginning, Log


class Store:
    """Made by ``open``."""

    def __init__(
        self,
        worker: Worker,
        monotonic: Callable[[], float],
        lock: Lock,
        log: Log,
        snapshots: Snapshots,
        recovered: Recovered,
        statistics: Statistics,
    ) -> None:
        self._worker = worker
        self._monotonic = monotonic
        self._lock = lock
        self._log = log
        self._snapshots = snapshots
        self._recovered: Recovered | None = recovered
        self._identity = recovered.identity
        self._statistics = statistics
        self._closed = False

    @classmethod
    def open(
        cls,
        filesystem: FileSystem,
        directory: str,
        worker: Worker,
        options: StoreOptions,
        *,
        monotonic: Callable[[], float],
        on_failure: Callable[[BaseException], None],
    ) -> Store:
        """Lock ``directory`` (made if missing) and recover what it holds. Blocks.

        ``DirectoryLocked``, ``LogCorrupt``, ``UnknownFormat``, ``DiskFull`` or an ``OSError``: nothing is open then.
        """
        filesystem.make_directory(directory)
        lock = filesystem.lock(directory)
        try:
            notes = []
            if moved := finish_setting_aside(filesystem, directory):
                notes.append(f"finished setting aside {directory} into {moved}")
            for name in filesystem.list_directory(directory):
                if name.endswith(TEMPORARY):
                    filesystem.unlink(f"{directory}/{name}")
            snapshots = Snapshots(filesystem, directory, options)
            snapshots.recover()
            found = Recovery(filesystem, directory, options, snapshots.all).run()
        except BaseException:
            lock.release()
            raise
        replay = found.replay
        notes += snapshots.notes + found.notes
        recovered = Recovered(
            replay.identity, replay.hard_state, found.snapshot, replay.entries, "; ".join(notes) or None, replay.base
        )
        statistics = Statistics()
        beginning = Beginning(replay.identity, replay.hard_state, replay.last, found.active, found.closed)

        def newest_bytes() -> int:
            return snapshots.all[-1].size if snapshots.all else 0

        log = Log(filesystem, directory, worker, options, monotonic, on_failure, beginning, statistics, newest_bytes)
        store = cls(worker, monotonic, lock, log, snapshots, recovered, statistics)
        statistics.snapshot_at = monotonic()
        return store

    # --- log ----------------------------------------------------------------------------------------------------------

    @property
    def recovered(self) -> Recovered:
        """What the opening found; gone after ``take_recovered``."""
        if self._recovered is None:
            raise StorageError("what was recovered has been taken")
        return self._recovered

    def take_recovered(self) -> Recovered:
        """``recovered``, for the last time: the entries' memory is the caller's."""
        recovered = self.recovered
        self._recovered = None
        return recovered

    @property
    def identity(self) -> Identity | None:
        return self._identity

    def identify(self, identity: Identity) -> None:
        """Give the directory its identity, or the incarnation once there is one: durable when it returns. Blocks.

        For a group that hasn't begun: ``StorageError`` if anything is under way.
        """
        self._log.identify(identity)
        self._identity = identity

    def change_identity(self, identity: Identity, hard_state: HardStateTuple, on_durable: Callable[[], None]) -> None:
        """Take another identity and hard state in one step, ordered among the writes; entries stay. Never blocks."""
        self._log.change_identity(identity, hard_state, on_durable)
        self._identity = identity

    def write(self, hard_state: HardStateTuple | None, entries: Entries, on_durable: Callable[[], None]) -> None:
        """Have both on disk and then call ``on_durable`` on the loop, in the order of the calls. Never blocks.

        Entries follow each other; the first one may go back, which drops what was there. ``ValueError`` for a gap.
        """
        self._log.append(hard_state, entries, on_durable)

    def cut(self, index: int) -> None:
        """Entries up to ``index`` may go, where two snapshots cover them and the tail for followers allows."""
        kept = self._snapshots.all
        if len(kept) > 1:
            self._log.cut(min(index, kept[0].index))

    @property
    def last_index(self) -> int:
        """Of the last entry handed over or recovered."""
        return self._log.last_index

    @property
    def health(self) -> Health:
        """ "full": refuse proposals and hand over the leadership. "stalled": a write takes too long, hand over."""
        return self._log.health

    @property
    def statistics(self) -> Statistics:
        statistics, kept = self._statistics, self._snapshots.all
        newest = kept[-1] if kept else None
        if newest is not None and newest.index != statistics.snapshot_index:
            statistics.snapshot_index, statistics.snapshot_bytes = newest.index, newest.size
            statistics.snapshot_at = self._monotonic()
        statistics.snapshots = len(kept)
        return statistics

    # --- snapshots ----------------------------------------------------------------------------------------------------

    def snapshots(self) -> list[SnapshotInfo]:
        """The kept ones, oldest first."""
        return list(self._snapshots.all)

    def snapshot_writer(self, index: int, term: int, configuration: bytes, configuration_index: int) -> SnapshotWriter:
        """A writer for the state after entry ``index``. Touches the disk only with its first writes."""
        return self._snapshots.writer(SnapshotHeader(index, term, configuration, configuration_index))

    def snapshot_committed(self, index: int) -> SnapshotInfo:
        """Take in what a writer committed; keeps the two newest."""
        return self._snapshots.committed(index)

    def read_snapshot(self, info: SnapshotInfo) -> Iterator[bytes]:
        """Its chunks as they were written, each checked when read: ``SnapshotCorrupt``, ``SnapshotGone``."""
        return self._snapshots.read(info)

    def read_snapshot_file(self, info: SnapshotInfo, offset: int, length: int) -> bytes:
        """Bytes of its file, to be sent; fewer at its end. ``SnapshotGone`` when newer ones replaced it."""
        return self._snapshots.read_file(info, offset, length)

    def receive_snapshot(self, offer: SnapshotOffer, offset: int, data: bytes) -> int:
        """Keep ``data`` of another member's snapshot file, if the part held ends at ``offset``; the bytes held then.

        A part survives restarts; beginning another snapshot drops it. Once all is held: ``finish_receive``.
        """
        return self._snapshots.receive(offer, offset, data)

    def finish_receive(self, offer: SnapshotOffer) -> SnapshotInfo:
        """Check the whole file, make it durable, take it in. ``SnapshotCorrupt``: dropped, begin at 0 again."""
        return self._snapshots.finish_receive(offer)

    def reset_to_snapshot(self, info: SnapshotInfo, hard_state: HardStateTuple, on_durable: Callable[[], None]) -> None:
        """The log begins anew after ``info``; ordered among the writes."""
        self._log.begin_anew((info.index, info.term), hard_state, on_durable)

    def close(self, on_closed: Callable[[], None] | None = None) -> None:
        """Start nothing more and call no ``on_durable``; the lock is released behind what is under way.

        ``on_closed`` runs on the loop when another store may open the directory. Then close the worker.
        """
        if self._closed:
            return
        self._closed = True
        self._log.close()

        def released(_result: None, error: BaseException | None) -> None:
            if error is not None:
                raise error
            if on_closed is not None:
                on_closed()

        self._worker.submit(self._lock.release, released)
