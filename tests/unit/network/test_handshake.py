"""The messages of the handshake and its proofs, without a network."""

import hmac

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orderbook.network import handshake
from orderbook.network.framing import MalformedMessage
from orderbook.network.handshake import ControlKind, Hello, Opening, Role, pack_control, unpack_control

HELLO = Hello(1, 1, "network", "name", b"p" * 8, b"n" * 32, "host:7400", 1)
KEY = b"a key"
GROUP = b"a group"
ONE, OTHER = pack_control(ControlKind.HELLO, *HELLO), pack_control(ControlKind.HELLO, *HELLO._replace(name="other"))


def test_a_control_message_comes_back_as_it_was_packed():
    assert unpack_control(pack_control(ControlKind.PROVE, b"last", [])) == (ControlKind.PROVE, [b"last", []])


def test_a_kind_that_is_not_known_comes_back_as_a_number():
    assert unpack_control(msgpack.packb([200, "news"])) == (200, ["news"])


@pytest.mark.parametrize(
    "body", [b"", b"\xc1", b"\x01\x02", *map(msgpack.packb, (5, [], ["x"], [0], [-1], [True], {}))]
)
def test_what_is_no_control_message_is_malformed(body):
    with pytest.raises(MalformedMessage):
        unpack_control(body)


def test_a_control_message_has_a_bound():
    with pytest.raises(MalformedMessage, match="at most"):
        unpack_control(msgpack.packb([1, bytes(handshake.MAX_CONTROL_BYTES)]))


def test_hello_comes_back_and_later_versions_may_append():
    assert handshake.hello_from([*HELLO]) == HELLO
    assert handshake.hello_from([*HELLO, "news"]) == HELLO


@pytest.mark.parametrize(
    "changed",
    [
        {"oldest": 0},
        {"oldest": 2},
        {"oldest": "1"},
        {"newest": True},
        {"network": ""},
        {"network": "n" * 254},
        {"name": ""},
        {"name": "with space"},
        {"name": "x" * 254},
        {"name": b"bytes"},
        {"process": b"short"},
        {"nonce": b"n" * 31},
        {"address": "no port"},
        {"address": "host:0"},
        {"address": "host:65536"},
        {"address": "user@host:1"},
        {"address": "host:1/path"},
        {"dial": -1},
        {"dial": 1 << 63},
    ],
)
def test_a_hello_with_a_wrong_field_is_malformed(changed):
    with pytest.raises(MalformedMessage):
        handshake.hello_from([*HELLO._replace(**changed)])


def test_a_hello_may_leave_its_host_or_its_address_out():
    assert handshake.hello_from([*HELLO._replace(address=":7400")]).address == ":7400"
    assert handshake.hello_from([*HELLO._replace(address="")]).address == ""


@pytest.mark.parametrize("fields", [[], [b"last"], ["last", []], [b"last", {}], [b"last", [1]], [b"last", [[1, b"g"]]]])
def test_a_wrong_prove_is_malformed(fields):
    with pytest.raises(MalformedMessage):
        handshake.prove_from(fields)


@pytest.mark.parametrize(
    "opening", [[0, b"g", b""], [65536, b"g", b""], [1, b"", b""], [1, b"g" * 65, b""], [1, "g", b""], 5]
)
def test_a_wrong_opening_is_malformed(opening):
    with pytest.raises(MalformedMessage):
        handshake.opening_from(opening)


def test_openings_are_bounded():
    assert handshake.openings_from([[1, b"g", b"proof"]]) == [Opening(1, b"g", b"proof")]
    with pytest.raises(MalformedMessage):
        handshake.openings_from([[1, b"g", b""]] * (handshake.MAX_OPENINGS + 1))


def test_addresses_of_unknown_form_are_left_out():
    told = [["a", "host:1"], ["b", "unix:/run/b"], ["c", "[::1]:7400"], ["", "host:1"], ["d", 5], ["e", ":1"]]
    assert handshake.addresses_from([told]) == [("a", "host:1"), ("c", "[::1]:7400")]
    with pytest.raises(MalformedMessage):
        handshake.addresses_from([["a"]])


@pytest.mark.parametrize(
    ("own", "theirs", "common"),
    [((1, 1), (1, 1), 1), ((1, 3), (2, 5), 3), ((1, 2), (3, 4), None), ((3, 4), (1, 2), None), ((2, 2), (1, 9), 2)],
)
def test_the_version_is_the_newest_that_both_speak(own, theirs, common):
    assert handshake.common_version(*own, HELLO._replace(oldest=theirs[0], newest=theirs[1])) == common


def test_a_proof_holds_only_for_its_key_role_group_and_both_hellos():
    good = handshake.proof(KEY, Role.DIALLER, GROUP, ONE, OTHER)
    assert handshake.is_proof(good, handshake.proof(KEY, Role.DIALLER, GROUP, ONE, OTHER))
    for other in (
        handshake.proof(b"another key", Role.DIALLER, GROUP, ONE, OTHER),
        handshake.proof(KEY, Role.ACCEPTOR, GROUP, ONE, OTHER),
        handshake.proof(KEY, Role.DIALLER, b"another group", ONE, OTHER),
        handshake.proof(KEY, Role.DIALLER, GROUP, OTHER, ONE),
        handshake.proof(KEY, Role.DIALLER, GROUP, ONE, ONE),
        good[:-1],
        b"",
    ):
        assert not handshake.is_proof(other, good)


@pytest.mark.parametrize("field", Hello._fields)
def test_every_field_of_both_hellos_is_covered_by_the_proof(field):
    value = getattr(HELLO, field)
    other = value + 1 if type(value) is int else value + type(value)(b"x" if type(value) is bytes else "x")
    changed = pack_control(ControlKind.HELLO, *HELLO._replace(**{field: other}))
    good = handshake.proof(KEY, Role.DIALLER, GROUP, ONE, OTHER)
    assert handshake.proof(KEY, Role.DIALLER, GROUP, changed, OTHER) != good
    assert handshake.proof(KEY, Role.DIALLER, GROUP, ONE, changed) != good


def test_proofs_are_compared_in_constant_time(monkeypatch):
    asked = []
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: asked.append((a, b)) or True)
    assert handshake.is_proof(b"a", b"b")
    assert asked == [(b"a", b"b")]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=9) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=20,
)
READERS = (
    handshake.hello_from,
    handshake.prove_from,
    handshake.addresses_from,
    handshake.refuse_from,
    handshake.opening_from,
    handshake.openings_from,
    lambda fields: handshake.number_from("CLOSE", fields),
)


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_a_control_message_or_a_named_error(data):
    try:
        kind, fields = unpack_control(data)
    except MalformedMessage as error:
        assert str(error)
    else:
        assert kind >= 1
        assert type(fields) is list


@settings(deadline=None)
@given(st.lists(VALUES, max_size=9), st.sampled_from(READERS))
def test_any_fields_are_taken_or_a_named_error(fields, reader):
    try:
        reader(fields)
    except MalformedMessage as error:
        assert str(error)
