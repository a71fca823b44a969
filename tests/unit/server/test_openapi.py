"""The description: complete, whole in itself, and the same as what is served."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, get_type_hints

import pytest
from pydantic import ValidationError

from faults.network import FaultyNetwork
from orderbook.book.events import VIEWS, to_json
from orderbook.server.api_answers import EVENT_MODELS
from orderbook.server.api_routes import ROUTES
from orderbook.server.application import client_application
from orderbook.server.openapi import STREAMS, document
from orderbook.streams.feed import Feeds
from orderbook.streams.members import MemberStreams
from unit.server.http_client import CheckedClient
from unit.server.json_schema import Schema
from unit.server.members import Members

DESCRIBED = document(ROUTES)


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in DESCRIBED["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


async def test_every_route_that_is_served_is_described_and_no_other(alone: Members) -> None:
    group = alone.groups["a"]
    feeds = Feeds(alone.runtime, group)
    channel = FaultyNetwork(alone.runtime, alone.runtime.random).attach("a", alone.runtime)
    application = client_application(alone.runtime, group, feeds, streams=MemberStreams(alone.runtime, channel, "a"))
    served = {
        (route.method, route.resource.canonical)
        for route in application.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    described = {(method.upper(), path) for path, method, _ in operations()}
    assert served - {("GET", "/openapi.json")} == described
    feeds.close()


async def test_without_feeds_only_the_order_stream_is_described(http: CheckedClient) -> None:
    assert {path for path in http.described["paths"] if path in STREAMS} == {"/v1/streams/orders"}


def test_it_is_an_openapi_document() -> None:
    assert DESCRIBED["openapi"].startswith("3.1.")
    assert {"title", "version"} <= DESCRIBED["info"].keys()
    names = [operation["operationId"] for _, _, operation in operations()]
    assert len(names) == len(set(names))
    json.dumps(DESCRIBED)


def test_every_reference_leads_somewhere() -> None:
    schema = Schema(DESCRIBED, {})
    for reference in references(DESCRIBED):
        assert isinstance(schema.resolve(reference), dict)


def test_parameters_of_paths_are_those_of_the_templates() -> None:
    for path, _, operation in operations():
        named = {parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "path"}
        assert named == {part[1:-1] for part in path.split("/") if part.startswith("{")}
        assert all(parameter["required"] for parameter in operation["parameters"] if parameter["in"] == "path")


def test_every_error_has_one_shape() -> None:
    for path, _, operation in operations():
        for status, response in operation["responses"].items():
            if status[0] in "45":
                shape = response["content"]["application/json"]["schema"]["$ref"].rsplit("/", 1)[1]
                assert shape == ("StreamFailure" if path in STREAMS else "Failure")


@pytest.mark.parametrize("route", [route for route in ROUTES if route.body is not None], ids=lambda r: r.path)
@pytest.mark.parametrize(
    "value",
    [
        {}, [], None, 5, "text", {"pair": "A/B"}, {"pair": "A/B", "tick": 0.1}, {"to": ""}, {"to": "a"},
        {"cancel": True}, {"cancel": "yes"}, {"price": 5}, {"price": 0}, {"price": 5.0}, {"quantity": 1 << 53},
        {"max_price": 1, "more": 1}, {"settings": {"max_keys": 5}}, {"settings": {"max_keys": -5}},
        {"pair": "A/B", "side": "bid", "quantity": 1}, {"pair": "AB", "side": "bid", "quantity": 1},
        {"pair": "A/B", "side": "buy", "quantity": 1}, {"id": 1 << 52, "pair": "A/B", "side": "bid", "quantity": 1},
        {"pair": "A/B", "side": "bid", "quantity": 1, "type": "stop"},
        {"voters": [{"name": "a", "id": "5"}], "expected_configuration_index": 0},
        {"voters": [], "expected_configuration_index": 0},
        {"voters": [{"name": "", "id": "5"}], "expected_configuration_index": 0},
    ],
)  # fmt: skip
def test_what_is_described_is_what_is_checked(route: Any, value: Any) -> None:
    """The document allows a body that the models refuse only where a rule is not JSON Schema's to express."""
    described = Schema(DESCRIBED, {"$ref": f"#/components/schemas/{route.body.__name__}"}).allows(value)
    try:
        route.body.model_validate_json(json.dumps(value))
        checked, beyond = True, False
    except ValidationError as error:
        checked, beyond = False, all(problem["type"] == "value_error" for problem in error.errors())
    assert described == checked or (described and beyond)


def test_every_kind_of_event_is_described_as_it_is_written() -> None:
    examples = {str: "x", int: 1, bool: True}
    for code, view in VIEWS.items():
        types = list(get_type_hints(view).values())
        event = (code, 0, *[examples[kind] for kind in types[2:]])
        schema = EVENT_MODELS[code].model_json_schema(mode="serialization")
        Schema(schema, schema).check(to_json(event, sequence=(5, 0)))
