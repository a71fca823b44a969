"""A session seen from the client, against a transport whose every answer the test gives."""

from typing import Any, NamedTuple

import pytest

from orderbook.groups.errors import Refused, Unavailable, Uncertain
from orderbook.groups.session_client import Opened, SessionClient
from orderbook.groups.sessions import Outcome
from orderbook.wire.envelope import MAX_BODY_BYTES, MAX_COMMANDS
from unit.groups.virtual_runtime import VirtualRuntime


class Call(NamedTuple):
    kind: str
    fields: tuple[Any, ...]
    done: Any


class ScriptedTransport:
    """Notes every request; the test answers. ``first`` of a batch is ``fields[1]``, ``acked`` is ``fields[3]``."""

    def __init__(self):
        self.calls: list[Call] = []

    def open_session(self, timeout_ms, cancel_on_close, done):
        self.calls.append(Call("open", (timeout_ms, cancel_on_close), done))

    def send_batch(self, session, first, commands, acked, body, done):
        self.calls.append(Call("batch", (session, first, commands, acked, body), done))

    def keep_alive(self, session, acked, done):
        self.calls.append(Call("alive", (session, acked), done))

    def close_session(self, session, done):
        self.calls.append(Call("close", (session,), done))

    def take(self, kind=None):
        """The requests since the last time, all of one kind if that is given."""
        calls, self.calls = self.calls, []
        assert kind is None or all(call.kind == kind for call in calls), calls
        return calls

    def only(self, kind):
        (call,) = self.take(kind)
        return call


def grant(call, session, timeout_ms=None):
    """Answer the opening of a session; with the timeout that it asks for, unless the group grants another."""
    call.done(Opened(session, timeout_ms or call.fields[0]), None)


class Scene:
    def __init__(self, **options):
        self.runtime = VirtualRuntime()
        self.transport = ScriptedTransport()
        self.client = SessionClient(self.runtime, self.transport, **options)
        self.outcomes: dict[str, Any] = {}

    def submit(self, name, commands=1, body=None):
        def done(answer, error):
            assert name not in self.outcomes, "answered twice"
            self.outcomes[name] = answer if error is None else error

        self.client.submit(commands, name.encode() if body is None else body, done)

    def opened(self, session=100, *names):
        """Submit some batches of one command, open the session, and give the requests that send them."""
        for name in names:
            self.submit(name)
        grant(self.transport.only("open"), session)
        return self.transport.take("batch")

    def resent(self):
        """Let the time of the retry come, and give what is sent then."""
        self.transport.take()
        self.runtime.advance(2.0)
        return [call for call in self.transport.take() if call.kind != "alive"]


def sent(calls):
    """(session, first, body) of each."""
    return [(call.fields[0], call.fields[1], call.fields[4].decode()) for call in calls]


@pytest.fixture
def scene():
    return Scene()


def test_the_first_batch_opens_the_session_and_numbers_run_on_without_gaps(scene):
    scene = Scene(timeout_ms=5_000, cancel_on_close=True)
    scene.submit("a", commands=3)
    scene.submit("b", commands=2)
    opening = scene.transport.only("open")
    assert opening.fields == (5_000, True)
    grant(opening, 100)
    scene.submit("c")
    assert sent(scene.transport.take("batch")) == [(100, 1, "a"), (100, 4, "b"), (100, 6, "c")]


def test_each_answer_goes_to_its_batch(scene):
    a, b = scene.opened(100, "a", "b")
    b.done("answer of b", None)
    a.done("answer of a", None)
    assert scene.outcomes == {"a": "answer of a", "b": "answer of b"}
    assert scene.client.unanswered == 0


def test_what_is_acknowledged_has_no_hole_in_it(scene):
    a, b, c = scene.opened(100, "a", "b", "c")
    assert [call.fields[3] for call in (a, b, c)] == [0, 0, 0]
    b.done("b", None)
    scene.submit("d")
    assert scene.transport.only("batch").fields[3] == 0
    a.done("a", None)
    scene.submit("e")
    assert scene.transport.only("batch").fields[3] == 2
    c.done("c", None)
    scene.submit("f")
    assert scene.transport.only("batch").fields[3] == 3


