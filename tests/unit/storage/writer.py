"""A process that writes to its log as fast as it can and says on standard output what was acknowledged.

Run by ``test_kill.py`` as ``python writer.py DIRECTORY``, until it is killed. Each line is the index of an entry that
is durable; its hard state's term is the same number.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from orderbook.storage import Disk, Store, StoreOptions
from unit.storage.member import IDENTITY, entries

OPTIONS = StoreOptions(
    segment_bytes=1 << 16,
    write_bytes=1 << 14,
    slice_bytes=1 << 12,
    tail_entries=0,
    tail_bytes=0,
    watermark_bytes=0,
    ballast_snapshot_bytes=1 << 12,
)


class ThreadWorker:
    """A real thread; ``turn`` hands over one result on the thread that calls it."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[tuple[Callable[[], Any], Callable[[Any, BaseException | None], None]]] = (
            queue.SimpleQueue()
        )
        self._results: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        threading.Thread(target=self._work, daemon=True).start()

    def submit(self, job: Callable[[], Any], done: Callable[[Any, BaseException | None], None]) -> None:
        self._jobs.put((job, done))

    def close(self) -> None:
        """The process is killed: its threads end with it."""

    def turn(self) -> None:
        self._results.get()()

    def _work(self) -> None:
        while True:
            job, done = self._jobs.get()
            try:
                result, error = job(), None
            except BaseException as problem:  # noqa: BLE001 -- handed on
                result, error = None, problem
            self._results.put(lambda done=done, result=result, error=error: done(result, error))


def fail(error: BaseException) -> None:
    raise SystemExit(f"the log failed: {error}")


def main(directory: str) -> None:
    worker = ThreadWorker()
    store = Store.open(Disk(), directory, worker, OPTIONS, monotonic=time.monotonic, on_failure=fail)
    if store.identity is None:
        store.identify(IDENTITY)
    waiting = 0
    index = store.last_index

    def durable(upto: int) -> None:
        nonlocal waiting
        waiting -= 1
        os.write(1, b"%d\n" % upto)

    while True:
        for _ in range(8 - waiting):
            first, index = index + 1, index + 3
            waiting += 1
            store.write(
                (index, 7, first), entries(first, index, size=100 + index % 400), lambda upto=index: durable(upto)
            )
        if index % 300 == 0:
            writer = store.snapshot_writer(index - 40, 1, b"", 0)
            writer.write(bytes(10_000))
            writer.commit()
            store.snapshot_committed(index - 40)
            store.cut(index)
        worker.turn()


if __name__ == "__main__":
    main(sys.argv[1])
