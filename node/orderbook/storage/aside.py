"""Moving a directory's contents aside, so that its node can come back as a new member.

The directory itself may be a mount point, which can't be renamed: its files move into ``aside-0001`` (or the next free
number) within it. A note, written first, lets the next opening finish a move that was cut short; half a log must never
be opened.
"""

from __future__ import annotations

from orderbook.storage.disk import LOCK_NAME
from orderbook.storage.filesystem import FileSystem

PREFIX = "aside-"
NOTE_SUFFIX = ".moving"


def set_aside(filesystem: FileSystem, directory: str) -> str:
    """Move everything in ``directory`` into a new directory within it, kept for the operator; its path. Blocks.

    No store may be open here: ``DirectoryLocked`` otherwise.
    """
    lock = filesystem.lock(directory)
    try:
        names = filesystem.list_directory(directory)
        numbers = [
            int(name[len(PREFIX) :]) for name in names if name.startswith(PREFIX) and name[len(PREFIX) :].isdecimal()
        ]
        target = f"{PREFIX}{max(numbers, default=0) + 1:04d}"
        filesystem.create(f"{directory}/{target}{NOTE_SUFFIX}").close()
        filesystem.sync_directory(directory)
        _move(filesystem, directory, target)
        return f"{directory}/{target}"
    finally:
        lock.release()


def finish_setting_aside(filesystem: FileSystem, directory: str) -> str | None:
    """Complete a move that was cut short; where to, or None if there was none. The caller holds the lock."""
    for name in filesystem.list_directory(directory):
        if name.startswith(PREFIX) and name.endswith(NOTE_SUFFIX):
            target = name.removesuffix(NOTE_SUFFIX)
            _move(filesystem, directory, target)
            return f"{directory}/{target}"
    return None


def _move(filesystem: FileSystem, directory: str, target: str) -> None:
    filesystem.make_directory(f"{directory}/{target}")
    for name in filesystem.list_directory(directory):
        if not name.startswith(PREFIX) and name != LOCK_NAME:
            filesystem.rename(f"{directory}/{name}", f"{directory}/{target}/{name}")
    filesystem.sync_directory(f"{directory}/{target}")
    filesystem.sync_directory(directory)
    filesystem.unlink(f"{directory}/{target}{NOTE_SUFFIX}")
    filesystem.sync_directory(directory)
