"""A model's JSON schema as the API server wants it: structural.

Kubernetes takes a subset of OpenAPI 3: no references, no ``anyOf`` with null, no titles, no ``additionalProperties``
beside properties. What is absent by default (None, nothing, an empty map) has no default there either, so that
``kubectl get -o yaml`` shows what was asked for; a rule asks ``has()`` first. Other defaults are written out whole, as
the rules read them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema

_INT32 = 2**31 - 1
_ORDER = (
    "description",
    "type",
    "format",
    "enum",
    "default",
    "properties",
    "required",
    "items",
    "additionalProperties",
)


def structural(model: type[BaseModel]) -> dict[str, Any]:
    """The structural schema of a model. Raises ValueError where something in it has no structural form."""
    document = model.model_json_schema(by_alias=True, schema_generator=_Generator)
    definitions: dict[str, Any] = document.pop("$defs", {})
    return _structural(document, definitions, model.__name__)


def written(value: Any) -> Any:
    """A value as a manifest says it: JSON, without what is empty by default."""
    if isinstance(value, BaseModel):
        fields = type(value).model_fields
        present = {field.alias or name: (field, getattr(value, name)) for name, field in fields.items()}
        return {alias: written(item) for alias, (field, item) in present.items() if not _is_left_out(field, item)}
    if isinstance(value, tuple):
        return [written(item) for item in value]
    return str(value) if isinstance(value, str) else value


def _is_left_out(field: FieldInfo, value: Any) -> bool:
    empty = value is None or written(value) in ("", [], {})
    return empty and not field.is_required() and value == field.get_default(call_default_factory=True)


class _Generator(GenerateJsonSchema):
    def encode_default(self, dft: Any) -> Any:
        return written(dft)


def _structural(node: Mapping[str, Any], definitions: Mapping[str, Any], path: str) -> dict[str, Any]:
    node = _resolved(node, definitions)
    if "anyOf" in node and "x-kubernetes-int-or-string" not in node:
        raise ValueError(f"{path}: {node['anyOf']} has no structural form")
    schema = {key: value for key, value in node.items() if key not in ("title", "additionalProperties")}
    if schema.get("default", "") in (None, "", [], {}):
        schema.pop("default", None)
    if "description" in schema:
        schema["description"] = " ".join(schema["description"].split())
    if schema.get("type") == "integer" and "format" not in schema:
        schema["format"] = "int32" if schema.get("maximum", _INT32) <= _INT32 else "int64"
    if "properties" in node:
        schema["properties"] = {
            name: _structural(child, definitions, f"{path}.{name}") for name, child in node["properties"].items()
        }
    elif isinstance(node.get("additionalProperties"), Mapping):
        schema["additionalProperties"] = _structural(node["additionalProperties"], definitions, f"{path}.*")
    if "items" in node:
        schema["items"] = _structural(node["items"], definitions, f"{path}[]")
    return {key: schema[key] for key in (*(k for k in _ORDER if k in schema), *(k for k in schema if k not in _ORDER))}


def _resolved(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """References followed and ``X | None`` reduced to X; what stands beside them comes on top."""
    beside = {key: value for key, value in node.items() if key not in ("$ref", "anyOf")}
    if "$ref" in node:
        return {**_resolved(definitions[node["$ref"].removeprefix("#/$defs/")], definitions), **beside}
    choices = [choice for choice in node.get("anyOf", ()) if choice.get("type") != "null"]
    if len(choices) == 1:
        return {**_resolved(choices[0], definitions), **beside}
    return dict(node)
