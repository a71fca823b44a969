"""Nobody is told a regular expression: each that a request or a key is held against has a meaning in words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from orderbook.server import openapi
from orderbook.server.api_requests import NewOrder
from orderbook.server.api_routes import ROUTES
from orderbook.server.configuration import ConfigurationError, NodeConfiguration, load
from orderbook.server.order_stream_json import MalformedText, packed_request
from orderbook.server.patterns import MEANINGS
from unit.server.http_client import CheckedClient


def patterns_in(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(schema.get("pattern"), str):
            yield schema["pattern"]
        for value in schema.values():
            yield from patterns_in(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from patterns_in(value)


def test_every_pattern_that_is_checked_has_a_meaning() -> None:
    models = [model for route in ROUTES for model in (route.body, route.path_model, route.query_model) if model]
    checked = {pattern for model in [*models, NodeConfiguration] for pattern in patterns_in(model.model_json_schema())}
    assert checked <= MEANINGS.keys()
    assert len(checked) >= 5 and set(patterns_in(NewOrder.model_json_schema())) <= checked
    assert openapi.document(ROUTES)


def test_meanings_are_no_expressions() -> None:
    for pattern, meaning in MEANINGS.items():
        re.compile(pattern)
        assert not set("^$[]\\") & set(meaning.replace("2^63", ""))


async def test_a_pair_that_is_none_and_an_expiry_that_is_missing(http: CheckedClient) -> None:
    order = {"pair": "ETHUSDC", "side": "bid", "price": 5, "quantity": 1}
    refused = (await http.call("POST", "/v1/orders", order, 400)).error
    (problem,) = refused["problems"]
    assert problem["message"] == "a pair is BASE/QUOTE, each 1 to 32 of A-Z a-z 0-9 . _ -, not 'ETHUSDC'"
    rejected = await http.call("POST", "/v1/orders", order | {"pair": "ETH/USDC", "time_in_force": "gtd"}, 422)
    assert "gtd needs expires" in rejected.error["message"]
    assert rejected.error["reason"] == "invalid_expiry"


def test_a_key_of_the_configuration() -> None:
    with pytest.raises(ConfigurationError, match=r"name = 'Node_1'.*: lower-case letters, digits, - and "):
        load(None, {}, {"name": "Node_1", "data": "x", "key": "12345678", "auth.mode": "none"})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{}", "message: 'type' is missing"),
        ('{"type": "buy"}', "message: 'type' is one of 'open', 'batch', 'keep_alive', 'close', not 'buy'"),
    ],
)
def test_a_message_of_no_known_type(text: str, told: str) -> None:
    with pytest.raises(MalformedText) as raised:
        packed_request(text)
    assert str(raised.value) == told
