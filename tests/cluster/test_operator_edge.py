"""What the operator relies on of the API server, asked of a real one: preconditions, takeovers, and one that leads."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from kubernetes.aio.client import ApiClient

from orderbook_operator import cluster as c
from orderbook_operator.act import Actor, Outcome
from orderbook_operator.actions import ApplyObject
from orderbook_operator.cluster import AlreadyExists, Cluster, Conflict
from orderbook_operator.lease import Lease, Timing
from orderbook_operator.manifests.compare import drift
from orderbook_operator.observation import Observation
from orderbook_operator.observe import Sight
from orderbook_operator.seen import uid_of
from unit.operator import resources

OTHER = "00000000-0000-0000-0000-000000000000"


@pytest.fixture
def cluster(api: ApiClient) -> Cluster:
    return Cluster(api)


def account(namespace: str, **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "eth", "namespace": namespace, **metadata},
    }


def service(namespace: str) -> dict[str, Any]:
    ports = [{"name": "clients", "port": 8443, "protocol": "TCP"}]
    spec = {"clusterIP": "None", "selector": {"app": "eth"}, "ports": ports}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "eth", "namespace": namespace}, "spec": spec}


async def test_preconditions_are_the_api_server_s(cluster: Cluster, namespace: str) -> None:
    made = await cluster.create(account(namespace), namespace)
    uid, key = uid_of(made), c.SERVICE_ACCOUNT.key("eth")
    with pytest.raises(AlreadyExists):
        await cluster.create(account(namespace), namespace)
    for attempt in (
        cluster.apply(account(namespace, uid=OTHER), namespace),
        cluster.patch(c.SERVICE_ACCOUNT, namespace, "eth", {"metadata": {"uid": OTHER, "labels": {"a": "b"}}}),
        cluster.replace(account(namespace, uid=uid, resourceVersion="1"), namespace),
        cluster.delete(key, namespace, OTHER),
        cluster.delete(key, namespace, uid, "1"),
    ):
        with pytest.raises(Conflict):
            await attempt
    assert await cluster.get(c.SERVICE_ACCOUNT, namespace, "eth") == made
    await cluster.delete(key, namespace, uid, made["metadata"]["resourceVersion"])
    with pytest.raises(Conflict):
        await cluster.apply(account(namespace, uid=uid), namespace)  # made anew by an apply it would be another object
    assert await cluster.get(c.SERVICE_ACCOUNT, namespace, "eth") is None


async def test_an_object_of_ours_is_made_and_put_right_whoever_wrote_into_it(cluster: Cluster, namespace: str) -> None:
    group = resources.group().model_copy(
        update={"metadata": resources.group().metadata.model_copy(update={"namespace": namespace})}
    )
    sight, actor = Sight(Observation(0.0, group, "image"), {}), Actor(cluster, None)  # type: ignore[arg-type]
    wanted = service(namespace)
    assert (await actor.act(ApplyObject(wanted), sight)).outcome is Outcome.DONE
    assert (await actor.act(ApplyObject(wanted), sight)).outcome is Outcome.STALE
    live = await cluster.get(c.SERVICE, namespace, "eth")
    assert live is not None
    assert drift(wanted, live) is None
    edit = {"spec": {"externalIPs": ["198.51.100.7"], "selector": {"app": "other"}}}
    live = await cluster.patch(c.SERVICE, namespace, "eth", edit)
    for entry in live["metadata"]["managedFields"]:
        if entry["operation"] == "Update":
            entry["manager"] = "kubectl-edit"
    live = await cluster.patch(
        c.SERVICE, namespace, "eth", {"metadata": {"managedFields": live["metadata"]["managedFields"]}}
    )
    found = drift(wanted, live)
    assert found is not None
    assert found.foreign_managers
    assert (await actor.act(ApplyObject(wanted, uid_of(live), reclaim=True), sight)).outcome is Outcome.DONE
    live = await cluster.get(c.SERVICE, namespace, "eth")
    assert live is not None
    assert drift(wanted, live) is None
    assert "externalIPs" not in live["spec"]


async def test_two_candidates_for_a_real_lease_never_act_at_once(cluster: Cluster, namespace: str) -> None:
    timing = Timing(duration=3.0, hold=2.0, retry=0.5)
    leases = [Lease(cluster, namespace, "orderbook-operator", name, timing) for name in ("first", "second")]
    overlaps = 0

    async def watch() -> None:
        nonlocal overlaps
        while True:
            overlaps += all(lease.valid() for lease in leases)
            await asyncio.sleep(0.001)

    watching = asyncio.create_task(watch())
    running = [asyncio.create_task(lease.run()) for lease in leases]
    acquired = [asyncio.create_task(lease.acquired()) for lease in leases]
    await asyncio.wait(acquired, return_when=asyncio.FIRST_COMPLETED)
    holder = next(number for number, lease in enumerate(leases) if lease.valid())
    for number in (holder, 1 - holder):
        await acquired[number]
        running[number].cancel()  # it leaves, and the other one follows
        with suppress(asyncio.CancelledError):
            await running[number]
    watching.cancel()
    assert overlaps == 0
    lease = await cluster.get(c.LEASE, namespace, "orderbook-operator")
    assert lease is not None
    assert lease["spec"]["holderIdentity"] == ""
