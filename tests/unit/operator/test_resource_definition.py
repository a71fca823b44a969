"""The CRD: generated, structural, explained, bounded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from orderbook_operator.crd import crd
from orderbook_operator.generate import FILES, document, main
from orderbook_operator.model import VALIDATIONS
from orderbook_operator.resource import OrderBookGroup
from orderbook_operator.schema import structural
from orderbook_operator.spec import Spec

ROOT = Path(__file__).parents[3]
VERSION = crd()["spec"]["versions"][0]
SCHEMA = VERSION["schema"]["openAPIV3Schema"]
ALLOWED = {
    "additionalProperties",
    "default",
    "description",
    "enum",
    "format",
    "items",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minimum",
    "pattern",
    "properties",
    "required",
    "type",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type",
    "x-kubernetes-map-type",
    VALIDATIONS,
}


def nodes(schema: dict[str, Any], path: str = "obg") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every node of a schema, with the path by which ``kubectl explain`` knows it."""
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    for key, mark in (("items", "[]"), ("additionalProperties", ".*")):
        if key in schema:
            yield from nodes(schema[key], path + mark)


NODES = dict(nodes(SCHEMA))


@pytest.mark.parametrize("file", FILES, ids=str)
def test_the_committed_files_are_the_generated_ones(file: Path) -> None:
    assert (ROOT / file).read_text() == document(), "run `make generate`"


def test_generating_writes_the_files_where_it_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(tmp_path)
    assert capsys.readouterr().out.split() == [str(file) for file in FILES]
    for file in FILES:
        assert yaml.safe_load((tmp_path / file).read_text()) == crd()


def test_kubectl_explain_explains_every_field() -> None:
    assert len(NODES) > 250
    fields = [path for path in NODES if not path.endswith(("[]", ".*")) and path != "obg.metadata"]
    assert [path for path in fields if not NODES[path].get("description", "").endswith(".")] == []


def test_the_schema_is_structural() -> None:
    for path, node in NODES.items():
        int_or_string = {"anyOf"} if "x-kubernetes-int-or-string" in node else set()
        assert set(node) - ALLOWED - int_or_string == set(), path
        assert int_or_string or isinstance(node.get("type"), str), path
        assert not ("properties" in node and "additionalProperties" in node), path


def test_everything_that_can_grow_is_bounded() -> None:
    """CEL is priced by the largest object that the schema lets through."""
    for path, node in NODES.items():
        if path in ("obg.apiVersion", "obg.kind") or node.get("format") == "date-time":
            continue
        if node.get("type") == "string" or "x-kubernetes-int-or-string" in node:
            assert "maxLength" in node or "enum" in node, path
        if node.get("type") == "array":
            assert "maxItems" in node and "x-kubernetes-list-type" in node, path
        if "additionalProperties" in node:
            assert "maxProperties" in node, path


def test_integers_say_how_wide_they_are() -> None:
    assert NODES["obg.spec.replicas"]["format"] == "int32"
    assert NODES["obg.spec.pairs[].limits.maxPrice"]["format"] == "int64"
    assert [path for path, node in NODES.items() if node.get("type") == "integer" and "format" not in node] == []


def test_defaults_are_written_out_as_the_models_have_them() -> None:
    defaults = {
        name: node["default"] for name, node in SCHEMA["properties"]["spec"]["properties"].items() if "default" in node
    }
    assert defaults["raft"] == {"heartbeat": "100ms", "electionTimeout": "500ms", "snapshotEvery": 50000}
    assert defaults["networkPolicy"]["clientsFrom"] == [{"podSelector": {}}]
    assert Spec.model_validate(defaults) == Spec()


def test_what_is_empty_by_default_is_not_written_into_objects() -> None:
    empty = [path for path, node in NODES.items() if node.get("default", "x") in (None, "", [], {})]
    assert empty == []
    assert "status" not in SCHEMA["required"]
    assert "default" not in SCHEMA["properties"]["status"]


def test_a_pair_is_told_by_base_and_quote() -> None:
    assert NODES["obg.spec.pairs"]["x-kubernetes-list-map-keys"] == ["base", "quote"]
    assert NODES["obg.spec.scheduling.topologySpread"]["x-kubernetes-list-map-keys"] == ["topologyKey"]
    assert NODES["obg.status.conditions"]["x-kubernetes-list-map-keys"] == ["type"]


def test_a_rule_of_changes_forbids_and_any_other_finds_a_value_invalid() -> None:
    for path, node in NODES.items():
        for rule in node.get(VALIDATIONS, ()):
            assert rule.get("reason") == ("FieldValueForbidden" if "oldSelf" in rule["rule"] else None), path


def test_names_columns_and_subresources() -> None:
    spec = crd()["spec"]
    assert spec["names"]["shortNames"] == ["obg"]
    assert spec["names"]["categories"] == ["orderbook"]
    columns = {column["name"]: column["priority"] for column in VERSION["additionalPrinterColumns"]}
    shown = [name for name, priority in columns.items() if priority == 0]
    assert shown == ["Ready", "Quorate", "Leader", "Pairs", "Version", "Age"]
    assert VERSION["subresources"]["scale"]["specReplicasPath"] == ".spec.replicas"
    for path in ("statusReplicasPath", "labelSelectorPath"):
        assert "obg" + VERSION["subresources"]["scale"][path] in NODES


def test_what_has_no_structural_form_is_refused_by_name() -> None:
    class Ambiguous(BaseModel):
        value: int | str

    with pytest.raises(ValueError, match=r"Ambiguous\.value: .* has no structural form"):
        structural(Ambiguous)


def test_a_group_is_described_by_its_own_docstring() -> None:
    assert SCHEMA["description"] == OrderBookGroup.__doc__
