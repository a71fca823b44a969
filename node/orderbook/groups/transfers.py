"""Snapshots from member to member: in chunks, one under way at a time and receiver, resumed where they broke off.

The sender sends a chunk, the receiver writes it and says how much it holds, and so on; a receiver that holds a part of
the same snapshot from before says so at the first chunk, and the sender goes on there. Files are read and written on a
worker, never on the loop.
"""

from __future__ import annotations

from collections.abc import Callable

from orderbook.runtime import Runtime, Worker
from orderbook.storage import SnapshotInfo, Store

RESEND_SECONDS = 1.0
GIVE_UP_SECONDS = 20.0

SendChunk = Callable[[int, SnapshotInfo, int, bytes], None]  # to, what, offset, data


class _Sending:
    __slots__ = ("info", "offset", "progress_at", "reading", "sent_at")

    def __init__(self, info: SnapshotInfo, now: float) -> None:
        self.info = info
        self.offset = 0
        self.reading = False
        self.sent_at = now
        self.progress_at = now


class SnapshotSender:
    """The leader's side, with ``chunk_bytes`` in a frame.

    ``finished(to, index, ok)`` is called once for each transfer that began.
    """

    def __init__(
        self,
        runtime: Runtime,
        store: Store,
        worker: Worker,
        chunk_bytes: int,
        send: SendChunk,
        finished: Callable[[int, int, bool], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        self._runtime = runtime
        self._store = store
        self._worker = worker
        self._chunk_bytes = chunk_bytes
        self._send = send
        self._finished = finished
        self._failed = failed
        self._sending: dict[int, _Sending] = {}

    @property
    def under_way(self) -> bool:
        """Whether a snapshot is on its way to anyone."""
        return bool(self._sending)

    def start(self, to: int, info: SnapshotInfo) -> None:
        if to not in self._sending:
            self._sending[to] = _Sending(info, self._runtime.monotonic())
            self._send_next(to)

    def progress(self, sender: int, index: int, held: int, problem: str | None) -> None:
        """The receiver holds ``held`` bytes of the snapshot at ``index``."""
        sending = self._sending.get(sender)
        if sending is None or sending.info.index != index:
            return
        if problem is not None:
            self._finish(sender, False)
        elif held >= sending.info.size:
            self._finish(sender, True)
        else:
            if held > sending.offset:
                sending.progress_at = self._runtime.monotonic()
            sending.offset = max(held, 0)
            self._send_next(sender)

    def tick(self) -> None:
        now = self._runtime.monotonic()
        for to in list(self._sending):
            sending = self._sending[to]
            if now - sending.progress_at > GIVE_UP_SECONDS:
                self._finish(to, False)
            elif now - sending.sent_at > RESEND_SECONDS:
                self._send_next(to)

    def stop(self) -> None:
        """Leadership ended: nothing is reported any more."""
        self._sending.clear()

    def _send_next(self, to: int) -> None:
        sending = self._sending[to]
        if sending.reading:
            return
        sending.reading = True
        sending.sent_at = self._runtime.monotonic()
        info, offset = sending.info, sending.offset

        def read() -> bytes:
            return self._store.read_snapshot_file(info, offset, self._chunk_bytes)

        def done(data: bytes | None, error: BaseException | None) -> None:
            sending.reading = False
            if self._sending.get(to) is not sending:
                return
            if data is None:
                self._finish(to, False)
                if error is not None:
                    self._failed(error)
                return
            self._send(to, info, offset, data)

        self._worker.submit(read, done)

    def _finish(self, to: int, ok: bool) -> None:
        sending = self._sending.pop(to)
        self._finished(to, sending.info.index, ok)
