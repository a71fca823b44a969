"""A file system in memory that fails as real ones do: the double of ``orderbook.storage.Disk``.

It keeps two things of every file: what readers see (the page cache) and what the disk holds. ``crash()`` is the loss of
power: the disk that the next process finds. ``kill()`` is the end of the process: the page cache stays.

    after crash()            what is found
    unsynced sectors         each of 512 bytes is there or not, at random; a file's size is the old or the new one
    unsynced names           creations, renames and unlinks are each there or not, at random, in order
    after a failed sync      the page cache counts as clean and shows bytes that the disk never gets

Faults on demand: ``crash_at`` (SimulatedCrash in the n-th operation, before or after it took effect), ``fail_sync_at``,
``capacity`` (ENOSPC), ``flip`` (bad bits), ``before`` (called with each operation: to stall, to count, to raise).
Everything random comes from the generator that is handed in: the seed is the bug report.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from random import Random

from orderbook.storage import DirectoryLocked

SECTOR = 512


class SimulatedCrash(BaseException):
    """The machine stopped here. No ``except Exception`` gets to see it."""


class Inode:
    """One file: ``cached`` is what readers see, ``durable`` what the disk holds, ``dirty`` what differs by sector."""

    def __init__(self) -> None:
        self.cached = bytearray()
        self.durable = bytearray()
        self.dirty: dict[int, None] = {}
        self.reserved = 0
        self.handles = 0

    def room(self) -> int:
        return max(len(self.cached), self.reserved)

    def touch(self, start: int, end: int) -> None:
        for sector in range(start // SECTOR, (end + SECTOR - 1) // SECTOR):
            self.dirty[sector] = None

    def write_back(self, sectors: list[int], size: int) -> None:
        if len(self.durable) < size:
            self.durable.extend(bytes(size - len(self.durable)))
        del self.durable[size:]
        for sector in sectors:
            start, end = sector * SECTOR, min((sector + 1) * SECTOR, size, len(self.cached))
            if start < end:
                self.durable[start:end] = self.cached[start:end]

    def sync(self) -> None:
        self.write_back(list(self.dirty), len(self.cached))
        self.dirty.clear()


class FaultyFile:
    def __init__(self, disk: FaultyDisk, inode: Inode, path: str) -> None:
        self._disk = disk
        self._inode = inode
        self._path = path
        self._open = True
        inode.handles += 1

    def _check_open(self) -> None:
        if not self._open:
            raise OSError(errno.EBADF, "the file is closed", self._path)

    def read(self, offset: int, length: int) -> bytes:
        self._check_open()
        return bytes(memoryview(self._inode.cached)[offset : offset + length])

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        self._check_open()
        self._disk.operate("write", self._path, lambda: self._write(offset, data))

    def _write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        inode = self._inode
        end = offset + len(data)
        self._disk.need(inode, end)
        size = len(inode.cached)
        if end > size:
            inode.cached.extend(bytes(end - size))
            inode.touch(size, end)
        inode.cached[offset:end] = data
        inode.touch(offset, end)

    def write_durable(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        self.write(offset, data)
        self._check_open()
        first, last = offset // SECTOR, (offset + len(data) + SECTOR - 1) // SECTOR
        self._disk.operate("sync", self._path, lambda: self._sync([s for s in self._inode.dirty if first <= s < last]))

    def sync(self) -> None:
        self._check_open()
        self._disk.operate("sync", self._path, lambda: self._sync(list(self._inode.dirty)))

    def _sync(self, sectors: list[int]) -> None:
        inode = self._inode
        failing = self._disk.sync_fails()
        if not failing and not self._disk.lies:
            inode.write_back(sectors, len(inode.cached))
        for sector in sectors:
            inode.dirty.pop(sector, None)
        if failing:
            raise OSError(errno.EIO, "simulated failure of a sync", self._path)

    def reserve(self, size: int) -> None:
        self._check_open()
        self._disk.operate("reserve", self._path, lambda: self._reserve(size))

    def _reserve(self, size: int) -> None:
        self._disk.need(self._inode, size)
        self._inode.reserved = max(self._inode.reserved, size)
        if len(self._inode.cached) < size:
            start = len(self._inode.cached)
            self._inode.cached.extend(bytes(size - start))
            self._inode.touch(start, size)

    def truncate(self, size: int) -> None:
        self._check_open()
        self._disk.operate("truncate", self._path, lambda: self._truncate(size))

    def _truncate(self, size: int) -> None:
        inode = self._inode
        old = len(inode.cached)
        self._disk.need(inode, size)
        if size < old:
            del inode.cached[size:]
            inode.reserved = min(inode.reserved, size)
        else:
            inode.cached.extend(bytes(size - old))
        inode.touch(min(size, old), max(size, old))

    def size(self) -> int:
        self._check_open()
        return len(self._inode.cached)

    def close(self) -> None:
        if self._open:
            self._open = False
            self._inode.handles -= 1


class FaultyLock:
    def __init__(self, disk: FaultyDisk, path: str) -> None:
        self._disk = disk
        self._path = path

    def release(self) -> None:
        if self._disk.locks.get(self._path) is self:
            del self._disk.locks[self._path]


NameChange = dict[str, Inode | None]  # path -> what it names then


class FaultyDisk:
    """Implements ``FileSystem``. A relative path and an absolute one are different names."""

    def __init__(self, random: Random, capacity: int | None = None) -> None:
        self.random = random
        self.capacity = capacity
        self.operations = 0
        self.crash_at: int | None = None  # SimulatedCrash in this operation, counted from 0
        self.fail_sync_at: int | None = None  # the sync with this number fails, counted from 0
        self.syncs = 0
        self.lies = False  # syncs return without doing anything
        self.before: Callable[[int, str, str], None] | None = None  # (number, kind, path)
        self.locks: dict[str, FaultyLock] = {}
        self._directories: dict[str, None] = {"": None, "/": None}
        self._names: dict[str, Inode] = {}
        self._durable_names: dict[str, Inode] = {}
        self._changes: list[NameChange] = []
        self._ended = False

    # --- faults -------------------------------------------------------------------------------------------------------

    def operate(self, kind: str, path: str, effect: Callable[[], None]) -> None:
        """Everything that changes the disk passes here."""
        if self._ended:
            raise SimulatedCrash(f"operation on a machine that has stopped: {kind} {path}")
        number = self.operations
        self.operations += 1
        if self.before is not None:
            self.before(number, kind, path)
            if self._ended:
                raise SimulatedCrash(f"the machine stopped before {kind} {path}")
        if number == self.crash_at:
            if self.random.random() < 0.5:
                effect()
            raise SimulatedCrash(f"operation {number}: {kind} {path}")
        effect()

    def sync_fails(self) -> bool:
        number = self.syncs
        self.syncs += 1
        return number == self.fail_sync_at

    def need(self, inode: Inode, size: int) -> None:
        """Raise ENOSPC if the file can't grow to ``size``."""
        if self.capacity is not None and size > inode.room() and self._used() - inode.room() + size > self.capacity:
            raise OSError(errno.ENOSPC, "simulated full disk")

    def flip(self, path: str, offset: int, mask: int = 1) -> None:
        """Change bits of a byte, on the disk and in the cache."""
        inode = self._names[path]
        inode.cached[offset] ^= mask
        if offset < len(inode.durable):
            inode.durable[offset] ^= mask

    def crash(self) -> FaultyDisk:
        """The disk as it is found after a loss of power. This one refuses any further change."""
        names = dict(self._durable_names)
        for change in self._changes:
            if self.random.random() < 0.5:
                _apply(names, change)
        found = self._successor()
        copies: dict[int, Inode] = {}
        for path, inode in sorted(names.items()):
            if id(inode) not in copies:
                copies[id(inode)] = self._after_crash(inode)
            found._names[path] = found._durable_names[path] = copies[id(inode)]
        return found

    def kill(self) -> FaultyDisk:
        """The disk as the next process finds it after this one was killed: nothing is lost, no lock is held."""
        found = self._successor()
        found._names, found._durable_names = self._names, self._durable_names
        found._changes = self._changes
        return found

    def _successor(self) -> FaultyDisk:
        self._ended = True
        found = FaultyDisk(self.random, self.capacity)
        found._directories = dict(self._directories)
        return found

    def _after_crash(self, inode: Inode) -> Inode:
        after = Inode()
        kept = [sector for sector in sorted(inode.dirty) if self.random.random() < 0.5]
        size = self.random.choice((len(inode.durable), len(inode.cached))) if inode.dirty else len(inode.durable)
        after.durable = bytearray(inode.durable)
        after.cached = inode.cached
        after.write_back(kept, size)
        after.cached = bytearray(after.durable)
        after.reserved = min(inode.reserved, len(after.durable))
        return after

    def _used(self) -> int:
        seen = {id(inode): inode for inode in self._names.values()}
        return sum(inode.room() for inode in seen.values())

    # --- FileSystem ---------------------------------------------------------------------------------------------------

    def make_directory(self, path: str) -> None:
        while path and path not in self._directories:
            self._directories[path] = None
            path = path.rpartition("/")[0]

    def list_directory(self, path: str) -> list[str]:
        if path not in self._directories:
            raise FileNotFoundError(errno.ENOENT, "no such directory", path)
        here = [*self._names, *self._directories]
        return sorted(each.rpartition("/")[2] for each in here if each.rpartition("/")[0] == path and each != path)

    def exists(self, path: str) -> bool:
        return path in self._names or path in self._directories

    def open(self, path: str) -> FaultyFile:
        if path not in self._names:
            raise FileNotFoundError(errno.ENOENT, "no such file", path)
        return FaultyFile(self, self._names[path], path)

    def create(self, path: str) -> FaultyFile:
        self._check_parent(path)
        self.operate("create", path, lambda: self._create(path))
        return FaultyFile(self, self._names[path], path)

    def _create(self, path: str) -> None:
        if path in self._names:
            inode = self._names[path]
            size = len(inode.cached)
            inode.cached.clear()
            inode.reserved = 0
            inode.touch(0, size)
        else:
            self._change({path: Inode()})

    def rename(self, source: str, target: str) -> None:
        if source not in self._names:
            raise FileNotFoundError(errno.ENOENT, "no such file", source)
        self._check_parent(target)
        self.operate("rename", source, lambda: self._change({source: None, target: self._names[source]}))

    def unlink(self, path: str) -> None:
        if path not in self._names:
            raise FileNotFoundError(errno.ENOENT, "no such file", path)
        self.operate("unlink", path, lambda: self._change({path: None}))

    def sync_directory(self, path: str) -> None:
        if path not in self._directories:
            raise FileNotFoundError(errno.ENOENT, "no such directory", path)
        self.operate("sync directory", path, lambda: self._sync_directory(path))

    def _sync_directory(self, path: str) -> None:
        if self.lies:
            return
        rest = []
        for change in self._changes:
            if any(name.rpartition("/")[0] == path for name in change):
                _apply(self._durable_names, change)
            else:
                rest.append(change)
        self._changes = rest

    def free_bytes(self, path: str) -> int:
        return (self.capacity if self.capacity is not None else 1 << 40) - self._used()

    def lock(self, path: str) -> FaultyLock:
        if path in self.locks:
            raise DirectoryLocked(path, "simulated")
        lock = self.locks[path] = FaultyLock(self, path)
        return lock

    def _check_parent(self, path: str) -> None:
        if path.rpartition("/")[0] not in self._directories:
            raise FileNotFoundError(errno.ENOENT, "no such directory", path)

    def _change(self, change: NameChange) -> None:
        _apply(self._names, change)
        self._changes.append(change)


def _apply(names: dict[str, Inode], change: NameChange) -> None:
    for path, inode in change.items():
        if inode is None:
            names.pop(path, None)
        else:
            names[path] = inode
