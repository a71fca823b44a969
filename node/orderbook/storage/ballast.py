"""Room kept on the disk for the day when it is full.

Two files without content take up the room: one of a segment, so that the log of a full member can go on while it hands
over and is cut, and one of a snapshot, without which nothing could be cut. Each is given up when an allocation of its
kind finds no room, and made again when the disk has that much room above the watermark. While one is missing, or less
than the watermark is free, the member counts as full.
"""

from __future__ import annotations

import errno

from orderbook.storage.filesystem import FileSystem
from orderbook.storage.types import StoreOptions

SEGMENT_BALLAST = "segment.ballast"
SNAPSHOT_BALLAST = "snapshot.ballast"


class Ballast:
    """All methods block. Nothing is remembered: the files are the state, so a forked child may give up one too."""

    def __init__(self, filesystem: FileSystem, directory: str, options: StoreOptions) -> None:
        self._filesystem = filesystem
        self._directory = directory
        self._options = options

    def give_segment(self) -> bool:
        """Whether there was something to give up."""
        return self._give(SEGMENT_BALLAST)

    def give_snapshot(self) -> bool:
        return self._give(SNAPSHOT_BALLAST)

    def _give(self, name: str) -> bool:
        try:
            self._filesystem.unlink(f"{self._directory}/{name}")
        except FileNotFoundError:
            return False
        self._filesystem.sync_directory(self._directory)
        return True

    def restore(self, snapshot_bytes: int) -> tuple[int, bool]:
        """Fill up what is missing, if there is room; (free bytes, whether all is in place)."""
        wanted = max(self._options.ballast_snapshot_bytes, snapshot_bytes + snapshot_bytes // 2)
        complete = self._keep(SEGMENT_BALLAST, self._options.segment_bytes)
        complete = self._keep(SNAPSHOT_BALLAST, wanted) and complete
        return self._filesystem.free_bytes(self._directory), complete

    def _keep(self, name: str, size: int) -> bool:
        path = f"{self._directory}/{name}"
        try:
            file = self._filesystem.open(path)
        except FileNotFoundError:
            if not self._fits(size):
                return False
            file = self._filesystem.create(path)
        try:
            held = file.size()
            if held < size:
                if not self._fits(size - held):
                    return False
                file.reserve(size)
            return True
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            return False
        finally:
            file.close()

    def _fits(self, size: int) -> bool:
        return self._filesystem.free_bytes(self._directory) - size >= self._options.watermark_bytes
