"""One OrderBookGroup on a real cluster: made, changed, waited for, watched, deleted."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from kubernetes.aio import client
from kubernetes.aio.client import ApiClient, ApiException

from cluster.api import SECONDS, Groups, eventually
from cluster.commands import run
from cluster.operator_release import TEST_RUN, OperatorRelease
from orderbook_operator import names
from orderbook_operator.policy.quorum import quorum

LONG = 600.0  # seconds that a test waits for what takes a group up to a minute
PAIRS = [{"base": "ETH", "quote": "USDC", "tickSize": "0.01", "lotSize": "0.001"}]
LOOK_SECONDS = 0.2

Resource = dict[str, Any]


class GroupUnderTest:
    """``namespace`` is that of the operator that runs it."""

    def __init__(self, operator: OperatorRelease, name: str) -> None:
        self.api: ApiClient = operator.api
        self.namespace = operator.namespace
        self.image = operator.image
        self.name = name
        self.groups = Groups(operator.api, operator.namespace)
        self.core = client.CoreV1Api(operator.api)
        self.apps = client.AppsV1Api(operator.api)

    async def create(self, **spec: Any) -> None:
        """With these fields of the spec; left out: one pair, claims that go with their members, pods that a drain
        finds by ``TEST_RUN``."""
        asked: dict[str, Any] = {"pairs": PAIRS, **spec}
        asked["storage"] = {"size": "1Gi", "retention": "Delete", **spec.get("storage", {})}
        asked["pod"] = {"labels": {TEST_RUN: self.namespace}, **spec.get("pod", {})}
        await self.groups.create(self.name, asked)

    async def change(self, **spec: Any) -> None:
        await self.groups.change(self.name, spec)

    async def scale(self, replicas: int) -> None:
        await self.groups.scale(self.name, replicas)

    async def delete(self) -> None:
        """And see it go. One that isn't there is gone."""
        custom = client.CustomObjectsApi(self.api)
        where = (names.API_GROUP, names.API_VERSION, self.namespace, names.PLURAL, self.name)
        try:
            await custom.delete_namespaced_custom_object(*where, _request_timeout=SECONDS)
        except ApiException as error:
            if error.status != 404:
                raise
        await eventually(self._is_gone, "the group is gone", LONG)

    async def get(self) -> Resource:
        return await self.groups.get(self.name)

    async def status(self) -> dict[str, Any]:
        found: dict[str, Any] = (await self.get()).get("status") or {}
        return found

    async def leader(self) -> str:
        """The name of its pod, once there is one."""
        await self.until("has a leader", lambda resource: bool(resource["status"].get("leader")))
        return str((await self.status())["leader"])

    async def pods(self) -> dict[str, client.V1Pod]:
        """The members' pods by name, those on their way out too."""
        selector = ",".join(f"{key}={value}" for key, value in names.selector(self.name).items())
        found = await self.core.list_namespaced_pod(self.namespace, label_selector=selector, _request_timeout=SECONDS)
        return {pod.metadata.name: pod for pod in found.items}

    async def uids(self) -> dict[str, str]:
        return {name: pod.metadata.uid for name, pod in (await self.pods()).items()}

    async def claims(self) -> dict[str, client.V1PersistentVolumeClaim]:
        selector = ",".join(f"{key}={value}" for key, value in names.selector(self.name).items())
        found = await self.core.list_namespaced_persistent_volume_claim(
            self.namespace, label_selector=selector, _request_timeout=SECONDS
        )
        return {claim.metadata.name: claim for claim in found.items}

    async def stateful_set(self) -> client.V1StatefulSet:
        return await self.apps.read_namespaced_stateful_set(
            names.stateful_set(self.name), self.namespace, _request_timeout=SECONDS
        )

    async def secret(self, name: str) -> dict[str, bytes]:
        found = await self.core.read_namespaced_secret(name, self.namespace, _request_timeout=SECONDS)
        return {key: base64.b64decode(value) for key, value in (found.data or {}).items()}

    async def delete_pod(self, name: str) -> None:
        await self.core.delete_namespaced_pod(name, self.namespace, _request_timeout=SECONDS)

    async def kubectl(self, *arguments: str, seconds: float = LONG) -> str:
        """``kubectl`` in the group's namespace. Raises CommandFailed."""
        return await run("kubectl", f"--namespace={self.namespace}", *arguments, seconds=seconds)

    # --- waiting ------------------------------------------------------------------------------------------------------

    async def until(self, what: str, holds: Callable[[Resource], bool], seconds: float = LONG) -> Resource:
        """The resource, once it is so of a status that the operator wrote for the newest spec."""
        last: Resource = {}

        async def holds_now() -> bool:
            nonlocal last
            last = await self.get()
            seen = (last.get("status") or {}).get("observedGeneration")
            return seen == last["metadata"]["generation"] and holds(last)

        try:
            await eventually(holds_now, f"{self.name} {what}", seconds, LOOK_SECONDS)
        except TimeoutError as error:
            raise AssertionError(f"{error}; its status: {json.dumps(last.get('status'), indent=1)}") from None
        return last

    async def ready(self, replicas: int) -> Resource:
        """All of ``replicas`` members up, and nothing left to do."""

        def is_ready(resource: Resource) -> bool:
            return (
                condition(resource, "Ready") == "True"
                and condition(resource, "Progressing") == "False"
                and resource["status"]["ready"] == f"{replicas}/{replicas}"
                and len(resource["status"]["members"]) == replicas
            )

        return await self.until(f"is ready with {replicas} members and at rest", is_ready)

    async def replaced(self, pod: str, uid: str) -> None:
        """A pod of this name runs that isn't the one with this uid, and is ready."""

        async def is_new() -> bool:
            found = (await self.pods()).get(pod)
            return found is not None and found.metadata.uid != uid and is_up(found)

        await eventually(is_new, f"{pod} was replaced and is ready", LONG, LOOK_SECONDS)

    async def restarted(self, pod: str, restarts: int) -> None:
        """The container of this pod was started more than ``restarts`` times again, and the pod is ready."""

        async def is_again() -> bool:
            found = (await self.pods())[pod]
            return found.status.container_statuses[0].restart_count > restarts and is_up(found)

        await eventually(is_again, f"{pod} was restarted and is ready", LONG, LOOK_SECONDS)

    async def first_replaced(self, uids: dict[str, str]) -> str:
        """The name of the first pod that isn't there any more, or is on its way out, of those with these uids."""
        gone: list[str] = []

        async def one_is_gone() -> bool:
            now = {
                name: pod.metadata.uid
                for name, pod in (await self.pods()).items()
                if not pod.metadata.deletion_timestamp
            }
            gone[:] = [name for name, uid in uids.items() if now.get(name) != uid]
            return bool(gone)

        await eventually(one_is_gone, "the first pod goes", LONG)
        return gone[0]

    async def until_only(self, count: int, of: Callable[[], Awaitable[dict[str, Any]]]) -> None:
        """No more than ``count`` of them are left: of ``pods``, or of ``claims``."""

        async def are_gone() -> bool:
            return len(await of()) == count

        await eventually(are_gone, f"{count} are left of {self.name}'s {of.__name__}", LONG, LOOK_SECONDS)

    async def _is_gone(self) -> bool:
        try:
            await self.get()
        except ApiException as error:
            if error.status == 404:
                return True
            raise
        return False


