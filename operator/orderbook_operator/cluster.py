"""All I/O to the Kubernetes API server: thin, typed errors, no policy.

The kinds that the operator uses are a closed set, so their paths are written down here and nothing is discovered: the
operator needs no rights on discovery, keeps no cache of it, and starts while an aggregated API is down.

Every request has a deadline. What can go wrong is one of the errors below, whatever the transport said:

=============== ====================================================================================================
NotFound        the object, its namespace or its kind is not there
AlreadyExists   a create found an object of this name
Conflict        a precondition failed: another resourceVersion, another uid, another field manager
Throttled       come back later; for an eviction: the disruption budget forbids it now
Refused         the API server's verdict: invalid, forbidden, or not allowed by admission; repeating it is useless
Unreachable     no answer, or none that says anything; a change may have been made
=============== ====================================================================================================
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiohttp
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.client.exceptions import ApiException
from kubernetes.aio.dynamic import DynamicClient

from orderbook_operator import names
from orderbook_operator.observation import Manifest, ObjectKey

Json = dict[str, Any]
OnRequest = Callable[[str, str], None]

REQUEST_SECONDS = 10.0
PAGE = 500
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
MONITORING = "monitoring.coreos.com/v1"

RESULTS = ("ok", "not_found", "conflict", "throttled", "refused", "unreachable")
VERBS = ("get", "list", "create", "update", "patch", "apply", "delete", "evict")


class Kind(NamedTuple):
    """A kind and where its objects are. ``namespaced`` is False for those of the whole cluster."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool = True

    def key(self, name: str) -> ObjectKey:
        return ObjectKey(self.api_version, self.kind, name)


GROUP = Kind(f"{names.API_GROUP}/{names.API_VERSION}", names.KIND, names.PLURAL)
POD = Kind("v1", "Pod", "pods")
SERVICE = Kind("v1", "Service", "services")
SECRET = Kind("v1", "Secret", "secrets")
SERVICE_ACCOUNT = Kind("v1", "ServiceAccount", "serviceaccounts")
CLAIM = Kind("v1", "PersistentVolumeClaim", "persistentvolumeclaims")
EVENT = Kind("v1", "Event", "events")
NODE = Kind("v1", "Node", "nodes", namespaced=False)
STATEFUL_SET = Kind("apps/v1", "StatefulSet", "statefulsets")
REVISION = Kind("apps/v1", "ControllerRevision", "controllerrevisions")
DISRUPTION_BUDGET = Kind("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets")
NETWORK_POLICY = Kind("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies")
SERVICE_MONITOR = Kind(MONITORING, "ServiceMonitor", "servicemonitors")
LEASE = Kind("coordination.k8s.io/v1", "Lease", "leases")

KINDS: Mapping[tuple[str, str], Kind] = {
    (kind.api_version, kind.kind): kind
    for kind in (
        GROUP, POD, SERVICE, SECRET, SERVICE_ACCOUNT, CLAIM, EVENT, NODE, STATEFUL_SET, REVISION, DISRUPTION_BUDGET,
        NETWORK_POLICY, SERVICE_MONITOR, LEASE,
    )
}  # fmt: skip


def kind_of(key: ObjectKey) -> Kind:
    """Raises ValueError for a kind that the operator has no business with."""
    kind = KINDS.get((key.api_version, key.kind))
    if kind is None:
        known = ", ".join(sorted(kind for _, kind in KINDS))
        raise ValueError(f"{key.api_version} {key.kind} is none of the operator's kinds; they are {known}")
    return kind


class ClusterError(Exception):
    """See the table above. ``status`` is HTTP's, 0 without an answer."""

    result = "unreachable"

    def __init__(self, what: str, message: str, status: int = 0) -> None:
        super().__init__(f"{what}: {message}")
        self.message = message
        self.status = status


class NotFound(ClusterError):
    result = "not_found"


class Conflict(ClusterError):
    result = "conflict"


class AlreadyExists(Conflict):
    pass


class Throttled(ClusterError):
    result = "throttled"


class Refused(ClusterError):
    result = "refused"


class Unreachable(ClusterError):
    pass


