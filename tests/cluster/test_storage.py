"""Volumes that grow while the pods that use them go on."""

from __future__ import annotations

from decimal import Decimal

import pytest
from kubernetes.aio import client
from kubernetes.aio.client import ApiClient, V1PersistentVolumeClaim

from cluster.api import SECONDS, eventually
from cluster.figures import Figures
from cluster.group_under_test import LONG, GroupUnderTest
from cluster.operator_release import OperatorRelease
from cluster.soak import under_load
from orderbook_operator.scalars import Quantity

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(900)]
DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"


async def test_volumes_grow_with_the_spec_and_no_pod_is_touched(
    operator: OperatorRelease, session_api: ApiClient, figures: Figures
) -> None:
    if not await _may_grow(session_api):
        pytest.skip("needs volumes that can grow: the cluster's default storage class does not allow it")
    group = GroupUnderTest(operator, "grown")
    await group.create(replicas=3)
    await group.ready(3)
    before = await group.pods()
    async with under_load(group, figures, "volumes grow"):
        await group.change(storage={"size": "2Gi"})

        async def all_are_larger() -> bool:
            claims = (await group.claims()).values()
            return len(claims) == 3 and all(_capacity(claim) >= Quantity("2Gi").number for claim in claims)

        await eventually(all_are_larger, "all volumes have the new size", LONG)
        await group.ready(3)
    after = await group.pods()
    assert {name: _life(pod) for name, pod in after.items()} == {name: _life(pod) for name, pod in before.items()}
    await group.delete()


async def _may_grow(api: ApiClient) -> bool:
    found = (await client.StorageV1Api(api).list_storage_class(_request_timeout=SECONDS)).items
    return any(
        one.allow_volume_expansion and (one.metadata.annotations or {}).get(DEFAULT_CLASS) == "true" for one in found
    )


def _capacity(claim: V1PersistentVolumeClaim) -> Decimal:
    return Quantity((claim.status.capacity or {}).get("storage", "0")).number


def _life(pod: client.V1Pod) -> tuple[str, int]:
    """Which pod it is, and how often its container was started again."""
    return pod.metadata.uid, pod.status.container_statuses[0].restart_count
