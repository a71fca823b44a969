"""The rest of the replicated state: idempotency keys, settings, checks, machine versions, bytes that are nothing."""

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orderbook.groups.replicated import ReplicatedState, Verdict
from orderbook.groups.sessions import Kept, Outcome, Session, Sessions
from orderbook.groups.settings import ALLOWED, Settings, encode_changes
from orderbook.wire.envelope import EntryType, UnknownFormat
from orderbook.wire.roles import Role
from unit.groups.counter_machine import Counter
from unit.groups.log_writer import LogWriter


@pytest.fixture
def state():
    return ReplicatedState(Counter())


@pytest.fixture
def log(state):
    return LogWriter(state)


# --- idempotency keys -------------------------------------------------------------------------------------------------


def test_the_same_key_and_body_run_once_and_give_the_same_answer(state, log):
    ran = log.keyed("order-1", 5)
    again = log.keyed("order-1", 5)
    assert (again.outcome, again.answer_index, again.answer) == (Outcome.OK, ran.log_index, ran.answer)
    assert again.events == []
    assert state.machine.total == 5


def test_another_body_under_a_used_key_is_refused_and_names_the_entry_that_used_it(state, log):
    ran = log.keyed("order-1", 5)
    refused = log.keyed("order-1", 6)
    assert (refused.outcome, refused.detail) == (Outcome.KEY_REUSED, ran.log_index)
    assert state.machine.total == 5


def test_keys_belong_to_their_principal(state, log):
    log.keyed("order-1", 5)
    log.principal = "bob"
    assert log.keyed("order-1", 6).outcome is Outcome.OK
    assert state.machine.total == 11


def test_a_key_is_forgotten_after_its_lifetime_in_log_time(state, log):
    log.configure(key_lifetime_ms=5_000)
    log.keyed("order-1", 5)
    log.clock_ms += 5_000
    log.keyed("order-1", 5)
    assert state.machine.total == 5
    log.clock_ms += 1
    log.keyed("order-1", 6)
    assert state.machine.total == 11


def test_beyond_the_bound_the_oldest_key_goes(state, log):
    log.configure(max_keys=2)
    for name in ("a", "b", "c"):
        log.keyed(name, 1)
    assert len(state.keys) == 2
    log.keyed("c", 1)
    log.keyed("b", 1)
    assert state.machine.total == 3
    log.keyed("a", 1)
    assert state.machine.total == 4


def test_beyond_the_bound_on_bytes_the_oldest_keys_go_and_never_the_newest(state, log):
    log.configure(max_key_bytes=1 << 16)
    big = msgpack.packb(["big", b"digest", b"x" * 40_000])
    bigger = msgpack.packb(["bigger", b"digest", b"x" * 140_000])
    log.keyed("small", 1)
    log.write(EntryType.KEYED_COMMANDS, big, commands=1)
    assert len(state.keys) == 2
    log.write(EntryType.KEYED_COMMANDS, bigger, commands=1)
    assert len(state.keys) == 1
    assert log.write(EntryType.KEYED_COMMANDS, bigger, commands=1).answer_index == log.index - 1


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        ["k", b"d"],
        ["k", b"d", b"b", b"more"],
        [b"k", b"d", b"b"],
        ["k", "d", b"b"],
        ["k" * 257, b"d", b"b"],
        ["k", b"d" * 65, b"b"],
    ],
)
def test_a_keyed_entry_that_is_none_is_malformed(state, log, value):
    assert log.write(EntryType.KEYED_COMMANDS, msgpack.packb(value), commands=1).outcome is Outcome.MALFORMED
    assert len(state.keys) == 0


# --- settings ---------------------------------------------------------------------------------------------------------


def test_an_admin_changes_settings_through_the_log(state, log):
    assert log.configure(max_sessions=5, version_soak_ms=0).outcome is Outcome.OK
    assert state.settings == Settings(max_sessions=5, version_soak_ms=0)


