"""The format of a snapshot file, written once from front to back and never changed.

    offset  bytes  field
         0      8  signature
         8      4  format version
        12      4  zero
        16         frames: length of the data (4), CRC-32 (4), data

The CRC of a frame covers the CRC of the frame before, this one's length, and its data: frames can't be swapped, left
out or taken from another file. The first frame is the header (index, term, configuration, its index), the others are
the chunks as they were written, the last one is empty and marks a whole file.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import Any
from zlib import crc32

import msgpack

from orderbook.storage.errors import SnapshotCorrupt, UnknownFormat
from orderbook.storage.filesystem import File
from orderbook.storage.types import SnapshotHeader, SnapshotInfo

FORMAT_VERSION = 1
_SIGNATURE = b"OBGSNP\r\n"
_PROLOGUE = Struct("<8sII")
_FRAME = Struct("<II")
_CHAIN = Struct("<II")


class FrameEncoder:
    """The bytes of a snapshot file, frame by frame."""

    def __init__(self) -> None:
        self._crc = 0

    def begin(self, header: SnapshotHeader) -> list[bytes]:
        prologue = _PROLOGUE.pack(_SIGNATURE, FORMAT_VERSION, 0)
        return [prologue, *self.frame(msgpack.packb(header, use_bin_type=True))]

    def frame(self, data: bytes) -> list[bytes]:
        self._crc = crc32(data, crc32(_CHAIN.pack(self._crc, len(data))))
        return [_FRAME.pack(len(data), self._crc), data]


def read_frames(file: File, path: str) -> Iterator[bytes]:
    """Header and chunks, each checked before it is handed out; ``SnapshotCorrupt`` at the first that isn't whole."""
    size = file.size()
    prologue = file.read(0, _PROLOGUE.size)
    if len(prologue) < _PROLOGUE.size:
        raise SnapshotCorrupt(path, 0, "too short for a snapshot")
    signature, version, _ = _PROLOGUE.unpack(prologue)
    if signature != _SIGNATURE:
        raise SnapshotCorrupt(path, 0, "no snapshot")
    if version != FORMAT_VERSION:
        raise UnknownFormat(path, version, FORMAT_VERSION)
    offset, crc = _PROLOGUE.size, 0
    while True:
        head = file.read(offset, _FRAME.size)
        if len(head) < _FRAME.size:
            raise SnapshotCorrupt(path, offset, "the file ends before its last frame")
        length, stored = _FRAME.unpack(head)
        if offset + _FRAME.size + length > size:
            raise SnapshotCorrupt(path, offset, f"a frame of {length} bytes reaches beyond the file's end")
        data = file.read(offset + _FRAME.size, length)
        crc = crc32(data, crc32(_CHAIN.pack(crc, length)))
        if crc != stored or len(data) != length:
            raise SnapshotCorrupt(path, offset, "wrong checksum")
        offset += _FRAME.size + length
        if not length:
            break
        yield data
    if offset != size:
        raise SnapshotCorrupt(path, offset, f"{size - offset} bytes follow the last frame")


def read_info(file: File, path: str, *, whole: bool) -> SnapshotInfo:
    """The header; with ``whole``, after checking every frame."""
    frames = read_frames(file, path)
    first = next(frames, None)
    if first is None:
        raise SnapshotCorrupt(path, _PROLOGUE.size, "no header")
    fields: list[Any] = msgpack.unpackb(first, raw=False)
    index, term, configuration, configuration_index = fields
    if whole:
        for _ in frames:
            pass
    return SnapshotInfo(index, term, configuration, configuration_index, file.size())
