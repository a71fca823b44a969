"""/openapi.json: OpenAPI 3.1, made from the table of routes and the models that requests are checked with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any, get_args

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import models_json_schema

from orderbook.server import order_stream_json
from orderbook.server.api_answers import Failure, StreamFailure
from orderbook.server.api_calls import INDEX_HEADER, REPLAYED_HEADER, Route
from orderbook.server.api_fields import Parameters
from orderbook.wire.feed_frames import JSON_SUBPROTOCOL, MSGPACK_SUBPROTOCOL

Document = dict[str, Any]

_REFERENCE = "#/components/schemas/{model}"
_MEANINGS = {
    400: "The request is no request; `problems` names each field and what is allowed there. Nothing was done.",
    401: "No valid token.",
    403: "The role may not do this.",
    408: "The body did not come in time. Nothing was done.",
    409: "It does not fit the present membership or leadership; `reason` says why.",
    413: "The body is larger than 1 MiB.",
    415: "The body is not declared as application/json.",
    421: "Only the leader does this; `leader` names it.",
    422: "Answered by the group, and refused: `reason` says why. Nothing changed.",
    500: "A fault of this node.",
    503: "Surely not done; `reason` says why. Trying again is safe.",
    504: "Uncertain: it may have been done. Only a repeat under the same Idempotency-Key is safe.",
}
_KEY_PARAMETER = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Repeats under one key are answered alike and run once; with another request it is refused (422).",
    "schema": {"type": "string", "minLength": 1, "maxLength": 256, "pattern": "^[ -~]+$"},
}
_INDEX = {"description": "the place in the log that the answer stands at", "schema": {"type": "string"}}
_REPLAYED = {"description": "true: a repeat, answered from before", "schema": {"type": "string"}}
_RETRY = {"description": "seconds", "schema": {"type": "string"}}
STREAMS: Mapping[str, str] = {
    "/v1/streams/orders": "Orders in, one reply to each request out (WebSocket, msgpack or JSON)",
    "/v1/streams/fills": "Fills, in sequence, from where one left off (WebSocket, msgpack or JSON)",
    "/v1/streams/events": "Events, in sequence, from where one left off (WebSocket, msgpack or JSON)",
    "/v1/streams/book": "Changes of levels, after a snapshot of them (WebSocket, msgpack or JSON)",
    "/v1/streams/members": "What members stream to each other, for admins (WebSocket, msgpack)",
}
_FEED_QUERY = {
    "from": (
        "^([0-9]{1,18},[0-9]{1,18}|oldest)$",
        "the first sequence that is wanted; oldest: all that this node has; left out: what comes next",
    ),
    "incarnation": ("^[0-9a-f]{32}$", "of the group that the sequence is from"),
    "pair": ("^[^/]+/[^/]+$", "left out: all"),
}
_STREAM_QUERY = {
    "/v1/streams/orders": {},
    "/v1/streams/members": {"type": ("^.{1,256}$", "the name of the type; left out: Order, what clients send")},
}


_MESSAGES: Mapping[str, tuple[Any, Any]] = {"/v1/streams/orders": (order_stream_json.Request, order_stream_json.Reply)}
_SUBPROTOCOLS = {"/v1/streams/members": [MSGPACK_SUBPROTOCOL]}


def document(routes: Iterable[Route], streams: Iterable[str] = STREAMS) -> Document:
    """The whole document. ``streams`` are the WebSocket routes that are served."""
    routes = tuple(routes)
    paths: dict[str, Document] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    for path in streams:
        paths[path] = {"get": _stream(path)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "OrderBookGroup",
            "version": _version(),
            "description": "A node of a replicated order book. Prices are ticks, quantities lots: integers.",
        },
        "paths": paths,
        "components": {
            "schemas": _schemas(routes),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
        "security": [{}, {"token": []}],
    }


def _version() -> str:
    try:
        return version("orderbook-group")
    except PackageNotFoundError:
        return "0"


def _operation(route: Route) -> Document:
    parameters = [*_parameters("path", route.path_model), *_parameters("query", route.query_model)]
    if route.keyed:
        parameters.append(_KEY_PARAMETER)
    operation: Document = {
        "operationId": route.handler.__name__,
        "summary": route.summary,
        "description": f"For the role {route.role.name.lower()}, and above.",
        "parameters": parameters,
        "responses": {str(status): _response(route, status) for status in route.statuses},
    }
    if route.body is not None:
        operation["requestBody"] = {
            "required": not route.body_optional,
            "content": {"application/json": {"schema": _body(route)}},
        }
    return operation


def _parameters(place: str, model: type[Parameters]) -> list[Document]:
    schema = model.model_json_schema(ref_template=_REFERENCE)
    required = schema.get("required", [])
    return [
        {
            "name": name,
            "in": place,
            "required": name in required,
            "description": _described(described),
            "schema": _of_text(described),
        }
        for name, described in schema.get("properties", {}).items()
    ]


def _described(schema: Document) -> str:
    inner = [choice.get("description", "") for choice in schema.get("anyOf", [])]
    return str(schema.get("description") or next(filter(None, inner), ""))


def _of_text(schema: Document) -> Document:
    """A parameter that is left out is not null: what may be null in the model may be left out."""
    kept = {key: value for key, value in schema.items() if key not in ("title", "default", "anyOf", "description")}
    for choice in schema.get("anyOf", []):
        if choice.get("type") != "null":
            kept.update({key: value for key, value in choice.items() if key != "description"})
    if schema.get("default") is not None:
        kept["default"] = schema["default"]
    return kept


def _body(route: Route) -> Document:
    assert route.body is not None
    one = {"$ref": _REFERENCE.format(model=route.body.__name__)}
    if route.body_list is None:
        return one
    many = TypeAdapter(route.body_list).json_schema(ref_template=_REFERENCE)
    del many["$defs"]
    return {"oneOf": [one, many]}


def _response(route: Route, status: int) -> Document:
    if status in route.answers:
        model: type[BaseModel] = route.answers[status]
        headers = {INDEX_HEADER: _INDEX} | ({REPLAYED_HEADER: _REPLAYED} if route.keyed else {})
        response: Document = {"description": (model.__doc__ or "").strip() or "Done.", "headers": headers}
    else:
        model = Failure
        response = {"description": f"{route.missing}." if status == 404 else _MEANINGS[status]}
        if status == 503:
            response["headers"] = {"Retry-After": _RETRY}
    response["content"] = {"application/json": {"schema": {"$ref": _REFERENCE.format(model=model.__name__)}}}
    return response


def _stream(path: str) -> Document:
    query = _STREAM_QUERY.get(path, _FEED_QUERY)
    failure = {"application/json": {"schema": {"$ref": _REFERENCE.format(model=StreamFailure.__name__)}}}
    return {
        "x-websocket": _websocket(path),
        "operationId": "stream_" + path.rsplit("/", 1)[1],
        "summary": STREAMS[path],
        "parameters": [
            {
                "name": name,
                "in": "query",
                "required": False,
                "description": meaning,
                "schema": {"type": "string", "pattern": pattern},
            }
            for name, (pattern, meaning) in query.items()
        ],
        "responses": {
            "101": {"description": "The WebSocket is open."},
            "4XX": {"description": "Refused before it was opened.", "content": failure},
            "503": {"description": "This node serves nobody now: try another.", "content": failure},
        },
    }


def _websocket(path: str) -> Document:
    """What OpenAPI has no words for: subprotocols, the messages of a client and those of the node, where it is JSON."""
    described: Document = {"subprotocols": _SUBPROTOCOLS.get(path, [MSGPACK_SUBPROTOCOL, JSON_SUBPROTOCOL])}
    for side, messages in zip(("client", "node"), _MESSAGES.get(path, ()), strict=False):
        schema = TypeAdapter(messages).json_schema(ref_template=_REFERENCE)
        del schema["$defs"]
        described[side] = schema
    return described


def _schemas(routes: Iterable[Route]) -> Document:
    """Every model by its name: what is sent as it is checked, what is answered as it is written."""
    sent: list[type[BaseModel]] = [route.body for route in routes if route.body is not None]
    answered: list[type[BaseModel]] = [model for route in routes for model in route.answers.values()]
    wanted = [(model, "validation") for model in sent] + [
        (model, "serialization") for model in [*answered, Failure, StreamFailure]
    ]
    for client, node in _MESSAGES.values():
        wanted += [(model, "validation") for model in get_args(get_args(client)[0])]
        wanted += [(model, "serialization") for model in get_args(get_args(node)[0])]
    _, schemas = models_json_schema(list(dict.fromkeys(wanted)), ref_template=_REFERENCE)  # type: ignore[arg-type]
    definitions: Document = schemas["$defs"]
    return definitions
