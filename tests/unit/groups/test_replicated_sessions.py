"""Sessions as the replicated state applies them: what runs, what is answered again, what is refused."""

import msgpack
import pytest

from orderbook.groups.replicated import ReplicatedState
from orderbook.groups.sessions import CLOSED_BYTES_PER_ENTRY, CLOSED_PER_ENTRY, EVENT_BYTES, Outcome
from orderbook.wire.envelope import EntryType
from unit.groups.counter_machine import Counter
from unit.groups.log_writer import LogWriter


@pytest.fixture
def state():
    return ReplicatedState(Counter())


@pytest.fixture
def log(state):
    return LogWriter(state)


def test_a_batch_runs_once_and_its_repeat_is_answered_with_the_same_events_and_index(state, log):
    session = log.open()
    ran = log.batch(session, 1, 5, 6)
    assert ran.answer[ran.answer_start :] == [("added", 0, 5), ("added", 1, 11)]
    again = log.batch(session, 1, 5, 6)
    assert again.outcome is Outcome.OK
    assert (again.answer_index, again.answer_start, again.answer) == (ran.log_index, ran.answer_start, ran.answer)
    assert again.events == []
    assert again.log_index == ran.log_index + 1
    assert state.machine.total == 11


def test_a_repeat_behind_later_batches_is_still_answered(state, log):
    session = log.open()
    first = log.batch(session, 1, 5)
    log.batch(session, 2, 6, 7)
    log.batch(session, 4, 8)
    assert log.batch(session, 1, 5).answer_index == first.log_index
    assert state.machine.total == 26


def test_a_repeat_with_other_bytes_is_refused_and_changes_nothing(state, log):
    session = log.open()
    log.batch(session, 1, 5, 6)
    for first, amounts in ((1, (5, 7)), (1, (5,)), (1, (5, 6, 7)), (2, (6,))):
        refused = log.batch(session, first, *amounts)
        assert (refused.outcome, refused.detail) == (Outcome.REPEAT_DIFFERS, first)
    same_bytes = msgpack.packb([["add", 5], ["add", 6]])
    assert log.write(EntryType.COMMANDS, same_bytes, session, 1, commands=1).outcome is Outcome.REPEAT_DIFFERS
    assert state.machine.total == 11


@pytest.mark.parametrize("first", [3, 4, 100])
def test_a_gap_is_refused_with_the_number_that_was_expected(state, log, first):
    session = log.open()
    log.batch(session, 1, 5)
    refused = log.batch(session, first, 9)
    assert (refused.outcome, refused.detail, refused.answer) == (Outcome.SEQUENCE_GAP, 2, [])
    assert state.machine.total == 5
    assert log.batch(session, 2, 9).outcome is Outcome.OK


def test_a_batch_without_commands_or_before_the_first_number_is_malformed(log):
    session = log.open()
    assert log.write(EntryType.COMMANDS, b"\x90", session, first=1, commands=0).outcome is Outcome.MALFORMED
    assert log.batch(session, 0, 5).outcome is Outcome.MALFORMED
    assert log.batch(session, 1, 5).outcome is Outcome.OK


def test_a_result_that_the_client_has_is_dropped(log):
    session = log.open()
    log.batch(session, 1, 5)
    log.batch(session, 2, 6)
    log.batch(session, 3, 7, acked=1)
    assert log.batch(session, 1, 5).outcome is Outcome.RESULT_DROPPED
    assert log.batch(session, 2, 6).outcome is Outcome.OK


def test_a_batch_is_dropped_only_when_all_of_it_is_acknowledged(log):
    session = log.open()
    log.batch(session, 1, 5, 6)
    log.keep_alive(session, acked=1)
    assert log.batch(session, 1, 5, 6).outcome is Outcome.OK
    log.keep_alive(session, acked=2)
    assert log.batch(session, 1, 5, 6).outcome is Outcome.RESULT_DROPPED


def test_acknowledging_more_than_was_run_does_not_drop_what_comes(log):
    session = log.open()
    log.batch(session, 1, 5)
    log.keep_alive(session, acked=1000)
    ran = log.batch(session, 2, 6)
    assert log.batch(session, 2, 6).answer_index == ran.log_index


def test_an_acknowledgement_that_goes_back_brings_nothing_back(log):
    session = log.open()
    log.batch(session, 1, 5)
    log.batch(session, 2, 6, acked=1)
    log.keep_alive(session, acked=0)
    assert log.batch(session, 1, 5).outcome is Outcome.RESULT_DROPPED


