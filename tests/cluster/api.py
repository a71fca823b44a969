"""Calls of the API server that several cluster tests need."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from kubernetes.aio import client
from kubernetes.aio.client import ApiClient, ApiException

from orderbook_operator.crd import crd
from orderbook_operator.names import API_GROUP, API_VERSION, KIND, PLURAL

SECONDS = 100.0  # how long a test waits for what takes a moment on an idle machine
MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"


def group(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": f"{API_GROUP}/{API_VERSION}", "kind": KIND, "metadata": {"name": name}, "spec": spec}


async def eventually(
    holds: Callable[[], Awaitable[bool]], what: str = "it holds", seconds: float = SECONDS, every: float = 0.05
) -> None:
    """Wait until it holds, looking again ``every`` so many seconds. Raises TimeoutError, which names ``what``."""
    try:
        async with asyncio.timeout(seconds):
            while not await holds():  # noqa: ASYNC110 - the API server has no event for us to wait on
                await asyncio.sleep(every)
    except TimeoutError:
        raise TimeoutError(f"not in {seconds:g} s: {what}") from None


async def apply_definition(api: ApiClient) -> None:
    """The CRD of this tree, whatever was there before, served by the time this returns."""
    definitions = client.ApiextensionsV1Api(api)
    name = crd()["metadata"]["name"]
    await definitions.patch_custom_resource_definition(
        name, crd(), field_manager="orderbook-tests", force=True, _content_type=APPLY, _request_timeout=SECONDS
    )

    async def is_established() -> bool:
        found = await definitions.read_custom_resource_definition(name, _request_timeout=SECONDS)
        return any(c.type == "Established" and c.status == "True" for c in found.status.conditions or ())

    await eventually(is_established)


class Groups:
    """The OrderBookGroups of one namespace: objects in, objects out. A refusal is an ApiException."""

    def __init__(self, api: ApiClient, namespace: str) -> None:
        self._custom = client.CustomObjectsApi(api)
        self._where = (API_GROUP, API_VERSION, namespace, PLURAL)

    async def create(self, name: str, spec: dict[str, Any], dry_run: bool = False) -> dict[str, Any]:
        created: dict[str, Any] = await self._custom.create_namespaced_custom_object(
            *self._where,
            group(name, spec),
            field_validation="Strict",
            _request_timeout=SECONDS,
            **({"dry_run": "All"} if dry_run else {}),
        )
        return created

    async def change(self, name: str, spec: dict[str, Any], dry_run: bool = False) -> dict[str, Any]:
        changed: dict[str, Any] = await self._custom.patch_namespaced_custom_object(
            *self._where,
            name,
            {"spec": spec},
            field_validation="Strict",
            _content_type=MERGE,
            _request_timeout=SECONDS,
            **({"dry_run": "All"} if dry_run else {}),
        )
        return changed

    async def scale(self, name: str, replicas: int) -> dict[str, Any]:
        scaled: dict[str, Any] = await self._custom.patch_namespaced_custom_object_scale(
            *self._where, name, {"spec": {"replicas": replicas}}, _content_type=MERGE, _request_timeout=SECONDS
        )
        return scaled

    async def set_status(self, name: str, status: dict[str, Any]) -> dict[str, Any]:
        changed: dict[str, Any] = await self._custom.patch_namespaced_custom_object_status(
            *self._where, name, {"status": status}, _content_type=MERGE, _request_timeout=SECONDS
        )
        return changed

    async def get(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = await self._custom.get_namespaced_custom_object(
            *self._where, name, _request_timeout=SECONDS
        )
        return found


def sentence(refusal: ApiException) -> str:
    """What the API server says to a user."""
    return str(json.loads(refusal.body)["message"])
