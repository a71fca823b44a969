"""Which lives of its group a directory descends from.

A recovery gives the directory a new incarnation. Whoever is then given one of those before it has the same group, only
not the news. The file ``ancestors`` holds them, 16 bytes each, oldest first, and is durable before the directory
changes.
"""

from __future__ import annotations

from orderbook.storage.errors import StorageError
from orderbook.storage.filesystem import FileSystem
from orderbook.storage.recovery import TEMPORARY

NAME = "ancestors"
INCARNATION_BYTES = 16


def ancestors(filesystem: FileSystem, directory: str) -> tuple[bytes, ...]:
    """Oldest first; none in a directory that was never recovered. Blocks. ``StorageError`` names a damaged file."""
    if NAME not in filesystem.list_directory(directory):
        return ()
    path = f"{directory}/{NAME}"
    file = filesystem.open(path)
    held = file.read(0, file.size())
    file.close()
    if len(held) % INCARNATION_BYTES:
        raise StorageError(f"{path} holds {len(held)} bytes, no multiple of {INCARNATION_BYTES}: it is damaged")
    return tuple(held[start : start + INCARNATION_BYTES] for start in range(0, len(held), INCARNATION_BYTES))


def add_ancestor(filesystem: FileSystem, directory: str, incarnation: bytes) -> None:
    """Remember that this directory is about to leave ``incarnation``. Doing it twice does no harm. Blocks."""
    known = ancestors(filesystem, directory)
    if incarnation in known:
        return
    path = f"{directory}/{NAME}"
    file = filesystem.create(path + TEMPORARY)
    file.write(0, b"".join((*known, incarnation)))
    file.sync()
    file.close()
    filesystem.rename(path + TEMPORARY, path)
    filesystem.sync_directory(directory)