@pytest.mark.parametrize("role", [Role.OBSERVER, Role.TRADER])
def test_nobody_else_changes_settings(state, log, role):
    log.role = role
    assert log.write(EntryType.CONFIGURE, encode_changes({"max_sessions": 5})).outcome is Outcome.NOT_PERMITTED
    assert state.settings == Settings()


@pytest.mark.parametrize("key", ALLOWED)
def test_each_setting_has_its_range(key):
    low, high = ALLOWED[key]
    for value in (low, high):
        assert encode_changes({key: value})
    for value in (low - 1, high + 1, float(low), True, None, "1"):
        with pytest.raises(ValueError, match=key):
            encode_changes({key: value})


def test_every_setting_can_be_changed_and_its_default_is_allowed():
    assert set(ALLOWED) == set(Settings._fields)
    assert encode_changes(Settings()._asdict())


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {"max_sessions": 0},
        {"no_such": 1},
        {1: 1},
        {b"max_sessions": 5},
        {"max_sessions": 5, "max_keys": -1},
        {"min_session_timeout_ms": 5_000, "max_session_timeout_ms": 4_000},
    ],
)
def test_a_change_that_is_none_changes_nothing(state, log, value):
    assert log.by_admin(EntryType.CONFIGURE, value).outcome is Outcome.MALFORMED
    assert state.settings == Settings()


def test_the_minimum_and_the_maximum_of_timeouts_do_not_cross(state, log):
    log.configure(max_session_timeout_ms=5_000)
    assert log.configure(min_session_timeout_ms=5_001).outcome is Outcome.MALFORMED
    assert log.configure(min_session_timeout_ms=5_000).outcome is Outcome.OK


# --- machine versions -------------------------------------------------------------------------------------------------


def test_the_rules_change_for_the_entries_behind_the_one_that_raises_the_version(state, log):
    log.plain(["add", 1])
    log.by_admin(EntryType.SET_MACHINE_VERSION, 2)
    log.plain(["add", 1])
    assert (state.machine.total, state.machine_version) == (3, 2)


def test_the_version_is_never_lowered(state, log):
    log.by_admin(EntryType.SET_MACHINE_VERSION, 2)
    for lower in (1, 0, -1):
        assert log.by_admin(EntryType.SET_MACHINE_VERSION, lower).outcome is Outcome.OK
    assert state.machine_version == 2


def test_a_version_that_this_node_does_not_know_stops_it_before_any_change():
    state = ReplicatedState(Counter(version=1))
    log = LogWriter(state)
    session = log.open(timeout_ms=1_000)
    before = (state.index, state.now_ms, state.state_hash)
    log.clock_ms += 60_000
    with pytest.raises(UnknownFormat, match="version 2 of the state machine 'counter'; this node knows up to 1"):
        log.by_admin(EntryType.SET_MACHINE_VERSION, 2)
    assert (state.index, state.now_ms, state.state_hash) == before
    assert session in state.sessions.by_id


def test_only_the_group_itself_raises_the_version(state, log):
    assert log.write(EntryType.SET_MACHINE_VERSION, msgpack.packb(2)).outcome is Outcome.NOT_PERMITTED
    assert log.write(EntryType.SET_MACHINE_VERSION, msgpack.packb(99)).outcome is Outcome.NOT_PERMITTED
    assert state.machine_version == 1


@pytest.mark.parametrize("value", [None, "2", 2.0, True, [2]])
def test_a_version_that_is_none_is_malformed(state, log, value):
    assert log.by_admin(EntryType.SET_MACHINE_VERSION, value).outcome is Outcome.MALFORMED
    assert state.machine_version == 1


def test_an_entry_of_an_unknown_type_stops_the_node_before_any_change(state, log):
    log.plain(["add", 1])
    before = (state.index, state.state_hash)
    _, term, payload = log.entries[-1]
    with pytest.raises(UnknownFormat, match="entry type 99"):
        state.apply(2, term, payload[:9] + b"\x63" + payload[10:])
    assert (state.index, state.state_hash) == before


# --- another life -----------------------------------------------------------------------------------------------------


