"""The operator in the cluster, installed from the chart as a user installs it, in a namespace with its groups.

The namespace enforces the ``restricted`` profile. One definition of OrderBookGroup serves all namespaces of a cluster,
so it is not part of the release here: ``api.apply_definition`` keeps it as this tree has it.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from kubernetes.aio import client
from kubernetes.aio.client import ApiClient
from prometheus_client.parser import text_string_to_metric_families

from cluster.api import MERGE, SECONDS, eventually
from cluster.commands import run
from orderbook_operator.names import API_GROUP, API_VERSION, PLURAL

RELEASE = "orderbook-operator"
METRICS_PORT = 9465
TEST_RUN = "orderbook-test-run"  # a label: all pods of a test run, so that only they are drained
RESTRICTED = {
    f"{API_GROUP}/test": "true",
    "pod-security.kubernetes.io/enforce": "restricted",
    "pod-security.kubernetes.io/enforce-version": "latest",
}


@dataclass(frozen=True)
class OperatorRelease:
    """An installed operator. ``installed_in`` is how many seconds the installation took."""

    api: ApiClient
    namespace: str
    image: str
    installed_in: float = 0.0

    @property
    def _core(self) -> client.CoreV1Api:
        return client.CoreV1Api(self.api)

    @property
    def selector(self) -> str:
        return f"app.kubernetes.io/instance={RELEASE},app.kubernetes.io/component=operator"

    async def pods(self) -> list[client.V1Pod]:
        found = await self._core.list_namespaced_pod(
            self.namespace, label_selector=self.selector, _request_timeout=SECONDS
        )
        return [pod for pod in found.items if pod.metadata.deletion_timestamp is None]

    async def node(self) -> str:
        """Where it runs (the first one, of several)."""
        return str((await self.pods())[0].spec.node_name)

    async def configure(self, *settings: str) -> None:
        """Install it, or change it, with these settings of the chart (``name=value``), and wait until it is up."""
        options = ["crds.install=false", f"podLabels.{TEST_RUN}={self.namespace}", *settings]
        await run(
            "make",
            "install-operator",
            f"IMAGE={self.image}",
            f"OPERATOR_NAMESPACE={self.namespace}",
            f"HELM_OPTIONS={' '.join(f'--set {option}' for option in options)}",
            seconds=400,
        )

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        """No pod of it while the block lasts; as many as before afterwards, and ready."""
        apps, name = client.AppsV1Api(self.api), RELEASE
        before = (await apps.read_namespaced_deployment(name, self.namespace, _request_timeout=SECONDS)).spec.replicas

        async def scale(replicas: int) -> None:
            body = {"spec": {"replicas": replicas}}
            await apps.patch_namespaced_deployment_scale(
                name, self.namespace, body, _content_type=MERGE, _request_timeout=SECONDS
            )

        async def is_gone() -> bool:
            found = await self._core.list_namespaced_pod(
                self.namespace, label_selector=self.selector, _request_timeout=SECONDS
            )
            return not found.items

        async def is_back() -> bool:
            found = await apps.read_namespaced_deployment(name, self.namespace, _request_timeout=SECONDS)
            return (found.status.ready_replicas or 0) == before

        await scale(0)
        try:
            await eventually(is_gone, "the operator is away")
            yield
        finally:
            await scale(before)
            await eventually(is_back, "the operator is back")

    async def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's series with these labels, over all pods of the operator."""
        found = 0.0
        for pod in await self.pods():
            text = await self._core.connect_get_namespaced_pod_proxy_with_path(
                f"{pod.metadata.name}:{METRICS_PORT}", self.namespace, "metrics", _request_timeout=SECONDS
            )
            for family in text_string_to_metric_families(text):
                for sample in family.samples:
                    if sample.name == name and labels.items() <= sample.labels.items():
                        found += sample.value
        return found

    async def remove(self) -> None:
        await run("helm", "uninstall", RELEASE, "--namespace", self.namespace, "--ignore-not-found", "--wait")

    async def remove_groups(self) -> None:
        """Delete every group of the namespace, and see it go."""
        custom = client.CustomObjectsApi(self.api)
        where = (API_GROUP, API_VERSION, self.namespace, PLURAL)
        await custom.delete_collection_namespaced_custom_object(*where, _request_timeout=SECONDS)

        async def all_gone() -> bool:
            return not (await custom.list_namespaced_custom_object(*where, _request_timeout=SECONDS))["items"]

        await eventually(all_gone)


@asynccontextmanager
async def made_namespace(api: ApiClient, profile: str = "restricted") -> AsyncIterator[str]:
    """A namespace that takes pods of this Pod Security profile, and goes at the end, with all that is in it."""
    core = client.CoreV1Api(api)
    name = f"orderbook-test-{secrets.token_hex(4)}"
    labels = {**RESTRICTED, "pod-security.kubernetes.io/enforce": profile}
    await core.create_namespace({"metadata": {"name": name, "labels": labels}}, _request_timeout=SECONDS)
    try:
        yield name
    finally:
        await core.delete_namespace(name, _request_timeout=SECONDS)


@asynccontextmanager
async def installed(api: ApiClient, image: str, *settings: str) -> AsyncIterator[OperatorRelease]:
    """An operator in a namespace of its own, for as long as the block lasts."""
    async with made_namespace(api) as namespace:
        began = time.monotonic()
        release = OperatorRelease(api, namespace, image)
        try:
            await release.configure(*settings)
            yield OperatorRelease(api, namespace, image, time.monotonic() - began)
        finally:
            try:
                await release.remove_groups()
            finally:
                await release.remove()
