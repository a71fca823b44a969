"""The open WebSockets of a node's clients: each ends, with a reason that its client can act on, when its grant does.

=====================  ==============================================================================================
reason                 what a client does
=====================  ==============================================================================================
``token_expired``      connect again, here or elsewhere, with a new token; sessions and sequences go on
``token_key_dropped``  the same: the key that signed its token is trusted no longer
``going_away``         connect to another node at once: this one leaves (close code 1001)
=====================  ==============================================================================================

Each holds a queue, so they are bounded in number, in all and by principal: one more is refused before it is opened
(503), or, where several came at once, closed (1013, try again later). The reasons are ``too_many_streams``, for which
another node may have room, and ``too_many_streams_of_one``. Without tokens nobody is known, and only the first counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

from orderbook.groups.errors import Unavailable
from orderbook.runtime import Runtime, Timer
from orderbook.server.access import Access, Grant
from orderbook.server.websocket import (
    GOING_AWAY,
    TOO_MANY_STREAMS,
    TOO_MANY_STREAMS_OF_ONE,
    WebSocketConnection,
)

MAX_STREAMS = 1000
MAX_STREAMS_OF_ONE = 250
_LOOK_AGAIN_SECONDS = 3600.0  # clocks are set; no timer is longer


class ClientSockets:
    """One for all WebSocket routes of an application: ``most`` at the same time, ``most_of_one`` of a principal."""

    def __init__(
        self, runtime: Runtime, access: Access, most: int = MAX_STREAMS, most_of_one: int = MAX_STREAMS_OF_ONE
    ) -> None:
        self.access = access
        self._most = most
        self._most_of_one = most_of_one if access.mode == "tokens" else most
        self._of_one: dict[str, int] = {}
        self._runtime = runtime
        self._open: dict[WebSocketConnection, Grant] = {}
        self._timers: dict[WebSocketConnection, Timer] = {}
        self._leaving = False

    def __len__(self) -> int:
        return len(self._open)

    def grant(self, request: web.Request) -> Grant:
        """Who wants a WebSocket. Raises ApiError, Unavailable."""
        granted = self.access.grant(request)
        if self._leaving:
            raise Unavailable("stopped")
        reason = self._why_full(len(self._open) + 1, self._of_one.get(granted.name, 0) + 1)
        if reason:
            raise Unavailable(reason)
        return granted

    def _why_full(self, wanted: int, wanted_of_one: int) -> str:
        if wanted > self._most:
            return TOO_MANY_STREAMS
        return TOO_MANY_STREAMS_OF_ONE if wanted_of_one > self._most_of_one else ""

    @contextmanager
    def opened(self, connection: WebSocketConnection, grant: Grant) -> Iterator[None]:
        """While a connection is open."""
        self._open[connection] = grant
        self._of_one[grant.name] = self._of_one.get(grant.name, 0) + 1
        self._look(connection)
        try:
            if self._leaving:
                connection.close(GOING_AWAY)
            elif reason := self._why_full(len(self._open), self._of_one[grant.name]):
                connection.close(reason)
            yield
        finally:
            del self._open[connection]
            self._of_one[grant.name] -= 1
            if not self._of_one[grant.name]:
                del self._of_one[grant.name]
            timer = self._timers.pop(connection, None)
            if timer is not None:
                timer.cancel()

    def recheck(self) -> None:
        """The keys changed: end those whose grant went with them."""
        for connection in list(self._open):
            self._look(connection)

    def leave(self) -> None:
        """Send everyone to another node."""
        self._leaving = True
        for connection in list(self._open):
            connection.close(GOING_AWAY)

    def _look(self, connection: WebSocketConnection) -> None:
        grant = self._open.get(connection)
        if grant is None:
            return
        reason = self.access.why_over(grant)
        if reason:
            connection.close(reason)
            return
        if grant.expires is None:
            return
        timer = self._timers.pop(connection, None)
        if timer is not None:
            timer.cancel()
        left = grant.expires - self._runtime.wall_ms() / 1000
        delay = min(max(left, 0.0) + 0.001, _LOOK_AGAIN_SECONDS)
        self._timers[connection] = self._runtime.call_later(delay, self._look, connection)
