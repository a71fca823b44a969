"""One application at one port: each connection has a deadline for what it has yet to say, and there is a bound on all.

==============================================  ====================================================
a connection                                    ends after
==============================================  ====================================================
in a TLS handshake, or that has said nothing    10 s (``network.listener``)
that is idle, or half way through a head        30 s (``REQUEST_SECONDS``)
half way through a body                         30 s, with 408 (``application``)
that takes nothing of what is written to it     30 s (``network.listener``)
==============================================  ====================================================

An idle WebSocket does not end: it is pinged, and ends when no pong comes.
"""

from __future__ import annotations

import resource
import ssl

from aiohttp import web

from orderbook.network.listener import Listener, OnFailure
from orderbook.runtime import Runtime

REQUEST_SECONDS = 30.0
SHUTDOWN_SECONDS = 2.0
RESERVED_DESCRIPTORS = 640  # for peers, probes, files and what a start leaves open
MIN_CONNECTIONS = 16


class HttpServer:
    """``most``: connections at the same time. Make it in a coroutine, ``start``, and ``close`` it."""

    def __init__(
        self,
        runtime: Runtime,
        application: web.Application,
        tls: ssl.SSLContext | None,
        on_refused: OnFailure,
        most: int,
        request_seconds: float = REQUEST_SECONDS,
    ) -> None:
        self.url = ""  # once started
        self._runtime = runtime
        self._tls = tls
        self._on_refused = on_refused
        self._most = most
        self._runner = web.AppRunner(
            application, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS, keepalive_timeout=request_seconds
        )
        self._listener: Listener | None = None

    async def start(self, host: str, port: int) -> None:
        """Raises OSError."""
        await self._runner.setup()
        server = self._runner.server
        assert server is not None  # it was set up
        self._listener = Listener(
            self._runtime,
            server,
            self._tls,
            self._on_refused,
            open_now=lambda: len(server.connections),
            most=self._most,
        )
        await self._listener.start(host, port)
        shown = f"[{self._listener.host}]" if ":" in self._listener.host else self._listener.host
        self.url = f"{'http' if self._tls is None else 'https'}://{shown}:{self._listener.port}"

    async def stop_listening(self) -> None:
        if self._listener is not None:
            await self._listener.close()

    async def close(self) -> None:
        await self.stop_listening()
        await self._runner.cleanup()


def room_for_connections(wanted: int) -> int:
    """How many of so many connections this process has descriptors for, beside its reserve; at least a few.

    The soft limit is raised as far as that needs and the hard limit allows.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + RESERVED_DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < needed:
        raised = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        if raised > soft:
            resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
            soft = raised
        return max(MIN_CONNECTIONS, min(wanted, soft - RESERVED_DESCRIPTORS))
    return wanted
