"""The scalar values of a spec: durations, quantities, increments, names. Each is text that was checked.

A scalar is a ``str``: it goes back to the API server as the user wrote it, and has its number at hand. Each kind knows
its own rule in both forms: the pure check here, and the CEL rule of the CRD that says the same in one sentence.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from decimal import Decimal
from typing import Any, Self

from kubernetes.utils.quantity import parse_quantity
from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from orderbook_operator.model import VALIDATIONS, Rule

_MILLISECONDS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000}
_DURATION = r"^([0-9]{1,6}(ms|s|m|h)){1,4}$"
_QUANTITY = r"^[0-9]{1,18}([.][0-9]{0,18})?(n|u|m|k|[MGTPE]|[KMGTPE]i|[eE][0-9]{1,2})?$"
_INCREMENT = r"^(0|[1-9][0-9]*)([.][0-9]*[1-9])?$"


def durations(*fields: str) -> str:
    """CEL that is true if all these fields are durations: a rule that compares them is about nothing else."""
    return " && ".join(f"{field}.matches('{_DURATION}')" for field in fields)


def quantities(*fields: str) -> str:
    """CEL that is true if all these fields are quantities."""
    return " && ".join(f"isQuantity(string({field}))" for field in fields)


class Duration(str):
    """A time such as ``100ms``, ``2s`` or ``1m30s``: whole numbers of ms, s, m and h."""

    __slots__ = ()

    @property
    def milliseconds(self) -> int:
        return sum(int(count) * _MILLISECONDS[unit] for count, unit in re.findall(r"([0-9]+)(ms|s|m|h)", self))

    @property
    def seconds(self) -> float:
        return self.milliseconds / 1000

    @classmethod
    def checked(cls, value: Any) -> Self:
        """Raises ValueError."""
        if not isinstance(value, str) or len(value) > 16 or re.fullmatch(_DURATION, value) is None:
            raise ValueError("not a duration")
        return cls(value)


class Quantity(str):
    """A Kubernetes quantity, such as ``1Gi`` or ``250m``; a bare number is taken too."""

    __slots__ = ()

    @property
    def number(self) -> Decimal:
        """What it stands for in its unit: bytes of memory and storage, cores of CPU."""
        return Decimal(parse_quantity(str(self)))

    @classmethod
    def checked(cls, value: Any) -> Self:
        """Raises ValueError."""
        if isinstance(value, bool) or not isinstance(value, str | int) or re.fullmatch(_QUANTITY, str(value)) is None:
            raise ValueError("not a quantity")
        return cls(value)


class Increment(str):
    """A tick or lot: a positive decimal in its one spelling, ``0.01`` and not ``0.010``."""

    __slots__ = ()

    @classmethod
    def checked(cls, value: Any) -> Self:
        """Raises ValueError."""
        if not isinstance(value, str) or len(value) > 36 or value == "0" or re.fullmatch(_INCREMENT, value) is None:
            raise ValueError("not an increment")
        return cls(value)


class _Scalar(ABC):
    """The schema of a scalar, as an annotation: how it is read, its OpenAPI form, and its rule with the sentence."""

    def __init__(self, message: str) -> None:
        self.message = message

    @abstractmethod
    def document(self) -> dict[str, Any]: ...

    @abstractmethod
    def cel(self) -> str: ...

    @abstractmethod
    def read(self, value: Any) -> str: ...

    def _validate(self, value: Any) -> str:
        try:
            return self.read(value)
        except ValueError:
            raise PydanticCustomError("scalar", "{allowed}", {"allowed": self.message}) from None

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self._validate, serialization=core_schema.plain_serializer_function_ser_schema(str)
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**self.document(), VALIDATIONS: [Rule(self.cel(), self.message).document()]}


class DurationBetween(_Scalar):
    """A Duration of ``least`` to ``most``."""

    def __init__(self, least: str, most: str) -> None:
        super().__init__(f"must be a duration of {least} to {most}, written like 100ms, 2s or 1m30s")
        self.least, self.most = Duration.checked(least), Duration.checked(most)

    def document(self) -> dict[str, Any]:
        return {"type": "string", "maxLength": 16}

    def cel(self) -> str:
        bounds = f"duration(self) >= duration('{self.least}') && duration(self) <= duration('{self.most}')"
        return f"self.matches('{_DURATION}') && {bounds}"

    def read(self, value: Any) -> Duration:
        duration = Duration.checked(value)
        if not self.least.milliseconds <= duration.milliseconds <= self.most.milliseconds:
            raise ValueError("out of bounds")
        return duration


class QuantityFrom(_Scalar):
    """A Quantity of at least ``least``, and no more than ``most``. ``example`` shows one."""

    def __init__(self, least: str, most: str, example: str) -> None:
        super().__init__(f"must be a quantity of {least} to {most}, such as {example}")
        self.least, self.most = Quantity.checked(least), Quantity.checked(most)

    def document(self) -> dict[str, Any]:
        return {"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": True, "maxLength": 32}

    def cel(self) -> str:
        value = "quantity(string(self))"
        bounds = f"{value}.compareTo(quantity('{self.least}')) >= 0 && {value}.compareTo(quantity('{self.most}')) <= 0"
        return f"isQuantity(string(self)) && {bounds}"

    def read(self, value: Any) -> Quantity:
        quantity = Quantity.checked(value)
        if not self.least.number <= quantity.number <= self.most.number:
            raise ValueError("out of bounds")
        return quantity


class AnyIncrement(_Scalar):
    """A tick or a lot."""

    def __init__(self) -> None:
        super().__init__(
            "must be a positive decimal of at most 36 characters, in quotes and without needless zeros, such as '0.01'"
        )

    def document(self) -> dict[str, Any]:
        return {"type": "string", "maxLength": 36}

    def cel(self) -> str:
        return f"self != '0' && self.matches('{_INCREMENT}')"

    def read(self, value: Any) -> Increment:
        return Increment.checked(value)


class TextLike(_Scalar):
    """Text of 1 to ``longest`` characters that matches ``pattern``: a regular expression of RE2 and of Python alike."""

    def __init__(self, pattern: str, longest: int, message: str) -> None:
        super().__init__(message)
        self.pattern, self.longest = pattern, longest

    def document(self) -> dict[str, Any]:
        return {"type": "string", "maxLength": self.longest}

    def cel(self) -> str:
        return f"self.matches('{self.pattern}')"

    def read(self, value: Any) -> str:
        if not isinstance(value, str) or len(value) > self.longest or re.fullmatch(self.pattern, value) is None:
            raise ValueError("not like the pattern")
        return value
