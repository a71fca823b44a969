"""One run of a replay: batches of a file through a resumable session, their events written in the order of the file."""

from __future__ import annotations

import asyncio
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from orderbook.book import EventKind, RejectReason, view
from orderbook.book.events import Event, PairDefined, Rejected
from orderbook.cli import replay_progress
from orderbook.cli.command_source import STANDARD, event_line
from orderbook.cli.replay_batches import NO_LINE, Batch
from orderbook.cli.replay_progress import Progress, ProgressError
from orderbook.client.order_stream import BatchAnswer
from orderbook.client.resumable_session import ResumableSession
from orderbook.groups.errors import GroupError, Unavailable
from orderbook.runtime import Runtime

WINDOW = 64  # batches that are sent, or answered and not recorded
RECORD_SECONDS = 0.2


class PairDiffers(GroupError):
    """The group has a pair with another tick or lot than the file's."""


class EventFile:
    """Where events go; None: nowhere. What is behind ``keep`` bytes was written by a run that didn't record it."""

    def __init__(self, path: Path | None, keep: int) -> None:
        self._file: IO[bytes] | None = None
        self._is_regular = path is not None and path != STANDARD
        if path == STANDARD:
            self._file = sys.stdout.buffer
        elif path is not None:
            self._file = path.open("r+b" if keep else "wb")
            if os.fstat(self._file.fileno()).st_size < keep:
                self._file.close()
                raise ProgressError(f"{path} is shorter than the interrupted replay left it: it can't go on")
            self._file.truncate(keep)
            self._file.seek(keep)

    def write(self, text: str) -> None:
        if self._file is not None:
            self._file.write(text.encode("utf-8"))

    def sync(self) -> int:
        """Make what was written durable; how many bytes that is."""
        if self._file is None:
            return 0
        self._file.flush()
        if not self._is_regular:
            return 0
        os.fsync(self._file.fileno())
        return self._file.tell()

    def close(self) -> None:
        if self._file is not None and self._is_regular:
            self._file.close()


class Pace:
    """When a batch is due. ``speed`` 0: at once; 1: in recorded time, from the first batch that this run sends."""

    def __init__(self, runtime: Runtime, speed: float) -> None:
        self._runtime = runtime
        self._speed = speed
        self._origin: tuple[float, int] | None = None

    def wait_for(self, batch: Batch) -> float:
        """Seconds from now on."""
        if not self._speed or batch.time_ms is None:
            return 0.0
        now = self._runtime.monotonic()
        if self._origin is None:
            self._origin = (now, batch.time_ms)
        started, first_ms = self._origin
        return max(0.0, started + (batch.time_ms - first_ms) / 1000 / self._speed - now)


class Replay:
    """Sends, writes, records. ``on_lines`` hears how many more lines are done."""

    def __init__(
        self,
        runtime: Runtime,
        session: ResumableSession,
        progress: Progress,
        state: Path,
        sink: EventFile,
        patience: float,
        on_lines: Callable[[int], None] = lambda _lines: None,
    ) -> None:
        self._runtime = runtime
        self._session = session
        self._progress = progress
        self._state = state
        self._sink = sink
        self._patience = patience
        self._on_lines = on_lines
        self._waiting: deque[tuple[Batch, asyncio.Future[BatchAnswer]]] = deque()
        self._written = progress.recorded  # last number whose events are written
        self._recorded_at = runtime.monotonic()

    async def run(self, batches: Iterator[Batch], pace: Pace) -> None:
        """All batches behind what is recorded. Raises GroupError; what was answered until then is recorded."""
        try:
            for batch in batches:
                if batch.last <= self._progress.recorded:
                    continue
                if batch.first <= self._progress.recorded:
                    raise ProgressError(f"{self._state} is not of this file: no batch ends at its last number")
                await self._pause(pace.wait_for(batch))
                await self._make_room()
                self._waiting.append((batch, self._session.submit(batch.first, len(batch.lines), batch.body)))
                if batch.is_preamble:
                    await self._settle()  # no order is sent before the pairs are what the file means
                await asyncio.sleep(0)  # answers and cancellation come in
            while self._waiting:
                await self._settle()
        finally:
            self.record()

    def record(self) -> None:
        """Make what is written count. Only then may the group drop the results."""
        progress = self._progress
        progress.events_bytes = self._sink.sync()
        progress.recorded = self._written
        replay_progress.save(self._state, progress)
        self._session.acknowledge(progress.recorded)
        self._recorded_at = self._runtime.monotonic()

    async def _pause(self, seconds: float) -> None:
        """Wait, and write what is answered meanwhile."""
        until = self._runtime.monotonic() + seconds
        while (left := until - self._runtime.monotonic()) > 0:
            if self._waiting:
                await asyncio.wait([self._waiting[0][1]], timeout=left)
                self._settle_answered()
            else:
                await asyncio.sleep(left)

    async def _make_room(self) -> None:
        self._settle_answered()
        while len(self._waiting) >= WINDOW:
            await self._settle()
            self._settle_answered()

    def _settle_answered(self) -> None:
        while self._waiting and self._waiting[0][1].done():
            batch, future = self._waiting.popleft()
            self._write(batch, future.result())

    async def _settle(self) -> None:
        batch, future = self._waiting[0]
        done, _ = await asyncio.wait([future], timeout=self._patience)
        if not done:
            raise Unavailable("deadline")
        self._waiting.popleft()
        self._write(batch, future.result())

    def _write(self, batch: Batch, answer: BatchAnswer) -> None:
        progress = self._progress
        for ordinal, event in enumerate(answer.events, answer.first_ordinal):
            if event is None or event[1] < 0:
                continue
            line = batch.lines[event[1]]
            if line == NO_LINE:
                if batch.is_preamble:
                    _check_defined(tuple(event))
                continue
            name = EventKind(event[0]).name.lower()
            progress.counts[name] = progress.counts.get(name, 0) + 1
            self._sink.write(event_line(tuple(event), line, (answer.log_index, ordinal)))
        self._written = batch.last
        lines = sum(line != NO_LINE for line in batch.lines)
        progress.lines += lines
        progress.line = max(progress.line, batch.lines[-1])
        progress.index = answer.log_index
        self._on_lines(lines)
        overdue = self._runtime.monotonic() - self._recorded_at > RECORD_SECONDS
        if overdue or self._written - progress.recorded >= WINDOW * progress.commands // 2:
            self.record()


def _check_defined(event: Event) -> None:
    """A pair of the file exists in the group, with the file's tick and lot."""
    named = view(event)
    if isinstance(named, Rejected):
        reason = RejectReason(named.reason).name.lower()
        raise PairDiffers(f"{named.pair or 'a pair'} can't be defined: {reason}")
    if not isinstance(named, PairDefined):
        raise PairDiffers(f"{named!r} is no answer to the definition of a pair")
