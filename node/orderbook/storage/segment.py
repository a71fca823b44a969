"""Segments: the files of the log, numbered from 1 without a gap.

    offset  bytes  field
         0      8  signature
         8      4  format version
        12      4  zero
        16         the HEADER record, then a MARK of 0, then records (``records``), then zeros

The header repeats all that a log needs to begin there, so that the segments before can go: whose directory it is, hard
state, the entry that the first one of this segment follows, and how long the segment before is. (Where the log begins
after a snapshot that was installed, ``base`` is the snapshot's, and ``fresh`` says that nothing before counts.) The
chain of CRCs goes on from the last record of the segment before.

A segment is allocated, zero-filled and durable by name before it is needed: it then begins with one write, which
brings header and first records. All zeros is a segment that hasn't begun; anything else proves that the one before was
durable as a whole.
"""

from __future__ import annotations

from struct import Struct
from typing import Any, NamedTuple

import msgpack

from orderbook.storage.errors import LogCorrupt, UnknownFormat
from orderbook.storage.filesystem import File, FileSystem
from orderbook.storage.records import Encoder, RecordType, read_records
from orderbook.storage.types import HardStateTuple, Identity, Position

FORMAT_VERSION = 1
SUFFIX = ".segment"
_SIGNATURE = b"OBGLOG\r\n"
_PROLOGUE = Struct("<8sII")
PROLOGUE_BYTES = _PROLOGUE.size


class Header(NamedTuple):
    identity: Identity
    hard_state: HardStateTuple
    base: Position
    fresh: bool
    previous_end: int  # of the segment before: where its last record ends; 0 for none


class Active(NamedTuple):
    """The segment that records are added to."""

    sequence: int
    file: File
    offset: int  # where the next record goes; everything below is durable
    crc: int
    size: int  # allocated


class Closed(NamedTuple):
    """A segment in the directory, as a cut sees it."""

    sequence: int
    base_index: int
    size: int


def segment_name(sequence: int) -> str:
    return f"{sequence:016d}{SUFFIX}"


def segment_sequence(name: str) -> int | None:
    number = name.removesuffix(SUFFIX)
    return int(number) if name.endswith(SUFFIX) and number.isdecimal() else None


def begin_segment(sequence: int, header: Header, previous_crc: int) -> tuple[bytes, Encoder]:
    """The first bytes of a segment, and an encoder that stands behind its first mark."""
    encoder = Encoder(sequence, PROLOGUE_BYTES, previous_crc)
    encoder.header(msgpack.packb(header, use_bin_type=True))
    encoder.mark(0)
    return _PROLOGUE.pack(_SIGNATURE, FORMAT_VERSION, 0), encoder


def read_header(data: bytes, sequence: int, path: str) -> tuple[Header, int, int, int] | None:
    """(header, CRC of the segment before, end, crc) of a segment that has begun. None: the header isn't whole."""
    if len(data) < PROLOGUE_BYTES:
        return None
    signature, version, _ = _PROLOGUE.unpack_from(data)
    if signature != _SIGNATURE:
        return None
    if version != FORMAT_VERSION:
        raise UnknownFormat(path, version, FORMAT_VERSION)
    previous_crc = int.from_bytes(data[PROLOGUE_BYTES + 4 : PROLOGUE_BYTES + 8], "little")
    for type_, _, _, _, payload, end, crc in read_records(data, sequence, PROLOGUE_BYTES, previous_crc):
        if type_ != RecordType.HEADER:
            raise LogCorrupt(path, PROLOGUE_BYTES, "the first record is no header")
        fields: list[Any] = msgpack.unpackb(payload, raw=False)
        identity, (term, vote, commit), (index, index_term), fresh, previous_end = fields
        header = Header(Identity(*identity), (term, vote, commit), (index, index_term), fresh, previous_end)
        return header, previous_crc, end, crc
    return None


def write_zeros(file: File, start: int, end: int, slice_bytes: int) -> None:
    """Fill ``start .. end``, in slices so that the disk stays free for others, and make it durable."""
    zeros = bytes(min(slice_bytes, max(end - start, 0)))
    while start < end:
        step = min(slice_bytes, end - start)
        file.write(start, zeros if step == len(zeros) else zeros[:step])
        file.sync()
        start += step


def read_whole(filesystem: FileSystem, path: str) -> bytes:
    file = filesystem.open(path)
    try:
        return file.read(0, file.size())
    finally:
        file.close()
