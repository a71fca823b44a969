"""The snapshots of one directory: written aside, kept two at a time, received from other members.

Rules:

1. A snapshot has its name (``<index>-<term>.snapshot``) only when it is whole and durable: written under another name,
   synced, renamed, directory synced.
2. The two newest are kept. The log reaches back to the older one, so that one damaged file costs nothing.
3. A part of a received snapshot survives restarts, under a name that says which one it is of. What a crash left in it
   is trusted only once the whole file was checked. A sync of it that fails is not repeated, not by the next process
   either: the file is dropped, since what the page cache shows of it may not be on the disk.
4. Everything here blocks, but for ``all``. One thread at a time may write or receive; readers may be many. A writer may
   run in a forked child: it shares nothing but files, and ``committed`` has the parent look at the result.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import suppress

from orderbook.storage.ballast import Ballast
from orderbook.storage.errors import SnapshotCorrupt, SnapshotGone, StorageError
from orderbook.storage.filesystem import File, FileSystem
from orderbook.storage.snapshot_file import FrameEncoder, read_frames, read_info
from orderbook.storage.types import SnapshotHeader, SnapshotInfo, SnapshotOffer, StoreOptions

KEPT = 2
SUFFIX = ".snapshot"
WRITING = ".writing"
RECEIVING = ".receiving"
CORRUPT = ".corrupt"
BUFFER_BYTES = 1 << 20
SYNC_BYTES = 8 << 20  # a snapshot is synced as it grows: one large flush at its end would hold up the log's writes


def _write_with_ballast(file: File, offset: int, data: bytes, ballast: Ballast) -> None:
    """A snapshot is what makes room, so it may use what was kept for it."""
    try:
        file.write(offset, data)
    except OSError as error:
        if error.errno != errno.ENOSPC or not ballast.give_snapshot():
            raise
        file.write(offset, data)


class SnapshotWriter:
    """Writes one snapshot. Ends with ``commit`` or ``abort``; after any error only ``abort`` makes sense."""

    def __init__(self, filesystem: FileSystem, directory: str, header: SnapshotHeader, options: StoreOptions) -> None:
        self._filesystem = filesystem
        self._directory = directory
        self._name = SnapshotInfo(*header, 0).name
        self._ballast = Ballast(filesystem, directory, options)
        self._encoder = FrameEncoder()
        self._file: File | None = None
        self._waiting = self._encoder.begin(header)
        self._waiting_bytes = sum(map(len, self._waiting))
        self._written = 0
        self._synced = 0

    def write(self, chunk: bytes) -> None:
        """The next chunk; ``read_snapshot`` gives the same ones back. Empty ones are left out."""
        if not chunk:
            return
        self._waiting += self._encoder.frame(chunk)
        self._waiting_bytes += len(chunk) + 8
        if self._waiting_bytes >= BUFFER_BYTES:
            self._flush()

    def commit(self) -> None:
        """Durable under its name when this returns."""
        self._waiting += self._encoder.frame(b"")
        file = self._flush()
        file.sync()
        file.close()
        self._filesystem.rename(self._path(WRITING), self._path(""))
        self._filesystem.sync_directory(self._directory)

    def abort(self) -> None:
        """Remove what was written of it: by this process, or by a forked child that has ended."""
        if self._file is not None:
            self._file.close()
        with suppress(FileNotFoundError):
            self._filesystem.unlink(self._path(WRITING))

    def _path(self, suffix: str) -> str:
        return f"{self._directory}/{self._name}{suffix}"

    def _flush(self) -> File:
        file = self._file
        if file is None:
            file = self._file = self._filesystem.create(self._path(WRITING))
        data = b"".join(self._waiting)
        _write_with_ballast(file, self._written, data, self._ballast)
        self._written += len(data)
        if self._written - self._synced >= SYNC_BYTES:
            file.sync()
            self._synced = self._written
        self._waiting, self._waiting_bytes = [], 0
        return file


class Snapshots:
    """The catalogue. ``all`` may be read at any time: it is replaced as a whole."""

    def __init__(self, filesystem: FileSystem, directory: str, options: StoreOptions) -> None:
        self.all: tuple[SnapshotInfo, ...] = ()  # oldest first
        self.notes: list[str] = []
        self._filesystem = filesystem
        self._directory = directory
        self._options = options

    def _path(self, name: str) -> str:
        return f"{self._directory}/{name}"

    def recover(self) -> None:
        """Find the whole ones; put damaged ones aside; remove what was being written."""
        found = []
        for name in self._filesystem.list_directory(self._directory):
            if name.endswith(WRITING):
                self._filesystem.unlink(self._path(name))
            elif name.endswith(SUFFIX):
                try:
                    found.append(self._read_info(name, whole=True))
                except SnapshotCorrupt as error:
                    self.notes.append(f"{error}; put aside as {name}{CORRUPT}")
                    self._filesystem.rename(self._path(name), self._path(name + CORRUPT))
        self._keep(found)

    def _read_info(self, name: str, *, whole: bool) -> SnapshotInfo:
        path = self._path(name)
        file = self._filesystem.open(path)
        try:
            info = read_info(file, path, whole=whole)
        finally:
            file.close()
        if info.name != name.removesuffix(RECEIVING):
            raise SnapshotCorrupt(path, 0, f"its header says {info.name}")
        return info

    def _keep(self, infos: list[SnapshotInfo]) -> None:
        infos.sort()
        self.all = tuple(infos[-KEPT:])
        for info in infos[:-KEPT]:
            self._filesystem.unlink(self._path(info.name))
        newest = self.all[-1].index if self.all else 0
        for name in self._filesystem.list_directory(self._directory):
            if name.endswith(RECEIVING) and int(name.partition("-")[0]) <= newest:
                self._filesystem.unlink(self._path(name))

    # --- written here -------------------------------------------------------------------------------------------------

    def writer(self, header: SnapshotHeader) -> SnapshotWriter:
        return SnapshotWriter(self._filesystem, self._directory, header, self._options)

    def committed(self, index: int) -> SnapshotInfo:
        """Take in the snapshot at ``index`` that a writer has committed."""
        prefix = f"{index:020d}-"
        for name in reversed(self._filesystem.list_directory(self._directory)):
            if name.startswith(prefix) and name.endswith(SUFFIX):
                return self._add(self._read_info(name, whole=False))
        raise StorageError(f"{self._directory}: there is no snapshot at {index}")

    def _add(self, info: SnapshotInfo) -> SnapshotInfo:
        self._keep([*(each for each in self.all if each.name != info.name), info])
        return info

    # --- read ---------------------------------------------------------------------------------------------------------

    def _open(self, info: SnapshotInfo) -> File:
        try:
            return self._filesystem.open(self._path(info.name))
        except FileNotFoundError:
            raise SnapshotGone(f"snapshot {info.name} was replaced by newer ones") from None

    def read(self, info: SnapshotInfo) -> Iterator[bytes]:
        """The chunks, each checked. ``SnapshotGone`` only before the first; an open file stays readable."""
        file = self._open(info)
        try:
            frames = read_frames(file, self._path(info.name))
            next(frames, None)
            yield from frames
        finally:
            file.close()

    def read_file(self, info: SnapshotInfo, offset: int, length: int) -> bytes:
        file = self._open(info)
        try:
            return file.read(offset, length)
        finally:
            file.close()

    # --- received -----------------------------------------------------------------------------------------------------

    def receive(self, offer: SnapshotOffer, offset: int, data: bytes) -> int:
        """Add ``data`` at ``offset``, if that's where the part held here ends; how much is held then."""
        if any((info.index, info.term, info.size) == (offer.index, offer.term, offer.size) for info in self.all):
            return offer.size
        path = self._path(self._part(offer))
        if self._filesystem.exists(path):
            file = self._filesystem.open(path)
        else:
            self._drop_parts()
            file = self._filesystem.create(path)
        try:
            held = file.size()
            if offset == held and data and held + len(data) <= offer.size:
                _write_with_ballast(file, held, data, Ballast(self._filesystem, self._directory, self._options))
                held += len(data)
            return held
        finally:
            file.close()

    def finish_receive(self, offer: SnapshotOffer) -> SnapshotInfo:
        """Check the whole file and take it in. ``SnapshotCorrupt``: the part is dropped, begin at 0."""
        for info in self.all:
            if (info.index, info.term, info.size) == (offer.index, offer.term, offer.size):
                return info
        name = self._part(offer)
        path = self._path(name)
        try:
            file = self._filesystem.open(path)
        except FileNotFoundError:
            raise SnapshotCorrupt(path, 0, "nothing of it is held") from None
        try:
            info = read_info(file, path, whole=True)
            if (info.index, info.term, info.size) != (offer.index, offer.term, offer.size):
                raise SnapshotCorrupt(path, 0, f"it is the snapshot {info.name} of {info.size} bytes")
            part, path = path, self._path(info.name + WRITING)  # under this name the next opening drops it
            self._filesystem.rename(part, path)
            file.sync()
        except (SnapshotCorrupt, OSError):
            self._filesystem.unlink(path)
            raise
        finally:
            file.close()
        self._filesystem.rename(path, self._path(info.name))
        self._filesystem.sync_directory(self._directory)
        return self._add(info)

    def _part(self, offer: SnapshotOffer) -> str:
        return f"{offer.index:020d}-{offer.term:020d}-{offer.size:d}{RECEIVING}"

    def _drop_parts(self) -> None:
        """One snapshot is received at a time: parts of others are of no use any more."""
        for name in self._filesystem.list_directory(self._directory):
            if name.endswith(RECEIVING):
                self._filesystem.unlink(self._path(name))
