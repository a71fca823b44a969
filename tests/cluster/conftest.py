"""A real Kubernetes, whichever KUBECONFIG names. Without one these tests are skipped by name."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest
import pytest_asyncio
from kubernetes.aio import client, config
from kubernetes.aio.client import ApiClient, ApiException

from cluster.api import SECONDS, apply_definition
from orderbook_operator.names import API_GROUP

HERE = Path(__file__).parent


class Kubectl(Protocol):
    def __call__(self, *arguments: str, fails: bool = False, input: Any = None) -> str:
        """What the command printed: its errors if it must fail. ``input`` is a manifest for standard input."""
        ...


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.environ.get("KUBECONFIG"):
        return
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.skip(reason="needs a Kubernetes: KUBECONFIG is not set"))


@asynccontextmanager
async def connected() -> AsyncIterator[ApiClient]:
    """A client of the API server, as whoever KUBECONFIG says: somebody who may do everything."""
    configuration = client.Configuration()
    await config.load_kube_config(client_configuration=configuration)
    async with ApiClient(configuration) as opened:
        yield opened


@pytest_asyncio.fixture
async def api() -> AsyncIterator[ApiClient]:
    async with connected() as opened:
        yield opened


@pytest.fixture(scope="session")
def definition() -> None:
    """The API server knows OrderBookGroup as this tree defines it. It stays: other tests run at the same time."""

    async def apply() -> None:
        async with connected() as api:
            await apply_definition(api)

    asyncio.run(apply())


@pytest_asyncio.fixture
async def namespace(api: ApiClient) -> AsyncIterator[str]:
    """A namespace of the test's own that takes only pods of the ``restricted`` profile. It is deleted afterwards."""
    name = f"orderbook-test-{secrets.token_hex(4)}"
    labels = {
        f"{API_GROUP}/test": "true",
        "pod-security.kubernetes.io/enforce": "restricted",
        "pod-security.kubernetes.io/enforce-version": "latest",
    }
    core = client.CoreV1Api(api)
    body = {"metadata": {"name": name, "labels": labels}}
    await core.create_namespace(body, _request_timeout=SECONDS)
    yield name
    try:
        await core.delete_namespace(name, _request_timeout=SECONDS)
    except ApiException as error:
        if error.status != 404:
            raise


@pytest.fixture
def kubectl(namespace: str) -> Callable[..., str]:
    """``kubectl`` in the test's namespace."""

    def run(*arguments: str, fails: bool = False, input: Any = None) -> str:
        ended = subprocess.run(
            ["kubectl", "--namespace", namespace, *arguments],
            input=None if input is None else json.dumps(input),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert (ended.returncode != 0) == fails, ended.stdout + ended.stderr
        return ended.stderr if fails else ended.stdout

    return run
