"""Whatever bytes stand in the log: so many answers, and the book goes on."""

from typing import Any

import msgpack
from hypothesis import given, settings
from hypothesis import strategies as st

from unit.book.market import PAIR, Market

_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=20)
    | st.binary(max_size=20)
    | st.sampled_from([PAIR, "bob", 1, 2, 3, 4, 300, 2**53]),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)
_rows = st.builds(lambda operation, rest: [operation, *rest], st.integers(0, 17), st.lists(_values, max_size=12))


def check(market: Market, body: bytes, count: int) -> None:
    events = market.entry(body, count)
    assert sorted({event[1] for event in events}) == list(range(count))


@settings(max_examples=200, deadline=None)
@given(body=st.binary(max_size=200), count=st.integers(0, 5))
def test_bytes(body: bytes, count: int) -> None:
    check(Market(), body, count)


@settings(max_examples=150, deadline=None)
@given(rows=st.lists(_rows | _values, max_size=8))
def test_arrays_of_anything(rows: list[Any]) -> None:
    market = Market()
    market.buy(1, 10, at=300)
    check(market, msgpack.packb(rows), len(rows))


@settings(max_examples=150, deadline=None)
@given(place=st.integers(0, 200), byte=st.integers(0, 255))
def test_a_flipped_byte(place: int, byte: int) -> None:
    market = Market()
    body = bytearray(
        msgpack.packb([[1, id, PAIR, 1 + id % 2, 300, 10, "bob", 1, 4, 99, False, 1] for id in range(1, 6)])
    )
    body[place % len(body)] = byte
    check(market, bytes(body), 5)
