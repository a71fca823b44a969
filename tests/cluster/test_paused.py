"""``paused: true``: pods, members and pairs are left alone, and the status says so."""

from __future__ import annotations

import pytest

from cluster.group_under_test import PAIRS, GroupUnderTest, condition, reason
from cluster.operator_release import TEST_RUN, OperatorRelease

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(900)]
MORE = [*PAIRS, {"base": "BTC", "quote": "USDC", "tickSize": "0.1", "lotSize": "0.00001"}]


async def test_nothing_is_done_to_a_paused_group_until_it_goes_on(operator: OperatorRelease) -> None:
    group = GroupUnderTest(operator, "paused")
    await group.create(replicas=1)
    await group.ready(1)
    before = await group.uids()

    await group.change(paused=True)
    resource = await group.until("says that it is paused", lambda resource: condition(resource, "Paused") == "True")
    assert resource["status"]["phase"] == "Paused"
    assert (reason(resource, "Paused"), reason(resource, "Progressing")) == ("SpecPaused", "SpecPaused")
    assert condition(resource, "Quorate") == "True", "the group itself goes on"

    pod = {"labels": {TEST_RUN: group.namespace}, "env": [{"name": "ROLL", "value": "1"}]}
    await group.change(replicas=3, pairs=MORE, pod=pod)
    generation = (await group.get())["metadata"]["generation"]
    resource = await group.until(
        "was looked at with its new spec", lambda resource: resource["status"]["observedGeneration"] == generation
    )
    assert (await group.stateful_set()).spec.replicas == 1
    assert await group.uids() == before
    assert (len(resource["status"]["members"]), resource["status"]["pairs"]) == (1, 1)

    await group.change(paused=False)
    resource = await group.ready(3)
    assert condition(resource, "Paused") == "False"
    assert resource["status"]["pairs"] == 2
    assert not set(before.values()) & set((await group.uids()).values()), "the roll that waited was done, too"
    await group.delete()