def test_another_life_ends_all_sessions_in_order_and_forgets_all_keys(state, log):
    sessions = (log.open(timeout_ms=5_000), log.open(timeout_ms=1_000, cancel=True), log.open())
    log.batch(sessions[0], 1, 5)
    log.keyed("order-1", 1)
    reborn = log.by_admin(EntryType.REBORN, 77)
    assert reborn.closed == sessions
    assert reborn.events == [("closed", -1, session) for session in sessions]
    assert state.machine.closed[1] == [sessions[1], "alice", 2, True]
    assert (state.sessions.by_id, state.sessions.hash, state.sessions.kept_bytes) == ({}, 0, 0)
    assert log.batch(sessions[0], 1, 5).outcome is Outcome.SESSION_UNKNOWN
    log.keyed("order-1", 1)
    assert state.machine.total == 7


def test_a_session_of_another_life_never_has_the_id_of_one_of_this(state, log):
    first = log.open()
    log.by_admin(EntryType.REBORN, 77)
    second = log.open()
    assert (first >> 43, second >> 43) == (0, 77)
    assert log.by_admin(EntryType.REBORN, None).outcome is Outcome.MALFORMED
    assert state.life == 77


def test_only_the_group_itself_begins_another_life(state, log):
    session = log.open()
    assert log.write(EntryType.REBORN).outcome is Outcome.NOT_PERMITTED
    assert session in state.sessions.by_id


# --- checks -----------------------------------------------------------------------------------------------------------


def test_a_check_notes_the_hash_at_its_place(state, log):
    assert state.newest_check() is None
    log.plain(["add", 1])
    log.write(EntryType.CHECK)
    assert state.newest_check() == (2, state.state_hash)
    noted = state.state_hash
    log.plain(["add", 1])
    assert state.newest_check() == (2, noted)
    assert state.state_hash != noted


def test_the_last_sixteen_checks_are_remembered(state, log):
    for _ in range(20):
        log.write(EntryType.CHECK)
    assert list(state.checks) == list(range(5, 21))


def test_a_verdict_is_taken_from_the_log(state, log):
    assert log.by_admin(EntryType.VERDICT, [4, 99]).outcome is Outcome.OK
    assert state.verdict == Verdict(4, 99)
    log.by_admin(EntryType.VERDICT, [5, None])
    assert state.verdict == Verdict(5, None)


@pytest.mark.parametrize("value", [None, [], [4], [4, "x"], [4, 1.5], [4, True], ["4", 1], [4, 1, 1]])
def test_a_malformed_verdict_halts_nobody(state, log, value):
    assert log.by_admin(EntryType.VERDICT, value).outcome is Outcome.MALFORMED
    assert state.verdict is None


def test_only_the_group_itself_gives_verdicts(state, log):
    assert log.write(EntryType.VERDICT, msgpack.packb([4, None])).outcome is Outcome.NOT_PERMITTED
    assert state.verdict is None


# --- the hash ---------------------------------------------------------------------------------------------------------


def changes_of_state(log, session):
    return {
        "time": lambda: log.tick(after_ms=1),
        "a command": lambda: log.plain(["add", 1]),
        "a session": log.open,
        "a batch": lambda: log.batch(session, 1, 0),
        "an acknowledgement": lambda: log.keep_alive(session, acked=1),
        "a key": lambda: log.keyed("k", 0),
        "a setting": lambda: log.configure(max_sessions=77),
        "the machine's version": lambda: log.by_admin(EntryType.SET_MACHINE_VERSION, 2),
        "the end of a session": lambda: log.close(session),
    }


def test_every_change_of_the_state_changes_the_hash(state, log):
    hashes = [state.state_hash]
    for name, change in changes_of_state(log, log.open()).items():
        hashes.append(state.state_hash)
        change()
        assert state.state_hash not in hashes, name


