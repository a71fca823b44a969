"""Probes and metrics of a node, on a listener of their own: plain HTTP, for the cluster only.

=========  ==========================================================================================================
/livez     the loop turns and raft's clock ticks. It is the loop that answers; a restart would help where it doesn't
/readyz    this node serves clients: it knows a leader, has applied all that it knows to be committed, and stays
/startupz  the directory is recovered, and the node takes part or looks for its group
/metrics   what ``metrics`` collects
=========  ==========================================================================================================

Each probe answers 200 or 503 with a reason. The listener can be opened before there is a group.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from aiohttp import web

from orderbook.groups.group import Group
from orderbook.groups.replica import Phase
from orderbook.groups.waiting import run_on
from orderbook.network.peers import Peers
from orderbook.runtime import Runtime
from orderbook.server.access import Access
from orderbook.server.credentials import CredentialWatch
from orderbook.server.http_statistics import HttpStatistics
from orderbook.server.metrics import Metrics
from orderbook.streams.feed import Feeds

STALLED_SECONDS = 5.0


@dataclass
class Vitals:
    """What the probes look at. The node fills it in as its parts come to life, and sets ``draining`` before it ends."""

    name: str = ""
    group: Group | None = None
    feeds: Feeds | None = None
    peers: Peers | None = None
    credentials: CredentialWatch | None = None
    access: Access | None = None
    http: HttpStatistics | None = None
    refused_connections: dict[str, int] = field(default_factory=lambda: {"client_port": 0, "probe_port": 0})
    draining: bool = False


def probe_application(runtime: Runtime, vitals: Vitals) -> web.Application:
    """See the table above."""
    application = web.Application()
    probes: dict[str, Callable[[], str]] = {
        "/livez": lambda: why_not_alive(runtime, vitals),
        "/readyz": lambda: why_not_ready(vitals),
        "/startupz": lambda: "" if vitals.group is not None else "the directory is being recovered",
    }
    for path, probe in probes.items():
        application.router.add_get(path, _answer(probe))
    metrics = Metrics(runtime, vitals)
    worker = runtime.worker("metrics")

    async def scrape(request: web.Request) -> web.Response:
        """Collected on the loop, where all of it lives; encoded off it, where it takes no time from consensus."""
        encode = metrics.scrape(request.headers.get("Accept", ""))
        text, content_type = await run_on(worker, encode)
        return web.Response(body=text, headers={"Content-Type": content_type})

    async def close_worker(_application: web.Application) -> AsyncIterator[None]:
        yield
        worker.close()

    application.router.add_get("/metrics", scrape)
    application.cleanup_ctx.append(close_worker)
    return application


def why_not_alive(runtime: Runtime, vitals: Vitals) -> str:
    """Empty while this process is alive."""
    replica = vitals.group.replica if vitals.group is not None else None
    if replica is None:
        return ""
    if replica.phase is Phase.STOPPED:
        return "this member has stopped"
    silent = runtime.monotonic() - replica.statistics.ticked_at
    if silent > STALLED_SECONDS + 10 * replica.options.tick:
        return f"no tick for {silent:.1f} s"
    return ""


def why_not_ready(vitals: Vitals) -> str:
    """Empty while this node serves clients."""
    group = vitals.group
    if vitals.draining:
        return "draining"
    if group is None:
        return "starting"
    if group.replica is None:
        return f"joining: {group.waits_for}"
    if group.replica.phase is not Phase.MEMBER:
        return group.replica.phase.value
    if not group.replica.leader:
        return "no_leader"
    return "" if group.is_online else "catching_up"


def _answer(probe: Callable[[], str]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_request: web.Request) -> web.Response:
        reason = probe()
        document = {"ok": not reason, "reason": reason}
        return web.json_response(document, status=503 if reason else 200)

    return answer
