"""Whatever stands in the log is answered, by every node alike, and changes nothing where it is wrong."""

import msgpack
import pytest

from orderbook.book.constants import MAX_INTEGER
from unit.book.market import PAIR, Market

WRONG_INTEGERS = [0, -1, True, False, 1.0, "1", b"1", [], {}, 2**53, 2**63, 2**64 - 1, -(2**63)]
PLACE = [1, 7, PAIR, 1, 300, 10, "bob", 1, 4, 99, False, 1]


def with_place(position: int, value: object) -> list[object]:
    row: list[object] = list(PLACE)
    row[position] = value
    return row


@pytest.mark.parametrize("value", [value for value in WRONG_INTEGERS if value != 0] + [0, 2**52])
def test_ids(value: object) -> None:
    told = Market().rows(with_place(1, value))
    assert told[0].startswith("rejected")
    assert told[0].endswith("invalid_id")


@pytest.mark.parametrize(("position", "reason"), [(4, "invalid_price"), (5, "invalid_quantity"), (9, "invalid_expiry")])
@pytest.mark.parametrize("value", [*WRONG_INTEGERS, None])
def test_prices_quantities_and_times(position: int, reason: str, value: object) -> None:
    assert Market().rows(with_place(position, value)) == [f"rejected 7 {reason}"]


@pytest.mark.parametrize(
    ("position", "reason", "values"),
    [
        (2, "invalid_pair", [7, None, True, [], b"ETH/USDC"]),
        (2, "unknown_pair", ["", "ETH", "eth/usdc"]),
        (3, "invalid_side", [0, 3, -1, True, 1.0, "bid", None]),
        (6, "invalid_trader", ["", "x" * 257, 7, True, [], b"bob"]),
        (7, "invalid_type", [0, 3, True, "limit", 1.0]),
        (8, "invalid_time_in_force", [0, 5, True, "gtc", 1.0]),
        (10, "invalid_post_only", [0, 1, "yes", 1.0]),
        (11, "invalid_self_trade", [0, 5, True, "allow", 1.0]),
    ],
)
def test_every_other_place(position: int, reason: str, values: list[object]) -> None:
    for value in values:
        assert Market().rows(with_place(position, value)) == [f"rejected 7 {reason}"], value


def test_the_row_they_differ_from_is_right() -> None:
    assert Market().rows(PLACE) == ["accepted 7 rests 10"]


@pytest.mark.parametrize(
    "row",
    [
        None, 5, "place", {}, [], [None], ["place"], [True], [1.0], [-1], [0], [5], [9], [17], [2**63], [[1]],
        [1], [1, 7, PAIR, 1, 300], [*PLACE, None],
        [2], [2, 7, 1, "bob", None],
        [3], [3, 7, 300, 10, "bob", None],
        [4, "bob", PAIR, None],
        [10], [10, PAIR, "1", "1", 5, 5, 5, 5, None], [11], [11, PAIR, 5, 5, 5, None],
        [12], [12, PAIR, 1], [12, PAIR, True, None], [13], [13, PAIR, None],
        [14], [14, None, 5, 5, 5, 5], [15, 1], [15, True, None], [16, None],
    ],
)  # fmt: skip
def test_what_is_no_command_is_malformed(row: object) -> None:
    market = Market()
    before = market.machine.state_hash
    told = market.rows(row)
    assert [line.split()[2] for line in told] == ["malformed"]
    assert market.machine.state_hash == before


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ([2, 0], "invalid_id"), ([2, "7"], "invalid_id"), ([2, None], "invalid_id"),
        ([2, 7, 0], "invalid_quantity"), ([2, 7, 1.5], "invalid_quantity"), ([2, 7, 2**53], "invalid_quantity"),
        ([2, 7, None, 5], "invalid_trader"), ([2, 8], "unknown_order"),
        ([3, 0], "invalid_id"), ([3, 8], "unknown_order"),
        ([3, 7, 0], "invalid_price"), ([3, 7, "300"], "invalid_price"),
        ([3, 7, None, 0], "invalid_quantity"), ([3, 7, None, True], "invalid_quantity"),
        ([3, 7, None, None, []], "invalid_trader"),
        ([4, 5], "invalid_trader"), ([4, None, 5], "invalid_pair"), ([4, None, "A/B"], "unknown_pair"),
        ([14, 5, 1], "invalid_trader"), ([14, "", 1], "invalid_trader"), ([14, None, -1], "invalid_limit"),
        ([14, None, 10**9 + 1], "invalid_limit"), ([14, None, None, True], "invalid_limit"),
        ([14, None, None, None, 0], "invalid_limit"), ([14, None, None, None, 86_400_001], "invalid_limit"),
        ([12, 5], "unknown_pair"), ([13, None], "unknown_pair"),
    ],
)  # fmt: skip
def test_other_commands_with_wrong_values(row: list[object], reason: str) -> None:
    market = Market()
    market.buy(7, 10, at=300)
    before = market.machine.state_hash
    [line] = market.rows(row)
    assert line.endswith(f" {reason}")
    assert market.machine.state_hash == before


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        b"\x93",
        b"\xdd\xff\xff\xff\xff",
        msgpack.packb(None),
        msgpack.packb({}),
        msgpack.packb("text"),
        msgpack.packb("abc"),
        msgpack.packb({"a": PLACE, "b": PLACE, "c": PLACE}),
        msgpack.packb([]),
        msgpack.packb([PLACE, PLACE]),
        msgpack.packb([PLACE, PLACE, PLACE]) + b"\x00",
        msgpack.packb([PLACE] * 4),
        b"\x93\xa1\xff\xa1\xff\xa1\xff",
        b"\x91" * 2000,
        b"\xc7\x0d\xff" + b"\xff" * 13,
    ],
)
def test_a_body_that_is_not_so_many_commands_is_refused_command_by_command(body: bytes) -> None:
    market = Market()
    before = market.machine.state_hash
    events = market.entry(body, 3)
    assert [event[:4] for event in events] == [(2, offset, 0, 1) for offset in range(3)]
    assert market.machine.state_hash == before


def test_a_wrong_command_does_not_disturb_its_neighbours() -> None:
    market = Market()
    assert market.rows(PLACE, [99], [2, 7]) == [
        "accepted 7 rests 10",
        "rejected 0 malformed",
        "cancelled 7 10 requested",
    ]


def test_an_empty_batch_does_nothing() -> None:
    assert Market().rows() == []


def test_a_refusal_names_what_the_command_named_in_the_right_form() -> None:
    market = Market()
    [event] = market.entry(msgpack.packb([[1, MAX_INTEGER, "A/B", 1, 1, 1, "carol"]]), 1)
    assert event == (2, 0, MAX_INTEGER, 6, "carol", "A/B")
    [event] = market.entry(msgpack.packb([[1, "x", 5, 1, 1, 1, []]]), 1)
    assert event == (2, 0, 0, 14, "root", "")
