"""The real file system. The only module of the deterministic packages that imports ``os``.

``write_durable`` is one system call where the kernel has it (Linux: ``pwritev2`` with ``RWF_DSYNC``, 0.08 ms on the
SSD that this was measured on, against 0.12 ms for ``pwrite`` and ``fdatasync``), and the pair of them elsewhere. One
call also means one release of the interpreter's lock, which a busy event loop is slow to give back.

The lock is ``flock`` on a file that holds the process id. A forked child shares it, so a child that still writes a
snapshot keeps the next process out until it is done.
"""

from __future__ import annotations

import errno
import fcntl
import os

from orderbook.storage.errors import DirectoryLocked
from orderbook.storage.filesystem import Buffer, File, Lock

LOCK_NAME = "lock"
_DSYNC: int | None = getattr(os, "RWF_DSYNC", None)
_NO_DSYNC = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)


class DiskFile:
    """An open file of the real file system."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._dsync = _DSYNC

    def read(self, offset: int, length: int) -> bytes:
        data = os.pread(self._descriptor, length, offset)
        if len(data) == length or not data:
            return data
        pieces = [data]
        done = len(data)
        while done < length and (data := os.pread(self._descriptor, length - done, offset + done)):
            pieces.append(data)
            done += len(data)
        return b"".join(pieces)

    def write(self, offset: int, data: Buffer) -> None:
        written = os.pwrite(self._descriptor, data, offset)
        while written < len(data):
            written += os.pwrite(self._descriptor, memoryview(data)[written:], offset + written)

    def write_durable(self, offset: int, data: Buffer) -> None:
        if self._dsync is not None:
            try:
                written = os.pwritev(self._descriptor, [data], offset, self._dsync)
            except OSError as error:
                if error.errno not in _NO_DSYNC:
                    raise
                self._dsync = None
            else:
                if written == len(data):
                    return
        self.write(offset, data)
        self.sync()

    def sync(self) -> None:
        os.fdatasync(self._descriptor)

    def reserve(self, size: int) -> None:
        os.posix_fallocate(self._descriptor, 0, size)

    def truncate(self, size: int) -> None:
        os.ftruncate(self._descriptor, size)

    def size(self) -> int:
        return os.fstat(self._descriptor).st_size

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class DirectoryLock:
    """Held until ``release`` or the end of the process and its forked children."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def release(self) -> None:
        if self._descriptor >= 0:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            os.close(self._descriptor)
            self._descriptor = -1


class Disk:
    """Implements ``FileSystem``."""

    def make_directory(self, path: str) -> None:
        missing = []
        while path and not os.path.isdir(path):
            missing.append(path)
            path = os.path.dirname(path)
        for each in reversed(missing):
            os.makedirs(each, exist_ok=True)
            self.sync_directory(os.path.dirname(each) or ".")

    def list_directory(self, path: str) -> list[str]:
        return sorted(os.listdir(path))

    def exists(self, path: str) -> bool:
        return os.path.lexists(path)

    def open(self, path: str) -> File:
        return DiskFile(os.open(path, os.O_RDWR | os.O_CLOEXEC))

    def create(self, path: str) -> File:
        return DiskFile(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640))

    def rename(self, source: str, target: str) -> None:
        os.rename(source, target)

    def unlink(self, path: str) -> None:
        os.unlink(path)

    def sync_directory(self, path: str) -> None:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def free_bytes(self, path: str) -> int:
        state = os.statvfs(path)
        return state.f_bavail * state.f_frsize

    def lock(self, path: str) -> Lock:
        descriptor = os.open(os.path.join(path, LOCK_NAME), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            raise DirectoryLocked(path, holder) from None
        except OSError:
            os.close(descriptor)
            raise
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
        return DirectoryLock(descriptor)
