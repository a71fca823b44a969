"""How frames lie in a WebSocket message: one or more records, so that all that is queued leaves in one message.

======  ==========================================================================
bytes   of a record
======  ==========================================================================
4       n, the length of the body, at most MAX_FRAME_BYTES; big-endian
2       the number that the sender gave the channel; CONTROL is the connection's own
n       the body: a control message (``handshake``) or a frame, opaque here
======  ==========================================================================
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct

CONTROL = 0
MAX_CHANNEL = 0xFFFF
MAX_FRAME_BYTES = 16 << 20
MAX_MESSAGE_BYTES = MAX_FRAME_BYTES + (1 << 16)
GATHER_BYTES = 256 << 10  # a message of several records is at most this large

_HEADER = Struct(">IH")
HEADER_BYTES = _HEADER.size
pack_header = _HEADER.pack


class MalformedMessage(ValueError):
    """Bytes that the protocol doesn't allow; the sender is at fault, and the text says how."""


def records(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (channel number, body) of each record. Raises MalformedMessage, after the records before the bad one."""
    end = len(message)
    if end == 0:
        raise MalformedMessage("a message without a record")
    at = 0
    while at < end:
        if end - at < HEADER_BYTES:
            raise MalformedMessage(f"{end - at} bytes behind the last record")
        length, channel = _HEADER.unpack_from(message, at)
        at += HEADER_BYTES
        if length > MAX_FRAME_BYTES:
            raise MalformedMessage(f"a frame of {length} bytes; at most {MAX_FRAME_BYTES} are allowed")
        if length > end - at:
            raise MalformedMessage(f"a record of {length} bytes of which {end - at} are there")
        yield channel, message[at : at + length]
        at += length
