"""``orderbook-operator``: the process. Everything is made here, and ended in the opposite order.

Exit codes: 0 stopped, 1 it failed (its log says why), 2 wrong configuration.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Annotated, Any, Literal

import kopf
import typer
from aiohttp import web
from prometheus_client import disable_created_metrics

from orderbook.server import logs
from orderbook.server.runtime import AsyncioRuntime
from orderbook_operator import act, handlers, names, probes
from orderbook_operator.cluster import GROUP, Cluster, ClusterError, connect
from orderbook_operator.events import Recorder
from orderbook_operator.groups import Groups, log_fields
from orderbook_operator.lease import Lease
from orderbook_operator.metrics import Metrics
from orderbook_operator.nodes import open_nodes
from orderbook_operator.observe import Observer, Surroundings
from orderbook_operator.reconcile import Reconciler

IN_CLUSTER_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
STOP_SECONDS = 3.0
DEFINITION_SECONDS = 2.0
WATCHED = (
    ("v1", "pods"),
    ("v1", "services"),
    ("v1", "serviceaccounts"),
    ("v1", "persistentvolumeclaims"),
    ("apps", "v1", "statefulsets"),
    ("policy", "v1", "poddisruptionbudgets"),
    ("networking.k8s.io", "v1", "networkpolicies"),
)

_logger = logging.getLogger("orderbook.operator")


@dataclass(frozen=True)
class Options:
    """``namespaces`` empty: the whole cluster. ``namespace`` is the operator's own, where its Lease is."""

    namespaces: tuple[str, ...]
    namespace: str
    image: str
    lease: str = "orderbook-operator"
    read_nodes: bool = True
    host: str = "0.0.0.0"
    port: int = 9465
    log: Literal["auto", "human", "json"] = "auto"
    failpoint: str = ""