@pytest.mark.parametrize(
    "other",
    [
        Session(1, "alice", Role.ADMIN, 10_000, False, 0),
        Session(1, "alice", Role.TRADER, 10_001, False, 0),
        Session(1, "alice", Role.TRADER, 10_000, True, 0),
        Session(1, "alice", Role.TRADER, 10_000, False, 1),
        Session(1, "bob", Role.TRADER, 10_000, False, 0),
        Session(2, "alice", Role.TRADER, 10_000, False, 0),
    ],
)
def test_the_hash_covers_all_terms_of_a_session(other):
    assert hash_of_one(other) != hash_of_one(Session(1, "alice", Role.TRADER, 10_000, False, 0))


@pytest.mark.parametrize(("log_index", "body_bytes"), [(8, 100), (7, 101)])
def test_the_hash_covers_the_place_and_size_of_kept_results(log_index, body_bytes):
    def with_result(log_index, body_bytes):
        session = Session(1, "alice", Role.TRADER, 10_000, False, 0)
        session.kept.append(Kept(1, 1, b"", False, log_index, 0, [], body_bytes))
        session.kept_bytes = body_bytes
        return session

    assert hash_of_one(with_result(log_index, body_bytes)) != hash_of_one(with_result(7, 100))


def hash_of_one(session):
    sessions = Sessions()
    sessions.open(session)
    return sessions.hash


def test_the_hash_is_taken_back_with_what_it_covers(state, log):
    log.configure(key_lifetime_ms=1_000)
    before = (state.sessions.hash, state.keys.hash)
    session = log.open()
    log.batch(session, 1, 5)
    log.close(session)
    log.keyed("k", 1)
    state.keys.expire(state.now_ms + 1)
    assert (state.sessions.hash, state.keys.hash) == before == (0, 0)


def test_an_entry_of_rafts_own_takes_a_place_and_changes_nothing(state, log):
    log.plain(["add", 1])
    hash = state.state_hash
    state.skip(2)
    assert (state.index, state.state_hash) == (2, hash)


# --- bytes that are nothing -------------------------------------------------------------------------------------------

ANY_VALUE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5) | st.integers(0, 9), inner, max_size=3)
    ),
    max_leaves=8,
)
ANY_BODY = st.binary(max_size=60) | ANY_VALUE.map(msgpack.packb)


@given(
    type=st.sampled_from([type for type in EntryType if type is not EntryType.SET_MACHINE_VERSION]),
    body=ANY_BODY,
    role=st.sampled_from([Role.OBSERVER, Role.TRADER]),
    session=st.integers(0, 3),
    first=st.integers(0, 5) | st.integers(0, 2**63 - 1),
    commands=st.integers(0, 5),
    acked=st.integers(0, 2**63 - 1),
)
def test_any_bytes_are_applied_and_whatever_is_refused_changes_only_time(
    type, body, role, session, first, commands, acked
):
    state = ReplicatedState(Counter())
    log = LogWriter(state)
    log.open()
    log.batch(1, 1, 5)
    log.principal = "bob"  # whose session it is not: even a batch that would run is refused
    log.role = role
    log.clock_ms += 3
    before = state_without_time(state)
    applied = log.write(type, body, session, first, commands, acked)
    assert (state.index, state.now_ms) == (applied.log_index, log.clock_ms)
    if applied.outcome is not Outcome.OK:
        assert state_without_time(state) == before
        assert applied.answer == [] == applied.events


@given(body=ANY_BODY)
def test_any_bytes_of_an_admin_are_applied(body):
    for type in EntryType:
        state = ReplicatedState(Counter())
        log = LogWriter(state)
        log.role = Role.ADMIN
        before = state_without_time(state)
        try:
            applied = log.write(type, body, commands=1)
        except UnknownFormat:
            assert type is EntryType.SET_MACHINE_VERSION
            assert state_without_time(state) == before
        else:
            assert applied.outcome is Outcome.OK or state_without_time(state) == before


def state_without_time(state):
    sessions = [
        (s.id, s.principal, s.role, s.timeout_ms, s.cancel_on_close, s.active_ms, s.last, s.acked, tuple(s.kept))
        for s in state.sessions.by_id.values()
    ]
    keys = list(state.keys.dump())
    return sessions, keys, state.settings, state.machine_version, state.machine.state_hash, state.verdict
