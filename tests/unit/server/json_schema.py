"""A checker for the part of JSON Schema that our OpenAPI document uses. A keyword that it does not know is an error, so
that nothing goes unchecked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

_TYPES = {"object": dict, "array": list, "string": str, "null": type(None), "boolean": bool}
_SAYS_NOTHING = {"title", "description", "default", "discriminator"}


def _is_of_type(value: Any, name: str) -> bool:
    if name in ("integer", "number"):
        return type(value) is int or (name == "number" and type(value) is float)
    return isinstance(value, _TYPES[name])


class Schema:
    """``document`` is where references lead."""

    def __init__(self, document: dict[str, Any], schema: dict[str, Any]) -> None:
        self._document = document
        self._schema = schema

    def check(self, value: Any) -> None:
        """Raises AssertionError that says where and why."""
        problems = list(self._problems(self._schema, value, "$"))
        assert not problems, problems[:5]

    def allows(self, value: Any) -> bool:
        return next(self._problems(self._schema, value, "$"), None) is None

    def resolve(self, reference: str) -> dict[str, Any]:
        found: Any = self._document
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]
        return found

    def _problems(self, schema: dict[str, Any], value: Any, at: str) -> Iterator[str]:
        for keyword, wanted in schema.items():
            if keyword not in _SAYS_NOTHING:
                yield from _KEYWORDS[keyword](self, schema, wanted, value, at)

    def _reference(self, _schema: Any, wanted: str, value: Any, at: str) -> Iterator[str]:
        yield from self._problems(self.resolve(wanted), value, at)

    def _type(self, _schema: Any, wanted: str, value: Any, at: str) -> Iterator[str]:
        if not _is_of_type(value, wanted):
            yield f"{at}: {value!r:.80} is no {wanted}"

    def _const(self, _schema: Any, wanted: Any, value: Any, at: str) -> Iterator[str]:
        if value != wanted:
            yield f"{at}: {value!r:.80} is not {wanted!r}"

    def _enum(self, _schema: Any, wanted: list[Any], value: Any, at: str) -> Iterator[str]:
        if value not in wanted:
            yield f"{at}: {value!r:.80} is none of {wanted}"

    def _any_of(self, _schema: Any, wanted: list[Any], value: Any, at: str) -> Iterator[str]:
        if not any(next(self._problems(one, value, at), None) is None for one in wanted):
            yield f"{at}: {value!r:.120} is none of the choices"

    def _one_of(self, _schema: Any, wanted: list[Any], value: Any, at: str) -> Iterator[str]:
        fitting = sum(next(self._problems(one, value, at), None) is None for one in wanted)
        if fitting != 1:
            yield f"{at}: {value!r:.120} fits {fitting} of the choices"

    def _properties(self, _schema: Any, wanted: dict[str, Any], value: Any, at: str) -> Iterator[str]:
        if isinstance(value, dict):
            for key in wanted.keys() & value.keys():
                yield from self._problems(wanted[key], value[key], f"{at}.{key}")

    def _required(self, _schema: Any, wanted: list[str], value: Any, at: str) -> Iterator[str]:
        if isinstance(value, dict):
            yield from (f"{at}: {key} is missing" for key in wanted if key not in value)

    def _additional(self, schema: dict[str, Any], wanted: Any, value: Any, at: str) -> Iterator[str]:
        if isinstance(value, dict):
            for key in value.keys() - schema.get("properties", {}).keys():
                if wanted is False:
                    yield f"{at}: {key} is not allowed"
                elif wanted is not True:
                    yield from self._problems(wanted, value[key], f"{at}.{key}")

    def _items(self, _schema: Any, wanted: dict[str, Any], value: Any, at: str) -> Iterator[str]:
        if isinstance(value, list):
            for number, item in enumerate(value):
                yield from self._problems(wanted, item, f"{at}[{number}]")

    def _length(self, schema: dict[str, Any], _wanted: int, value: Any, at: str) -> Iterator[str]:
        kind = "Items" if isinstance(value, list) else "Length"
        if isinstance(value, list | str):
            low, high = schema.get(f"min{kind}", 0), schema.get(f"max{kind}", len(value))
            if not low <= len(value) <= high:
                yield f"{at}: {len(value)} long, not {low} to {high}"

    def _range(self, schema: dict[str, Any], _wanted: int, value: Any, at: str) -> Iterator[str]:
        if type(value) is int:
            low, high = schema.get("minimum", value), schema.get("maximum", value)
            if not low <= value <= high or value >= schema.get("exclusiveMaximum", value + 1):
                yield f"{at}: {value} is out of range"

    def _pattern(self, _schema: Any, wanted: str, value: Any, at: str) -> Iterator[str]:
        if isinstance(value, str) and re.search(wanted, value) is None:
            yield f"{at}: {value!r:.80} does not match {wanted}"


_KEYWORDS = {
    "$ref": Schema._reference,
    "type": Schema._type,
    "const": Schema._const,
    "enum": Schema._enum,
    "anyOf": Schema._any_of,
    "oneOf": Schema._one_of,
    "properties": Schema._properties,
    "required": Schema._required,
    "additionalProperties": Schema._additional,
    "items": Schema._items,
    "minItems": Schema._length,
    "maxItems": Schema._length,
    "minLength": Schema._length,
    "maxLength": Schema._length,
    "minimum": Schema._range,
    "maximum": Schema._range,
    "exclusiveMaximum": Schema._range,
    "pattern": Schema._pattern,
}