def test_not_more_than_the_window_is_in_flight(scene):
    scene = Scene(window=2)
    a, b = scene.opened(100, "a", "b", "c", "d")
    b.done("b", None)
    assert scene.transport.take() == []
    a.done("a", None)
    assert sent(scene.transport.take("batch")) == [(100, 3, "c"), (100, 4, "d")]


@pytest.mark.parametrize("error", [Unavailable("no_leader"), Uncertain("lost"), Refused(Outcome.SEQUENCE_GAP, 1)])
def test_what_has_no_answer_is_sent_again_as_it_was_and_in_order(scene, error):
    a, b, _ = scene.opened(100, "a", "b", "c")
    b.done("b", None)
    a.done(None, error)
    assert scene.transport.take() == []
    again = scene.resent()
    assert sent(again) == [(100, 1, "a"), (100, 3, "c")]
    for call in again:
        call.done(call.fields[4].decode(), None)
    assert scene.outcomes == {"a": "a", "b": "b", "c": "c"}
    assert scene.client.retries == 2


def test_nothing_new_is_sent_while_a_retry_is_due(scene):
    (a,) = scene.opened(100, "a")
    a.done(None, Unavailable("no_leader"))
    scene.submit("b")
    assert scene.transport.take() == []
    assert sent(scene.resent()) == [(100, 1, "a"), (100, 2, "b")]


def test_retries_come_later_and_later_up_to_a_bound_and_soon_again_after_an_answer(scene):
    (call,) = scene.opened(100, "a")
    waits, outages, began = [], [], scene.runtime.now
    for _ in range(30):
        call.done(None, Unavailable("no_leader"))
        before = scene.runtime.now
        outages.append(before - began)
        assert scene.runtime.advance_until(lambda: any(c.kind == "batch" for c in scene.transport.calls), most=5)
        waits.append(scene.runtime.now - before)
        call = scene.transport.take()[-1]
    assert waits[0] <= 0.03
    assert all(0.5 <= wait <= 1.5 for wait in waits[20:])
    assert all(wait <= 0.03 + outage / 2 for wait, outage in zip(waits, outages, strict=True))  # never late by much
    call.done("a", None)
    scene.submit("b")
    scene.transport.only("batch").done(None, Unavailable("no_leader"))
    assert scene.runtime.advance_until(lambda: bool(scene.transport.calls), most=0.031)


def test_a_new_connection_is_used_at_once(scene):
    (a,) = scene.opened(100, "a")
    for _ in range(8):
        a.done(None, Uncertain("the connection broke"))
        (a,) = scene.resent()
    a.done(None, Uncertain("the connection broke"))
    scene.client.reconnected()
    assert sent(scene.transport.take("batch")) == [(100, 1, "a")]
    assert scene.resent() == []


def test_an_answer_to_an_earlier_sending_counts(scene):
    a, b = scene.opened(100, "a", "b")
    a.done(None, Unavailable("no_leader"))
    second_a, second_b = scene.resent()
    b.done("b", None)
    second_b.done("b again", None)
    second_a.done("a", None)
    assert scene.outcomes == {"a": "a", "b": "b"}


def test_a_late_refusal_of_an_earlier_sending_starts_no_retry(scene):
    _, b = scene.opened(100, "a", "b")
    b.done(None, Unavailable("no_leader"))
    scene.resent()
    b_earlier = b
    b_earlier.done(None, Refused(Outcome.SEQUENCE_GAP, 1))
    assert scene.resent() == []


def test_a_refusal_that_no_repeat_changes_is_the_answer(scene):
    a, b = scene.opened(100, "a", "b")
    a.done(None, Refused(Outcome.REPEAT_DIFFERS, 1))
    b.done("b", None)
    assert scene.outcomes["a"].outcome is Outcome.REPEAT_DIFFERS
    assert scene.outcomes["b"] == "b"


def test_a_result_that_was_dropped_is_uncertain_for_the_batch_was_run(scene):
    (a,) = scene.opened(100, "a")
    a.done(None, Refused(Outcome.RESULT_DROPPED, 1))
    assert isinstance(scene.outcomes["a"], Uncertain)


