"""A session client and a group over a transport that does its worst: no batch runs twice, none is forgotten.

The group is the real replicated state; the transport loses requests and answers, delays and reorders them, and lets
what it called uncertain enter the log much later. Sessions are short, so that they expire in between.
"""

from itertools import accumulate
from typing import Any, NamedTuple

import msgpack
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from orderbook.groups.errors import Refused, Unavailable, Uncertain
from orderbook.groups.replicated import ReplicatedState
from orderbook.groups.session_client import Opened, SessionClient
from orderbook.groups.sessions import Outcome
from orderbook.wire.envelope import EntryType
from unit.groups.counter_machine import Counter
from unit.groups.log_writer import LogWriter
from unit.groups.virtual_runtime import VirtualRuntime

TIMEOUT_MS = 1_000


class Fate(NamedTuple):
    """What becomes of a request. Seconds from when it was sent; None: never."""

    enters: float | None  # the log
    replies: float  # with the group's own answer if it has entered by then, with an error otherwise
    error: str = "uncertain"  # or "unavailable": only for what never enters


PROMPT = Fate(0.002, 0.003)
SECONDS = st.sampled_from([0.0, 0.001, 0.01, 0.05, 0.3, 0.9, 1.5, 4.0])
FATES = st.one_of(
    st.just(PROMPT),
    st.builds(lambda enters, replies: Fate(enters, enters + replies), SECONDS, SECONDS),
    st.builds(Fate, SECONDS, SECONDS),  # may say uncertain first and enter later
    st.builds(lambda replies: Fate(None, replies), SECONDS),
    st.builds(lambda replies: Fate(None, replies, "unavailable"), SECONDS),
    st.just(Fate(None, -1.0, "unavailable")),  # refused within the call
    st.builds(lambda enters: Fate(enters, enters, "lost answer"), SECONDS),
)


class World:
    """The group, the clock, and a transport that takes its fates from a list, and is well when that is used up."""

    def __init__(self, fates: list[Fate]) -> None:
        self.runtime = VirtualRuntime()
        self.machine = Counter()
        self.state = ReplicatedState(self.machine)
        self.log = LogWriter(self.state)
        self.log.configure(min_session_timeout_ms=TIMEOUT_MS)
        self.sendings: dict[bytes, list[dict[str, Any]]] = {}
        self._fates = list(reversed(fates))
        self._tick()

    def _tick(self) -> None:
        self._write(EntryType.TICK)
        self.runtime.call_later(0.1, self._tick)

    def _write(self, type, *fields):
        self.log.clock_ms = self.runtime.wall_ms()
        return self.log.write(type, *fields)

    def _request(self, done, sending, type, *fields) -> None:
        fate = self._fates.pop() if self._fates else PROMPT
        result: list[Any] = []

        def enter() -> None:
            result.append(self._write(type, *fields))

        def reply() -> None:
            if result and fate.error != "lost answer":
                applied = result[0]
                sending["answer"] = "sure"
                if applied.outcome is Outcome.OK:
                    done(applied, None)
                else:
                    done(None, Refused(applied.outcome, applied.detail))
            elif fate.enters is None and fate.error == "unavailable":
                sending["answer"] = "sure"
                done(None, Unavailable("no_leader"))
            else:
                sending["answer"] = "unsure"
                done(None, Uncertain("no answer came"))

        if fate.enters is not None:
            self.runtime.call_later(fate.enters, enter)
        if fate.replies < 0:
            reply()
        else:
            self.runtime.call_later(fate.replies, reply)

    def heal(self) -> None:
        self._fates = []

    def end_sessions(self) -> None:
        for session in list(self.state.sessions.by_id):
            self._write(EntryType.CLOSE_SESSION, b"", session)

    def open_session(self, timeout_ms, cancel_on_close, done):
        def opened(applied, error):
            done(Opened(applied.log_index, applied.detail) if error is None else None, error)

        self._request(opened, {}, EntryType.OPEN_SESSION, msgpack.packb([timeout_ms, cancel_on_close]))

    def send_batch(self, session, first, commands, acked, body, done):
        sending = {"session": session, "answer": None}
        self.sendings.setdefault(body, []).append(sending)
        self._request(done, sending, EntryType.COMMANDS, body, session, first, commands, acked)

    def keep_alive(self, session, acked, done):
        self._request(done, {}, EntryType.KEEP_ALIVE, b"", session, 0, 0, acked)

    def close_session(self, session, done):
        self._request(done, {}, EntryType.CLOSE_SESSION, b"", session)


