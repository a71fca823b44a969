"""Recovery of a group that lost a majority for good: one survivor begins a new life of it, alone.

Never automatic. The request names the survivor and the end of its log as (last term, last index), so that a stale or
mistaken request is refused; and it is refused if a member that can be reached has more. What it changes:

- one durable step gives the directory a new incarnation, which follows from the old one, the survivor and its log's end
  (a repeated request makes the same one), a new member id, and a raised term;
- the log then gets two entries: a configuration with the survivor as its only voter, and REBORN, which ends all
  sessions and forgets all idempotency keys: what they knew may be among what was lost.

A crash between the two is completed at the next start, since the identity says that they must be there.

Old members may come back, even a majority of them. Once the new incarnation is given to every member that starts, a
directory of the old life holds still, and is set aside when a member of the new one is connected. The survivor's own
remembers which lives it descends from, so that it may be started with the old incarnation as long as the new one isn't
recorded.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgpack

from orderbook.groups.errors import GroupError
from orderbook.groups.identity import first_incarnation, recovered_incarnation
from orderbook.groups.replicated import MAX_LIFE
from orderbook.raft import Entry, EntryKind, HardState, Member, decode_configuration
from orderbook.storage import Identity, SnapshotInfo
from orderbook.wire.envelope import EntryType, Header, seal, stamp
from orderbook.wire.roles import Role

ASK_SECONDS = 2.0


class RecoveryRefused(GroupError):
    """The request does not fit: the message says what it named and what is there."""


class LogEnds:
    """What reachable members say of the end of their logs."""

    def __init__(self) -> None:
        self.by_peer: dict[str, tuple[int, int]] = {}

    def heard(self, peer: str, last_term: int, last_index: int) -> None:
        self.by_peer[peer] = (last_term, last_index)

    def ahead_of(self, last_term: int, last_index: int) -> list[str]:
        """The peers whose log has more."""
        return sorted(peer for peer, end in self.by_peer.items() if end > (last_term, last_index))


def check_request(
    own: Member, asked: Member, own_end: tuple[int, int], asked_end: tuple[int, int], has_leader: bool
) -> None:
    """Raises RecoveryRefused for a request that names another member or log, or a group that has a leader."""
    if asked != own:
        raise RecoveryRefused(f"the request names {asked.name}/{asked.id}; this is {own.name}/{own.id}")
    if asked_end != own_end:
        raise RecoveryRefused(
            f"the request names a log that ends at term {asked_end[0]}, index {asked_end[1]}; "
            f"this one ends at term {own_end[0]}, index {own_end[1]}"
        )
    if has_leader:
        raise RecoveryRefused("the group has a leader: nothing is to be recovered")


def reborn_identity(identity: Identity, own_end: tuple[int, int], new_id: int, configuration: bytes) -> Identity:
    """Who the survivor is from then on; ``configuration`` is the encoded one with it as the only voter."""
    survivor = Member(identity.name, identity.member_id)
    incarnation = recovered_incarnation(identity.incarnation, survivor, *own_end)
    return Identity(identity.name, new_id, incarnation, configuration)


def recovered_entries(
    group: bytes, identity: Identity, hard_state: HardState, entries: Sequence[Entry], snapshot: SnapshotInfo | None
) -> list[Entry]:
    """What a recovery's second step still has to append; nothing in any other directory.

    A recovered identity has itself as the only voter but an incarnation that such a beginning would not have; the step
    is still to be done while no configuration of log or snapshot knows its id.
    """
    first = decode_configuration(identity.configuration)
    alone = [member.id for member in first.voters] == [identity.member_id]
    if not alone or identity.incarnation == first_incarnation(group, first.voters):
        return []
    known = [decode_configuration(entry.payload) for entry in entries if entry.kind == EntryKind.CONFIGURATION]
    if snapshot is not None:
        known.append(decode_configuration(snapshot.configuration))
    if any(member.id == identity.member_id for configuration in known for member in configuration.voters):
        return []
    last_index = entries[-1].index if entries else snapshot.index if snapshot is not None else 0
    life = int.from_bytes(identity.incarnation[:4], "big") % MAX_LIFE + 1
    reborn = stamp(seal(EntryType.REBORN, Header(0, 0, 0, 0, 0, 0, "", Role.ADMIN), msgpack.packb(life)), 0)
    return [
        Entry(last_index + 1, hard_state.term, EntryKind.CONFIGURATION, identity.configuration),
        Entry(last_index + 2, hard_state.term, EntryKind.NORMAL, reborn),
    ]
