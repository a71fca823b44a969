"""A small API server over real HTTP, for tests of what talks to one: it keeps objects, and can be told to fail.

It does what the operator relies on: resourceVersions and uids as preconditions, merge patches, managedFields of a POST,
refusals as Status documents. That a real one does the same is tested in tests/cluster. Faults are for the requests of
one client, or ("") of all.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from kubernetes.aio.client import ApiClient, Configuration

from orderbook_operator.cluster import Cluster

Json = dict[str, Any]


@dataclass
class Faults:
    """Of the requests of one client. ``stalled``: none is answered until it is lifted. ``late``: what was asked is done
    only when it is lifted, whether or not somebody still waits for the answer. ``refused``: with this status."""

    refused: int = 0
    reason: str = ""
    stalled: asyncio.Event = field(default_factory=asyncio.Event)
    is_stalled: bool = False
    is_late: bool = False


class ApiServer:
    """``objects`` by path, such as /api/v1/namespaces/market/pods/eth-0. ``requests``: method, path, body."""

    def __init__(self) -> None:
        self.objects: dict[str, Json] = {}
        self.requests: list[tuple[str, str, Any]] = []
        self.faults: dict[str, Faults] = {}
        self.url = ""
        self._versions = itertools.count(100)
        self._late: set[asyncio.Task[Any]] = set()

    def put(self, manifest: Json, plural: str) -> Json:
        """As if somebody had created it: with uid and resourceVersion."""
        version = manifest["apiVersion"]
        front = f"/apis/{version}" if "/" in version else f"/api/{version}"
        namespace = manifest["metadata"].get("namespace")
        path = f"{front}/namespaces/{namespace}/{plural}" if namespace else f"{front}/{plural}"
        stored = deepcopy(manifest)
        stored["metadata"].setdefault("uid", f"uid-{manifest['metadata']['name']}")
        self._store(f"{path}/{manifest['metadata']['name']}", stored)
        return stored

    def fail(self, client: str, faults: Faults) -> None:
        self.faults[client] = faults

    async def handle(self, request: web.Request) -> web.StreamResponse:
        client = request.headers.get("User-Agent", "")
        body = await request.json() if request.can_read_body else None
        self.requests.append((request.method, request.path, body))
        faults = self.faults.get(client, self.faults.get("", Faults()))
        if faults.refused:
            return _status(faults.refused, faults.reason or "Refused", "the test says so")
        if faults.is_late:
            task = asyncio.create_task(self._later(faults, request, body))
            self._late.add(task)
            return await asyncio.shield(task)
        if faults.is_stalled:
            await faults.stalled.wait()
        return self._answer(request, body)

    async def close(self) -> None:
        for task in self._late:
            task.cancel()
        await asyncio.gather(*self._late, return_exceptions=True)

    async def _later(self, faults: Faults, request: web.Request, body: Any) -> web.Response:
        await faults.stalled.wait()
        return self._answer(request, body)

    def _answer(self, request: web.Request, body: Any) -> web.Response:
        answer: Callable[[web.Request, Any], web.Response] = getattr(self, f"_{request.method.lower()}")
        return answer(request, body)

    # --- verbs --------------------------------------------------------------------------------------------------------

    def _get(self, request: web.Request, _body: Any) -> web.Response:
        found = self.objects.get(request.path)
        if found is not None:
            return web.json_response(found)
        below = request.path + "/"
        items = [
            item for path, item in self.objects.items() if path.startswith(below) and "/" not in path[len(below) :]
        ]
        is_collection = request.path.rsplit("/", 1)[1].endswith("s") and "labelSelector" in request.query
        if not is_collection:
            return _status(404, "NotFound", f"{request.path} not found")
        wanted = dict(part.split("=") for part in request.query["labelSelector"].split(",") if part)
        chosen = [item for item in items if wanted.items() <= (item["metadata"].get("labels") or {}).items()]
        plain = [{key: value for key, value in item.items() if key not in ("apiVersion", "kind")} for item in chosen]
        first = int(request.query.get("continue") or 0)
        last = first + int(request.query.get("limit") or len(plain) or 1)
        metadata = {"resourceVersion": "1", **({"continue": str(last)} if last < len(plain) else {})}
        return web.json_response({"kind": "List", "metadata": metadata, "items": plain[first:last]})

    def _post(self, request: web.Request, body: Json) -> web.Response:
        if request.path.endswith("/eviction"):
            return self._evict(request.path.removesuffix("/eviction"), body)
        path = f"{request.path}/{body['metadata']['name']}"
        if path in self.objects:
            return _status(409, "AlreadyExists", f"{path} already exists")
        manager = request.query.get("fieldManager", "unknown")
        fields = {f"f:{key}": {} for key in body if key not in ("apiVersion", "kind", "metadata")}
        entry = {"manager": manager, "operation": "Update", "fieldsV1": fields}
        stored = {
            **body,
            "metadata": {**body["metadata"], "uid": f"uid-{next(self._versions)}", "managedFields": [entry]},
        }
        return web.json_response(self._store(path, stored), status=201)

    def _put(self, request: web.Request, body: Json) -> web.Response:
        return self._change(request.path, body["metadata"], lambda live: body)

    def _patch(self, request: web.Request, body: Json) -> web.Response:
        path = request.path.removesuffix("/status")
        if path not in self.objects and "apply-patch" in request.headers["Content-Type"]:
            if body["metadata"].get("uid"):
                return _status(409, "Conflict", "uid mismatch")
            stored = {**body, "metadata": {**body["metadata"], "uid": f"uid-{next(self._versions)}"}}
            return web.json_response(self._store(path, stored), status=201)
        return self._change(path, body.get("metadata", {}), lambda live: _merged(live, body))

    def _delete(self, request: web.Request, body: Json) -> web.Response:
        live = self.objects.get(request.path)
        if live is None:
            return _status(404, "NotFound", f"{request.path} not found")
        for name, value in (body.get("preconditions") or {}).items():
            if live["metadata"][name] != value:
                return _status(409, "Conflict", f"the {name} in the precondition does not match")
        del self.objects[request.path]
        return web.json_response({"kind": "Status", "status": "Success"})

    def _evict(self, path: str, body: Json) -> web.Response:
        live = self.objects.get(path)
        if live is None:
            return _status(404, "NotFound", f"{path} not found")
        if live["metadata"]["uid"] != body["deleteOptions"]["preconditions"]["uid"]:
            return _status(409, "Conflict", "the UID in the precondition does not match")
        if live["metadata"].get("annotations", {}).get("test/budget") == "used up":
            return _status(429, "TooManyRequests", "Cannot evict pod as it would violate the pod's disruption budget.")
        del self.objects[path]
        return web.json_response({"kind": "Status", "status": "Success"}, status=201)

    def _change(self, path: str, expected: Json, change: Callable[[Json], Json]) -> web.Response:
        live = self.objects.get(path)
        if live is None:
            return _status(404, "NotFound", f"{path} not found")
        if expected.get("uid", live["metadata"]["uid"]) != live["metadata"]["uid"]:
            return _status(422, "Invalid", "metadata.uid: field is immutable", field="metadata.uid")
        version = live["metadata"]["resourceVersion"]
        if expected.get("resourceVersion", version) != version:
            return _status(409, "Conflict", "the object has been modified")
        wanted = change(live)
        kept = {"uid": live["metadata"]["uid"]}
        return web.json_response(self._store(path, {**wanted, "metadata": {**wanted["metadata"], **kept}}))

    def _store(self, path: str, manifest: Json) -> Json:
        manifest["metadata"]["resourceVersion"] = str(next(self._versions))
        self.objects[path] = manifest
        return manifest


@asynccontextmanager
async def running() -> AsyncIterator[ApiServer]:
    server = ApiServer()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        await server.close()
        await runner.cleanup()


@asynccontextmanager
async def client(server: ApiServer, name: str, **options: Any) -> AsyncIterator[Cluster]:
    """The operator's own client, which says who it is, so that it can be failed by itself."""
    async with ApiClient(Configuration(host=server.url)) as api:
        api.user_agent = name
        yield Cluster(api, **options)


async def until(condition: Callable[[], Any], what: str = "") -> None:
    """Turn the loop until the condition holds."""
    try:
        async with asyncio.timeout(60):
            while not condition():  # noqa: ASYNC110 - any condition
                await asyncio.sleep(0.002)
    except TimeoutError:
        raise AssertionError(f"never came true: {what}") from None


def _merged(live: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    result = dict(live) if isinstance(live, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _merged(result.get(key), value)
    return result


def _status(code: int, reason: str, message: str, field: str = "") -> web.Response:
    details = {"causes": [{"field": field}]} if field else {}
    document = {"kind": "Status", "status": "Failure", "reason": reason, "message": message, "code": code}
    return web.json_response({**document, "details": details}, status=code)
