"""The WebSocket routes of the feeds: /v1/streams/{fills,events,book}. Frames of ``wire.feed_frames``, or these as JSON.

Query: ``from=index,ordinal`` the first sequence that is wanted (``oldest``: everything that this node has; left out:
what comes next), ``incarnation=`` of the token that it is from (hex), ``pair=BASE/QUOTE`` (left out: all).

Subprotocol ``orderbook.v1.msgpack`` gives binary frames, ``orderbook.v1.json`` or none gives text; of several the
client's first counts. What is wrong with a request is answered before the socket is opened: 400, 404 (no such pair, no
such feed), 503 (this node serves nobody now: try another).

/v1/streams/members?type=NAME gives admins what members stream to each other; see ``streams.relay``.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

from aiohttp import web

from orderbook.book import Order
from orderbook.groups.errors import Unavailable
from orderbook.runtime import Runtime
from orderbook.server.access import Grant
from orderbook.server.api_errors import RETRY_AFTER
from orderbook.server.client_sockets import ClientSockets
from orderbook.server.websocket import WebSocketConnection
from orderbook.streams.audience import FeedKind
from orderbook.streams.feed import FeedRequest, Feeds, NotOffered
from orderbook.streams.members import MemberStreams
from orderbook.wire.datum_frames import MAX_NAME_BYTES
from orderbook.wire.feed_frames import JSON_SUBPROTOCOL, MSGPACK_SUBPROTOCOL, OLDEST
from orderbook.wire.frames import INCARNATION_BYTES
from orderbook.wire.roles import Role

_SEQUENCE = re.compile(r"([0-9]{1,18}),([0-9]{1,18})")
_PAIR = re.compile(r"[^/\s]{1,64}/[^/\s]{1,64}")


def add_stream_routes(application: web.Application, runtime: Runtime, feeds: Feeds, sockets: ClientSockets) -> None:
    for kind in FeedKind:
        application.router.add_get(f"/v1/streams/{kind}", _route(kind, runtime, feeds, sockets))


def add_relay_route(
    application: web.Application, runtime: Runtime, streams: MemberStreams, sockets: ClientSockets
) -> None:
    """Let admins watch what members stream to each other: the orders of clients, if no ``type`` is given."""

    async def serve(request: web.Request) -> web.StreamResponse:
        grant = sockets.grant(request)
        name = request.query.get("type", Order.__qualname__)
        if grant.role != Role.ADMIN:
            raise sockets.access.forbidden(f"this is for the role admin, not {grant.role.name.lower()}")
        if not 1 <= len(name.encode()) <= MAX_NAME_BYTES:
            return _problem(400, "invalid_query", f"type is a name of 1 to {MAX_NAME_BYTES} bytes, not {name!r:.80}")
        socket = web.WebSocketResponse(
            protocols=(MSGPACK_SUBPROTOCOL,), max_msg_size=1024, heartbeat=5.0, compress=False
        )
        if not socket.can_prepare(request):
            return _problem(426, "upgrade_required", "this is a WebSocket")
        await socket.prepare(request)
        connection = WebSocketConnection(request, socket, grant.name, grant.role)
        writing = runtime.spawn(connection.write(), f"write stream of {name}")
        relay = streams.relay(name, connection)
        try:
            with sockets.opened(connection, grant):
                async for _message in socket:
                    connection.close("a relayed stream takes no messages")
        finally:
            streams.end_relay(relay)
            connection.close("closed")
            writing.cancel()
        return socket

    application.router.add_get("/v1/streams/members", serve, allow_head=False)


def _route(
    kind: FeedKind, runtime: Runtime, feeds: Feeds, sockets: ClientSockets
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def serve(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(
            protocols=(MSGPACK_SUBPROTOCOL, JSON_SUBPROTOCOL), max_msg_size=1024, heartbeat=5.0, compress=False
        )
        try:
            grant = sockets.grant(request)
            wanted = feed_request(kind, request)
            feeds.check(wanted, grant.role)
        except Unavailable as error:
            return _problem(503, error.reason, f"this node serves no feeds now: {error.reason}")
        except NotOffered as error:
            return _problem(404, error.code, str(error))
        except ValueError as error:
            return _problem(400, "invalid_query", str(error))
        if not socket.can_prepare(request):
            return _problem(426, "upgrade_required", "this is a WebSocket")
        await socket.prepare(request)
        wanted = wanted._replace(text=socket.ws_protocol != MSGPACK_SUBPROTOCOL)
        await _serve(request, socket, wanted, runtime, feeds, grant, sockets)
        return socket

    return serve


async def _serve(
    request: web.Request,
    socket: web.WebSocketResponse,
    wanted: FeedRequest,
    runtime: Runtime,
    feeds: Feeds,
    grant: Grant,
    sockets: ClientSockets,
) -> None:
    connection = WebSocketConnection(request, socket, grant.name, grant.role, text=wanted.text)
    writing = runtime.spawn(connection.write(), f"write {wanted.kind} feed")
    subscription = None
    try:
        with sockets.opened(connection, grant):
            subscription = feeds.subscribe(connection, wanted)
            async for _message in socket:
                connection.close("a feed takes no messages")
    except Unavailable as error:
        connection.close(error.reason)
    except NotOffered as error:
        connection.close(error.code)
    finally:
        if subscription is not None:
            feeds.unsubscribe(subscription)
        connection.close("closed")
        writing.cancel()


def feed_request(kind: FeedKind, request: web.Request) -> FeedRequest:
    """What the query asks for. Raises ValueError with key, value and what is allowed."""
    for key in request.query:
        if key not in ("from", "incarnation", "pair"):
            raise ValueError(f"{key!r} is no parameter; there are from, incarnation, pair")
    start = None
    oldest = request.query.get("from") == OLDEST
    if (text := request.query.get("from")) is not None and not oldest:
        match = _SEQUENCE.fullmatch(text)
        if match is None:
            raise ValueError(
                f"from is a sequence, index,ordinal (integers from 0 to 10^18-1), or oldest, not {text!r:.80}"
            )
        start = (int(match[1]), int(match[2]))
    incarnation = None
    if (text := request.query.get("incarnation")) is not None:
        if re.fullmatch(rf"[0-9a-f]{{{2 * INCARNATION_BYTES}}}", text) is None:
            raise ValueError(f"incarnation is {2 * INCARNATION_BYTES} hexadecimal digits, not {text!r:.80}")
        incarnation = bytes.fromhex(text)
    pair = request.query.get("pair")
    if pair is not None and _PAIR.fullmatch(pair) is None:
        raise ValueError(f"pair is BASE/QUOTE, not {pair!r:.80}")
    return FeedRequest(kind, pair, start, incarnation, oldest=oldest)


def _problem(status: int, code: str, message: str) -> web.Response:
    headers = RETRY_AFTER if status == 503 else None
    return web.json_response({"error": {"code": code, "message": message}}, status=status, headers=headers)
