"""A file of commands cut into the numbered batches of one session: a pure function of the file and of ``Cut``.

A replay that goes on must send the very batches that the interrupted one sent, so nothing else may decide where one
ends: not how fast the group was, nor how the run is paced.

The first batch, a preamble of its own, defines the pairs that are to exist beforehand. Otherwise a pair is defined just
before the line that first names it; one that the group has already stays as it is. Such commands take numbers, too, but
belong to no line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import msgpack

from orderbook.book import DefinePair, PairSpec
from orderbook.cli.command_file import Line
from orderbook.wire.envelope import MAX_BODY_BYTES

NO_LINE = 0
_LONGEST_TEXT = 1000  # beyond all that the book allows, and still small
_ROOM = 16  # of an array's header


class Cut(NamedTuple):
    """``commands`` at most in a batch; with ``slice_ms`` none spans two such slices of the recorded time."""

    commands: int
    slice_ms: int = 0


class Batch(NamedTuple):
    """Numbers ``first`` .. ``last``; ``lines[n]`` is the line of the n-th command. ``time_ms``: of the first line."""

    first: int
    lines: list[int]
    time_ms: int | None
    body: bytes

    @property
    def last(self) -> int:
        return self.first + len(self.lines) - 1

    @property
    def is_preamble(self) -> bool:
        """It only defines pairs, and everything else relies on them."""
        return self.first == 1 and self.lines[-1] == NO_LINE


def cut_batches(lines: Iterable[Line], pairs: Iterable[PairSpec] | None, cut: Cut) -> Iterator[Batch]:
    """All batches of a file. Raises what reading it raises."""
    cutter = _Cutter(cut)
    known: set[str] | None = None if pairs is not None else set()
    for pair in pairs or ():
        yield from cutter.add(NO_LINE, None, DefinePair(pair).encoded())
    yield from cutter.end()
    for line in lines:
        if known is not None and line.pair is not None and line.pair not in known:
            known.add(line.pair)
            yield from cutter.add(NO_LINE, line.time_ms, DefinePair(PairSpec(line.pair)).encoded())
        yield from cutter.add(line.number, line.time_ms, line.row)
    yield from cutter.end()


class _Cutter:
    def __init__(self, cut: Cut) -> None:
        self._cut = cut
        self._packer = msgpack.Packer()
        self._first = 1
        self._begin()

    def _begin(self) -> None:
        self._lines: list[int] = []
        self._rows: list[bytes] = []
        self._bytes = _ROOM
        self._time_ms: int | None = None

    def add(self, number: int, time_ms: int | None, row: tuple[Any, ...]) -> Iterator[Batch]:
        packed = self._packer.pack([_bounded(value) for value in row])
        if self._is_full(len(packed)) or self._is_of_another_slice(time_ms):
            yield from self.end()
        if not self._rows:
            self._time_ms = time_ms
        self._lines.append(number)
        self._rows.append(packed)
        self._bytes += len(packed)

    def end(self) -> Iterator[Batch]:
        if self._rows:
            body = self._packer.pack_array_header(len(self._rows)) + b"".join(self._rows)
            batch = Batch(self._first, self._lines, self._time_ms, body)
            self._first = batch.last + 1
            self._begin()
            yield batch

    def _is_full(self, size: int) -> bool:
        return len(self._rows) >= self._cut.commands or self._bytes + size > MAX_BODY_BYTES

    def _is_of_another_slice(self, time_ms: int | None) -> bool:
        slice_ms = self._cut.slice_ms
        if not slice_ms or not self._rows or time_ms is None or self._time_ms is None:
            return False
        return time_ms // slice_ms != self._time_ms // slice_ms


def _bounded(value: Any) -> Any:
    """Text that is too long for the book stays too long, and fits into an entry."""
    return value[:_LONGEST_TEXT] if type(value) is str else value
