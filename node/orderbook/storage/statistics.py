"""Counters of one store: plain numbers that a collector reads at scrape. Written on the event loop only."""

from __future__ import annotations

from bisect import bisect_left

SYNC_BUCKETS = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
"""Upper bounds in seconds; ``sync_histogram`` has one place more, for what took longer."""


class Statistics:
    __slots__ = (
        "bytes_written",
        "entries_written",
        "free_bytes",
        "last_sync_seconds",
        "log_bytes",
        "segments",
        "snapshot_at",
        "snapshot_bytes",
        "snapshot_index",
        "snapshots",
        "sync_histogram",
        "sync_seconds",
        "syncs",
        "waiting_bytes",
    )

    def __init__(self) -> None:
        self.bytes_written = 0  # to the log, marks and headers included
        self.entries_written = 0
        self.syncs = 0  # durable writes to the log
        self.sync_seconds = 0.0  # their sum
        self.last_sync_seconds = 0.0
        self.sync_histogram = [0] * (len(SYNC_BUCKETS) + 1)
        self.waiting_bytes = 0  # handed to ``write``, not yet durable
        self.segments = 0
        self.log_bytes = 0  # allocated by segments
        self.free_bytes = 0  # of the disk, when last looked at
        self.snapshots = 0
        self.snapshot_index = 0  # of the newest
        self.snapshot_bytes = 0
        self.snapshot_at = 0.0  # monotonic time at which it was registered or found

    def synced(self, size: int, seconds: float) -> None:
        self.bytes_written += size
        self.syncs += 1
        self.sync_seconds += seconds
        self.last_sync_seconds = seconds
        self.sync_histogram[bisect_left(SYNC_BUCKETS, seconds)] += 1
