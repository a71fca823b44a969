"""Pods that can't come back: what a cluster without room looks like to a group, made with a quota of the namespace."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from kubernetes.aio.client import ApiException

from cluster.api import SECONDS, eventually
from cluster.group_under_test import LONG, GroupUnderTest

QUOTA = "no-new-pods"


@asynccontextmanager
async def no_new_pods(group: GroupUnderTest) -> AsyncIterator[None]:
    """Nobody makes a pod in the group's namespace while the block lasts. Those that there are run on."""
    core = group.core
    quota = {"metadata": {"name": QUOTA}, "spec": {"hard": {"pods": "0"}}}
    probe = {"metadata": {"name": QUOTA}, "spec": restricted({"name": "none", "image": group.image})}
    await core.create_namespaced_resource_quota(group.namespace, quota, _request_timeout=SECONDS)

    async def is_in_force() -> bool:
        try:
            await core.create_namespaced_pod(group.namespace, probe, dry_run="All", _request_timeout=SECONDS)
        except ApiException as error:
            return "exceeded quota" in str(error.body)
        return False

    try:
        await eventually(is_in_force, "the quota is in force")
        yield
    finally:
        await core.delete_namespaced_resource_quota(QUOTA, group.namespace, _request_timeout=SECONDS)


def restricted(container: dict[str, Any]) -> dict[str, Any]:
    """The spec of a pod with this container that the ``restricted`` profile takes."""
    own = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    whole = {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}}
    return {"securityContext": whole, "containers": [{**container, "securityContext": own}]}


async def delete_for_good(group: GroupUnderTest, *pods: str) -> None:
    """Delete pods that can't come back, and see them gone."""
    for pod in pods:
        await group.delete_pod(pod)

    async def are_gone() -> bool:
        return not set(pods) & set(await group.pods())

    await eventually(are_gone, f"{', '.join(pods)} ended", LONG)
