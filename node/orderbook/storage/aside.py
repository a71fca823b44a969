"""Moving a directory's contents aside, so that its node can come back as a new member.

The directory itself may be a mount point, which can't be renamed: its files move into ``aside-0001`` (or the next free
number) within it. A note, written first, lets the next opening finish a move that was cut short; half a log must never
be opened. The note holds the incarnation of the group that was left. It stays, as ``aside-0001.incarnation``: whoever
begins again in this directory belongs to that group and to no other.
"""

from __future__ import annotations

from orderbook.storage.disk import LOCK_NAME
from orderbook.storage.errors import StorageError
from orderbook.storage.filesystem import FileSystem
from orderbook.storage.recovery import TEMPORARY

PREFIX = "aside-"
NOTE_SUFFIX = ".moving"
LEFT_SUFFIX = ".incarnation"
INCARNATION_BYTES = 16


def set_aside(filesystem: FileSystem, directory: str, incarnation: bytes) -> str:
    """Move everything in ``directory`` into a new directory within it, kept for the operator; its path. Blocks.

    ``incarnation``, 16 bytes, is remembered: see ``left_incarnation``. No store may be open here: ``DirectoryLocked``
    otherwise.
    """
    lock = filesystem.lock(directory)
    try:
        names = filesystem.list_directory(directory)
        taken = [name[len(PREFIX) :].partition(".")[0] for name in names if name.startswith(PREFIX)]
        target = f"{PREFIX}{max(map(int, filter(str.isdecimal, taken)), default=0) + 1:04d}"
        path = f"{directory}/{target}"
        note = filesystem.create(path + TEMPORARY)
        note.write(0, incarnation)
        note.sync()
        note.close()
        filesystem.rename(path + TEMPORARY, path + NOTE_SUFFIX)
        filesystem.sync_directory(directory)
        _move(filesystem, directory, target)
        return path
    finally:
        lock.release()


def left_incarnation(filesystem: FileSystem, directory: str) -> bytes:
    """The incarnation of the group that was left last here, empty if none was. Blocks.

    ``StorageError`` names a file that does not hold one.
    """
    names = [name for name in filesystem.list_directory(directory) if _is_left(name)]
    if not names:
        return b""
    path = f"{directory}/{names[-1]}"
    file = filesystem.open(path)
    incarnation = file.read(0, file.size())
    file.close()
    if len(incarnation) != INCARNATION_BYTES:
        raise StorageError(
            f"{path} holds {len(incarnation)} bytes, not the {INCARNATION_BYTES} of an incarnation: it is damaged. "
            "Start with the group's incarnation and without this file"
        )
    return incarnation


def _is_left(name: str) -> bool:
    return name.startswith(PREFIX) and name.endswith(LEFT_SUFFIX)


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
    filesystem.rename(f"{directory}/{target}{NOTE_SUFFIX}", f"{directory}/{target}{LEFT_SUFFIX}")
    filesystem.sync_directory(directory)
