"""The HTTP surface of a node for clients: the routes of /v1 and their description, on one listener.

A request is checked whole (role, path, query, body) before its handler sees it; every error leaves in the one shape of
``api_errors``. Responses are plain documents; bodies are at most 1 MiB; a WebSocket's queue is bounded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from aiohttp import web
from multidict import MultiMapping
from pydantic import BaseModel, TypeAdapter, ValidationError

from orderbook.groups.group import Group
from orderbook.runtime import Runtime
from orderbook.server import openapi
from orderbook.server.access import Access, OpenAccess
from orderbook.server.api_calls import Call, Principal, Route, Security
from orderbook.server.api_errors import ApiError, errors_as_json, invalid, invalid_by
from orderbook.server.api_fields import Parameters
from orderbook.server.api_routes import ROUTES
from orderbook.server.client_sockets import ClientSockets
from orderbook.server.credentials import NOTHING_LOADED, CredentialReport
from orderbook.server.http_statistics import HTTP_STATISTICS, HttpStatistics
from orderbook.server.order_stream import order_stream
from orderbook.server.stream_routes import add_relay_route, add_stream_routes
from orderbook.server.websocket import MAX_QUEUED_BYTES
from orderbook.streams.feed import Feeds
from orderbook.streams.members import MemberStreams
from orderbook.streams.order_watch import OrderWatch

MAX_BODY_BYTES = 1 << 20
BODY_SECONDS = 30.0
IDEMPOTENCY_KEY = "Idempotency-Key"
_MAX_KEY = 256

ParametersType = TypeVar("ParametersType", bound=Parameters)


def client_application(
    runtime: Runtime,
    group: Group,
    feeds: Feeds | None = None,
    access: Access | None = None,
    max_queued_bytes: int = MAX_QUEUED_BYTES,
    watch: OrderWatch | None = None,
    streams: MemberStreams | None = None,
    sockets: ClientSockets | None = None,
    credentials: Callable[[], CredentialReport] = lambda: NOTHING_LOADED,
    body_seconds: float = BODY_SECONDS,
) -> web.Application:
    """What clients talk to. ``access`` says who asks, once a request; without one everyone is an admin.

    ``sockets``, with the same access, lets the caller end the WebSockets. ``credentials`` is what the status tells.
    Without ``feeds`` only the order stream is served. ``max_queued_bytes`` bounds what waits for one stream's client.
    ``watch`` lets members see the orders that come in, ``streams`` lets admins see what members stream to each other.
    The body of a request has ``body_seconds`` to come.
    """
    access = access if access is not None else OpenAccess()
    sockets = sockets if sockets is not None else ClientSockets(runtime, access)
    statistics = HttpStatistics(runtime)
    application = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[statistics.middleware(), errors_as_json])
    application[HTTP_STATISTICS] = statistics
    for route in ROUTES:
        application.router.add_route(
            route.method, route.path, _dispatch(route, group, access, credentials, body_seconds)
        )
    stream = order_stream(runtime, group, sockets, max_queued_bytes, watch)
    application.router.add_get("/v1/streams/orders", stream, allow_head=False)
    if feeds is not None:
        add_stream_routes(application, runtime, feeds, sockets)
    if streams is not None:
        add_relay_route(application, runtime, streams, sockets)
    served = [route for route in application.router.resources() if route.canonical in openapi.STREAMS]
    described = openapi.document(ROUTES, [route.canonical for route in served])

    async def describe(_request: web.Request) -> web.Response:
        return web.json_response(described)

    application.router.add_get("/openapi.json", describe, allow_head=False)
    return application


def _dispatch(
    route: Route, group: Group, access: Access, credentials: Callable[[], CredentialReport], body_seconds: float
) -> Callable[[web.Request], Awaitable[web.Response]]:
    bodies = _Bodies(route, body_seconds)

    async def serve(request: web.Request) -> web.Response:
        grant = access.grant(request)
        if grant.role < route.role:
            raise access.forbidden(f"this is for the role {route.role.name.lower()}, not {grant.role.name.lower()}")
        call = Call(
            group,
            Principal(grant.name, grant.role),
            _idempotency_key(request) if route.keyed else None,
            _parameters("path", route.path_model, request.match_info),
            _parameters("query", route.query_model, request.query),
            await bodies.read(request),
            Security(access.mode, credentials()),
        )
        document, status, headers = await route.handler(call)
        return web.json_response(document, status=status, headers=headers)

    return serve


def _parameters(place: str, model: type[ParametersType], values: Any) -> ParametersType:
    if isinstance(values, MultiMapping) and len(values) != len(set(values)):
        repeated = sorted(name for name in set(values) if len(values.getall(name)) > 1)
        raise invalid((f"{place}.{name[:80]}", "given more than once") for name in repeated)
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise invalid_by(place, error) from error


def _idempotency_key(request: web.Request) -> str | None:
    keys = request.headers.getall(IDEMPOTENCY_KEY, [])
    if not keys:
        return None
    if len(keys) > 1 or not 1 <= len(keys[0]) <= _MAX_KEY or not (keys[0].isascii() and keys[0].isprintable()):
        raise invalid([(f"header.{IDEMPOTENCY_KEY}", f"1 to {_MAX_KEY} printable ASCII characters are allowed, once")])
    return keys[0]


class _Bodies:
    """Reads the body of a route's requests as its model."""

    def __init__(self, route: Route, seconds: float) -> None:
        self._route = route
        self._seconds = seconds
        self._one: TypeAdapter[BaseModel] | None = TypeAdapter(route.body) if route.body is not None else None
        self._many: TypeAdapter[Any] | None = TypeAdapter(route.body_list) if route.body_list is not None else None

    async def read(self, request: web.Request) -> Any:
        """The checked body; None for a route that takes none. Raises ApiError."""
        try:
            async with asyncio.timeout(self._seconds):
                data = await request.read()
        except TimeoutError as error:
            message = f"the body did not come within {self._seconds:g} s; nothing was done"
            raise ApiError(408, "request_timeout", message, {"Connection": "close"}) from error
        if self._one is None:
            if data:
                raise invalid([("body", "this route takes none")])
            return None
        if not data and self._route.body_optional:
            data = b"{}"
        elif request.content_type != "application/json":
            raise ApiError(415, "unsupported_media_type", "a body is sent with Content-Type: application/json")
        is_list = self._many is not None and data.lstrip()[:1] == b"["
        adapter = self._many if is_list and self._many is not None else self._one
        try:
            return adapter.validate_json(data)
        except ValidationError as error:
            raise invalid_by("body", error) from error
