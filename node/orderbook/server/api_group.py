"""The group over HTTP: its status; members, leadership and snapshots for an admin."""

from __future__ import annotations

from typing import Any

from orderbook.book import OrderCount
from orderbook.groups import administration
from orderbook.groups.administration import GroupStatus, MemberStatus
from orderbook.groups.group import Consistency
from orderbook.raft.types import Member
from orderbook.server.api_calls import INDEX_HEADER, Answer, Call
from orderbook.server.api_fields import NoParameters
from orderbook.server.api_requests import GroupReading, LeadershipTransfer, MemberIdentity, Membership, Recovery


async def get_group(call: Call[NoParameters, GroupReading, None]) -> Answer:
    """Weak, this node tells what it knows at any time, also without a leader. Strong, it first confirms that it has
    all that was decided before: a leader that answers so does lead, and its members and lags are the group's."""
    if call.query.consistency == Consistency.STRONG.value or call.query.min_index is not None:
        await call.ask(OrderCount(), call.query)
    status = administration.status(call.group)
    security = {"auth": call.security.auth, "credentials": call.security.credentials._asdict()}
    return Answer(group_document(status) | security, headers={INDEX_HEADER: str(status.applied)})


async def change_members(call: Call[NoParameters, NoParameters, Membership]) -> Answer:
    wanted = call.body
    voters, learners = _members(wanted.voters), _members(wanted.learners)
    index = await administration.change_members(call.group, voters, learners, wanted.expected_configuration_index)
    return Answer({"configuration_index": index}, headers={INDEX_HEADER: str(index)})


async def transfer_leadership(call: Call[NoParameters, NoParameters, LeadershipTransfer]) -> Answer:
    return Answer({"leader": await administration.transfer_leadership(call.group, call.body.to)})


async def take_snapshot(call: Call[NoParameters, NoParameters, None]) -> Answer:
    index = await administration.snapshot(call.group)
    return Answer({"index": index}, headers={INDEX_HEADER: str(index)})


async def recover(call: Call[NoParameters, NoParameters, Recovery]) -> Answer:
    wanted = call.body
    survivor = Member(wanted.name, int(wanted.id))
    incarnation = await call.group.recover(survivor, wanted.last_term, wanted.last_index)
    return Answer({"incarnation": incarnation.hex()})


def group_document(status: GroupStatus) -> dict[str, Any]:
    return {
        "index": status.applied,
        "name": status.name,
        "id": str(status.id),
        "phase": status.phase,
        "waits_for": status.waits_for,
        "online": status.online,
        "incarnation": status.incarnation.hex(),
        "role": status.role,
        "term": status.term,
        "leader": status.leader,
        "transferring_to": status.transferee,
        "first_index": status.first_index,
        "last_index": status.last_index,
        "last_term": status.last_term,
        "commit": status.commit,
        "applied": status.applied,
        "state_hash": f"{status.state_hash:016x}",
        "log_time_ms": status.log_time_ms,
        "snapshot_index": status.snapshot_index,
        "configuration": {
            "index": status.configuration_index,
            "committed": status.configuration_committed,
            "joint": status.joint,
            "members": [_member(member) for member in status.members],
        },
        "strangers": [{"name": stranger.name, "id": str(stranger.id)} for stranger in status.strangers],
        "machine": status.signature,
        "version": status.version,
        "version_supported": status.version_supported,
    }


def _member(member: MemberStatus) -> dict[str, Any]:
    document = member._asdict()
    document["id"] = str(member.id)
    document["leader"] = document.pop("leads")
    return document


def _members(identities: list[MemberIdentity]) -> list[Member]:
    return [Member(identity.name, int(identity.id)) for identity in identities]