@settings(max_examples=400, deadline=None)
@given(
    fates=st.lists(FATES, min_size=5, max_size=60),
    pauses=st.lists(st.sampled_from([0.0, 0.0, 0.0, 0.004, 0.03, 0.5, 3.0]), min_size=2, max_size=25),
    ends=st.lists(st.sampled_from([0.001, 0.004, 0.01, 0.03, 0.1, 0.4, 1.0]), max_size=6),
    window=st.sampled_from([1, 2, 4, 64]),
)
@example(fates=[PROMPT, Fate(0.0, 1.5)], pauses=[0.5, 0.0], ends=[0.1], window=4)  # run; the answer comes after the end
def test_every_batch_runs_at_most_once_in_order_and_has_exactly_one_true_answer(fates, pauses, ends, window):
    world = World(fates)
    for moment in accumulate(ends):
        world.runtime.call_later(moment, world.end_sessions)
    client = SessionClient(world.runtime, world, timeout_ms=TIMEOUT_MS, window=window)
    answers: dict[int, list[tuple[Any, Any]]] = {}
    unsure_when_answered: dict[int, bool] = {}
    bodies = {number: msgpack.packb([["add", number], ["add", 1_000]]) for number in range(1, len(pauses) + 1)}

    def submit(number):
        def done(answer, error):
            answers.setdefault(number, []).append((answer, error))
            sendings = world.sendings.get(bodies[number], [])
            unsure_when_answered[number] = any(sending["answer"] != "sure" for sending in sendings)

        client.submit(2, bodies[number], done)

    for number, pause in enumerate(pauses, start=1):
        submit(number)
        world.runtime.advance(pause)
    assert world.runtime.advance_until(lambda: client.unanswered == 0, most=60.0 + 5 * len(fates))
    world.runtime.advance(20.0)  # whatever is still under way enters the log now

    runs = [(index, amount) for index, _, _, _, amount in world.machine.runs if amount != 1_000]
    ran = [amount for _, amount in runs]
    assert ran == sorted(set(ran)), "run twice, or out of order"
    for number in bodies:
        ((answer, error),) = answers[number]
        if error is None:
            assert (answer.answer_index, number) in runs
            assert [event[0] for event in answer.answer[answer.answer_start :]] == ["added", "added"]
        else:
            assert isinstance(error, Uncertain), error
            assert unsure_when_answered[number], "it could have been known"
    uncertain = [number for number in bodies if isinstance(answers[number][0][1], Uncertain)]
    if uncertain:
        assert world.machine.closed, "uncertain, although no session ended"
    sessions = {sending["session"] for sendings in world.sendings.values() for sending in sendings}
    event(f"{min(len(sessions), 4)} sessions")
    event(f"{min(len(uncertain), 3)} uncertain")


@settings(max_examples=60, deadline=None)
@given(fates=st.lists(FATES, max_size=20))
def test_a_client_that_rests_keeps_its_session_when_the_transport_is_well(fates):
    world = World(fates)
    client = SessionClient(world.runtime, world, timeout_ms=TIMEOUT_MS)
    client.submit(1, msgpack.packb([["add", 1]]), lambda answer, error: None)
    assert world.runtime.advance_until(lambda: client.unanswered == 0, most=200.0)
    world.heal()
    world.runtime.advance(10.0)  # whatever is still under way has come and gone
    client.submit(1, msgpack.packb([["add", 2]]), lambda answer, error: None)
    assert world.runtime.advance_until(lambda: client.unanswered == 0, most=5.0)
    session = client.session
    world.runtime.advance(10.0)
    assert session in world.state.sessions.by_id
    assert client.session == session
