"""``kubectl drain`` of each node of the cluster in turn, under load, at rest and in the middle of a roll."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from kubernetes.aio.client import V1Pod

from cluster.cluster_nodes import drained, zones
from cluster.figures import Figures
from cluster.group_under_test import GroupUnderTest, apart, quorum_watched
from cluster.operator_release import TEST_RUN, OperatorRelease
from cluster.soak import under_load
from orderbook_operator.names import TEMPLATE

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(1800)]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def group(operator: OperatorRelease) -> AsyncIterator[GroupUnderTest]:
    made = GroupUnderTest(operator, "drained")
    await made.create(replicas=3, scheduling=apart(made.name))
    await made.ready(3)
    yield made
    await made.delete()


async def test_each_node_is_drained_in_turn(group: GroupUnderTest, operator: OperatorRelease, figures: Figures) -> None:
    async with quorum_watched(group) as violations, under_load(group, figures, "each node drained") as soak:
        for node in await zones(group.api):
            before = await _on(group, node)
            began = time.monotonic()
            async with drained(node, operator.namespace):
                figures.note(f"drain of a node with {len(before)} of the members (s)", time.monotonic() - began)
                await soak.flows()
            for name, pod in before.items():
                await group.replaced(name, pod.metadata.uid)
            await group.ready(3)
    assert not violations


async def test_a_node_is_drained_while_a_roll_is_under_way(
    group: GroupUnderTest, operator: OperatorRelease, figures: Figures
) -> None:
    before = await group.uids()
    pods = await group.pods()
    async with quorum_watched(group) as violations, under_load(group, figures, "a drain during a roll") as soak:
        await group.change(pod={"labels": {TEST_RUN: group.namespace}, "env": [{"name": "ROLL", "value": "1"}]})
        first = await group.first_replaced(before)
        left = next(pod for name, pod in pods.items() if name != first)
        async with drained(left.spec.node_name, operator.namespace):
            await soak.flows()
        await group.ready(3)
    assert not violations
    after = await group.pods()
    assert not set(before.values()) & {pod.metadata.uid for pod in after.values()}
    assert len({_template(pod) for pod in (*after.values(),)}) == 1
    assert _template(after[first]) != _template(pods[first])


async def _on(group: GroupUnderTest, node: str) -> dict[str, V1Pod]:
    return {name: pod for name, pod in (await group.pods()).items() if pod.spec.node_name == node}


def _template(pod: V1Pod) -> str:
    return str(pod.metadata.annotations[TEMPLATE])
