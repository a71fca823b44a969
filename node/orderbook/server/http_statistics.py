"""How long requests of clients took, by route and class of status: plain numbers that a scrape puts names to.

Labels are bounded: the route is a template of the table (``/v1/orders/{id}``), ``none`` where no route is meant, the
status its first digit (``2xx``). WebSockets are not counted here: they last as long as their clients like.
"""

from __future__ import annotations

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from orderbook.groups.statistics import Histogram
from orderbook.runtime import Runtime

NO_ROUTE = "none"


class HttpStatistics:
    """``seconds`` by (route, status class)."""

    def __init__(self, runtime: Runtime) -> None:
        self.seconds: dict[tuple[str, str], Histogram] = {}
        self._runtime = runtime

    def middleware(self) -> Middleware:
        """The outermost one: it sees the answer as the client does."""

        @web.middleware
        async def observe(request: web.Request, handler: Handler) -> web.StreamResponse:
            began = self._runtime.monotonic()
            response = await handler(request)
            if response.status >= 200:
                self._observe(request, response.status, self._runtime.monotonic() - began)
            return response

        return observe

    def _observe(self, request: web.Request, status: int, seconds: float) -> None:
        resource = request.match_info.route.resource
        key = (resource.canonical if resource is not None else NO_ROUTE, f"{status // 100}xx")
        histogram = self.seconds.get(key)
        if histogram is None:
            histogram = self.seconds[key] = Histogram()
        histogram.observe(seconds)


HTTP_STATISTICS = web.AppKey("HTTP_STATISTICS", HttpStatistics)
"""Where ``client_application`` keeps its own."""