# --- the session ends -------------------------------------------------------------------------------------------------


def test_a_session_that_is_gone_is_opened_anew_for_what_was_surely_never_run(scene):
    a, b = scene.opened(100, "a", "b")
    a.done(None, Refused(Outcome.SESSION_UNKNOWN, 100))
    assert scene.transport.take() == []
    b.done(None, Refused(Outcome.SESSION_UNKNOWN, 100))
    grant(scene.transport.only("open"), 200)
    assert sent(scene.transport.take("batch")) == [(200, 1, "a"), (200, 2, "b")]
    assert scene.outcomes == {}


def test_what_is_in_doubt_when_the_session_ends_is_uncertain_and_never_sent_anew(scene):
    a, b, c = scene.opened(100, "a", "b", "c")
    a.done(None, Uncertain("lost"))
    b.done(None, Unavailable("no_leader"))
    c.done(None, Refused(Outcome.SEQUENCE_GAP, 1))
    for call in scene.resent():
        call.done(None, Refused(Outcome.SESSION_UNKNOWN, 100))
    assert isinstance(scene.outcomes.pop("a"), Uncertain)
    grant(scene.transport.only("open"), 200)
    assert sent(scene.transport.take("batch")) == [(200, 1, "b"), (200, 2, "c")]
    assert scene.outcomes == {}


@pytest.mark.parametrize(
    ("late", "ends"), [(Uncertain("lost"), Uncertain), (Unavailable("no_leader"), None), (None, str)], ids=str
)
def test_a_batch_is_settled_by_the_answers_to_all_its_sendings(scene, late, ends):
    a, b = scene.opened(100, "a", "b")
    a.done(None, Unavailable("no_leader"))
    for call in scene.resent():  # b is sent again while its first sending has no answer
        call.done(None, Refused(Outcome.SESSION_UNKNOWN, 100))
    assert scene.resent() == []
    assert scene.outcomes == {}
    b.done("b" if late is None else None, late)
    assert type(scene.outcomes.get("b")) is (type(None) if ends is None else ends)
    grant(scene.transport.only("open"), 200)
    assert [body for _, _, body in sent(scene.transport.take("batch"))] == (["a", "b"] if ends is None else ["a"])


def test_the_new_session_waits_until_every_batch_of_the_old_one_is_settled(scene):
    a, b, c = scene.opened(100, "a", "b", "c")
    b.done(None, Refused(Outcome.SESSION_UNKNOWN, 100))
    c.done(None, Uncertain("lost"))
    scene.submit("d")
    assert scene.resent() == []
    assert scene.outcomes == {}
    a.done("a", None)
    assert scene.outcomes["a"] == "a"
    assert isinstance(scene.outcomes["c"], Uncertain)
    grant(scene.transport.only("open"), 200)
    assert sent(scene.transport.take("batch")) == [(200, 1, "b"), (200, 2, "d")]


def test_acknowledgements_begin_anew_with_the_session(scene):
    a, b = scene.opened(100, "a", "b")
    a.done("a", None)
    b.done(None, Refused(Outcome.SESSION_UNKNOWN, 100))
    grant(scene.transport.only("open"), 200)
    assert scene.transport.only("batch").fields[:4] == (200, 1, 1, 0)


@pytest.mark.parametrize("outcome", [Outcome.NOT_OWNER, Outcome.NOT_PERMITTED])
def test_a_refusal_that_used_no_number_leaves_no_gap_for_those_behind(scene, outcome):
    a, b = scene.opened(100, "a", "b")
    a.done(None, Refused(outcome))
    assert scene.outcomes["a"].outcome is outcome
    b.done(None, Refused(Outcome.SEQUENCE_GAP, 1))
    grant(scene.transport.only("open"), 200)
    assert sent(scene.transport.take("batch")) == [(200, 1, "b")]


def test_a_refusal_says_nothing_of_an_earlier_sending(scene):
    (a,) = scene.opened(100, "a")
    a.done(None, Uncertain("lost"))
    (again,) = scene.resent()
    again.done(None, Refused(Outcome.NOT_OWNER))
    assert isinstance(scene.outcomes["a"], Uncertain)


