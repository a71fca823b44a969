"""What every part of the resource is: frozen, in camelCase outside, with rules that the API server checks too.

A ``Rule`` stands beside the fields that it is about, in both forms: CEL for the API server, which refuses a wrong
``kubectl apply`` with the rule's sentence, and ``holds`` for whoever reads a resource from elsewhere, such as a file. A
rule of changes (with ``oldSelf``) has no pure form: only the API server knows what was there before.

The description of a field is the docstring below it; ``kubectl explain`` shows it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, model_validator
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

VALIDATIONS = "x-kubernetes-validations"


class Rule(NamedTuple):
    """What must hold of an object; ``message`` is a sentence that says what is allowed.

    ``path`` names the field that a refusal is about, relative to the object (``.replicas``); None is the object itself.
    """

    cel: str
    message: str
    holds: Callable[[Any], bool] | None = None
    path: str | None = None

    @property
    def is_of_changes(self) -> bool:
        return "oldSelf" in self.cel

    def document(self) -> dict[str, str]:
        """As ``x-kubernetes-validations`` lists it. A change that isn't allowed is forbidden, whatever the value."""
        named = {} if self.path is None else {"fieldPath": self.path}
        forbids = {"reason": "FieldValueForbidden"} if self.is_of_changes else {}
        return {"rule": self.cel, "message": self.message, **named, **forbids}


class Checked:
    """An annotation: a rule about the value of one field, such as the keys of a map."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule

    def _check(self, value: Any) -> Any:
        if self.rule.holds is not None and not self.rule.holds(value):
            raise _broken(self.rule)
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        document = handler(schema)
        return {**document, VALIDATIONS: [*document.get(VALIDATIONS, ()), self.rule.document()]}


def _broken(rule: Rule) -> PydanticCustomError:
    return PydanticCustomError("rule", "{message}", {"message": rule.message})


class Model(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        use_attribute_docstrings=True,
    )

    rules: ClassVar[tuple[Rule, ...]] = ()

    @model_validator(mode="after")
    def _follows_its_rules(self) -> Self:
        for rule in self.rules:
            if rule.holds is not None and not rule.holds(self):
                raise _broken(rule)
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        document = handler(schema)
        if cls.rules:
            handler.resolve_ref_schema(document)[VALIDATIONS] = [rule.document() for rule in cls.rules]
        return document


class ListMap:
    """An annotation: a list whose items are told apart by these fields, so that several managers can apply it."""

    def __init__(self, *keys: str) -> None:
        self.keys = keys

    def _check(self, items: tuple[Model, ...]) -> tuple[Model, ...]:
        seen: set[str] = set()
        for item in items:
            name = "/".join(str(getattr(item, key)) for key in self.keys)
            if name in seen:
                raise PydanticCustomError("rule", "{message}", {"message": f"{name} is there twice"})
            seen.add(name)
        return items

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        keys = [to_camel(key) for key in self.keys]
        return {**handler(schema), "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": keys}


ATOMIC_LIST: dict[str, Any] = {"x-kubernetes-list-type": "atomic"}
ATOMIC_MAP: dict[str, Any] = {"x-kubernetes-map-type": "atomic"}
