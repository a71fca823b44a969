"""One member's store on some file system, driven step by step: what the tests of storage share."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from orderbook.storage import FileSystem, Identity, Store, StoreOptions
from orderbook.storage.types import EntryTuple, HardStateTuple

DIRECTORY = "data"
IDENTITY = Identity("node-0", 7, bytes(range(16)), b"first configuration")
SMALL = StoreOptions(
    segment_bytes=4096,
    write_bytes=2048,
    slice_bytes=512,
    tail_entries=0,
    tail_bytes=0,
    watermark_bytes=0,
    ballast_snapshot_bytes=2048,
)


class QueueWorker:
    """A worker whose jobs wait until the test runs them."""

    def __init__(self) -> None:
        self.jobs: deque[tuple[Callable[[], Any], Callable[[Any, BaseException | None], None]]] = deque()

    def submit(self, job: Callable[[], Any], done: Callable[[Any, BaseException | None], None]) -> None:
        self.jobs.append((job, done))

    def step(self) -> bool:
        """Run the oldest job and hand over its result; False if there is none."""
        if not self.jobs:
            return False
        job, done = self.jobs.popleft()
        try:
            result, error = job(), None
        except Exception as problem:  # noqa: BLE001 -- handed on, as a real worker does
            result, error = None, problem
        done(result, error)
        return True

    def run(self, limit: int = 10_000) -> None:
        while self.step():
            limit -= 1
            assert limit, "the worker never comes to rest"

    def close(self) -> None:
        self.run()


class Member:
    """A store with its worker and clock. ``durable`` lists the labels of the writes that were acknowledged."""

    def __init__(
        self,
        filesystem: FileSystem,
        options: StoreOptions = SMALL,
        *,
        identify: bool = True,
        directory: str = DIRECTORY,
    ) -> None:
        self.filesystem = filesystem
        self.worker = QueueWorker()
        self.now = 0.0
        self.failures: list[BaseException] = []
        self.durable: list[object] = []
        self.store = Store.open(
            filesystem,
            directory,
            self.worker,
            options,
            monotonic=lambda: self.now,
            on_failure=self.failures.append,
        )
        self.recovered = self.store.recovered
        if identify and self.store.identity is None:
            self.store.identify(IDENTITY)

    def write(
        self, entries: list[EntryTuple] | None = None, hard_state: HardStateTuple | None = None, label: object = None
    ) -> None:
        """Hand a write over; nothing runs yet."""
        self.store.write(hard_state, entries or [], lambda: self.durable.append(label))

    def settle(self) -> None:
        self.worker.run()

    def snapshot(self, index: int, term: int = 1, chunks: tuple[bytes, ...] = (b"state",)) -> None:
        writer = self.store.snapshot_writer(index, term, b"configuration", 0)
        for chunk in chunks:
            writer.write(chunk)
        writer.commit()
        self.store.snapshot_committed(index)

    def close(self) -> None:
        self.store.close()
        self.worker.close()


def payload_of(index: int, term: int, size: int = 40) -> bytes:
    """Tells which entry it belongs to."""
    return (b"%d/%d " % (index, term)).ljust(size, b".")


def entries(first: int, last: int, term: int = 1, size: int = 40) -> list[EntryTuple]:
    return [(index, term, 0, payload_of(index, term, size)) for index in range(first, last + 1)]
