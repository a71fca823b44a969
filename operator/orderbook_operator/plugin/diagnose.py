"""``kubectl orderbook diagnose``: all that a bug report needs, in one archive, without anything that is secret."""

from __future__ import annotations

import asyncio
import platform
import time
from collections.abc import Awaitable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import typer
from kubernetes.aio.client import ApiException, CoreV1Api, VersionApi

from orderbook.cli.connection import EXIT_USAGE
from orderbook_operator import names
from orderbook_operator.cluster import (
    CLAIM,
    DISRUPTION_BUDGET,
    EVENT,
    GROUP,
    NETWORK_POLICY,
    POD,
    REVISION,
    SECRET,
    SERVICE,
    SERVICE_ACCOUNT,
    STATEFUL_SET,
    Cluster,
    ClusterError,
)
from orderbook_operator.plugin.archive import Archive
from orderbook_operator.plugin.entrance import Entrance, Found, find, through
from orderbook_operator.plugin.kubernetes import Kubernetes, Problem, open_kubernetes, reason_of, told
from orderbook_operator.plugin.options import SUBJECT, Asker, Context, GroupName, Namespace, Place
from orderbook_operator.plugin.redaction import Redactor, secret_summary
from orderbook_operator.plugin.status import ask
from orderbook_operator.seen import secret_seen

LOG_SECONDS = 60.0
LOG_BYTES = 32 << 20
METRICS_SECONDS = 5.0
OPERATOR_LABELS = {"app.kubernetes.io/name": names.FIELD_MANAGER}
KINDS = (POD, SERVICE, SERVICE_ACCOUNT, CLAIM, STATEFUL_SET, REVISION, DISRUPTION_BUDGET, NETWORK_POLICY)

Json = dict[str, Any]


@told
def diagnose(
    group: GroupName,
    file: Annotated[
        Path | None,
        typer.Option("--file", "-f", help="What to write, a .tar.gz; left out: its name has group and time."),
    ] = None,
    lines: Annotated[int, typer.Option(help="Of each log, the last ones.", min=1)] = 20_000,
    operator_namespace: Annotated[
        str | None, typer.Option(help="Where the operator is, for its logs; left out: orderbook-system.")
    ] = "orderbook-system",
    namespace: Namespace = None,
    context: Context = None,
) -> None:
    """Write one archive for a bug report: resource, objects, events, logs, what nodes say of themselves, metrics.

    Of Secrets it holds names of keys, sizes and digests. Tokens and private keys are taken out of everything, also out
    of logs. What you may not read, or what does not answer, is left out and named.

    Exit codes: 0 written, 1 refused, or the file is there already, 2 wrong options, 3 the API server does not answer.

    Example: kubectl orderbook diagnose eth -n trading
    """
    now = time.time()
    stem = time.strftime(f"orderbook-{group}-%Y%m%dT%H%M%SZ", time.gmtime(now))
    target = file or Path(f"{stem}.tar.gz")
    if not target.name.endswith(".tar.gz"):
        raise Problem(f"--file is a .tar.gz, not {target}", EXIT_USAGE)
    archive = collect(Place(namespace, context), group, stem, lines, operator_namespace or "")
    try:
        archive.write(target, now)
    except OSError as error:
        raise Problem(f"{target}: {error.strerror}") from error
    typer.echo(f"{target}: {len(archive)} files, secrets left out; look through it before you hand it on")
    for what, why in archive.problems.items():
        typer.echo(f"left out {what}: {why}", err=True)


def collect(place: Place, group: str, stem: str, lines: int, operator_namespace: str) -> Archive:
    """Raises Problem if there is no such group, ClusterError."""
    asker = Asker(SUBJECT, "observer")

    async def from_cluster() -> tuple[Archive, Found | None]:
        async with open_kubernetes(place) as kubernetes:
            resource = await kubernetes.group(group)
            secrets = await _secrets(kubernetes, group, resource.spec.tls.secret)
            readable = [secret_seen(one, ours=True).data for one in secrets.values() if not isinstance(one, str)]
            archive = Archive(stem, Redactor(readable))
            for name, secret in secrets.items():
                if isinstance(secret, str):
                    archive.missing(f"secrets/{name}.json", secret)
                else:
                    archive.add_json(f"secrets/{name}.json", secret_summary(secret))
            await _objects(kubernetes, group, archive)
            await _logs(kubernetes, kubernetes.namespace, names.selector(group), lines, archive)
            if operator_namespace:
                await _logs(kubernetes, operator_namespace, OPERATOR_LABELS, lines, archive)
            await _versions(kubernetes, archive)
            try:
                return archive, await find(kubernetes, group, asker)
            except (Problem, ClusterError) as error:
                archive.missing("nodes", reason_of(error))
                return archive, None

    archive, found = asyncio.run(from_cluster())
    if found is not None:
        try:
            with through(found, asker, everyone=True, probes=True) as entrance:
                asyncio.run(_nodes(entrance, archive))
        except Problem as error:
            archive.missing("nodes", str(error))
    return archive


