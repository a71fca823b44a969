"""Members that die, one after another, in every way that a pod can, under load: nothing acknowledged is lost."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from cluster.cluster_nodes import kill_processes, local_cluster
from cluster.figures import Figures
from cluster.group_under_test import GroupUnderTest, apart, is_up, message, reason
from cluster.operator_release import OperatorRelease
from cluster.soak import under_load

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(1200)]
DOWN = ("MembersDown", "MemberPinned")  # the latter where volumes belong to a node of the cluster


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def group(operator: OperatorRelease) -> AsyncIterator[GroupUnderTest]:
    made = GroupUnderTest(operator, "mortal")
    await made.create(replicas=3, scheduling=apart(made.name))
    await made.ready(3)
    yield made
    await made.delete()


async def test_each_pod_is_deleted_once(group: GroupUnderTest, figures: Figures) -> None:
    before = await group.uids()
    async with under_load(group, figures, "each pod deleted") as soak:
        for name, uid in before.items():
            await group.delete_pod(name)
            await group.replaced(name, uid)
            await group.ready(3)
            await soak.flows()
    assert not set(before.values()) & set((await group.uids()).values())


async def test_the_process_of_each_pod_is_killed_once(
    group: GroupUnderTest, operator: OperatorRelease, privileged: str, figures: Figures
) -> None:
    before = await group.uids()
    members = _ids(await group.status())
    async with under_load(group, figures, "each process killed") as soak:
        for name, pod in (await group.pods()).items():
            await kill_processes(group.api, privileged, group.image, pod)
            await group.restarted(name, pod.status.container_statuses[0].restart_count)
            await group.ready(3)
            await soak.flows()
    assert await group.uids() == before, "the kubelet starts the container again, nobody makes a new pod"
    assert _ids(await group.status()) == members, "each came back as who it was, with its volume"


async def test_the_leaders_node_loses_power(group: GroupUnderTest, operator: OperatorRelease, figures: Figures) -> None:
    machines = await local_cluster()
    await group.ready(3)
    place = await operator.node()
    await _lead_elsewhere(group, place)
    leader = await group.leader()
    pods = await group.pods()
    victim = pods[leader].spec.node_name
    assert [name for name, pod in pods.items() if pod.spec.node_name == victim] == [leader], "a minority is lost"
    members = _ids(await group.status())
    async with under_load(group, figures, "the leader's node crashes", node=place) as soak:
        await machines.crash(victim)
        try:
            await soak.flows()
            resource = await group.until("says who is down", lambda found: reason(found, "Degraded") in DOWN)
            assert resource["status"]["leader"] not in (None, leader)
            assert leader in message(resource, "Degraded")
            await soak.flows()
        finally:
            await machines.boot(victim)
        await group.ready(3)
    assert _ids(await group.status()) == members, "the member came back with its volume, and caught up"
    assert is_up((await group.pods())[leader])


def _ids(status: dict[str, object]) -> dict[str, str]:
    members = status["members"]
    assert isinstance(members, list)
    return {member["name"]: member["id"] for member in members}


async def _lead_elsewhere(group: GroupUnderTest, node: str) -> None:
    """The leader is on another node of the cluster than this one: there the operator and the load are."""
    pods = await group.pods()
    leader = await group.leader()
    if pods[leader].spec.node_name != node:
        return
    await group.delete_pod(leader)
    await group.replaced(leader, pods[leader].metadata.uid)
    await group.until("is led by another one", lambda resource: resource["status"]["leader"] not in (None, leader))
