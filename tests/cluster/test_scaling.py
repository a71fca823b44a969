"""Members come and go under load: nothing acknowledged is lost, and at every moment the voters that are up decide."""

from __future__ import annotations

import time

import pytest

from cluster.figures import Figures
from cluster.group_under_test import GroupUnderTest, quorum_watched
from cluster.operator_release import OperatorRelease
from cluster.soak import Soak, under_load
from orderbook_operator import names

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(1800)]


async def test_claims_are_retained_and_used_again(operator: OperatorRelease, figures: Figures) -> None:
    group = GroupUnderTest(operator, "kept")
    await group.create(replicas=1, storage={"retention": "Retain"})
    await group.ready(1)
    async with quorum_watched(group) as violations, under_load(group, figures, "1, 3, 5, 3, 5 members") as soak:
        await _scale(group, 3, soak, figures)
        await _scale(group, 5, soak, figures)
        before = {name: claim.metadata.uid for name, claim in (await group.claims()).items()}
        left = await _ids(group)
        await _scale(group, 3, soak, figures)
        await _has_pods(group, 3)
        claims = await group.claims()
        assert {name: claim.metadata.uid for name, claim in claims.items()} == before
        retired = {name: claim.metadata.labels.get(names.RETIRED) for name, claim in claims.items()}
        assert retired == {
            **{names.claim("kept", ordinal): None for ordinal in range(3)},
            **{names.claim("kept", ordinal): left[names.pod("kept", ordinal)] for ordinal in (3, 4)},
        }
        await _scale(group, 5, soak, figures)
    assert not violations
    claims = await group.claims()
    assert {name: claim.metadata.uid for name, claim in claims.items()} == before
    assert not any(names.RETIRED in claim.metadata.labels for claim in claims.values())
    again = await _ids(group)
    for ordinal in range(5):
        name = names.pod("kept", ordinal)
        assert (again[name] == left[name]) == (ordinal < 3), "who left comes back as a new member"
    await group.delete()
    assert len(await group.claims()) == 5


async def test_claims_of_members_that_left_are_deleted_where_that_is_asked_for(
    operator: OperatorRelease, figures: Figures
) -> None:
    group = GroupUnderTest(operator, "freed")
    await group.create(replicas=3, storage={"retention": "Delete"})
    await group.ready(3)
    async with (
        quorum_watched(group) as violations,
        under_load(group, figures, "3, 5, 3, 5 members, claims freed") as soak,
    ):
        await _scale(group, 5, soak, figures)
        before = {name: claim.metadata.uid for name, claim in (await group.claims()).items()}
        await _scale(group, 3, soak, figures)
        await group.until_only(3, group.claims)
        await _scale(group, 5, soak, figures)
    assert not violations
    after = {name: claim.metadata.uid for name, claim in (await group.claims()).items()}
    assert after.keys() == before.keys()
    kept = {name for name in after if after[name] == before[name]}
    assert kept == {names.claim("freed", ordinal) for ordinal in range(3)}
    await group.delete()


async def _scale(group: GroupUnderTest, replicas: int, soak: Soak, figures: Figures) -> None:
    """As ``kubectl scale`` does it, until the group has so many members and is at rest."""
    before = (await group.get())["spec"]["replicas"]
    began = time.monotonic()
    await group.kubectl("scale", f"obg/{group.name}", f"--replicas={replicas}")
    await group.ready(replicas)
    figures.note(f"{group.name}: from {before} to {replicas} members (s)", time.monotonic() - began)
    await soak.flows()


async def _has_pods(group: GroupUnderTest, count: int) -> None:
    """The pods of those that left have gone."""
    await group.until_only(count, group.pods)
    assert set(await group.pods()) == {names.pod(group.name, ordinal) for ordinal in range(count)}


async def _ids(group: GroupUnderTest) -> dict[str, str]:
    return {member["name"]: member["id"] for member in (await group.status())["members"]}
