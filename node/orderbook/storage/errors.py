"""Errors of storage. Each says what happened to which file and what to do about it.

An ``OSError`` of the file system passes through where a caller can act on it; in the log it goes to ``on_failure``,
because after a failed fsync nobody knows what the disk holds.
"""

from __future__ import annotations


class StorageError(Exception):
    """Any refusal of storage."""


class DirectoryLocked(StorageError):
    """Another process has this directory open."""

    def __init__(self, directory: str, holder: str) -> None:
        super().__init__(
            f"directory {directory} is in use by process {holder}: one process a directory. Stop that process, or give "
            "this one another directory; never delete the lock file of a living process"
        )
        self.directory = directory
        self.holder = holder


class LogCorrupt(StorageError):
    """The log lost bytes that it had confirmed: opening it would break promises made to the group."""

    ADVICE = (
        "The log was left as it is. If the other members form a majority, set this directory aside and start: the node "
        "comes back as a new member and is sent everything. If not, restore the file from a copy of the same moment as "
        "the rest of the directory; never delete or shorten it"
    )

    def __init__(self, path: str, offset: int, what: str) -> None:
        super().__init__(f"{path}, offset {offset}: {what}. {self.ADVICE}")
        self.path = path
        self.offset = offset


class UnknownFormat(StorageError):
    """A newer release wrote this file."""

    def __init__(self, path: str, found: int, known: int) -> None:
        super().__init__(
            f"{path} has format version {found}, this release knows {known}: start the release that wrote it"
        )


class SnapshotCorrupt(StorageError, ValueError):
    """A snapshot file isn't what was written. Another one, or the log from its beginning, may still serve."""

    def __init__(self, path: str, offset: int, what: str) -> None:
        super().__init__(f"{path}, offset {offset}: {what}. Use an older snapshot, or have one sent by another member")
        self.path = path
        self.offset = offset


class SnapshotGone(StorageError):
    """Newer snapshots replaced this one: begin again with the newest."""


class DiskFull(StorageError):
    """There is no room, not even the ballast's. Make room on the volume, then start again."""


class StoreFailed(StorageError):
    """The log failed before: nothing is written or acknowledged any more. The process has to end."""
