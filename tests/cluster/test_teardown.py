"""A group that is deleted: what it owns goes in seconds, whoever is up; what is kept makes the same group again."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from cluster.client_pod import idle_client
from cluster.figures import Figures
from cluster.group_under_test import GroupUnderTest, ids
from cluster.operator_release import OperatorRelease
from orderbook_operator import names

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(1200)]
OWNED = "statefulset,service,poddisruptionbudget,networkpolicy,secret,serviceaccount,pod,persistentvolumeclaim"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def group(operator: OperatorRelease) -> AsyncIterator[GroupUnderTest]:
    made = GroupUnderTest(operator, "returning")
    yield made
    await made.delete()


async def test_a_group_made_again_over_kept_claims_has_its_data_and_identity(
    group: GroupUnderTest, figures: Figures
) -> None:
    await group.create(replicas=3, storage={"retention": "Retain"})
    await group.ready(3)
    trader = idle_client(group)
    await trader.start()
    try:
        await trader.run("orderbook", "place", "ask", "ETH/USDC", "1.5", "3005.00", "--id", "77")
    finally:
        await trader.remove()
    before = await group.status()
    began = time.monotonic()
    await group.delete()
    figures.note("group of three, retained: deleted (s)", time.monotonic() - began)
    claims = {f"persistentvolumeclaim/{names.claim(group.name, ordinal)}" for ordinal in range(3)}
    assert await _owned(group) == claims | {f"secret/{names.identity_secret(group.name)}"}

    began = time.monotonic()
    await group.create(replicas=3, storage={"retention": "Delete"})
    after = (await group.ready(3))["status"]
    figures.note("group of three over kept claims: apply to at rest (s)", time.monotonic() - began)
    assert after["incarnation"] == before["incarnation"]
    assert ids(after) == ids(before)
    again = idle_client(group)
    await again.start()
    try:
        assert "77" in await again.run("orderbook", "orders", "--trader", "tester")
    finally:
        await again.remove()


async def test_deletion_waits_for_an_operator_that_is_down_and_nothing_else(
    group: GroupUnderTest, operator: OperatorRelease, figures: Figures
) -> None:
    await group.ready(3)
    async with operator.away():
        await group.kubectl("delete", "obg", group.name, "--wait=false")
        assert (await group.get())["metadata"]["finalizers"] == [names.FINALIZER]
        assert await group.uids(), "nothing goes without the operator"
        began = time.monotonic()
    await group.delete()
    figures.note("group of three: deleted, from the start of the operator on (s)", time.monotonic() - began)
    assert await _owned(group) == set()


async def _owned(group: GroupUnderTest) -> set[str]:
    """Of this group, and not on its way out: by kind and name."""
    selector = f"--selector={names.GROUP_LABEL}={group.name}"
    columns = "custom-columns=K:.kind,N:.metadata.name,D:.metadata.deletionTimestamp"
    found = await group.kubectl("get", OWNED, selector, "--no-headers", "-o", columns)
    rows = [row.split() for row in found.splitlines()]
    return {f"{kind.lower()}/{name}" for kind, name, going in rows if going == "<none>"}
