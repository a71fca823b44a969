"""The API server as kubectl reaches it: by kubeconfig and context, or in a pod by its service account.

Whatever goes wrong is a ``Problem``: one sentence that names the thing, and an exit code.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import typer
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration

from orderbook.cli.connection import EXIT_REFUSED, EXIT_UNAVAILABLE, EXIT_UNCERTAIN, EXIT_USAGE, fail
from orderbook.groups.errors import GroupError
from orderbook_operator import names
from orderbook_operator.cluster import GROUP, Cluster, ClusterError, NotFound, Refused, Throttled, Unreachable
from orderbook_operator.plugin.options import Place
from orderbook_operator.resource import OrderBookGroup, ResourceError

SERVICE_ACCOUNT_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
FORBIDDEN = (401, 403)


class Problem(Exception):
    """Why a command can't go on, for whoever typed it."""

    def __init__(self, message: str, code: int = EXIT_REFUSED) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Kubernetes:
    """``api`` is for what ``cluster`` has no call for. ``in_cluster``: Services' names mean something."""

    cluster: Cluster
    api: ApiClient
    namespace: str
    in_cluster: bool
    context: str | None = None

    async def group(self, name: str) -> OrderBookGroup:
        """Raises Problem: for a name that isn't there, with those that are."""
        found = await self.cluster.get(GROUP, self.namespace, name)
        if found is None:
            raise Problem(f"there is no {names.KIND} {self.namespace}/{name}; {await self._existing()}")
        try:
            return OrderBookGroup.from_object(found)
        except ResourceError as error:
            raise Problem(f"this version of kubectl orderbook can't read the resource: {error}") from error

    async def _existing(self) -> str:
        try:
            if not await self.cluster.serves(GROUP):
                return f"the cluster knows no {names.PLURAL}.{names.API_GROUP} at all: install the operator"
            found = await self.cluster.select(GROUP, self.namespace, {})
        except ClusterError as error:
            return f"and those that are there can't be listed: {error.message}"
        listed = ", ".join(sorted(one["metadata"]["name"] for one in found))
        return f"there are: {listed}" if listed else "there is none in this namespace (-n names another one)"


@asynccontextmanager
async def open_kubernetes(place: Place) -> AsyncIterator[Kubernetes]:
    """Raises Problem where no cluster is configured, and for an unknown context."""
    configuration = Configuration()
    path = _kubeconfig()
    in_cluster = path is None and place.context is None and "KUBERNETES_SERVICE_HOST" in os.environ
    if in_cluster:
        with _configured():
            config.load_incluster_config(configuration)
        namespace = place.namespace or _own_namespace()
    elif path is None:
        raise Problem("no cluster is configured: KUBECONFIG names no file, and there is no ~/.kube/config", EXIT_USAGE)
    else:
        namespace = place.namespace or _namespace_of(path, place.context)
        with _configured():
            await config.load_kube_config(path, place.context, configuration, persist_config=False)
    async with ApiClient(configuration) as api:
        yield Kubernetes(Cluster(api), api, namespace, in_cluster, place.context)


def _kubeconfig() -> str | None:
    """As kubectl looks for it: files in KUBECONFIG, else the one at home."""
    listed = os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
    found = [part for part in listed.split(os.pathsep) if part and Path(part).exists()]
    return os.pathsep.join(found) or None


def _own_namespace() -> str:
    return SERVICE_ACCOUNT_NAMESPACE.read_text().strip()


def _namespace_of(path: str, context: str | None) -> str:
    with _configured():
        contexts, active = config.list_kube_config_contexts(path)
    known = {one["name"]: one for one in contexts}
    if context is not None and context not in known:
        raise Problem(f"the kubeconfig has no context {context!r}; there are: {', '.join(sorted(known))}", EXIT_USAGE)
    chosen = known[context] if context is not None else active
    return str(chosen["context"].get("namespace") or "default")


@contextmanager
def _configured() -> Iterator[None]:
    try:
        yield
    except config.ConfigException as error:
        raise Problem(f"the kubeconfig can't be used: {error}", EXIT_USAGE) from error


# --- what went wrong --------------------------------------------------------------------------------------------------


def problem_of(error: ClusterError) -> Problem:
    """The API server's verdict for people. What it says of rights names verb, resource and user already."""
    if isinstance(error, Refused):
        hint = " (log in again?)" if error.status == 401 else ""
        return Problem(f"the API server refuses: {error.message}{hint}")
    if isinstance(error, NotFound):
        return Problem(f"the API server has no such thing: {error}; is the operator installed?")
    if isinstance(error, Throttled | Unreachable):
        changes = not str(error).startswith(("get ", "list "))
        code = EXIT_UNCERTAIN if changes and isinstance(error, Unreachable) else EXIT_UNAVAILABLE
        return Problem(f"the API server does not answer: {error}", code)
    return Problem(str(error))


def reason_of(error: Problem | ClusterError) -> str:
    return str(problem_of(error) if isinstance(error, ClusterError) else error)


def told(command: Callable[..., None]) -> Callable[..., None]:
    """``command``, whose problems become a line on standard error (with --json a document) and an exit code."""

    @wraps(command)
    def called(**values: Any) -> None:
        as_json = bool(values.get("as_json"))
        try:
            command(**values)
        except ClusterError as error:
            _tell(problem_of(error), as_json)
        except Problem as error:
            _tell(error, as_json)
        except GroupError as error:
            fail(error, as_json=as_json)

    return called


def _tell(problem: Problem, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"error": {"message": str(problem)}}))
    else:
        typer.echo(f"kubectl orderbook: {problem}", err=True)
    raise typer.Exit(problem.code) from problem