async def _secrets(kubernetes: Kubernetes, group: str, own: str | None) -> dict[str, Json | str]:
    """By name; in place of one that can't be read, why."""
    found: dict[str, Json | str] = {}
    for name in (
        names.identity_secret(group),
        names.authority_secret(group),
        names.credentials_secret(group),
        *([own] if own else []),
    ):
        try:
            found[name] = await kubernetes.cluster.get(SECRET, kubernetes.namespace, name) or "there is none"
        except ClusterError as error:
            found[name] = reason_of(error)
    return found


async def _objects(kubernetes: Kubernetes, group: str, archive: Archive) -> None:
    cluster, namespace = kubernetes.cluster, kubernetes.namespace
    selector = {names.GROUP_LABEL: group}

    async def listed(path: str, asked: Awaitable[Any]) -> None:
        try:
            archive.add_json(path, await asked)
        except ClusterError as error:
            archive.missing(path, reason_of(error))

    await listed("group.json", cluster.get(GROUP, namespace, group))
    for kind in KINDS:
        await listed(f"objects/{kind.plural}.json", cluster.select(kind, namespace, selector))
    await listed("events.json", _events(cluster, namespace, group))


async def _events(cluster: Cluster, namespace: str, group: str) -> list[Json]:
    """Of the group and of whatever is named after it, in order of time."""
    found = await cluster.select(EVENT, namespace, {})
    ours = [one for one in found if _is_of(one["involvedObject"].get("name", ""), group)]
    return sorted(ours, key=lambda one: str(one.get("lastTimestamp") or one["metadata"]["creationTimestamp"]))


def _is_of(name: str, group: str) -> bool:
    return name == group or name.startswith((f"{group}-", f"{names.DATA_VOLUME}-{group}-"))


async def _logs(
    kubernetes: Kubernetes, namespace: str, labels: Mapping[str, str], lines: int, archive: Archive
) -> None:
    """Of each pod, and of the process before the present one."""
    try:
        pods = await kubernetes.cluster.select(POD, namespace, labels)
    except ClusterError as error:
        archive.missing(f"logs of {namespace}", reason_of(error))
        return
    for pod in pods:
        name = pod["metadata"]["name"]
        statuses = (pod.get("status") or {}).get("containerStatuses") or ()
        for container in statuses:
            stem = f"logs/{name}.{container['name']}"
            for path, previous in ((f"{stem}.log", False), (f"{stem}.previous.log", True)):
                if previous and not container.get("restartCount"):
                    continue
                try:
                    archive.add_text(path, await _log(kubernetes, namespace, name, container["name"], lines, previous))
                except ApiException as error:
                    archive.missing(path, str(error.reason or error.status))
                except (aiohttp.ClientError, TimeoutError, OSError) as error:
                    archive.missing(path, str(error) or type(error).__name__)


async def _log(kubernetes: Kubernetes, namespace: str, pod: str, container: str, lines: int, previous: bool) -> str:
    read = CoreV1Api(kubernetes.api).read_namespaced_pod_log
    limits: Json = {"tail_lines": lines, "limit_bytes": LOG_BYTES, "timestamps": True, "_request_timeout": LOG_SECONDS}
    return str(await read(pod, namespace, container=container, previous=previous, **limits))


async def _versions(kubernetes: Kubernetes, archive: Archive) -> None:
    document: Json = {
        "plugin": version("orderbook-group"),
        "python": platform.python_version(),
        "client": version("kubernetes"),
    }
    try:
        server = await VersionApi(kubernetes.api).get_code(_request_timeout=METRICS_SECONDS)
        document["kubernetes"] = server.git_version
    except (ApiException, aiohttp.ClientError, TimeoutError, OSError) as error:
        archive.missing("version of Kubernetes", str(error))
    archive.add_json("versions.json", document)


async def _nodes(entrance: Entrance, archive: Archive) -> None:
    documents, silent = await ask(entrance)
    for name, document in documents.items():
        archive.add_json(f"nodes/{name}/group.json", document)
    for name, why in silent.items():
        archive.missing(f"nodes/{name}/group.json", why)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=METRICS_SECONDS)) as http:
        for name, url in entrance.probes.items():
            path = f"nodes/{name}/metrics.txt"
            try:
                async with http.get(f"{url}/metrics") as response:
                    archive.add_text(path, await response.text())
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                archive.missing(path, str(error) or type(error).__name__)
