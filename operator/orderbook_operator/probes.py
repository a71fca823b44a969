"""Probes and metrics of the operator: plain HTTP, on a port of their own.

=========  ===========================================================================================================
/livez     the loop turns, the lease is tried for, and while this operator leads passes end, well or not. A restart
           would help where it fails; it never fails because passes do
/readyz    it watches the cluster: a leader, or ready to become one
/metrics   see ``metrics``
=========  ===========================================================================================================
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web
from prometheus_client.exposition import choose_encoder

from orderbook_operator.metrics import Metrics

STALLED_SECONDS = 180.0


class Vitals:
    """What the probes look at. The operator fills it in as its parts come to life; each is seconds since it turned."""

    def __init__(self) -> None:
        self.since_lease_was_tried: Callable[[], float] = lambda: 0.0
        self.since_a_pass_ended: Callable[[], float] = lambda: 0.0
        self.is_watching: Callable[[], bool] = lambda: False

    def why_not_alive(self) -> str:
        """Empty while this process is alive."""
        for what, since in (("try for the lease", self.since_lease_was_tried), ("pass", self.since_a_pass_ended)):
            if since() > STALLED_SECONDS:
                return f"no {what} has ended for {since():.0f} s"
        return ""

    def why_not_ready(self) -> str:
        return "" if self.is_watching() else "the watches are not open yet"


def application(vitals: Vitals, metrics: Metrics) -> web.Application:
    made = web.Application()
    made.router.add_get("/livez", _answer(vitals.why_not_alive))
    made.router.add_get("/readyz", _answer(vitals.why_not_ready))

    async def scrape(request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(metrics.registry), headers={"Content-Type": content_type})

    made.router.add_get("/metrics", scrape)
    return made


def _answer(probe: Callable[[], str]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_request: web.Request) -> web.Response:
        reason = probe()
        return web.json_response({"ok": not reason, "reason": reason}, status=503 if reason else 200)

    return answer