def test_beyond_the_bound_on_results_the_oldest_is_dropped(log):
    log.configure(max_kept_results=2)
    session = log.open()
    for number in (1, 2, 3):
        log.batch(session, number, number)
    assert log.batch(session, 1, 1).outcome is Outcome.RESULT_DROPPED
    assert log.batch(session, 2, 2).outcome is Outcome.OK
    assert log.batch(session, 3, 3).outcome is Outcome.OK


def big_batch(log, session, number):
    """A batch of one command and 40,000 bytes of body, which the machine rejects."""
    return log.write(EntryType.COMMANDS, b"x" * 40_000, session, number, 1)


def test_beyond_the_bound_on_bytes_a_session_loses_its_oldest_results_and_never_the_newest(log):
    log.configure(max_kept_bytes=1 << 16)
    session, other = log.open(), log.open()
    log.batch(other, 1, 5)
    big_batch(log, session, 1)
    big_batch(log, session, 2)
    assert big_batch(log, session, 1).outcome is Outcome.RESULT_DROPPED
    assert big_batch(log, session, 2).outcome is Outcome.OK
    assert log.write(EntryType.COMMANDS, b"y" * 100_000, session, 3, 1).outcome is Outcome.OK
    assert big_batch(log, session, 2).outcome is Outcome.RESULT_DROPPED
    assert log.write(EntryType.COMMANDS, b"y" * 100_000, session, 3, 1).outcome is Outcome.OK
    assert log.batch(other, 1, 5).outcome is Outcome.OK


def test_beyond_the_bound_on_bytes_of_all_who_adds_loses(log):
    log.configure(max_kept_bytes_of_all=1 << 16)
    session, other = log.open(), log.open()
    log.batch(other, 1, 5)
    big_batch(log, session, 1)
    big_batch(log, session, 2)
    assert big_batch(log, session, 1).outcome is Outcome.RESULT_DROPPED
    assert log.batch(other, 1, 5).outcome is Outcome.OK


def test_the_account_of_kept_bytes_returns_to_nothing(state, log):
    sessions = [log.open() for _ in range(3)]
    for session in sessions:
        for number in range(1, 6):
            log.batch(session, number, number)
    assert state.sessions.kept_bytes > 0
    log.keep_alive(sessions[0], acked=5)
    log.close(sessions[1])
    log.tick(after_ms=20_000)
    assert not state.sessions.by_id
    assert state.sessions.kept_bytes == 0


def test_a_session_answers_only_its_principal(state, log):
    session = log.open()
    log.principal = "mallory"
    for applied in (log.batch(session, 1, 5), log.keep_alive(session), log.close(session)):
        assert applied.outcome is Outcome.NOT_OWNER
    log.principal = "alice"
    assert log.batch(session, 1, 5).outcome is Outcome.OK
    assert state.machine.total == 5


def test_a_session_that_was_never_opened_is_unknown(log):
    for applied in (log.batch(9, 1, 5), log.keep_alive(9), log.close(9)):
        assert (applied.outcome, applied.detail) == (Outcome.SESSION_UNKNOWN, 9)


def test_a_closed_session_is_unknown_and_the_machine_is_told(state, log):
    keeps, cancels = log.open(), log.open(cancel=True)
    closed = log.close(keeps)
    assert (closed.outcome, closed.closed, closed.events) == (Outcome.OK, (keeps,), [("closed", -1, keeps)])
    assert closed.answer[closed.answer_start :] == []
    log.close(cancels)
    assert state.machine.closed == [[keeps, "alice", 2, False], [cancels, "alice", 2, True]]
    assert log.batch(keeps, 1, 5).outcome is Outcome.SESSION_UNKNOWN


def test_no_more_sessions_than_allowed_until_one_ends(log):
    log.configure(max_sessions=2)
    first, _ = log.open(), log.open()
    refused = log.write(EntryType.OPEN_SESSION, msgpack.packb([1000, False]))
    assert (refused.outcome, refused.detail) == (Outcome.TOO_MANY_SESSIONS, 2)
    log.close(first)
    log.open()


def test_one_principal_has_a_bounded_number_of_sessions_and_leaves_the_others_theirs(log):
    log.configure(max_sessions_of_one=2)
    first, _ = log.open(), log.open()
    refused = log.write(EntryType.OPEN_SESSION, msgpack.packb([1000, False]))
    assert (refused.outcome, refused.detail) == (Outcome.TOO_MANY_OF_PRINCIPAL, 2)
    log.principal = "bob"
    log.open()
    log.principal = "alice"
    log.close(first)
    log.open()


