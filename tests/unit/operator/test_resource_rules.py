"""The models refuse what the API server refuses, with the same sentences."""

from __future__ import annotations

from typing import Any

import pytest

from orderbook_operator.crd import crd
from orderbook_operator.model import VALIDATIONS
from orderbook_operator.names import API_GROUP, API_VERSION, KIND
from orderbook_operator.resource import OrderBookGroup, ResourceError
from unit.operator.refusals import LEGAL, Bound, Refusal, bounds, merged, refusals

ALL = tuple(refusals())


def group(spec: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": "eth", "namespace": "trading"}
    return {"apiVersion": f"{API_GROUP}/{API_VERSION}", "kind": KIND, "metadata": metadata, "spec": spec}


def rules(schema: dict[str, Any]) -> list[str]:
    """Every sentence of a schema."""
    below = [*schema.get("properties", {}).values(), schema.get("items"), schema.get("additionalProperties")]
    own = [rule["message"] for rule in schema.get(VALIDATIONS, ())]
    return own + [sentence for child in below if isinstance(child, dict) for sentence in rules(child)]


def test_what_the_refusals_start_from_is_legal() -> None:
    OrderBookGroup.from_object(group(LEGAL), strict=True)


@pytest.mark.parametrize("refusal", [r for r in ALL if not r.is_change], ids=lambda refusal: refusal.name)
def test_a_wrong_spec_is_refused_with_a_sentence(refusal: Refusal) -> None:
    with pytest.raises(ResourceError, match="OrderBookGroup trading/eth: spec") as refused:
        OrderBookGroup.from_object(group(refusal.spec), strict=True)
    assert refusal.says in str(refused.value)


@pytest.mark.parametrize("bound", tuple(bounds()), ids=lambda bound: bound.name)
def test_a_value_out_of_bounds_is_refused_by_name(bound: Bound) -> None:
    with pytest.raises(ResourceError, match="OrderBookGroup trading/eth: spec") as refused:
        OrderBookGroup.from_object(group(merged(LEGAL, bound.change)), strict=True)
    assert bound.model_says in str(refused.value)


@pytest.mark.parametrize("refusal", [r for r in ALL if r.is_change], ids=lambda refusal: refusal.name)
def test_a_wrong_change_ends_in_a_spec_that_is_legal_by_itself(refusal: Refusal) -> None:
    OrderBookGroup.from_object(group(refusal.spec), strict=True)


def test_every_rule_of_the_crd_has_a_refusal() -> None:
    schema = crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    sentences = set(rules(schema["properties"]["spec"]))
    assert len(sentences) > 40
    assert [s for s in sorted(sentences) if not any(refusal.says in s for refusal in ALL)] == []


def test_refusals_have_names_of_their_own() -> None:
    names = [refusal.name for refusal in ALL]
    assert sorted(set(names)) == sorted(names)
