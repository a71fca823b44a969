"""Write-ahead log and snapshots of one member. ``store`` says what the caller has to do, the modules below it how.

store           what the rest of the program uses
wal             the log as the event loop sees it: one write at a time, gathered
allocation      the next segment, made ready beforehand        ballast    room for the day when the disk is full
recovery        opening: what is taken, cut off, refused       replay     what the records add up to
segment         the files of a log                             records    what a segment is made of
snapshots       written, kept, received                        snapshot_file  their format
aside           a directory's contents moved aside       ancestors  lives of the group that it descends from
filesystem      what is asked of a file system                 disk       the real one
"""

from orderbook.storage.ancestors import add_ancestor, ancestors
from orderbook.storage.aside import left_incarnation, set_aside
from orderbook.storage.disk import Disk
from orderbook.storage.errors import (
    DirectoryLocked,
    DiskFull,
    LogCorrupt,
    SnapshotCorrupt,
    SnapshotGone,
    StorageError,
    StoreFailed,
    UnknownFormat,
)
from orderbook.storage.filesystem import File, FileSystem, Lock
from orderbook.storage.snapshots import SnapshotWriter
from orderbook.storage.statistics import SYNC_BUCKETS, Statistics
from orderbook.storage.store import Store
from orderbook.storage.types import Health, Identity, Recovered, SnapshotInfo, SnapshotOffer, StoreOptions

__all__ = [
    "SYNC_BUCKETS",
    "DirectoryLocked",
    "Disk",
    "DiskFull",
    "File",
    "FileSystem",
    "Health",
    "Identity",
    "Lock",
    "LogCorrupt",
    "Recovered",
    "SnapshotCorrupt",
    "SnapshotGone",
    "SnapshotInfo",
    "SnapshotOffer",
    "SnapshotWriter",
    "Statistics",
    "StorageError",
    "Store",
    "StoreFailed",
    "StoreOptions",
    "UnknownFormat",
    "add_ancestor",
    "ancestors",
    "left_incarnation",
    "set_aside",
]
