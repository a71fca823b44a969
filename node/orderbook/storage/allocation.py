"""The next segment, made ready while the current one fills.

A segment is allocated by writing zeros and syncing them: a later write into written blocks changes no metadata, which
makes it durable several times sooner than one that grows the file. Its name is durable before its first record. Zeros
go in slices of a fraction of a millisecond, each a job of its own, so that a write never waits for more than one.

A full disk shows here and only here: then the ballast is given up, and without ballast the log waits.
"""

from __future__ import annotations

import errno

from orderbook.storage.ballast import Ballast
from orderbook.storage.filesystem import File, FileSystem
from orderbook.storage.segment import segment_name, write_zeros
from orderbook.storage.types import StoreOptions


class NextSegment:
    """One segment on its way to being ready. Methods block; one thread at a time."""

    def __init__(self, filesystem: FileSystem, directory: str, sequence: int, options: StoreOptions) -> None:
        self.sequence = sequence
        self.size = 0  # durable zeros
        self._filesystem = filesystem
        self._directory = directory
        self._options = options
        self._file: File | None = None

    def grow(self, upto: int) -> bool:
        """Have ``upto`` bytes of zeros, giving up the ballast if need be. False: the disk is full."""
        while True:
            try:
                file = self._open()
                write_zeros(file, self.size, upto, self._options.slice_bytes)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                if not Ballast(self._filesystem, self._directory, self._options).give_segment():
                    return False
            else:
                self.size = max(self.size, upto)
                return True

    def grow_slice(self) -> bool:
        return self.grow(min(self.size + self._options.slice_bytes, self._options.segment_bytes))

    def _open(self) -> File:
        if self._file is None:
            self._file = self._filesystem.create(f"{self._directory}/{segment_name(self.sequence)}")
            self._filesystem.sync_directory(self._directory)
        return self._file

    @property
    def file(self) -> File:
        return self._open()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
