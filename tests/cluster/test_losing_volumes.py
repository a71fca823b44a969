"""A member without its volume: another one takes its place, by itself if no data is given up by it, else by consent."""

from __future__ import annotations

import shlex
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from kubernetes.aio import client

from cluster.api import SECONDS
from cluster.cluster_nodes import local_cluster
from cluster.commands import run
from cluster.events_told import events
from cluster.figures import Figures
from cluster.group_under_test import GroupUnderTest, condition, ids, message, reason
from cluster.operator_release import OperatorRelease
from cluster.soak import under_load
from orderbook_operator import names

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(1800)]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def group(operator: OperatorRelease) -> AsyncIterator[GroupUnderTest]:
    made = GroupUnderTest(operator, "volatile")
    await made.create(replicas=3, storage={"retention": "Retain"})
    await made.ready(3)
    yield made
    await made.change(storage={"retention": "Delete"})
    await made.delete()


async def test_a_member_whose_volume_is_lost_is_replaced_by_one_change(group: GroupUnderTest, figures: Figures) -> None:
    before = ids(await group.status())
    victim = await group.leader()
    claim = names.claim(group.name, int(victim.rpartition("-")[2]))
    async with under_load(group, figures, "a member loses its volume"):
        began = time.monotonic()
        await group.kubectl("delete", "pvc", claim, "--wait=false")
        await group.delete_pod(victim)
        await group.until(
            "has another member in its place",
            lambda resource: ids(resource["status"]).get(victim) not in (None, before[victim]),
        )
        await group.ready(3)
        figures.note("a member lost its volume: replaced and at rest (s)", time.monotonic() - began)
    after = ids(await group.status())
    assert {name: id for name, id in after.items() if name != victim} == {
        name: id for name, id in before.items() if name != victim
    }
    changes = [told for told in await events(group, "MembersChanged") if before[victim] in told.message]
    lost = f"{victim}/{before[victim]} lost its volume, {victim}/{after[victim]} takes its place"
    assert [(told.message, told.count) for told in changes] == [(lost, 1)]


async def test_a_cluster_node_that_is_gone_for_good(
    group: GroupUnderTest, operator: OperatorRelease, figures: Figures
) -> None:
    """The status says what to do, word for word; done, the member comes back elsewhere, as another one."""
    machines = await local_cluster()
    await group.ready(3)
    before, place = ids(await group.status()), await operator.node()
    pods = await group.pods()
    victim = next(name for name, pod in sorted(pods.items()) if pod.spec.node_name != place)
    machine = pods[victim].spec.node_name
    async with under_load(group, figures, "a cluster node is gone for good", node=place):
        await machines.crash(machine)
        try:
            pinned = await group.until(
                "says that a member is pinned", lambda resource: reason(resource, "Degraded") == "MemberPinned"
            )
            assert condition(pinned, "Quorate") == "True"
            step = f"kubectl delete node {machine}"
            assert step in message(pinned, "Degraded")
            assert ids(pinned["status"]) == before, "nothing is done without consent"
            began = time.monotonic()
            await run(*shlex.split(step))
            gone = await group.until(
                "says that the node is gone",
                lambda resource: f"{machine}, which is gone" in message(resource, "Degraded"),
            )
            assert step not in message(gone, "Degraded")
            await run(*_command(message(gone, "Degraded"), "kubectl annotate "))
            await group.until(
                "has another member in its place",
                lambda resource: ids(resource["status"]).get(victim) not in (None, before[victim]),
            )
            await group.ready(3)
            figures.note("a cluster node is gone: deleted, replaced and at rest (s)", time.monotonic() - began)
        finally:
            await machines.boot(machine)
    after = ids(await group.status())
    assert {name: id for name, id in after.items() if name != victim} == {
        name: id for name, id in before.items() if name != victim
    }
    node = (await group.pods())[victim].spec.node_name
    assert node != machine
    await _is_ready(group, machine)


def _command(text: str, beginning: str) -> list[str]:
    """The command in a sentence: it ends with the sentence."""
    return shlex.split(text[text.index(beginning) :].partition(";")[0])


async def _is_ready(group: GroupUnderTest, machine: str) -> None:
    node = await client.CoreV1Api(group.api).read_node(machine, _request_timeout=SECONDS)
    assert any(one.type == "Ready" and one.status == "True" for one in node.status.conditions)
