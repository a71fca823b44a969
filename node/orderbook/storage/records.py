"""Records: what a segment is made of.

A record begins at a multiple of 8 and holds (little-endian)

    offset  bytes  field
         0      4  CRC-32 of (segment number, offset of the record), then of all that follows up to the payload's end
         4      4  the CRC of the record before: of the segment before, for the first
         8      4  length of the payload
        12      1  type
        13      1  kind of an entry
        14      2  zero
        16      8  index of an entry; the mark's offset
        24      8  term of an entry; a mark's signature
        32         payload, then zeros up to a multiple of 8

The CRC covers where the record stands and which one stands before it. So a record is valid only in its place, stale
bytes of another file never pass, and a loss in the middle breaks the chain. And since the CRC of the record before is
stored too, each record can be judged alone: valid ones are found behind a bad one.

    type        payload
    HEADER      what ``segment.Header`` says; once, first
    MARK        none. Each write starts with one: everything below the offset it names was durable when the write began
    HARD_STATE  term, vote, commit as three unsigned 64-bit numbers
    ENTRY       the entry's. An index at or below the last one's drops the entries from there on

A valid mark behind a bad record therefore proves that confirmed bytes were lost. Without one, the bad record belongs
to the last write, which nobody was told of (or its loss can't be told from that: docs/reliability.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from struct import Struct
from typing import TypeAlias
from zlib import crc32

from orderbook.storage.types import Entries, EntryTuple, HardStateTuple

HEAD_BYTES = 32
_HEAD = Struct("<IIIBBHQQ")
_AFTER_CRC = Struct("<IIBBHQQ")
_CRC = Struct("<I")
_PLACE = Struct("<Q")
_HARD_STATE = Struct("<QQQ")
MARK_SIGNATURE = int.from_bytes(b"OBGMARK\x01", "little")
_MARK_BYTES = _PLACE.pack(MARK_SIGNATURE)
_MARK_FIELD = 24
_PADDING = [bytes(count) for count in range(8)]


class RecordType(IntEnum):
    HEADER = 1
    MARK = 2
    HARD_STATE = 3
    ENTRY = 4


_HEADER, _MARK, _HARD, _ENTRY = (int(each) for each in RecordType)

Record: TypeAlias = tuple[int, int, int, int, bytes, int, int]
"""(type, kind, index, term, payload, end, crc): ``end`` is where the next record begins, ``crc`` goes into it."""


def record_size(payload_length: int) -> int:
    return HEAD_BYTES + payload_length + (-payload_length & 7)


MARK_SIZE = record_size(0)
HARD_STATE_SIZE = record_size(_HARD_STATE.size)


def entries_size(entries: Entries) -> int:
    return sum([HEAD_BYTES + len(entry[3]) + (-len(entry[3]) & 7) for entry in entries])


class Encoder:
    """Chains records from a place in a segment on. ``take`` gives their bytes in one piece."""

    __slots__ = ("_parts", "_seed", "crc", "offset")

    def __init__(self, segment: int, offset: int, crc: int) -> None:
        self.offset = offset
        self.crc = crc
        self._seed = crc32(_PLACE.pack(segment))
        self._parts: list[bytes] = []

    def _add(self, type_: int, kind: int, index: int, term: int, payload: bytes) -> None:
        length = len(payload)
        head = _AFTER_CRC.pack(self.crc, length, type_, kind, 0, index, term)
        self.crc = crc32(payload, crc32(head, crc32(_PLACE.pack(self.offset), self._seed)))
        padding = -length & 7
        self._parts += (_CRC.pack(self.crc), head, payload, _PADDING[padding])
        self.offset += HEAD_BYTES + length + padding

    def header(self, payload: bytes) -> None:
        self._add(_HEADER, 0, 0, 0, payload)

    def mark(self, durable: int) -> None:
        self._add(_MARK, 0, durable, MARK_SIGNATURE, b"")

    def hard_state(self, state: HardStateTuple) -> None:
        self._add(_HARD, 0, 0, 0, _HARD_STATE.pack(*state))

    def entry(self, entry: EntryTuple) -> None:
        index, term, kind, payload = entry
        self._add(_ENTRY, kind, index, term, payload)

    def take(self) -> bytes:
        data = b"".join(self._parts)
        self._parts = []
        return data


def decode_hard_state(payload: bytes) -> HardStateTuple:
    term, vote, commit = _HARD_STATE.unpack(payload)
    return term, vote, commit


def read_records(data: bytes, segment: int, offset: int, crc: int) -> Iterator[Record]:
    """The valid records from ``offset`` on; ends at the first place that holds none."""
    view = memoryview(data)
    total = len(data)
    last = total - HEAD_BYTES
    seed = crc32(_PLACE.pack(segment))
    unpack, place = _HEAD.unpack_from, _PLACE.pack
    while offset <= last:
        stored, previous, length, type_, kind, _, index, term = unpack(data, offset)
        body = offset + HEAD_BYTES
        end = body + length
        if previous != crc or end > total or crc32(view[offset + 4 : end], crc32(place(offset), seed)) != stored:
            return
        crc = stored
        offset = end + (-end & 7)
        yield type_, kind, index, term, data[body:end], offset, crc


def last_mark(data: bytes, segment: int, start: int) -> int | None:
    """What the last valid mark at or behind ``start`` says, whatever surrounds it."""
    seed = crc32(_PLACE.pack(segment))
    position = len(data)
    while (position := data.rfind(_MARK_BYTES, start, position + len(_MARK_BYTES) - 1)) >= 0:
        offset = position - _MARK_FIELD
        if offset >= start and not offset & 7:
            stored, _, length, type_, _, _, durable, _ = _HEAD.unpack_from(data, offset)
            body = memoryview(data)[offset + 4 : offset + HEAD_BYTES]
            if type_ == _MARK and not length and crc32(body, crc32(_PLACE.pack(offset), seed)) == stored:
                return int(durable)
    return None
