"""Each builder against a real API server: what is applied is what is read back, and what others did to it is found.

No pod is started: the StatefulSets here have no replicas, or no service account.
"""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest
import pytest_asyncio
from kubernetes.aio.client import ApiClient
from kubernetes.aio.dynamic import DynamicClient
from kubernetes.aio.dynamic.exceptions import ConflictError

from cluster.api import SECONDS, eventually
from cluster.conftest import Kubectl
from orderbook_operator import manifests
from orderbook_operator.managed_fields import reclaimed
from orderbook_operator.manifests import drift
from orderbook_operator.names import FIELD_MANAGER
from orderbook_operator.resource import OrderBookGroup
from unit.operator.resources import UID

FULL: dict[str, Any] = {
    "image": "example.com/orderbook:1",
    "imagePullSecrets": [{"name": "registry"}],
    "storage": {"size": "5120Mi", "className": "fast"},
    "raft": {"heartbeat": "50ms", "electionTimeout": "1s"},
    "tls": {"secret": "mine"},
    "auth": {"anonymous": "observer"},
    "resources": {"requests": {"cpu": "0.5", "memory": "1Gi"}, "limits": {"cpu": 2, "memory": "2048Mi"}},
    "pod": {
        "labels": {"team": "x"},
        "annotations": {"example.com/note": "y"},
        "env": [{"name": "A", "value": "$(B)"}, {"name": "EMPTY"}],
    },
    "scheduling": {
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [
            {"operator": "Exists"},
            {"key": "k", "value": "v", "effect": "NoExecute", "tolerationSeconds": 0},
        ],
        "priorityClassName": "high",
        "topologySpread": [{"topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule"}],
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "Exists"}]}]
                },
                "preferredDuringSchedulingIgnoredDuringExecution": [
                    {
                        "weight": 5,
                        "preference": {"matchExpressions": [{"key": "b", "operator": "In", "values": ["c"]}]},
                    }
                ],
            },
            "podAntiAffinity": {
                "preferredDuringSchedulingIgnoredDuringExecution": [
                    {
                        "weight": 5,
                        "podAffinityTerm": {
                            "topologyKey": "kubernetes.io/hostname",
                            "labelSelector": {},
                            "namespaceSelector": {},
                        },
                    }
                ]
            },
        },
    },
    "networkPolicy": {
        "clientsFrom": [
            {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}},
            {
                "namespaceSelector": {},
                "podSelector": {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]},
            },
        ],
        "metricsFrom": [],
    },
    "service": {"type": "LoadBalancer", "annotations": {"example.com/lb": "internal"}},
}
SPECS = {"default": {}, "full": FULL, "open": {"networkPolicy": {"enabled": False}, "tls": {"auto": False}}}


def group(namespace: str, spec: Mapping[str, Any]) -> OrderBookGroup:
    return OrderBookGroup.from_object(
        {
            "apiVersion": "orderbook.dev/v1alpha1",
            "kind": "OrderBookGroup",
            "metadata": {"name": "eth", "namespace": namespace, "uid": UID},
            "spec": spec,
        }
    )


