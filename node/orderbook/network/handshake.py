"""How two members meet on a new connection: its control messages, and the proof that both hold a group's key.

Messages are msgpack arrays ``[kind, field, ...]``, each a record on the CONTROL channel. The dialler speaks first:

=========  ========  ======================================================================================
kind       from      fields
=========  ========  ======================================================================================
HELLO      dialler   versions spoken (oldest, newest), network, name, process, nonce, address, dial
HELLO      acceptor  the same; its ``dial`` is 0
PROVE      dialler   id of its last connection with this peer or empty; its openings
ACCEPT     acceptor  its openings. From here on the connection is live, frames may follow
REFUSE     either    reason, explanation; then the connection is closed
OPEN       either    one opening: a channel that came later
CLOSE      either    the number of a channel that is gone
ADDRESSES  either    [[name, address], ...]: whom the sender knows
PING       either    to be answered at once by
PONG       either
=========  ========  ======================================================================================

- ``process`` (drawn at the start of a process) tells a peer that started anew from one that dialled again; ``dial``
  counts a process's dials; ``nonce`` (32 random bytes) makes each handshake another, and the dialler's is the
  connection's id. ``address`` is where the sender listens, its host left empty if it doesn't know.
- An opening is (channel number, group id, proof). The number is the sender's and stands in each of its records;
  numbers are never used twice by a process.
- ``proof = HMAC-SHA256(group key, [label, role of the prover, group id, SHA-256 of the dialler's HELLO, SHA-256 of the
  acceptor's HELLO])``. The two HELLOs hold both nonces (no proof can be replayed), both names, the network id and both
  version ranges (none can be changed on the way); the role makes a proof that is reflected to its sender fail. Digests
  are compared in constant time.
- Proofs go both ways, and each side lets only those channels pass frames for which the other proved the key. An
  attacker who sits between two honest members can still relay their handshake; mutual TLS is what prevents that.
- The version of a connection is the newest that both speak. A control message of an unknown kind is ignored if the
  peer speaks a newer version than ours, and malformed otherwise. Later versions append fields; they are ignored. The
  fields of HELLO above never change.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Sequence
from enum import IntEnum, StrEnum
from hashlib import sha256
from typing import Any, NamedTuple

import msgpack

from orderbook.network.framing import MAX_CHANNEL, MalformedMessage

OLDEST_VERSION = 1
NEWEST_VERSION = 1
NONCE_BYTES = 32
PROCESS_BYTES = 8
PROOF_BYTES = 32
MAX_CONTROL_BYTES = 256 << 10
MAX_OPENINGS = 256
MAX_NAME = 253
_LABEL = "orderbook peers 1"
_ADDRESS = re.compile(r"(?P<host>[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]|):(?P<port>[0-9]{1,5})")
_NAME = re.compile(r"[!-~]{1,253}")


class ControlKind(IntEnum):
    """Numbers are never reused."""

    HELLO = 1
    PROVE = 2
    ACCEPT = 3
    REFUSE = 4
    OPEN = 5
    CLOSE = 6
    ADDRESSES = 7
    PING = 8
    PONG = 9


class Reason(StrEnum):
    """Why a connection ended, or never began."""

    CLOSED = "closed"  # on purpose
    LOST = "lost"  # by the other side, or by the network
    UNREACHABLE = "unreachable"  # nobody answered the dial
    SILENT = "silent"  # half open: pings stay unanswered
    NOT_READING = "not_reading"  # it takes nothing, or its queue of control messages is full
    MALFORMED = "malformed"
    TOO_LARGE = "too_large"
    WRONG_NETWORK = "wrong_network"
    WRONG_VERSION = "wrong_version"
    NAME_TAKEN = "name_taken"  # by the node that is asked
    ITSELF = "itself"
    NOT_PROVEN = "not_proven"  # a rival of a proven connection that can't prove as much
    DUPLICATE = "duplicate"  # another connection of the same two processes is, or is about to be, live
    REPLACED = "replaced"  # by a later connection of the same peer
    BUSY = "busy"  # too many connections
    TIMEOUT = "timeout"  # the handshake took too long
    TLS = "tls"  # no TLS handshake, or the certificate is no peer's


class Role(StrEnum):
    DIALLER = "dialler"
    ACCEPTOR = "acceptor"


class Hello(NamedTuple):
    oldest: int
    newest: int
    network: str
    name: str
    process: bytes
    nonce: bytes
    address: str
    dial: int


class Opening(NamedTuple):
    number: int
    group: bytes
    proof: bytes


def pack_control(kind: ControlKind, *fields: Any) -> bytes:
    packed: bytes = msgpack.packb((int(kind), *fields))
    return packed


def unpack_control(body: bytes) -> tuple[int, list[Any]]:
    """(kind, fields); the kind may be one that this version doesn't know. Raises MalformedMessage."""
    if len(body) > MAX_CONTROL_BYTES:
        raise MalformedMessage(f"a control message of {len(body)} bytes; at most {MAX_CONTROL_BYTES} are allowed")
    try:
        values = msgpack.unpackb(body, use_list=True, strict_map_key=True)
    except Exception as error:
        raise MalformedMessage(f"a control message that is not msgpack: {error}") from error
    if type(values) is not list or not values or type(values[0]) is not int or values[0] < 1:
        raise MalformedMessage("a control message is an array that begins with its kind, a positive integer")
    return values[0], values[1:]


