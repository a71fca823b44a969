"""Who a group is and which life of it: GroupId from key and machine, incarnation from those who began it."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from hmac import digest

import msgpack

from orderbook.raft.types import Member

MAX_MEMBER_ID = (1 << 63) - 1


def group_id(key: bytes, signature: str) -> bytes:
    """16 bytes, the same for all who hold the key and run the same kind of machine; tells nothing of the key."""
    return digest(key, b"orderbook group " + signature.encode(), "sha256")[:16]


def first_incarnation(group: bytes, members: Sequence[Member]) -> bytes:
    """16 bytes: this group as begun by exactly these members."""
    return blake2b(
        msgpack.packb([group, [list(member) for member in sorted(members)]]), digest_size=16, person=b"incarnation"
    ).digest()


def recovered_incarnation(old: bytes, survivor: Member, last_term: int, last_index: int) -> bytes:
    """16 bytes: the life that ``survivor`` begins after a majority was lost. A repeated request makes the same one."""
    return blake2b(
        msgpack.packb([old, list(survivor), last_term, last_index]), digest_size=16, person=b"recovery"
    ).digest()
