"""The values that requests and answers of /v1 are made of: ranges, names, and how they are spelled in a URL."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from orderbook.book.constants import FIRST_ASSIGNED_ID, MAX_INTEGER, MAX_TRADER
from orderbook.server import patterns

MAX_MEMBER_ID = (1 << 63) - 1


class Document(BaseModel):
    """A JSON object with these keys and no others. Numbers are JSON integers: no float, no text, no boolean is one."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Parameters(BaseModel):
    """The parameters of a path or of a query: text, read strictly."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class NoParameters(Parameters):
    pass


def _digits(text: Any) -> Any:
    """Digits to an integer. Python's ``int`` takes signs, spaces and underscores, too."""
    if isinstance(text, str) and len(text) <= 19 and text.isascii() and text.isdigit():
        return int(text)
    raise ValueError("a whole number without sign is allowed")


def _place(text: str) -> str:
    if all(1 <= int(number) <= MAX_INTEGER for number in text.split(",")):
        return text
    raise ValueError(f"an id and an arrival from 1 to {MAX_INTEGER} are allowed")


def _encodable(text: str) -> str:
    """Half of a surrogate pair is in no encoding."""
    text.encode()
    return text


def _member_id(value: Any) -> Any:
    """An id may come as text, since JavaScript's numbers end at 2^53, or as a number."""
    if type(value) is int and 1 <= value <= MAX_MEMBER_ID:
        return str(value)
    is_decimal = isinstance(value, str) and len(value) <= 19 and value.isascii() and value.isdigit()
    if is_decimal and 1 <= int(value) <= MAX_MEMBER_ID:
        return str(int(value))
    raise ValueError("a whole number from 1 to 2^63-1, as text or as a number, is allowed")


ClientOrderId = Annotated[
    int, Field(ge=1, lt=FIRST_ASSIGNED_ID, description="chosen by the client, unique among live orders")
]
Price = Annotated[int, Field(ge=1, le=MAX_INTEGER, description="ticks")]
Quantity = Annotated[int, Field(ge=1, le=MAX_INTEGER, description="lots")]
Time = Annotated[int, Field(ge=1, le=MAX_INTEGER, description="milliseconds since 1970, by the log's time")]
Limit = Annotated[int, Field(ge=0, le=1_000_000_000, description="0 is no limit")]
Window = Annotated[int, Field(ge=1, le=86_400_000, description="milliseconds")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=MAX_TRADER), AfterValidator(_encodable)]
MemberName = Annotated[str, StringConstraints(min_length=1, max_length=253)]
Asset = Annotated[str, StringConstraints(pattern=patterns.ASSET)]
PairName = Annotated[str, StringConstraints(pattern=patterns.PAIR)]
Decimal = Annotated[str, StringConstraints(pattern=patterns.DECIMAL, max_length=36)]
Index = Annotated[int, Field(ge=0, description="a place in the log")]
Sequence = Annotated[
    list[int], Field(min_length=2, max_length=2, description="[log index, ordinal within it] of an event")
]
MemberId = Annotated[
    str,
    StringConstraints(pattern=patterns.MEMBER_ID),
    BeforeValidator(_member_id, json_schema_input_type=str | int),
    Field(description="decimal, 1 to 2^63-1; text, since JavaScript's numbers end at 2^53"),
]

SideName = Literal["bid", "ask"]
TypeName = Literal["limit", "market"]
TimeInForceName = Literal["gtc", "ioc", "fok", "gtd"]
SelfTradeName = Literal["allow", "cancel_newest", "cancel_oldest", "cancel_both"]
ConsistencyName = Literal["strong", "weak"]

PathId = Annotated[int, Field(ge=1, le=MAX_INTEGER, description="an order's id"), BeforeValidator(_digits)]
QueryQuantity = Annotated[int, Field(ge=1, le=MAX_INTEGER, description="lots"), BeforeValidator(_digits)]
QueryIndex = Annotated[int, Field(ge=0, le=MAX_MEMBER_ID), BeforeValidator(_digits)]
QueryDepth = Annotated[int, Field(ge=1, le=1000, description="levels a side"), BeforeValidator(_digits)]
QueryLimit = Annotated[int, Field(ge=1, le=10_000, description="rows at most"), BeforeValidator(_digits)]
QueryPlace = Annotated[
    str,
    StringConstraints(pattern=patterns.PLACE),
    AfterValidator(_place),
    Field(description="go on behind this order: its id,arrival"),
]
QuerySequence = Annotated[
    str, StringConstraints(pattern=patterns.SEQUENCE), Field(description="a sequence, as index,ordinal")
]