class Cluster:
    """The API server, as one identity. ``on_request(verb, result)`` is told of each request; see VERBS and RESULTS."""

    def __init__(self, api: ApiClient, on_request: OnRequest = lambda verb, result: None) -> None:
        self._dynamic: Any = DynamicClient(api)  # not awaited: that is what discovers
        self._on_request = on_request

    # --- reading ------------------------------------------------------------------------------------------------------

    async def get(self, kind: Kind, namespace: str, name: str) -> Json | None:
        """The object, None if there is none."""
        try:
            return await self._request("get", "get", _path(kind, namespace, name))
        except NotFound:
            return None

    async def select(self, kind: Kind, namespace: str, selector: Mapping[str, str]) -> list[Json]:
        """All objects of a kind in a namespace with these labels, complete with apiVersion and kind."""
        found: list[Json] = []
        query = {"label_selector": ",".join(f"{key}={value}" for key, value in sorted(selector.items())), "limit": PAGE}
        while True:
            answer = await self._request("list", "get", _path(kind, namespace), **query)
            found += [{"apiVersion": kind.api_version, "kind": kind.kind, **item} for item in answer["items"]]
            query["_continue"] = answer["metadata"].get("continue") or ""
            if not query["_continue"]:
                return found

    async def serves(self, kind: Kind) -> bool:
        """Whether the API server has this kind now: a CustomResourceDefinition can come and go."""
        group, _, version = kind.api_version.rpartition("/")
        try:
            answer = await self._request("get", "get", f"/apis/{group}/{version}" if group else f"/api/{version}")
        except NotFound:
            return False
        return any(resource["name"] == kind.plural for resource in answer["resources"])

    # --- changing -----------------------------------------------------------------------------------------------------

    async def apply(self, manifest: Manifest, namespace: str) -> Json:
        """Server-side apply by our field manager, taking fields over. ``metadata.uid``, if given, must be the live
        object's: else Conflict, also if there is none."""
        metadata = manifest["metadata"]
        kind = kind_of(ObjectKey(manifest["apiVersion"], manifest["kind"], metadata["name"]))
        return await self._request(
            "apply",
            "patch",
            _path(kind, namespace, metadata["name"]),
            body=dict(manifest),
            content_type=APPLY,
            field_manager=names.FIELD_MANAGER,
            force_conflicts=True,
        )

    async def create(self, manifest: Manifest, namespace: str) -> Json:
        """Raises AlreadyExists: what is there is never taken over."""
        kind = kind_of(ObjectKey(manifest["apiVersion"], manifest["kind"], ""))
        path = _path(kind, namespace)
        return await self._request("create", "post", path, body=dict(manifest), field_manager=names.FIELD_MANAGER)

    async def replace(self, manifest: Manifest, namespace: str) -> Json:
        """PUT. ``metadata.resourceVersion`` and ``metadata.uid`` must be the live object's, else Conflict."""
        kind = kind_of(ObjectKey(manifest["apiVersion"], manifest["kind"], ""))
        path = _path(kind, namespace, manifest["metadata"]["name"])
        return await self._request("update", "put", path, body=dict(manifest), field_manager=names.FIELD_MANAGER)

    async def patch(self, kind: Kind, namespace: str, name: str, patch: Json, subresource: str = "") -> Json:
        """A JSON merge patch: None removes a key, a list replaces a list."""
        path = _path(kind, namespace, name, subresource)
        return await self._request(
            "patch", "patch", path, body=patch, content_type=MERGE, field_manager=names.FIELD_MANAGER
        )

    async def delete(self, key: ObjectKey, namespace: str, uid: str, resource_version: str = "") -> None:
        """Delete exactly this object, its dependents after it. One that is gone is no error; another uid, or another
        resourceVersion where one is given, is a Conflict."""
        preconditions = {"uid": uid, **({"resourceVersion": resource_version} if resource_version else {})}
        body = {"preconditions": preconditions, "propagationPolicy": "Background"}
        try:
            await self._request("delete", "delete", _path(kind_of(key), namespace, key.name), body=body)
        except NotFound:
            return

    async def evict(self, namespace: str, pod: str, uid: str) -> None:
        """Ask that exactly this pod be ended. Throttled: its disruption budget forbids it now. Gone is no error."""
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod, "namespace": namespace},
            "deleteOptions": {"preconditions": {"uid": uid}},
        }
        try:
            await self._request("evict", "post", _path(POD, namespace, pod, "eviction"), body=body)
        except NotFound:
            return

    # --- one request --------------------------------------------------------------------------------------------------

    async def _request(self, verb: str, method: str, path: str, **parameters: Any) -> Json:
        what = f"{verb} {path}"
        try:
            answer: Json = await self._dynamic.request(
                method, path, serializer=_as_it_is, _request_timeout=REQUEST_SECONDS, **parameters
            )
        except ApiException as error:
            failure = _error_of(what, error)
        except TimeoutError:
            failure = Unreachable(what, f"no answer within {REQUEST_SECONDS:g} s")
        except (aiohttp.ClientError, OSError) as error:
            failure = Unreachable(what, str(error) or type(error).__name__)
        else:
            self._on_request(verb, "ok")
            return answer
        self._on_request(verb, failure.result)
        raise failure


@asynccontextmanager
async def connect(on_request: OnRequest = lambda verb, result: None) -> AsyncIterator[Cluster]:
    """A Cluster by the pod's service account, or outside of a cluster by KUBECONFIG."""
    configuration = Configuration()
    try:
        config.load_incluster_config(configuration)
    except config.ConfigException:
        await config.load_kube_config(client_configuration=configuration)
    async with ApiClient(configuration) as api:
        yield Cluster(api, on_request)


def _as_it_is(_client: Any, document: Json) -> Json:
    return document


def _path(kind: Kind, namespace: str, name: str = "", subresource: str = "") -> str:
    front = f"/apis/{kind.api_version}" if "/" in kind.api_version else f"/api/{kind.api_version}"
    place = f"/namespaces/{namespace}" if kind.namespaced else ""
    return f"{front}{place}/{kind.plural}" + (f"/{name}" if name else "") + (f"/{subresource}" if subresource else "")


def _error_of(what: str, error: ApiException) -> ClusterError:
    status = int(error.status or 0)
    reason, message, causes = _verdict(error)
    if status == 404:
        return NotFound(what, message, status)
    if status == 409:
        return (AlreadyExists if reason == "AlreadyExists" else Conflict)(what, message, status)
    if status == 422 and "metadata.uid" in causes:
        return Conflict(what, message, status)  # what a precondition on the uid is called in a patch
    if status == 429:
        return Throttled(what, message, status)
    if 400 <= status < 500:
        return Refused(what, message, status)
    return Unreachable(what, message, status)


def _verdict(error: ApiException) -> tuple[str, str, list[str]]:
    """Reason, message and fields of the Status that the API server answers with; proxies before it answer otherwise."""
    try:
        status = json.loads(error.body or "")
        causes = (status.get("details") or {}).get("causes") or []
        return str(status.get("reason", "")), str(status["message"]), [cause.get("field", "") for cause in causes]
    except (ValueError, TypeError, KeyError, AttributeError):
        return "", str(error.reason or f"status {error.status}"), []
