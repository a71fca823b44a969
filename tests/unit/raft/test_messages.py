"""Messages on the wire: everything valid survives, and nothing else gets in."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orderbook.raft.membership import encode
from orderbook.raft.messages import (
    MAX_INT,
    MESSAGE_TYPES,
    Append,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    Message,
    PreVote,
    PreVoteReply,
    ReadIndex,
    ReadIndexReply,
    Removed,
    TimeoutNow,
    Vote,
    VoteReply,
    from_wire,
    to_wire,
)
from orderbook.raft.types import Configuration, Entry, EntryKind, Member, SnapshotMeta

CONFIGURATION = Configuration((Member("a", 1), Member("b", 2)), (), (Member("c", 3),))
META = SnapshotMeta(7, 2, CONFIGURATION, 5)
APPEND = Append(
    3,
    4,
    1,
    2,
    (Entry(5, 1, EntryKind.NORMAL, b"x"), Entry(6, 3, EntryKind.CONFIGURATION, encode(CONFIGURATION))),
)
ONE_OF_EACH: list[Message] = [
    PreVote(1, 2, 1),
    PreVoteReply(1, True),
    Vote(1, 0, 0, False),
    VoteReply(2, False),
    APPEND,
    AppendReply(3, 6, True, 2, 1),
    Heartbeat(3, 0, MAX_INT),
    HeartbeatReply(3, 9),
    InstallSnapshot(3, META),
    TimeoutNow(3),
    ReadIndex(3, 2**62),
    ReadIndexReply(3, 2**62, 0),
    Removed(3, 5, 2),
]


def over_the_wire(message: Message) -> Message:
    return from_wire(msgpack.unpackb(msgpack.packb(to_wire(message)), use_list=False))


def test_one_of_each_is_here() -> None:
    assert {type(message) for message in ONE_OF_EACH} == set(MESSAGE_TYPES)


def test_type_numbers_are_part_of_the_format() -> None:
    assert [(number, kind.__name__) for kind, number in MESSAGE_TYPES.items()] == [
        (1, "PreVote"),
        (2, "PreVoteReply"),
        (3, "Vote"),
        (4, "VoteReply"),
        (5, "Append"),
        (6, "AppendReply"),
        (7, "Heartbeat"),
        (8, "HeartbeatReply"),
        (9, "InstallSnapshot"),
        (10, "TimeoutNow"),
        (11, "ReadIndex"),
        (12, "ReadIndexReply"),
        (13, "Removed"),
    ]


@pytest.mark.parametrize("message", ONE_OF_EACH, ids=lambda message: type(message).__name__)
def test_a_message_survives_the_wire_with_its_types(message: Message) -> None:
    received = over_the_wire(message)
    assert received == message
    assert type(received) is type(message)


def test_nested_tuples_come_back_as_what_they_were() -> None:
    append = over_the_wire(APPEND)
    assert isinstance(append, Append)
    assert all(type(entry) is Entry for entry in append.entries)
    install = over_the_wire(InstallSnapshot(3, META))
    assert isinstance(install, InstallSnapshot)
    assert type(install.meta) is SnapshotMeta
    assert type(install.meta.configuration) is Configuration
    assert all(type(member) is Member for member in install.meta.configuration.voters)


def test_lists_may_stand_for_tuples() -> None:
    assert from_wire(msgpack.unpackb(msgpack.packb(to_wire(APPEND)), use_list=True)) == APPEND


@pytest.mark.parametrize("message", ONE_OF_EACH, ids=lambda message: type(message).__name__)
def test_a_field_too_few_or_too_many_is_refused(message: Message) -> None:
    values = to_wire(message)
    for wrong in (values[:-1], (*values, 0)):
        with pytest.raises(ValueError, match=type(message).__name__):
            from_wire(wrong)


WRONG: list[Any] = [None, -1, MAX_INT + 1, 1.0, "1", b"1", True, (), [], {}]


@pytest.mark.parametrize("message", ONE_OF_EACH, ids=lambda message: type(message).__name__)
def test_a_value_of_the_wrong_type_or_range_is_refused_by_name(message: Message) -> None:
    for position, field in enumerate(type(message)._fields, 1):
        for value in WRONG:
            known = to_wire(message)[position]
            if isinstance(known, bool) and isinstance(value, bool):
                continue
            if field == "entries" and value in ((), []):
                continue
            values = list(to_wire(message))
            values[position] = value
            with pytest.raises(ValueError, match=rf"{type(message).__name__}\.{field}"):
                from_wire(values)


@pytest.mark.parametrize("value", [None, 5, b"x", {}, (), [], (0,), (14, 1), ("5", 1), (True, 1), (5.0, 1), (None,)])
def test_what_is_no_message_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="message"):
        from_wire(value)


@pytest.mark.parametrize("message", ONE_OF_EACH, ids=lambda message: type(message).__name__)
def test_a_term_of_zero_is_refused(message: Message) -> None:
    values = list(to_wire(message))
    values[1] = 0
    if isinstance(message, Append):
        values[5] = ()
    with pytest.raises(ValueError, match="term"):
        from_wire(values)


@pytest.mark.parametrize(
    "entries",
    [
        ((6, 1, 0, b""),),
        ((5, 1, 0, b""), (5, 1, 0, b"")),
        ((5, 1, 0, b""), (7, 1, 0, b"")),
        ((5, 0, 0, b""),),
        ((5, 2, 0, b""), (6, 1, 0, b"")),
        ((5, 4, 0, b""),),
    ],
    ids=["gap before", "twice", "gap between", "term falls from the place before", "term falls", "term of the future"],
)
def test_entries_that_cannot_follow_are_refused(entries: Any) -> None:
    with pytest.raises(ValueError, match=r"Append\.entries"):
        from_wire((5, 3, 4, 1, 2, entries))


@pytest.mark.parametrize(
    ("entry", "named"),
    [
        (5, "entries"),
        ((5, 1, 0), "entries"),
        ((5, 1, 0, b"", 0), "entries"),
        (("5", 1, 0, b""), r"entries\.index"),
        ((5, True, 0, b""), r"entries\.term"),
        ((5, 1, 2, b""), r"entries\.kind"),
        ((5, 1, False, b""), r"entries\.kind"),
        ((5, 1, True, encode(CONFIGURATION)), r"entries\.kind"),
        ((5, 1, None, b""), r"entries\.kind"),
        ((5, 1, 0, "text"), r"entries\.payload"),
        ((5, 1, 0, bytearray(b"x")), r"entries\.payload"),
    ],
)
def test_a_malformed_entry_is_refused_by_name(entry: Any, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        from_wire((5, 3, 4, 1, 2, (entry,)))


MEMBER = ("a", 1)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        (5, "configuration"),
        ((), "configuration"),
        (((MEMBER,), (), ()), "configuration"),
        ((5, (), (), ()), r"configuration\.voters"),
        (((("a",),), (), (), ()), r"configuration\.voters"),
        ((((1, "a"),), (), (), ()), r"configuration\.voters"),
        (((("", 1),), (), (), ()), r"configuration\.voters"),
        (((("x" * 254, 1),), (), (), ()), r"configuration\.voters"),
        (((("a", 0),), (), (), ()), r"configuration\.voters"),
        (((("a", True),), (), (), ()), r"configuration\.voters"),
        (((("a", 2**63),), (), (), ()), r"configuration\.voters"),
        (((("b", 2), ("a", 1)), (), (), ()), r"configuration\.voters"),
        (((("a", 1), ("b", 1)), (), (), ()), r"configuration\.voters"),
        (((("a", 1), ("a", 2)), (), (), ()), "two roles"),
        (((MEMBER,), (), (MEMBER,), ()), "two roles"),
        (((MEMBER,), (), (("a", 2),), ()), "two roles"),
        (((MEMBER,), (("b", 2),), (("b", 2),), ()), r"configuration\.learners"),
        (((MEMBER,), (("b", 2),), (), (("c", 3),)), r"configuration\.learners_next"),
    ],
)
def test_a_malformed_configuration_gets_in_neither_as_entry_nor_with_a_snapshot(fields: Any, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        from_wire((5, 3, 4, 1, 2, ((5, 1, 1, msgpack.packb(fields)),)))
    with pytest.raises(ValueError, match=named):
        from_wire((9, 3, (7, 2, fields, 5)))


@pytest.mark.parametrize("payload", [b"", b"\x94", b"\xc1", encode(CONFIGURATION) + b"\x00"])
def test_a_configuration_that_is_not_msgpack_is_refused(payload: bytes) -> None:
    with pytest.raises(ValueError, match="configuration: "):
        from_wire((5, 3, 4, 1, 2, ((5, 1, 1, payload),)))


@pytest.mark.parametrize(
    "meta",
    [
        (7, 2, CONFIGURATION),
        (0, 2, CONFIGURATION, 0),
        (7, 0, CONFIGURATION, 5),
        (7, 2, CONFIGURATION, 8),
        (7, 2, Configuration(()), 5),
        ("7", 2, CONFIGURATION, 5),
    ],
    ids=["short", "index 0", "term 0", "configuration of the future", "no voters", "text"],
)
def test_a_snapshot_that_cannot_be_is_refused(meta: Any) -> None:
    with pytest.raises(ValueError, match=r"InstallSnapshot\.meta"):
        from_wire((9, 3, meta))


scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 9), st.integers(), st.floats(), st.text(max_size=3), st.binary(max_size=9)
)
anything = st.recursive(scalars, lambda inner: st.lists(inner, max_size=6).map(tuple), max_leaves=20)


@settings(deadline=None)
@given(st.one_of(anything, st.tuples(st.integers(1, 13), *([scalars] * 4)), st.tuples(st.just(5), *([anything] * 5))))
def test_whatever_arrives_is_a_message_or_a_value_error(value: Any) -> None:
    try:
        message = from_wire(value)
    except ValueError:
        return
    assert to_wire(message) == tuple(value)


@settings(deadline=None)
@given(st.sampled_from(ONE_OF_EACH), st.data())
def test_damage_at_one_place_is_a_message_or_a_value_error(message: Message, data: st.DataObject) -> None:
    packed = bytearray(msgpack.packb(to_wire(message)))
    packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    try:
        value = msgpack.unpackb(bytes(packed), use_list=False, strict_map_key=False)
    except (ValueError, TypeError):
        return
    try:
        from_wire(value)
    except ValueError:
        return