async def serve(options: Options) -> int:
    """Run until SIGTERM or a failure; the exit code."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[int] = loop.create_future()

    def end(code: int) -> None:
        if not ended.done():
            ended.set_result(code)

    def failed(error: BaseException) -> None:
        _logger.critical("the operator must end: %s", error, exc_info=error)
        end(1)

    async with AsyncExitStack() as parts:
        metrics, vitals = Metrics(), probes.Vitals()
        instance = f"{socket.gethostname()}-{os.urandom(4).hex()}"
        cluster = await parts.enter_async_context(connect(metrics.requested))
        nodes = await parts.enter_async_context(open_nodes(AsyncioRuntime(failed)))
        lease = Lease(cluster, options.namespace, options.lease, instance)
        surroundings = Surroundings(cluster, may_read_nodes=options.read_nodes)
        observer = Observer(
            cluster, nodes, surroundings, default_image=options.image, operator_namespace=options.namespace
        )
        actor = act.Actor(cluster, nodes, act.failpoint(options.failpoint))
        reconciler = Reconciler(cluster, observer, actor, Recorder(cluster, instance), metrics, lease.valid)
        groups = Groups(reconciler, metrics, Random())
        watching = asyncio.Event()
        metrics.is_leading = lease.valid
        vitals.since_lease_was_tried = lambda: loop.time() - lease.tried_at
        vitals.since_a_pass_ended = groups.stalled_for
        vitals.is_watching = watching.is_set
        await _listen(parts, probes.application(vitals, metrics), options)

        stop_watching = asyncio.Event()
        tasks = {
            "watches": asyncio.create_task(_watch(options, cluster, groups, watching, stop_watching)),
            "lease": asyncio.create_task(lease.run()),
            "leading": asyncio.create_task(_lead(lease, groups)),
        }
        for task in (*tasks.values(), groups.failure):
            task.add_done_callback(lambda done: _ended(done, failed, end))
        await _take_signals(watching, ended, end, tasks["watches"])
        code = await ended
        await _stop(tasks, groups, stop_watching)
        return code


def _ended(task: asyncio.Future[Any], failed: Any, end: Any) -> None:
    """No part ends by itself, but the watches on a signal that came while they were being opened."""
    error = None if task.cancelled() else task.exception()
    if error is not None:
        failed(error)
    else:
        end(0)


async def _lead(lease: Lease, groups: Groups) -> None:
    while True:
        await lease.acquired()
        _logger.info("leading", extra={"fields": {"holder": lease.holder}})
        groups.start()
        try:
            await lease.lost()
        finally:
            await groups.stop()
        _logger.warning("the lease is lost: nothing is done until it is held again")


async def definition_served(cluster: Cluster, every: float = DEFINITION_SECONDS) -> None:
    """Return once the API server has OrderBookGroups. kopf looks once, when it starts, and then is blind for ever."""
    while True:
        try:
            if await cluster.serves(GROUP):
                return
            _logger.warning("waits for the definition %s.%s: it is not there", names.PLURAL, names.API_GROUP)
        except ClusterError as error:
            _logger.warning("waits for the definition %s.%s: %s", names.PLURAL, names.API_GROUP, error)
        await asyncio.sleep(every)


async def _watch(options: Options, cluster: Cluster, groups: Groups, ready: asyncio.Event, stop: asyncio.Event) -> None:
    await definition_served(cluster)
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = bool(options.namespaces)
    settings.networking.request_timeout = 30.0
    # Nothing here makes kopf write to a resource; if anything ever did, it would be under names of ours.
    settings.persistence.finalizer = f"{names.API_GROUP}/unused"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=names.API_GROUP)
    settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=names.API_GROUP)
    for resource in WATCHED:
        settings.watching.label_selectors[resource] = names.GROUP_LABEL
    unused: Any = names.FIELD_MANAGER  # of peering, which is off; made up by kopf it would need an entry in /etc/passwd
    await kopf.operator(
        settings=settings,
        identity=unused,
        memo=kopf.Memo(groups=groups),
        standalone=True,
        clusterwide=not options.namespaces,
        namespaces=options.namespaces,
        ready_flag=ready,
        stop_flag=stop,
    )


async def _take_signals(
    watching: asyncio.Event, ended: asyncio.Future[int], end: Any, watches: asyncio.Task[None]
) -> None:
    """kopf installs handlers of its own when it starts; ours come once more, so that the lease is given back first."""
    opened = asyncio.create_task(watching.wait())
    _handle_signals(end)
    await asyncio.wait((opened, watches, ended), return_when=asyncio.FIRST_COMPLETED)
    opened.cancel()
    _handle_signals(end)


def _handle_signals(end: Any) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, end, 0)


async def _listen(parts: AsyncExitStack, application: web.Application, options: Options) -> None:
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    parts.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, options.host, options.port).start()
    _logger.info("listening", extra={"fields": {"address": f"{options.host}:{options.port}"}})


async def _stop(tasks: dict[str, asyncio.Task[None]], groups: Groups, stop_watching: asyncio.Event) -> None:
    """Stop acting, give the lease back, end the watches."""
    _logger.info("stopping")
    for name in ("leading", "lease"):
        tasks[name].cancel()
        await asyncio.wait((tasks[name],), timeout=STOP_SECONDS)
    stop_watching.set()
    await asyncio.wait((tasks["watches"],), timeout=STOP_SECONDS)
    tasks["watches"].cancel()


def run(
    namespace: Annotated[
        list[str] | None,
        typer.Option(help="A namespace whose groups it runs; may be repeated. None: the whole cluster."),
    ] = None,
    image: Annotated[
        str, typer.Option(envvar="ORDERBOOK_IMAGE", help="Image of nodes where a group names none: its own.")
    ] = "",
    operator_namespace: Annotated[
        str, typer.Option(envvar="ORDERBOOK_OPERATOR_NAMESPACE", help="Where the operator is; in a pod it is known.")
    ] = "",
    lease: Annotated[str, typer.Option(help="Name of the Lease in the operator's namespace.")] = "orderbook-operator",
    read_nodes: Annotated[
        bool, typer.Option(envvar="ORDERBOOK_OPERATOR_READ_NODES", help="Read the cluster's nodes, for zones.")
    ] = True,
    host: Annotated[str, typer.Option(help="Address of probes and metrics.")] = "0.0.0.0",
    port: Annotated[int, typer.Option(help="Port of probes and metrics.")] = 9465,
    log: Annotated[str, typer.Option(help="auto, human or json.")] = "auto",
) -> None:
    """Run the operator of OrderBookGroups until SIGTERM.

    ORDERBOOK_OPERATOR_NAMESPACES may name the namespaces instead, divided by commas. Exit codes: 0 stopped, 1 it
    failed, 2 wrong configuration.
    """
    listed = os.environ.get("ORDERBOOK_OPERATOR_NAMESPACES", "")
    namespaces = namespace or [part.strip() for part in listed.split(",") if part.strip()]
    failpoint = os.environ.get("ORDERBOOK_FAILPOINT", "")  # for tests: see act.FAILPOINTS
    own = operator_namespace or (IN_CLUSTER_NAMESPACE.read_text().strip() if IN_CLUSTER_NAMESPACE.exists() else "")
    problem = _problem(image, own, log, failpoint)
    if problem:
        typer.echo(f"orderbook-operator: {problem}", err=True)
        raise typer.Exit(2)
    style: Any = log
    options = Options(tuple(namespaces), own, image, lease, read_nodes, host, port, style, failpoint)
    logs.set_up(options.log, names.FIELD_MANAGER, log_fields)
    disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series a counter, of no use to anybody
    logging.getLogger("kopf").setLevel(logging.WARNING)  # it tells of every event that it hands over
    raise typer.Exit(asyncio.run(serve(options)))


def _problem(image: str, namespace: str, log: str, failpoint: str) -> str:
    if not image:
        return "--image (or ORDERBOOK_IMAGE) is missing: the image of nodes where a group names none"
    if not namespace:
        return "--operator-namespace is missing: it can't be told where the operator is, outside of a pod"
    if log not in ("auto", "human", "json"):
        return f"--log is auto, human or json, not {log!r}"
    try:
        act.failpoint(failpoint)
    except ValueError as error:
        return f"ORDERBOOK_FAILPOINT: {error}"
    return ""


def main() -> None:
    assert handlers.resource_changed is not None  # importing them is what registers them
    typer.run(run)


if __name__ == "__main__":
    main()