def unowned(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Without the owner, whom this API server doesn't know: the garbage collector would remove what is his."""
    changed = copy.deepcopy(dict(manifest))
    del changed["metadata"]["ownerReferences"]
    return changed


class Objects:
    def __init__(self, client: DynamicClient, namespace: str) -> None:
        self._client = client
        self.namespace = namespace

    async def apply(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        resource = await self._resource(manifest)
        applied = await self._client.server_side_apply(
            resource,
            body=dict(manifest),
            field_manager=FIELD_MANAGER,
            force_conflicts=True,
            _request_timeout=SECONDS,
        )
        return dict(applied.to_dict())

    async def create(self, manifest: Mapping[str, Any]) -> None:
        resource = await self._resource(manifest)
        await resource.create(body=dict(manifest), namespace=self.namespace, field_manager=FIELD_MANAGER)

    async def get(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        resource = await self._resource(manifest)
        found = await resource.get(
            name=manifest["metadata"]["name"], namespace=self.namespace, _request_timeout=SECONDS
        )
        return dict(found.to_dict())

    async def reclaim(self, manifest: Mapping[str, Any]) -> None:
        """Again when a controller wrote its status in between."""

        async def is_done() -> bool:
            try:
                await self._reclaim(manifest)
            except ConflictError:
                return False
            return True

        await eventually(is_done)

    async def _reclaim(self, manifest: Mapping[str, Any]) -> None:
        live = await self.get(manifest)
        patch = {
            "resourceVersion": live["metadata"]["resourceVersion"],
            "managedFields": reclaimed(live["metadata"]["managedFields"], manifest["apiVersion"]),
        }
        resource = await self._resource(manifest)
        await resource.patch(
            name=manifest["metadata"]["name"],
            namespace=self.namespace,
            body={"metadata": patch},
            content_type="application/merge-patch+json",
            _request_timeout=SECONDS,
        )

    async def _resource(self, manifest: Mapping[str, Any]) -> Any:
        return await self._client.resources.get(api_version=manifest["apiVersion"], kind=manifest["kind"])


@pytest_asyncio.fixture
async def objects(api: ApiClient, namespace: str) -> AsyncIterator[Objects]:
    yield Objects(await DynamicClient(api), namespace)


def rendered(of: OrderBookGroup) -> list[dict[str, Any]]:
    """All but the ServiceMonitor, whose kind this API server need not know."""
    budgets = [budget for voters in (2, 3) if (budget := manifests.disruption_budget(of, voters)) is not None]
    return [
        manifests.peer_service(of),
        manifests.client_service(of),
        *budgets,
        *manifests.network_policies(of, "orderbook-system"),
        manifests.service_account(of),
        manifests.stateful_set(of, "example.com/orderbook:0", 0),
    ]


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
async def test_what_is_applied_is_read_back_without_a_difference(objects: Objects, spec: dict[str, Any]) -> None:
    for manifest in map(unowned, rendered(group(objects.namespace, spec))):
        await objects.apply(manifest)
        live = await objects.get(manifest)
        assert drift(manifest, live) is None, manifest["kind"]
        again = await objects.apply(manifest)
        assert again["metadata"].get("generation") == live["metadata"].get("generation"), manifest["kind"]
        assert drift(manifest, again) is None, manifest["kind"]


async def test_the_pods_are_taken_by_the_restricted_profile(objects: Objects) -> None:
    """The test's namespace enforces it. What the spec names and isn't there (a priority class) is left out."""
    spec = {**FULL, "scheduling": {**FULL["scheduling"]}}
    del spec["scheduling"]["priorityClassName"]
    of = group(objects.namespace, spec)
    await objects.apply(unowned(manifests.service_account(of)))
    template = manifests.pod_template(of, "example.com/orderbook:0")
    data = {"name": "data", "persistentVolumeClaim": {"claimName": "data-eth-0"}}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "eth-0", "namespace": objects.namespace, **template["metadata"]},
        "spec": {**template["spec"], "volumes": [*template["spec"]["volumes"], data]},
    }
    live = await objects.apply(pod)
    assert live["spec"]["containers"][0]["env"][0]["name"] == "ORDERBOOK_NAME"


async def test_a_part_of_the_spec_that_goes_is_removed(objects: Objects) -> None:
    before, after = (unowned(manifests.client_service(group(objects.namespace, spec))) for spec in (FULL, {}))
    await objects.apply(before)
    found = drift(after, await objects.get(after))
    assert found is not None and "metadata.annotations" in " ".join(found.fields) and not found.foreign_managers
    await objects.apply(after)
    live = await objects.get(after)
    assert drift(after, live) is None
    assert "example.com/lb" not in live["metadata"].get("annotations", {})


EDITS: dict[str, tuple[tuple[str, ...], str]] = {
    "a variable added": (("set", "env", "statefulset/eth", "ADDED=x"), "env[ADDED]"),
    "a variable removed": (("set", "env", "statefulset/eth", "ORDERBOOK_LOG-"), "env[ORDERBOOK_LOG]"),
    "another image": (("set", "image", "statefulset/eth", "node=other:1"), "containers[node].image"),
    "scaled": (("scale", "statefulset/eth", "--replicas=1"), "spec.replicas"),
    "restarted": (("rollout", "restart", "statefulset/eth"), "restartedAt"),
    "a label removed": (("label", "statefulset/eth", "app.kubernetes.io/name-"), "metadata.labels"),
}


@pytest.mark.parametrize(("command", "field"), EDITS.values(), ids=EDITS)
async def test_what_others_do_to_it_is_found_and_undone(
    objects: Objects, kubectl: Kubectl, command: tuple[str, ...], field: str
) -> None:
    manifest = unowned(manifests.stateful_set(group(objects.namespace, {}), "example.com/orderbook:0", 0))
    original = await objects.apply(manifest)
    kubectl(*command)
    found = drift(manifest, await objects.get(manifest))
    assert found is not None and field in " ".join(found.fields)
    if found.foreign_managers:
        await objects.reclaim(manifest)
    await objects.apply(manifest)
    live = await objects.get(manifest)
    assert drift(manifest, live) is None
    assert live["spec"] == original["spec"]


@pytest.mark.parametrize(
    "command", [("annotate", "statefulset/eth", "example.com/note=x"), ("label", "statefulset/eth", "team=x")]
)
async def test_notes_of_others_are_left_alone(
    objects: Objects, kubectl: Callable[..., str], command: tuple[str, ...]
) -> None:
    manifest = unowned(manifests.stateful_set(group(objects.namespace, {}), "example.com/orderbook:0", 0))
    await objects.apply(manifest)
    kubectl(*command)
    assert drift(manifest, await objects.get(manifest)) is None


async def test_a_created_object_is_reclaimed_from_its_creator_who_was_us(objects: Objects) -> None:
    """A POST and an apply of the same manager are two entries; fields that only the first holds would stay."""
    before, after = (unowned(manifests.client_service(group(objects.namespace, spec))) for spec in (FULL, {}))
    await objects.create(before)
    found = drift(after, await objects.get(after))
    assert found is not None and found.foreign_managers == (f"{FIELD_MANAGER} (Update)",)
    await objects.reclaim(after)
    await objects.apply(after)
    live = await objects.get(after)
    assert drift(after, live) is None
    assert "example.com/lb" not in live["metadata"].get("annotations", {})
