"""A real Kubernetes, whichever KUBECONFIG names. Without one these tests are skipped by name."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import subprocess
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest
import pytest_asyncio
from kubernetes.aio import client, config
from kubernetes.aio.client import ApiClient, ApiException

from cluster.api import SECONDS, apply_definition
from cluster.evidence import evidence
from cluster.figures import Figures
from cluster.operator_release import RESTRICTED, OperatorRelease, installed, made_namespace

HERE = Path(__file__).parent
FIGURES = pytest.StashKey[Figures]()


class Kubectl(Protocol):
    def __call__(self, *arguments: str, fails: bool = False, input: Any = None) -> str:
        """What the command printed: its errors if it must fail. ``input`` is a manifest for standard input."""
        ...


def pytest_configure(config: pytest.Config) -> None:
    config.stash[FIGURES] = Figures()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.environ.get("KUBECONFIG"):
        return
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.skip(reason="needs a Kubernetes: KUBECONFIG is not set"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test shows what its operator and groups looked like."""
    report = yield
    for operator in getattr(item, "funcargs", {}).values():
        if report.failed and isinstance(operator, OperatorRelease):
            report.sections.append((f"namespace {operator.namespace}", evidence(operator.namespace)))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    found = config.stash[FIGURES]
    if not found.lines():
        return
    terminalreporter.section("measured on the cluster")
    terminalreporter.write_line("\n".join(found.lines()))
    if os.environ.get("FIGURES"):
        found.write(Path(os.environ["FIGURES"]))


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
    core = client.CoreV1Api(api)
    body = {"metadata": {"name": name, "labels": RESTRICTED}}
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


# --- a cluster with the operator in it: for tests and fixtures that share the session's event loop --------------------


@pytest.fixture(scope="session")
def figures(request: pytest.FixtureRequest) -> Figures:
    """Where tests note what they measured."""
    return request.config.stash[FIGURES]


@pytest.fixture(scope="session")
def image() -> str:
    """The image of node and operator, which the cluster's nodes have."""
    return os.environ.get("IMAGE", "localhost/orderbook:dev")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def session_api(definition: None) -> AsyncIterator[ApiClient]:
    """As ``api``, for the whole session."""
    async with connected() as opened:
        yield opened


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def operator(session_api: ApiClient, image: str, figures: Figures) -> AsyncIterator[OperatorRelease]:
    """The operator as the chart installs it, and the namespace in which tests make groups of their own names."""
    async with installed(session_api, image) as release:
        figures.note("operator: installed and ready (s)", release.installed_in)
        yield release


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def privileged(session_api: ApiClient) -> AsyncIterator[str]:
    """A namespace for pods that may do everything to their node."""
    async with made_namespace(session_api, "privileged") as name:
        yield name