def hello_from(fields: Sequence[Any]) -> Hello:
    _check("HELLO", fields, (int, int, str, str, bytes, bytes, str, int))
    hello = Hello(*fields[:8])
    if not 1 <= hello.oldest <= hello.newest:
        raise MalformedMessage(f"HELLO: versions {hello.oldest} to {hello.newest}")
    if len(hello.process) != PROCESS_BYTES or len(hello.nonce) != NONCE_BYTES or not 0 <= hello.dial < 1 << 63:
        raise MalformedMessage(f"HELLO: process, nonce and dial are {PROCESS_BYTES}, {NONCE_BYTES} bytes and a count")
    if not is_name(hello.name) or not 1 <= len(hello.network) <= MAX_NAME:
        raise MalformedMessage(f"HELLO: name and network have 1 to {MAX_NAME} characters")
    if hello.address and not is_address(hello.address, host_needed=False):
        raise MalformedMessage(f"HELLO: the address is host:port, not {hello.address!r:.80}")
    return hello


def prove_from(fields: Sequence[Any]) -> tuple[bytes, list[Opening]]:
    _check("PROVE", fields, (bytes, list))
    return fields[0], openings_from(fields[1])


def openings_from(values: Any) -> list[Opening]:
    if type(values) is not list or len(values) > MAX_OPENINGS:
        raise MalformedMessage(f"openings are a list of at most {MAX_OPENINGS}")
    return [opening_from(value) for value in values]


def opening_from(value: Any) -> Opening:
    if type(value) is not list:
        raise MalformedMessage("an opening is a list")
    _check("an opening", value, (int, bytes, bytes))
    opening = Opening(*value[:3])
    if not 1 <= opening.number <= MAX_CHANNEL or not 1 <= len(opening.group) <= 64:
        raise MalformedMessage(f"an opening has a number from 1 to {MAX_CHANNEL} and a group id of 1 to 64 bytes")
    return opening


def addresses_from(fields: Sequence[Any]) -> list[tuple[str, str]]:
    """Those that are names and addresses; what is not is left out, since a newer peer may know other forms."""
    _check("ADDRESSES", fields, (list,))
    found = []
    for value in fields[0]:
        if type(value) is not list or len(value) < 2:
            raise MalformedMessage("ADDRESSES: a pair of name and address is wanted")
        name, address = value[:2]
        if type(name) is str and is_name(name) and type(address) is str and is_address(address):
            found.append((name, address))
    return found


def refuse_from(fields: Sequence[Any]) -> tuple[str, str]:
    _check("REFUSE", fields, (str, str))
    return fields[0][:40], fields[1][:400]


def number_from(kind: str, fields: Sequence[Any]) -> int:
    _check(kind, fields, (int,))
    number: int = fields[0]
    return number


def common_version(oldest: int, newest: int, hello: Hello) -> int | None:
    """The newest version that both sides speak, None if there is none."""
    version = min(newest, hello.newest)
    return version if version >= max(oldest, hello.oldest) else None


def proof(key: bytes, prover: Role, group: bytes, dialler_hello: bytes, acceptor_hello: bytes) -> bytes:
    """What only a holder of the key can say on this connection, in this role. See the top of this module."""
    transcript = [sha256(dialler_hello).digest(), sha256(acceptor_hello).digest()]
    return hmac.digest(key, msgpack.packb([_LABEL, str(prover), group, *transcript]), "sha256")


def is_proof(given: bytes, wanted: bytes) -> bool:
    return hmac.compare_digest(given, wanted)


def is_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None


def is_address(address: str, host_needed: bool = True) -> bool:
    """``host:port``, ``[v6]:port``; ``:port`` too unless a host is needed."""
    match = _ADDRESS.fullmatch(address)
    return match is not None and 1 <= int(match["port"]) <= 65535 and (bool(match["host"]) or not host_needed)


def _check(what: str, fields: Sequence[Any], wanted: Iterable[type]) -> None:
    kinds = tuple(wanted)
    if len(fields) < len(kinds):
        raise MalformedMessage(f"{what} has {len(kinds)} fields, not {len(fields)}")
    for position, (value, kind) in enumerate(zip(fields, kinds, strict=False)):
        if type(value) is not kind:
            raise MalformedMessage(f"{what}: field {position} is {value!r:.80}, not {kind.__name__}")
