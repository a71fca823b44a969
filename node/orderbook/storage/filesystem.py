"""The few blocking operations that storage asks of a file system.

Promises that every implementation keeps, and that ``tests/unit/storage/test_filesystem.py`` holds against the real
disk and the faulty double alike:

- ``File.write`` changes what every reader sees at once; a machine that loses power may lose it, sector by sector.
- ``File.sync`` and ``File.write_durable`` return only when the bytes (and the size) survive a loss of power. One that
  raises leaves it unknown which do; repeating it proves nothing.
- A name made by ``create`` or ``rename`` or dropped by ``unlink`` survives a loss of power only after
  ``sync_directory`` of its directory. ``rename`` replaces its target at once: one or the other is seen, never neither.
- An unlinked file stays readable through handles that are open.

Paths are strings with ``/``. Errors are ``OSError``, a full disk has ``errno.ENOSPC``.
"""

from __future__ import annotations

from typing import Protocol, TypeAlias

Buffer: TypeAlias = bytes | bytearray | memoryview


class File(Protocol):
    """An open file, read and written at given offsets."""

    def read(self, offset: int, length: int) -> bytes:
        """``length`` bytes from ``offset``; fewer only where the file ends."""
        ...

    def write(self, offset: int, data: Buffer) -> None:
        """All of ``data`` at ``offset``, growing the file if need be; not durable."""
        ...

    def write_durable(self, offset: int, data: Buffer) -> None:
        """``write``, then return when these bytes are durable. Other unsynced bytes of the file may not be."""
        ...

    def sync(self) -> None:
        """Make everything written to this file durable (fdatasync)."""
        ...

    def reserve(self, size: int) -> None:
        """Take ``size`` bytes of the disk for this file without writing them."""
        ...

    def truncate(self, size: int) -> None:
        """Cut the file to ``size`` bytes."""
        ...

    def size(self) -> int: ...

    def close(self) -> None:
        """Idempotent. Syncs nothing."""
        ...


class Lock(Protocol):
    def release(self) -> None:
        """Idempotent. The end of the process releases it too."""
        ...


class FileSystem(Protocol):
    def make_directory(self, path: str) -> None:
        """With its parents, durably; nothing happens if it's there."""
        ...

    def list_directory(self, path: str) -> list[str]:
        """Names in ``path``, sorted."""
        ...

    def exists(self, path: str) -> bool: ...

    def open(self, path: str) -> File:
        """An existing file, for reading and writing; ``FileNotFoundError`` if there is none."""
        ...

    def create(self, path: str) -> File:
        """An empty file; what stood there before is emptied."""
        ...

    def rename(self, source: str, target: str) -> None: ...

    def unlink(self, path: str) -> None: ...

    def sync_directory(self, path: str) -> None: ...

    def free_bytes(self, path: str) -> int:
        """What an unprivileged process may still write on the disk that holds ``path``."""
        ...

    def lock(self, path: str) -> Lock:
        """Lock the directory ``path`` for this process; ``DirectoryLocked`` names the process that holds it."""
        ...