def test_sessions_of_a_principal_that_expired_make_room(state, log):
    log.configure(max_sessions_of_one=1)
    log.open(timeout_ms=1_000)
    log.tick(1_000)
    log.open()
    assert state.sessions.of_principal == {"alice": 1}


@pytest.mark.parametrize(("asked", "granted"), [(-5, 1000), (0, 1000), (5000, 5000), (1 << 62, 3_600_000)])
def test_the_timeout_is_granted_within_the_bounds(log, asked, granted):
    opened = log.write(EntryType.OPEN_SESSION, msgpack.packb([asked, False]))
    assert (opened.outcome, opened.detail) == (Outcome.OK, granted)


@pytest.mark.parametrize("value", [None, [], [1000], [1000, 1], [True, True], ["1000", True], [1.5, False]])
def test_an_opening_that_is_none_is_malformed(state, log, value):
    assert log.write(EntryType.OPEN_SESSION, msgpack.packb(value)).outcome is Outcome.MALFORMED
    assert not state.sessions.by_id


# --- log time ---------------------------------------------------------------------------------------------------------


def test_log_time_never_goes_back(state, log):
    log.tick()
    at = state.now_ms
    log.clock_ms -= 5_000
    log.tick()
    assert state.now_ms == at
    log.clock_ms += 6_000
    log.tick()
    assert state.now_ms == at + 1_000


def test_a_session_ends_when_its_timeout_has_passed_in_log_time_not_before(state, log):
    session = log.open(timeout_ms=10_000, cancel=True)
    assert log.tick(after_ms=9_999).closed == ()
    expired = log.tick(after_ms=1)
    assert (expired.closed, expired.events) == ((session,), [("closed", -1, session)])
    assert state.machine.closed == [[session, "alice", 2, True]]


@pytest.mark.parametrize("sign_of_life", ["batch", "repeat", "gap", "keep_alive"])
def test_whatever_is_heard_of_a_client_keeps_its_session(state, log, sign_of_life):
    session = log.open(timeout_ms=10_000)
    log.batch(session, 1, 5)
    log.clock_ms += 9_000
    if sign_of_life == "keep_alive":
        log.keep_alive(session)
    else:
        log.batch(session, {"batch": 2, "repeat": 1, "gap": 9}[sign_of_life], 5)
    assert log.tick(after_ms=9_999).closed == ()
    assert log.tick(after_ms=1).closed == (session,)


def test_another_principal_does_not_keep_a_session_alive(log):
    session = log.open(timeout_ms=10_000)
    log.clock_ms += 9_000
    log.principal = "mallory"
    log.keep_alive(session)
    assert log.tick(after_ms=1_000).closed == (session,)


def test_sessions_end_in_the_order_of_deadline_and_id(state, log):
    late, early, middle, also_middle = (log.open(timeout_ms=t) for t in (9_000, 3_000, 5_000, 5_000))
    kept = log.open(timeout_ms=2_000)
    log.clock_ms += 1_500
    log.keep_alive(kept)  # its first deadline is the earliest of all, its real one comes after ``early``
    closed = log.tick(after_ms=20_000).closed
    assert closed == (early, kept, middle, also_middle, late)
    assert [row[0] for row in state.machine.closed] == list(closed)


def test_what_expired_comes_before_the_entry_that_noticed(state, log):
    session = log.open(timeout_ms=1_000)
    log.clock_ms += 1_000
    applied = log.plain(["add", 3])
    assert applied.events == [("closed", -1, session), ("added", 0, 3)]
    assert applied.answer_start == 1
    assert applied.closed == (session,)


def test_a_batch_that_comes_as_late_as_its_session_expires_is_refused(state, log):
    session = log.open(timeout_ms=1_000)
    log.clock_ms += 1_000
    assert log.batch(session, 1, 5).outcome is Outcome.SESSION_UNKNOWN
    assert state.machine.total == 0


def test_a_session_whose_client_closes_as_it_expires_is_closed_once(state, log):
    session = log.open(timeout_ms=1_000)
    log.clock_ms += 1_000
    closed = log.close(session)
    assert (closed.outcome, closed.closed) == (Outcome.SESSION_UNKNOWN, (session,))
    assert len(state.machine.closed) == 1


def test_log_time_of_sessions_stands_still_across_a_change_of_leader(state, log):
    session = log.open(timeout_ms=10_000)
    log.tick(after_ms=9_000)
    log.term = 2
    assert log.tick(after_ms=60_000).closed == ()
    assert state.now_ms == 1_069_000
    assert log.tick(after_ms=999).closed == ()
    assert log.tick(after_ms=1).closed == (session,)


