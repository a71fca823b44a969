"""A changed spec reaches the pods: one at a time, the leader last, under load; what can't work stops at the first."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from cluster.events_told import events
from cluster.figures import Figures
from cluster.group_under_test import GroupUnderTest, condition, message, reason
from cluster.held import delete_for_good, no_new_pods
from cluster.operator_release import OperatorRelease
from cluster.roll_watched import pods_watched
from cluster.soak import under_load
from orderbook_operator import names

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(1800)]

NO_IMAGE = "localhost/orderbook:there-is-none"
PATIENCE = "600s"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def group(operator: OperatorRelease) -> AsyncIterator[GroupUnderTest]:
    made = GroupUnderTest(operator, "rolling")
    await made.create(replicas=3, progressDeadline=PATIENCE)
    await made.ready(3)
    yield made
    await made.delete()


async def test_resources_and_timings_roll_under_load_the_leader_last(group: GroupUnderTest, figures: Figures) -> None:
    before = await group.uids()
    async with under_load(group, figures, "roll of resources and timings"), pods_watched(group) as watched:
        await group.change(
            resources={"requests": {"cpu": "60m"}}, raft={"heartbeat": "110ms", "electionTimeout": "600ms"}
        )
        await group.ready(3)
    after = await group.pods()
    assert sorted(watched.replaced) == sorted(before), "each pod was replaced once"
    assert len(watched.most_away) == 1, f"away at once: {watched.most_away}"
    for pod in after.values():
        assert pod.spec.containers[0].resources.requests["cpu"] == "60m"
        assert {"name": "ORDERBOOK_RAFT__HEARTBEAT", "value": "0.11"} in _environment(pod)
    await _led_until_the_last(group, watched.replaced)


async def test_a_roll_waits_while_it_would_break_the_quorum_and_says_so(group: GroupUnderTest) -> None:
    await group.ready(3)
    leader = await group.leader()
    follower, other = sorted(set(await group.pods()) - {leader})
    async with no_new_pods(group):
        await delete_for_good(group, follower)
        others = await group.uids()
        template = await _template(group)
        await group.change(resources={"requests": {"cpu": "70m"}})
        waiting = await group.until(
            "says what the roll waits for",
            lambda resource: f"{other} is next, once {follower} is ready" in message(resource, "Progressing"),
        )
        assert reason(waiting, "Progressing") == "Rolling"
        assert condition(waiting, "Quorate") == "True"
        assert await _template(group) == template, "a pod that dies now comes back as it was"
        assert await group.uids() == others
        await group.change(resources={"requests": {"cpu": "60m"}})
    await group.ready(3)
    assert others.items() <= (await group.uids()).items(), "nothing was rolled"


async def test_a_bad_image_stops_at_the_first_pod_and_a_good_one_heals_it(
    group: GroupUnderTest, figures: Figures
) -> None:
    await group.ready(3)
    before, template = await group.uids(), await _template(group)
    pods = await group.pods()
    same_image = next(iter(pods.values())).status.container_statuses[0].image_id
    async with under_load(group, figures, "roll of a bad image, then of a good one"), pods_watched(group) as watched:
        await group.change(image=NO_IMAGE, progressDeadline="10s")
        stopped = await group.until(
            "stopped the roll and has all members up",
            lambda resource: reason(resource, "Degraded") == "RollStopped" and resource["status"]["ready"] == "3/3",
        )
        assert "until the spec changes" in message(stopped, "Degraded")
        assert stopped["status"]["failedTemplate"]
        assert await _template(group) == template, "the template before it was put back"
        assert set(watched.replaced) == {watched.replaced[0]}, "only the first pod had it"
        now = await group.uids()
        assert sum(now[name] != uid for name, uid in before.items()) == 1
        # The same image under another name, which every cluster's nodes have: its id.
        await group.change(image=same_image, progressDeadline=PATIENCE)
        await group.ready(3)
    assert len(watched.most_away) == 1, f"away at once: {watched.most_away}"
    assert {pod.spec.containers[0].image for pod in (await group.pods()).values()} == {same_image}
    assert not (await group.status()).get("failedTemplate")


async def test_a_first_apply_with_a_wrong_image_heals_when_it_is_corrected(operator: OperatorRelease) -> None:
    group = GroupUnderTest(operator, "mistaken")
    try:
        await group.create(replicas=3, image=NO_IMAGE)
        await group.until(
            "says that no pod starts",
            lambda resource: (
                reason(resource, "Degraded") == "PodNotStarting" and NO_IMAGE in message(resource, "Degraded")
            ),
        )
        await group.change(image=operator.image)
        await group.ready(3)
    finally:
        await group.delete()


def _environment(pod: Any) -> list[dict[str, str]]:
    return [{"name": one.name, "value": one.value} for one in pod.spec.containers[0].env]


async def _template(group: GroupUnderTest) -> str:
    found = await group.stateful_set()
    return str(found.spec.template.metadata.annotations[names.TEMPLATE])


async def _led_until_the_last(group: GroupUnderTest, replaced: list[str]) -> None:
    """The pod that was replaced last led until then: its leadership was given away just before, to one of the new."""
    evicted = {told.message.partition(":")[0]: told for told in await events(group, "PodEvicted")}
    given = await events(group, "LeadershipTransferred")
    to_be_replaced = [told for told in given if f"{replaced[-1]} is to be replaced" in told.message]
    assert to_be_replaced, f"{replaced}: {given}"
    heir = to_be_replaced[-1].message.partition(":")[0].removeprefix("to ")
    assert heir in replaced[:-1]
    assert to_be_replaced[-1].last <= evicted[replaced[-1]].last
    assert await group.leader() != replaced[-1]
