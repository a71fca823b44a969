from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orderbook.book import Order, OrderType, SelfTrade, Side, TimeInForce
from orderbook.streams.codec import DatumCodec, MalformedDatum


class Socket:
    """No type that can be validated."""


@dataclass
class Odd:
    anything: Socket


class Colour(Enum):
    RED = "red"


class Point(NamedTuple):
    x: int
    y: float = 0.5


@dataclass
class Drawing:
    name: str
    points: list[Point]
    colours: dict[int, Colour] = field(default_factory=dict)
    blob: bytes = b""
    parent: Drawing | None = None


def test_types_within_types_come_back_whole():
    drawing = Drawing("house", [Point(1), Point(2, 3.5)], {4: Colour.RED}, b"\x00\xff", Drawing("empty", []))
    codec = DatumCodec(Drawing)
    assert codec.decode(codec.encode(drawing)) == drawing


@given(
    st.builds(
        Order,
        st.one_of(st.none(), st.integers(0, 1 << 62)),
        st.text(max_size=20),
        st.sampled_from(list(Side)),
        st.one_of(st.none(), st.integers(0, 1 << 62)),
        st.integers(0, 1 << 62),
        st.text(max_size=20),
        st.sampled_from(list(OrderType)),
        st.sampled_from(list(TimeInForce)),
        st.one_of(st.none(), st.integers(0, 1 << 62)),
        st.booleans(),
        st.sampled_from(list(SelfTrade)),
    )
)
def test_every_order_comes_back_equal(order):
    codec = DatumCodec(Order)
    again = codec.decode(codec.encode(order))
    assert again == order
    assert type(again.side) is Side


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"name": 5, "points": []}, "Drawing.name: .*string"),
        ({"name": "x"}, "Drawing.points: .*required"),
        ({"name": "x", "points": [["one"]]}, "Drawing.points.0.0: .*integer"),
        (5, "Drawing"),
    ],
)
def test_what_is_no_datum_is_refused_with_the_field(value, says):
    with pytest.raises(MalformedDatum, match=says):
        DatumCodec(Drawing).decode(msgpack.packb(value))


@given(st.binary(max_size=100))
def test_any_bytes_are_a_datum_or_a_named_error(data):
    try:
        point = DatumCodec(Point).decode(data)
    except MalformedDatum:
        return
    assert isinstance(point, Point)


def test_fields_that_can_not_be_read_back_are_refused_at_once():
    with pytest.raises(TypeError, match="Odd"):
        DatumCodec(Odd)


def test_a_field_of_the_wrong_type_is_said_to_the_sender():
    with pytest.raises(ValueError, match="int"):
        DatumCodec(Point).encode(Point("one"))
