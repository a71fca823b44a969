"""Changes of membership and leadership that do not go through: what the one who asked is told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from orderbook.groups.administration import (
    NotTransferred,
    change_members,
    snapshot,
    status,
    transfer_leadership,
)
from orderbook.groups.errors import Unavailable, Uncertain
from orderbook.groups.replica import Phase
from orderbook.raft.types import Member
from unit.server.members import SECONDS, Members, until


@pytest_asyncio.fixture
async def members(tmp_path: Path) -> AsyncIterator[Members]:
    members = Members(tmp_path)
    await members.begin("a", "b", "c")
    yield members
    await members.close()


def split(members: Members, leader: str) -> tuple[list[Member], list[Member], int]:
    """Arguments of a change that makes one follower a learner."""
    demoted = next(name for name in sorted(members.groups) if name != leader)
    seen = status(members.groups[leader])
    everyone = [Member(one.name, one.id) for one in seen.members]
    return (
        [member for member in everyone if member.name != demoted],
        [member for member in everyone if member.name == demoted],
        seen.configuration_index,
    )


async def test_a_change_that_no_quorum_has_is_uncertain(members: Members) -> None:
    leader = members.leader()
    for name in sorted(members.groups):
        if name != leader:
            members.channels[name].cut()
    with pytest.raises(Uncertain, match="change of membership"):
        await change_members(members.groups[leader], *split(members, leader), timeout=0.1)
    seen = status(members.groups[leader])
    assert (seen.configuration_index > 0, seen.configuration_committed) == (True, False)


async def test_a_change_that_another_leader_overwrote_is_surely_not_done(members: Members) -> None:
    leader = members.leader()
    old, channel = members.groups[leader], members.channels[leader]
    channel.cut()
    change = members.runtime.spawn(_told(change_members(old, *split(members, leader), timeout=SECONDS)), "change")
    others = [group for name, group in members.groups.items() if name != leader]
    await until(lambda: any(group.replica.leads for group in others if group.replica), "the others to elect a leader")
    await until(lambda: all(group.is_online for group in others), "their leader to have committed")
    channel.connect()
    assert await change == "superseded"
    assert status(old).configuration_index == 0


async def _told(asked: object) -> str:
    """The reason of the Unavailable that it ends in."""
    with pytest.raises(Unavailable) as caught:
        await asked  # type: ignore[misc]  # a coroutine of any kind
    return caught.value.reason


async def test_a_leadership_that_nobody_takes_over_stays(members: Members) -> None:
    leader = members.leader()
    heir = next(name for name in sorted(members.groups) if name != leader)
    members.channels[heir].cut()
    with pytest.raises(NotTransferred, match=f"{heir} did not take") as caught:
        await transfer_leadership(members.groups[leader], heir, timeout=SECONDS)
    assert caught.value.leader == leader
    assert status(members.groups[leader]).transferee is None


async def test_a_member_that_does_not_serve_changes_nothing(members: Members) -> None:
    group = members.groups[members.leader()]
    assert group.replica is not None
    group.replica.phase = Phase.QUARANTINED
    for asked in (change_members(group, [], [], 0), transfer_leadership(group, "a"), snapshot(group)):
        assert await _told(asked) == "quarantined"
    assert status(group).phase == "quarantined"


async def test_a_snapshot_that_is_not_durable_in_time_is_uncertain(
    members: Members, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = members.groups["a"]
    monkeypatch.setattr(members.runtime, "fork", lambda _job, _done: None)  # the child never ends
    with pytest.raises(Uncertain, match="snapshot"):
        await snapshot(group, timeout=0.05)