@pytest.mark.parametrize("error", [Unavailable("no_leader"), Uncertain("lost")])
def test_an_opening_without_an_answer_is_tried_again(scene, error):
    scene.submit("a")
    scene.transport.only("open").done(None, error)
    (opening,) = scene.resent()
    grant(opening, 100)
    assert sent(scene.transport.take("batch")) == [(100, 1, "a")]


@pytest.mark.parametrize("outcome", [Outcome.NOT_PERMITTED, Outcome.TOO_MANY_SESSIONS, Outcome.TOO_MANY_OF_PRINCIPAL])
def test_a_session_that_the_group_refuses_is_the_answer_to_all_that_wait_for_it(scene, outcome):
    scene.submit("a")
    scene.submit("b")
    scene.transport.only("open").done(None, Refused(outcome, 5))
    assert [error.outcome for error in scene.outcomes.values()] == [outcome, outcome]
    assert scene.resent() == []
    scene.submit("c")
    grant(scene.transport.only("open"), 100)
    assert sent(scene.transport.take("batch")) == [(100, 1, "c")]


# --- keeping alive ----------------------------------------------------------------------------------------------------


def test_a_quiet_session_is_kept_alive_well_before_its_timeout(scene):
    (a,) = scene.opened(100, "a")
    a.done("a", None)
    beats = []
    for _ in range(60):
        scene.runtime.advance(1.0)
        for call in scene.transport.take("alive"):
            beats.append(scene.runtime.now)
            assert call.fields == (100, 1)
            call.done(None, None)
    assert len(beats) >= 4
    assert max(later - earlier for earlier, later in zip([0.0, *beats], beats, strict=False)) <= 15.0


def test_a_busy_session_needs_no_keeping_alive(scene):
    (call,) = scene.opened(100, "a")
    for number in range(40):
        call.done("answer", None)
        scene.runtime.advance(2.0)
        scene.submit(f"batch {number}")
        call = scene.transport.only("batch")


def test_a_lost_keep_alive_leaves_time_for_two_more(scene):
    (a,) = scene.opened(100, "a")
    a.done("a", None)
    attempts = []
    while scene.runtime.now < 29:
        scene.runtime.advance(1.0)
        for call in scene.transport.take("alive"):
            attempts.append(scene.runtime.now)
            call.done(None, Unavailable("no_leader"))
    assert len(attempts) >= 3


def test_a_session_found_ended_while_nothing_waits_is_opened_anew_by_the_next_batch(scene):
    (a,) = scene.opened(100, "a")
    a.done("a", None)
    assert scene.runtime.advance_until(lambda: bool(scene.transport.calls), most=30)
    scene.transport.only("alive").done(None, Refused(Outcome.SESSION_UNKNOWN, 100))
    scene.submit("b")
    grant(scene.transport.only("open"), 200)
    assert sent(scene.transport.take("batch")) == [(200, 1, "b")]
    assert scene.outcomes == {"a": "a"}


def test_a_late_word_on_the_old_session_does_not_end_the_new_one(scene):
    (a,) = scene.opened(100, "a")
    assert scene.runtime.advance_until(lambda: bool(scene.transport.calls), most=30)
    late = scene.transport.only("alive")
    a.done(None, Refused(Outcome.SESSION_UNKNOWN, 100))
    grant(scene.transport.only("open"), 200)
    scene.transport.only("batch").done("a", None)
    late.done(None, Refused(Outcome.SESSION_UNKNOWN, 100))
    scene.submit("b")
    assert sent(scene.transport.take("batch")) == [(200, 2, "b")]


# --- bounds and the end -----------------------------------------------------------------------------------------------


def test_what_no_entry_holds_is_refused_before_it_stands_in_the_way(scene):
    for commands, body in ((0, b""), (MAX_COMMANDS + 1, b""), (1, b"x" * (MAX_BODY_BYTES + 1))):
        with pytest.raises(ValueError, match="a batch"):
            scene.submit("too much", commands, body)
    assert sent(scene.opened(100, "a")) == [(100, 1, "a")]


