"""The envelope of a log entry: who asked for what, in front of a body that only the state machine reads.

The bytes of an entry, from the first::

    1  format of the envelope (1)
    8  stamp: the leader's clock, milliseconds since 1970, big endian
    1  kind (EntryType)
    2  length of the header, big endian
    n  header: msgpack array [origin, request, session, first, commands, acked, principal, role, metadata]
       body, to the end

The node that accepted the request (the edge) writes all but the first nine bytes, once; the leader puts those in front.
So a body of 50 kB is encoded by the client, and from there on only copied. ``metadata`` (a trace context) is None, one
byte, or a map that apply never reads.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import Any, NamedTuple

import msgpack

from orderbook.packing import unpack

FORMAT = 1
MAX_COMMANDS = 4096
MAX_BODY_BYTES = 1 << 20
MAX_PRINCIPAL_BYTES = 256
MAX_METADATA_BYTES = 4096

_STAMP = Struct(">BQ")
_EDGE = Struct(">BH")
_EDGE_START = _STAMP.size
_HEADER_START = _STAMP.size + _EDGE.size
_MAX_ID = (1 << 63) - 1


class EntryType(IntEnum):
    """What an entry asks the replicated state to do. Numbers are never reused."""

    COMMANDS = 1  # a batch of commands for the state machine, in a session
    PLAIN_COMMANDS = 2  # a batch without a session: a repeat runs again
    KEYED_COMMANDS = 3  # a batch under an idempotency key: body = msgpack [key, digest, commands]
    OPEN_SESSION = 4  # body = msgpack [timeout_ms, cancel_on_close]
    CLOSE_SESSION = 5
    KEEP_ALIVE = 6
    TICK = 7  # time passes: due orders and sessions expire
    CHECK = 8  # every member notes its state hash here
    VERDICT = 9  # body = msgpack [index of the check, hash of the majority or None]
    CONFIGURE = 10  # body = msgpack map of settings of the replicated state
    SET_MACHINE_VERSION = 11  # body = msgpack int
    REBORN = 12  # a lost majority was recovered: all sessions and keys end; body = msgpack int, which life this is


class Header(NamedTuple):
    """The edge's part of an envelope.

    ``origin`` is the member id of the edge and ``request`` its own number for this proposal: by them the edge finds its
    waiting caller when the entry is applied. ``session`` is the log index of its OPEN_SESSION, 0 for none; ``first``
    the number of the first command in it, ``commands`` how many there are; ``acked`` the highest number whose result
    the client has; ``role`` what ``principal`` may do.
    """

    origin: int
    request: int
    session: int
    first: int
    commands: int
    acked: int
    principal: str
    role: int
    metadata: dict[str, str] | None = None


class Envelope(NamedTuple):
    stamp: int
    type: int
    header: Header
    body: bytes


class UnknownFormat(Exception):
    """An entry of a format or type that this version does not know: the node must stop before it."""


class MalformedEnvelope(ValueError):
    """Bytes that are no envelope."""


def seal(entry_type: EntryType, header: Header, body: bytes = b"") -> bytes:
    """The edge's part: all but the stamp. Raises ValueError where a field is out of its range."""
    if not 0 <= header.commands <= MAX_COMMANDS:
        raise ValueError(f"an entry holds at most {MAX_COMMANDS} commands, not {header.commands}")
    if len(body) > MAX_BODY_BYTES:
        raise ValueError(f"an entry's body is at most {MAX_BODY_BYTES} bytes, not {len(body)}")
    if len(header.principal.encode()) > MAX_PRINCIPAL_BYTES:
        raise ValueError(f"a principal is at most {MAX_PRINCIPAL_BYTES} bytes long")
    packed: bytes = msgpack.packb(header)
    if len(packed) > MAX_METADATA_BYTES + MAX_PRINCIPAL_BYTES + 64:
        raise ValueError(f"metadata is at most {MAX_METADATA_BYTES} bytes")
    return b"".join((_EDGE.pack(entry_type, len(packed)), packed, body))


def stamp(sealed: bytes, stamp_ms: int) -> bytes:
    """The whole entry: the leader's stamp before the edge's part."""
    return _STAMP.pack(FORMAT, stamp_ms) + sealed


def entry_type(sealed: bytes) -> int:
    """The type of an edge's part."""
    if len(sealed) < _EDGE.size:
        raise MalformedEnvelope("an envelope shorter than its fixed part")
    return sealed[0]


def unseal(payload: bytes) -> Envelope:
    """Open a whole entry.

    Raises UnknownFormat for a format or type of a newer version, MalformedEnvelope for bytes that are no envelope.
    """
    if len(payload) < _HEADER_START:
        raise MalformedEnvelope(f"an envelope of {len(payload)} bytes is shorter than its fixed part")
    fmt, stamp_ms = _STAMP.unpack_from(payload)
    if fmt != FORMAT:
        raise UnknownFormat(f"envelope format {fmt}; this version knows {FORMAT}")
    kind, length = _EDGE.unpack_from(payload, _EDGE_START)
    if kind not in _TYPES:
        raise UnknownFormat(f"entry type {kind}; this version knows {min(_TYPES)} to {max(_TYPES)}")
    end = _HEADER_START + length
    if end > len(payload):
        raise MalformedEnvelope(f"a header of {length} bytes in an envelope of {len(payload)}")
    try:
        fields = unpack(payload[_HEADER_START:end])
    except Exception as error:
        raise MalformedEnvelope(f"the header does not decode: {error}") from error
    return Envelope(stamp_ms, kind, _checked_header(fields), payload[end:])


def check_sealed(sealed: bytes) -> Envelope:
    """Open an edge's part that arrived from a peer, before it enters the log. Raises as ``unseal``."""
    return unseal(_STAMP.pack(FORMAT, 0) + sealed)


def _checked_header(fields: Any) -> Header:
    if type(fields) is not list or len(fields) != 9:
        raise MalformedEnvelope("a header is an array of nine")
    header = Header(*fields)
    for name, value in zip(Header._fields[:6], fields[:6], strict=True):
        if type(value) is not int or not 0 <= value <= _MAX_ID:
            raise MalformedEnvelope(f"{name} is an integer from 0 to 2^63-1, not {value!r}")
    if header.commands > MAX_COMMANDS:
        raise MalformedEnvelope(f"commands is at most {MAX_COMMANDS}, not {header.commands}")
    if type(header.principal) is not str or len(header.principal.encode()) > MAX_PRINCIPAL_BYTES:
        raise MalformedEnvelope(f"principal is a string of at most {MAX_PRINCIPAL_BYTES} bytes")
    if type(header.role) is not int or not 0 <= header.role <= 255:
        raise MalformedEnvelope(f"role is an integer from 0 to 255, not {header.role!r}")
    if header.metadata is not None and type(header.metadata) is not dict:
        raise MalformedEnvelope("metadata is a map or nil")
    return header


_TYPES = frozenset(int(member) for member in EntryType)
