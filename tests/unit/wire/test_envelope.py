import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orderbook.wire.envelope import (
    MAX_BODY_BYTES,
    MAX_COMMANDS,
    EntryType,
    Header,
    MalformedEnvelope,
    UnknownFormat,
    check_sealed,
    seal,
    stamp,
    unseal,
)

HEADER = Header(origin=7, request=3, session=12, first=1, commands=2, acked=0, principal="alice", role=1)


def test_what_is_sealed_and_stamped_comes_back_whole():
    envelope = unseal(stamp(seal(EntryType.COMMANDS, HEADER, b"body"), 1_700_000_000_123))
    assert envelope.stamp == 1_700_000_000_123
    assert envelope.type == EntryType.COMMANDS
    assert envelope.header == HEADER
    assert envelope.body == b"body"


def test_the_leader_only_adds_nine_bytes_in_front():
    sealed = seal(EntryType.COMMANDS, HEADER, b"body")
    assert stamp(sealed, 5)[9:] == sealed


def test_metadata_costs_one_byte_when_there_is_none_and_is_carried_when_there_is():
    bare = seal(EntryType.COMMANDS, HEADER)
    assert bare.endswith(b"\xc0")
    traced = HEADER._replace(metadata={"traceparent": "00-1-2-01"})
    assert check_sealed(seal(EntryType.COMMANDS, traced)).header.metadata == {"traceparent": "00-1-2-01"}


@pytest.mark.parametrize(
    ("header", "body", "says"),
    [
        (HEADER._replace(commands=MAX_COMMANDS + 1), b"", "4096 commands"),
        (HEADER, b"x" * (MAX_BODY_BYTES + 1), "1048576 bytes"),
        (HEADER._replace(principal="x" * 257), b"", "256 bytes"),
        (HEADER._replace(metadata={"a": "x" * 5000}), b"", "metadata"),
    ],
)
def test_more_than_an_entry_holds_is_refused_by_name(header, body, says):
    with pytest.raises(ValueError, match=says):
        seal(EntryType.COMMANDS, header, body)


def test_a_newer_format_or_type_is_told_from_damage():
    sealed = seal(EntryType.COMMANDS, HEADER)
    with pytest.raises(UnknownFormat, match="format 2"):
        unseal(b"\x02" + stamp(sealed, 1)[1:])
    with pytest.raises(UnknownFormat, match="entry type 99"):
        unseal(stamp(b"\x63" + sealed[1:], 1))


@pytest.mark.parametrize(
    ("position", "value"),
    [(0, -1), (1, 1.5), (2, "x"), (3, True), (4, MAX_COMMANDS + 1), (6, 5), (7, 300), (8, [1])],
)
def test_each_field_of_a_header_is_checked(position, value):
    fields = list(HEADER)
    fields[position] = value
    packed = msgpack.packb(fields)
    sealed = bytes([EntryType.COMMANDS]) + len(packed).to_bytes(2, "big") + packed
    with pytest.raises(MalformedEnvelope):
        check_sealed(sealed)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_envelope_or_one_of_two_errors(data):
    try:
        unseal(data)
    except (MalformedEnvelope, UnknownFormat):
        return
    assert data[0] == 1
