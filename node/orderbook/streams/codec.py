"""How a datum of a user's own type travels: its fields as msgpack, checked against their types when they arrive.

A type is a dataclass or a NamedTuple. Its fields may be what msgpack knows, enums, other such types, and lists, tuples
and dicts of these; pydantic reads the annotations, so what it can validate can be sent.
"""

from __future__ import annotations

from dataclasses import is_dataclass
from enum import Enum
from typing import Any, Generic, TypeVar

import msgpack
from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError

from orderbook.wire.datum_frames import MAX_DATUM_BYTES

T = TypeVar("T")


class MalformedDatum(ValueError):
    """The bytes are no datum of the type: the message names the field."""


class DatumCodec(Generic[T]):
    """Raises TypeError for a class that is no dataclass and no NamedTuple, or has fields that can't be read back."""

    def __init__(self, datum: type[T]) -> None:
        if not is_dataclass(datum) and not (issubclass(datum, tuple) and hasattr(datum, "_fields")):
            raise TypeError(f"a stream's type is a dataclass or a NamedTuple; {datum.__qualname__} is neither")
        self._datum = datum
        try:
            self._adapter: TypeAdapter[T] = TypeAdapter(datum)
        except (PydanticUserError, PydanticUndefinedAnnotation) as error:
            raise TypeError(f"the fields of {datum.__qualname__} can't be read back: {error}") from error

    def encode(self, datum: T) -> bytes:
        """Raises TypeError for another type, ValueError for what does not fit into a frame."""
        if type(datum) is not self._datum:
            raise TypeError(f"this is a stream of {self._datum.__qualname__}, not of {type(datum).__qualname__}")
        fields = self._adapter.dump_python(datum, warnings="error")
        packed: bytes = msgpack.packb(fields, default=_plain)
        if len(packed) > MAX_DATUM_BYTES:
            raise ValueError(f"a datum has at most {MAX_DATUM_BYTES} bytes, not {len(packed)}")
        return packed

    def decode(self, data: bytes) -> T:
        try:
            return self._adapter.validate_python(msgpack.unpackb(data, strict_map_key=False))
        except ValidationError as error:
            problem = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(str(part) for part in problem["loc"])
            raise MalformedDatum(f"{self._datum.__qualname__}.{place}: {problem['msg']}") from error
        except Exception as error:
            raise MalformedDatum(f"no {self._datum.__qualname__}: {error}") from error


def _plain(value: Any) -> Any:
    """What msgpack does not know by itself: members of an enum stand for their value."""
    if isinstance(value, Enum):
        return value.value
    raise ValueError(f"{value!r:.80} can't be sent: integers have 64 bits, other values are of msgpack's types")