def condition(resource: Resource, type: str) -> str:
    """True, False or Unknown; "" where it isn't there."""
    found = [one for one in resource["status"].get("conditions", ()) if one["type"] == type]
    return str(found[0]["status"]) if found else ""


def reason(resource: Resource, type: str) -> str:
    found = [one for one in resource["status"].get("conditions", ()) if one["type"] == type]
    return str(found[0]["reason"]) if found else ""


def message(resource: Resource, type: str) -> str:
    found = [one for one in resource["status"].get("conditions", ()) if one["type"] == type]
    return str(found[0]["message"]) if found else ""


def ids(status: dict[str, Any]) -> dict[str, str]:
    """The id of each member, by name."""
    return {member["name"]: member["id"] for member in status["members"]}


def is_up(pod: client.V1Pod) -> bool:
    """Ready, and not on its way out."""
    conditions = pod.status.conditions or ()
    ready = any(one.type == "Ready" and one.status == "True" for one in conditions)
    return ready and pod.metadata.deletion_timestamp is None


def apart(group: str) -> dict[str, Any]:
    """Scheduling by which no two members are ever on one node of the cluster, for tests that take a node away: by
    default that is a preference only, and a spread counts only the nodes that there are."""
    term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {names.GROUP_LABEL: group}}}
    return {"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}}


@asynccontextmanager
async def quorum_watched(group: GroupUnderTest) -> AsyncIterator[list[str]]:
    """Look again and again, while the block lasts, whether the voters that are up are a quorum: when they weren't.

    Who votes is what the status says; a pod that is ready is up. The pods are read after the status, so that a
    configuration which has just become smaller is judged by its greater predecessor, and never the other way round.
    """
    violations: list[str] = []
    looks = 0

    async def look() -> None:
        nonlocal looks
        while True:
            status = await group.status()
            pods = await group.pods()
            voters = [member["name"] for member in status.get("members", ()) if member["role"] in ("leader", "voter")]
            up = [name for name in voters if name in pods and is_up(pods[name])]
            if voters and len(up) < quorum(len(voters)):
                violations.append(f"of the voters {', '.join(voters)} only {', '.join(up) or 'nobody'} was up")
            looks += 1
            await asyncio.sleep(LOOK_SECONDS)

    watching = asyncio.create_task(look())
    try:
        yield violations
        if watching.done():
            watching.result()
        assert looks, "nobody looked"
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