def test_beyond_the_bound_in_bytes_a_batch_is_refused_at_once_and_never_sent(scene):
    scene = Scene(max_waiting_bytes=10, window=1)
    scene.submit("a", body=b"xxxxx")
    scene.submit("b", body=b"xxxxx")
    scene.submit("c", body=b"x")
    assert scene.outcomes["c"].reason == "overloaded"
    grant(scene.transport.only("open"), 100)
    scene.transport.only("batch").done("a", None)
    scene.submit("d", body=b"xxxxx")
    assert list(scene.outcomes) == ["c", "a"]
    scene.transport.only("batch").done("b", None)
    assert [call.fields[1] for call in scene.transport.take("batch")] == [3]


def test_room_comes_back_however_a_batch_ended(scene):
    scene = Scene(max_waiting_bytes=10)
    for number, outcome in enumerate([Outcome.REPEAT_DIFFERS, Outcome.NOT_OWNER, Outcome.SESSION_UNKNOWN]):
        scene.submit(f"a{number}", body=b"x" * 10)
        if scene.transport.calls[0].kind == "open":
            grant(scene.transport.only("open"), 100 + number)
        call = scene.transport.only("batch")
        call.done(None, Uncertain("lost"))
        (again,) = scene.resent()
        again.done(None, Refused(outcome))
    assert [type(error) for error in scene.outcomes.values()] == [Uncertain, Uncertain, Uncertain]


def test_closing_tells_each_batch_whether_it_may_have_run(scene):
    scene = Scene(window=3)
    _, b, c = scene.opened(100, "a", "b", "c", "d")
    b.done(None, Unavailable("no_leader"))
    c.done(None, Uncertain("lost"))
    closed = []
    scene.client.close(lambda: closed.append(True))
    errors = {name: type(error) for name, error in scene.outcomes.items()}
    assert errors == {"a": Uncertain, "b": Unavailable, "c": Uncertain, "d": Unavailable}
    ending = scene.transport.only("close")
    assert ending.fields == (100,)
    assert closed == []
    ending.done(None, Unavailable("no_leader"))
    assert closed == [True]


def test_after_the_close_nothing_is_sent_or_answered(scene):
    (a,) = scene.opened(100, "a")
    scene.client.close()
    scene.transport.take()
    a.done("late", None)
    assert isinstance(scene.outcomes["a"], Uncertain)
    scene.submit("b")
    assert scene.outcomes["b"].reason == "stopped"
    scene.runtime.advance(100)
    assert scene.transport.take() == []


def test_a_session_that_opens_after_the_close_is_closed(scene):
    scene.submit("a")
    closed = []
    scene.client.close(lambda: closed.append(True))
    assert closed == [True]
    grant(scene.transport.only("open"), 100)
    assert scene.transport.only("close").fields == (100,)


def test_a_batch_submitted_from_within_an_answer_comes_after_all_before_it(scene):
    (a,) = scene.opened(100, "a")
    scene.submit("b")
    scene.client.submit(1, b"c", lambda answer, error: scene.submit("d"))
    b, c = scene.transport.take("batch")
    c.done("c", None)
    assert sent([a, b, c, *scene.transport.take("batch")]) == [
        (100, 1, "a"),
        (100, 2, "b"),
        (100, 3, "c"),
        (100, 4, "d"),
    ]


def test_a_session_is_kept_alive_by_the_timeout_that_was_granted():
    scene = Scene(timeout_ms=60_000)
    scene.submit("a")
    grant(scene.transport.only("open"), 100, timeout_ms=6_000)
    assert scene.client.timeout_ms == 6_000
    scene.transport.only("batch").done("a", None)
    scene.runtime.advance(1.9)
    assert scene.transport.take() == []
    scene.runtime.advance(0.2)
    assert [call.kind for call in scene.transport.take()] == ["alive"]


def test_the_next_session_asks_for_the_same_timeout_again():
    scene = Scene(timeout_ms=60_000)
    scene.submit("a")
    grant(scene.transport.only("open"), 100, timeout_ms=6_000)
    scene.transport.only("batch").done(None, Refused(Outcome.SESSION_UNKNOWN, 100))
    assert scene.transport.only("open").fields[0] == 60_000
