"""A majority that is lost: nothing happens by itself; one word brings the group back with the survivor's data."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from cluster.api import eventually
from cluster.client_pod import ClientPod, idle_client
from cluster.events_told import events
from cluster.figures import Figures
from cluster.group_under_test import LONG, GroupUnderTest, condition, ids, message
from cluster.held import delete_for_good, no_new_pods
from cluster.operator_release import OperatorRelease
from orderbook_operator import names

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(1800)]
ORDER = 4711


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def group(operator: OperatorRelease) -> AsyncIterator[GroupUnderTest]:
    made = GroupUnderTest(operator, "bereft")
    await made.create(replicas=3)
    await made.ready(3)
    yield made
    await made.delete()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def trader(group: GroupUnderTest) -> AsyncIterator[ClientPod]:
    pod = idle_client(group)
    await pod.start()
    yield pod
    await pod.remove()


async def test_a_group_with_a_leader_is_not_recovered(group: GroupUnderTest) -> None:
    status = await group.status()
    await _give_word(group, _word(status, "bereft-0"))
    refused = await group.until(
        "says that there is nothing to recover",
        lambda resource: "the group has a leader, nothing is to be recovered" in message(resource, "Degraded"),
    )
    assert refused["status"]["incarnation"] == status["incarnation"]
    await group.kubectl("annotate", "obg", group.name, f"{names.RECOVER}-")
    await group.until("is well again", lambda resource: condition(resource, "Degraded") == "False")
    await group.ready(3)


async def test_a_lost_majority_comes_back_by_a_persons_word_alone(
    group: GroupUnderTest, trader: ClientPod, figures: Figures
) -> None:
    await trader.run("orderbook", "place", "ask", "ETH/USDC", "1.5", "3005.00", "--id", str(ORDER))
    await _all_have_the_same(group, trader)
    before = await group.status()
    members, leader = ids(before), await group.leader()
    survivor, other = sorted(set(members) - {leader})
    async with no_new_pods(group):
        await delete_for_good(group, leader, other)
        alone = await group.uids()
        lost = await group.until(
            "says that it has no leader",
            lambda resource: (
                condition(resource, "Quorate") == "False" and "NoLeader" in _reasons(resource, "Quorate", "Degraded")
            ),
        )
        assert lost["status"]["incarnation"] == before["incarnation"]
        assert ids(lost["status"]) == members

        await _give_word(group, _word(before, survivor).replace("@", "@0")[:-1])  # not this life of the group
        await group.until(
            "refuses a word for another life",
            lambda resource: f"the incarnation being {before['incarnation']}" in message(resource, "Degraded"),
        )
        assert await group.uids() == alone, "nothing is done without the right word"

        began = time.monotonic()
        await _give_word(group, _word(before, survivor))
        reborn = await group.until(
            "is in another life, led by the survivor",
            lambda resource: (
                resource["status"]["incarnation"] != before["incarnation"]
                and resource["status"].get("leader") == survivor
            ),
        )
        figures.note("majority lost: word to a new life (s)", time.monotonic() - began)
        assert list(ids(reborn["status"])) == [survivor], "the others are no members of it"
        assert str(ORDER) in await trader.run("orderbook", "orders", "--id", str(ORDER), "--patience", "120")
    await group.ready(3)
    figures.note("majority lost: word to three members (s)", time.monotonic() - began)

    after = await group.status()
    assert after["incarnation"] == reborn["status"]["incarnation"]
    assert not set(ids(after).values()) & {members[leader], members[other]}, "those of the old life came as new ones"
    for name in (leader, other):
        assert "aside-0001" in (await group.kubectl("exec", name, "--", "ls", "/data/member")).split()
    assert str(ORDER) in await trader.run("orderbook", "orders", "--id", str(ORDER))


async def test_the_word_left_in_place_does_nothing_twice(group: GroupUnderTest, operator: OperatorRelease) -> None:
    await group.ready(3)
    resource = await group.get()
    assert names.RECOVER in resource["metadata"]["annotations"]
    uids, passes = await group.uids(), await operator.metric("orderbook_operator_pass_seconds_count")
    async with operator.away():
        pass  # a new one knows nothing but what it sees

    async def was_looked_at() -> bool:
        return await operator.metric("orderbook_operator_pass_seconds_count") >= 2

    await eventually(was_looked_at, "the new operator made two passes", LONG, 0.5)
    assert passes > 0
    await group.ready(3)
    assert await group.uids() == uids
    assert (await group.status())["incarnation"] == resource["status"]["incarnation"]
    assert [told.count for told in await events(group, "Recovered")] == [1]


@pytest.mark.long
async def test_a_majority_without_its_volumes_comes_back_as_empty_members_of_the_new_life(
    group: GroupUnderTest, trader: ClientPod
) -> None:
    """Their pods run, and wait: empty members know that a group was here, and never begin another one."""
    await group.ready(3)
    await _all_have_the_same(group, trader)
    before = await group.status()
    survivor, *lost = sorted(ids(before))
    uids = await group.uids()
    await group.kubectl("delete", "pvc", *(f"data-{name}" for name in lost), "--wait=false")
    for name in lost:
        await group.delete_pod(name)

    async def new_ones_run() -> bool:
        pods = await group.pods()
        return all(
            name in pods and pods[name].metadata.uid != uids[name] and pods[name].status.phase == "Running"
            for name in lost
        )

    await eventually(new_ones_run, "new pods run in place of those that were lost", LONG, 0.5)
    alone = await group.until("has no leader", lambda resource: condition(resource, "Quorate") == "False")
    assert alone["status"]["incarnation"] == before["incarnation"]
    await _give_word(group, _word(before, survivor))
    await group.until("is in another life", lambda resource: resource["status"]["incarnation"] != before["incarnation"])
    after = (await group.ready(3))["status"]
    assert ids(after)[survivor] not in ids(before).values(), "of a new life the survivor is a new member, too"
    assert str(ORDER) in await trader.run("orderbook", "orders", "--id", str(ORDER))


def _word(status: dict[str, Any], survivor: str) -> str:
    return f"{survivor}/{ids(status)[survivor]}@{status['incarnation']}"


async def _give_word(group: GroupUnderTest, word: str) -> None:
    await group.kubectl("annotate", "obg", group.name, "--overwrite", f"{names.RECOVER}={word}")


def _reasons(resource: dict[str, Any], *types: str) -> set[str]:
    return {one["reason"] for one in resource["status"]["conditions"] if one["type"] in types}


async def _all_have_the_same(group: GroupUnderTest, trader: ClientPod) -> None:
    """Each node has applied what the others have: so any of them may be the survivor."""
    host = names.service_host(names.peer_service(group.name), group.namespace)
    urls = ",".join(f"https://{name}.{host}:{names.CLIENT_PORT}" for name in await group.pods())

    async def agree() -> bool:
        said = json.loads(await trader.run("orderbook", "status", "--node", urls, "--json"))
        return len({(node["applied"], node["state_hash"]) for node in said}) == 1

    await eventually(agree, "all nodes have applied the same", LONG, 0.5)
