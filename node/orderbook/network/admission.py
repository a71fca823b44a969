"""Which of two connections of the same peer lives: exactly one does, and both sides come to the same answer.

Both sides may dial at once, a peer may have lost a connection that still looks live here, it may have started anew,
and somebody who can't prove the keys may claim its name. The acceptor of a connection judges when the dialler has sent
PROVE; a dialler sends PROVE only while it has no other live connection with that process, and has one such dial at a
time.

A new connection against the live one of the same name:

==========================================================  ==============================================
it proves less than the live one proved                     no: a stranger can't push a member aside
it is of another process                                    yes: the peer started anew
same process, both dialled by it, the new one later         yes: it gave the old one up before it dialled
same process, dialled by it, the live one by us, and        yes: it had that connection and lost it
its last connection was the live one
same process otherwise                                      no: it was sent before the live one was known
==========================================================  ==============================================

A new connection, dialled by the peer, against our own dial to it that has sent PROVE: the dial of the smaller name
wins; the other side decides likewise.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from orderbook.network.handshake import Reason


class Claim(NamedTuple):
    """What is known of a connection. ``last``: the id of the peer's last connection with us, as it said in PROVE."""

    id: bytes
    process: bytes
    dialled: bool  # by us
    dial: int
    proven: Collection[bytes]
    last: bytes = b""


def rival_problem(new: Claim, live: Claim) -> tuple[Reason, str] | None:
    """Why the new connection may not replace the live one, None if it does."""
    if any(group not in new.proven for group in live.proven):
        return Reason.NOT_PROVEN, "a connection that proved more is live"
    if new.process != live.process:
        return None
    if not new.dialled and (new.last == live.id if live.dialled else new.dial > live.dial):
        return None
    return Reason.DUPLICATE, "another connection of the same two processes is live"


def our_dial_wins(own_name: str, peer_name: str) -> bool:
    """Whether our own dial, that has sent PROVE, is to be waited for when the peer's PROVE arrives on another."""
    return own_name < peer_name