def test_a_new_leader_with_a_clock_behind_takes_nothing_from_sessions(log):
    session = log.open(timeout_ms=10_000)
    log.tick(after_ms=9_000)
    log.term = 2
    assert log.tick(after_ms=-5_000).closed == ()
    assert log.tick(after_ms=5_999).closed == ()
    assert log.tick(after_ms=1).closed == (session,)


def test_the_next_deadline_is_told_in_log_time(state, log):
    assert state.next_deadline() is None
    log.open(timeout_ms=10_000)
    assert state.next_deadline() == 1_010_000
    log.term = 2
    log.tick(after_ms=60_000)
    assert state.next_deadline() == 1_070_000
    log.plain(["alarm", 3_000])
    assert state.next_deadline() == 1_063_000


def test_a_tick_at_the_next_deadline_always_has_something_to_do(state, log):
    for timeout in (7_000, 2_000, 4_000):
        log.open(timeout_ms=timeout)
    log.clock_ms += 1_000
    log.keep_alive(2)
    log.plain(["alarm", 500])
    while (deadline := state.next_deadline()) is not None:
        log.clock_ms = deadline
        assert log.tick().events


# --- scale ------------------------------------------------------------------------------------------------------------


def test_thousands_of_sessions_that_all_lived_on_are_no_trouble(state, log):
    log.configure(max_sessions_of_one=3_000)
    sessions = [log.open(timeout_ms=10_000) for _ in range(3_000)]
    log.clock_ms += 5_000
    for session in sessions:
        log.keep_alive(session)
    assert log.tick(after_ms=9_000).closed == ()
    closed = log.tick(after_ms=1_000).closed
    while len(closed) < len(sessions):
        closed += log.tick().closed
    assert closed == tuple(sessions)


def test_of_many_sessions_that_are_due_an_entry_closes_a_bounded_number_and_the_next_go_on(state, log):
    count = 2 * CLOSED_PER_ENTRY + 10
    log.configure(max_sessions_of_one=count)
    sessions = [log.open(timeout_ms=10_000) for _ in range(count)]
    first = log.tick(after_ms=10_000)
    assert first.closed == tuple(sessions[:CLOSED_PER_ENTRY])
    assert state.next_deadline() <= state.now_ms  # the leader proposes another TICK
    for entry in (lambda: log.batch(sessions[-1], 1, 5), lambda: log.keep_alive(sessions[-2])):
        assert entry().outcome is Outcome.SESSION_UNKNOWN  # due, not yet closed
    assert state.next_deadline() is None
    assert state.machine.total == 0
    assert [row[0] for row in state.machine.closed] == sessions


def test_a_session_that_is_due_does_not_live_on_while_others_are_closed(state, log):
    log.configure(max_sessions_of_one=CLOSED_PER_ENTRY + 1)
    sessions = [log.open(timeout_ms=10_000) for _ in range(CLOSED_PER_ENTRY + 1)]
    log.clock_ms += 10_000
    late = log.close(sessions[-1])
    assert (late.outcome, late.closed) == (Outcome.SESSION_UNKNOWN, tuple(sessions[:-1]))
    assert log.tick().closed == (sessions[-1],)


def test_results_that_go_with_sessions_go_in_bounded_parts(state, log):
    rich, poor = log.open(timeout_ms=10_000), log.open(timeout_ms=10_000)
    of_an_entry = CLOSED_BYTES_PER_ENTRY // (4_000 * EVENT_BYTES)  # batches of 4,000 events each
    for number in range(2 * of_an_entry + 3):
        log.batch(rich, 1 + number * 4_000, *[1] * 4_000)
    log.keep_alive(poor)
    before = state.sessions.kept_bytes
    log.clock_ms += 10_000
    ticks = []
    while state.next_deadline() is not None:
        ticks.append(log.tick().closed)
        assert before - state.sessions.kept_bytes < CLOSED_BYTES_PER_ENTRY * 1.2  # a part, and the batch that passes it
        before = state.sessions.kept_bytes
    assert ticks == [(), (), (rich, poor)]
    assert (state.sessions.kept_bytes, state.sessions.hash) == (0, 0)


def test_sessions_opened_and_closed_leave_nothing_behind(state, log):
    kept = log.open(timeout_ms=3_000_000)
    for _ in range(1_000):
        log.close(log.open(timeout_ms=3_600_000))
    assert len(state.sessions._deadlines) < 200
    assert log.tick(after_ms=3_000_000).closed == (kept,)
