"""A session that another process goes on with: whatever gets lost, whoever dies, each batch runs once, in order."""

import asyncio
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orderbook.client.resumable_session import ResumableSession, SessionLost
from orderbook.groups.errors import Refused, Unavailable, Uncertain
from orderbook.groups.session_client import Opened
from orderbook.groups.sessions import KeepBounds, Kept, Outcome, Session, Sessions
from unit.groups.virtual_runtime import VirtualRuntime

BOUNDS = KeepBounds(1000, 1 << 30, 1 << 30)


class LossyGroup:
    """A ``SessionTransport`` to real sessions. ``faults`` is the chance that a request or a reply is lost."""

    def __init__(self, runtime: VirtualRuntime, faults: float = 0.0, seed: int = 0) -> None:
        self.sessions = Sessions()
        self.ran: list[bytes] = []
        self.acked = 0
        self.faults = faults
        self._runtime = runtime
        self._random = Random(seed)
        self._index = 0

    def open_session(self, timeout_ms: int, cancel_on_close: bool, done: Any) -> None:
        self._index += 1
        if self._random.random() < self.faults:
            self._answer(done, None, Unavailable("no_leader"))
            return
        self.sessions.open(Session(self._index, "admin", 3, timeout_ms, cancel_on_close, 0))
        self._answer(done, Opened(self._index, timeout_ms), None)

    def send_batch(self, session: int, first: int, commands: int, acked: int, body: bytes, done: Any) -> None:
        draw = self._random.random()
        if draw < self.faults / 2:
            lost = Uncertain("lost") if draw < self.faults / 4 else Unavailable("no_leader")
            self._answer(done, None, lost)
            return
        answer, error = self._judge(session, first, commands, acked, body)
        self._answer(done, answer, Uncertain("lost") if draw < self.faults else error)

    def keep_alive(self, session: int, acked: int, done: Any) -> None:
        self._answer(done, None, None)

    def close_session(self, session: int, done: Any) -> None:
        self.sessions.remove(self.sessions.by_id[session])
        done(None, None)

    def _judge(self, id: int, first: int, commands: int, acked: int, body: bytes) -> tuple[Any, Any]:
        session = self.sessions.find(id, "admin", 0)
        if isinstance(session, Outcome):
            return None, Refused(session, id)
        self._index += 1
        verdict = self.sessions.judge(session, first, commands, body)
        if verdict is None:
            self.ran.append(body)
            self.sessions.keep(session, Kept(first, commands, body, False, self._index, 0, [], len(body)), BOUNDS)
            verdict = session.kept[-1]
        self.sessions.touch(session, acked, 0)
        if isinstance(verdict, Kept):
            return verdict.log_index, None
        return None, Refused(*verdict)

    def _answer(self, done: Any, answer: Any, error: Any) -> None:
        self._runtime.call_later(0.01 + 0.05 * self._random.random(), done, answer, error)


def opened(runtime: VirtualRuntime, group: LossyGroup) -> ResumableSession:
    session = ResumableSession(runtime, group)

    async def open_it() -> None:
        opening = asyncio.create_task(session.open())
        while not opening.done():
            await asyncio.sleep(0)
            runtime.advance(0.1)
        await opening

    asyncio.run(open_it())
    return session


BODIES = [b"batch %d" % number for number in range(40)]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1 << 32), st.sampled_from([0.0, 0.2, 0.6]), st.lists(st.integers(1, 60), max_size=4))
def test_each_batch_runs_once_in_order_however_often_the_process_dies(
    seed: int, faults: float, lives: list[int]
) -> None:
    runtime = VirtualRuntime(seed)
    group = LossyGroup(runtime, faults, seed)
    id, recorded = opened(runtime, group).session, 0

    async def live(turns: int | None) -> None:
        """Go on for so many turns, then die without a word; None: until all is done."""
        nonlocal recorded
        session = ResumableSession(runtime, group)
        session.resume(id, recorded)
        waiting = [(n + 1, session.submit(n + 1, 1, BODIES[n])) for n in range(recorded, len(BODIES))]
        while waiting and turns != 0:
            runtime.advance(0.05)
            while waiting and waiting[0][1].done():
                number, future = waiting.pop(0)
                future.result()
                recorded = number
                session.acknowledge(number)
            turns = None if turns is None else turns - 1
        await session.close(end=False)

    for turns in [*lives, None]:
        asyncio.run(live(turns))
    assert group.ran == BODIES
    assert recorded == len(BODIES)


async def test_a_result_that_is_not_recorded_is_kept() -> None:
    runtime = VirtualRuntime()
    group = LossyGroup(runtime)
    session = ResumableSession(runtime, group)
    session.resume(_open_directly(group), 0)
    first = session.submit(1, 1, b"a")
    runtime.advance(1)
    assert first.done()
    session.submit(2, 1, b"b")
    runtime.advance(1)
    later = ResumableSession(runtime, group)
    later.resume(session.session, 0)  # the first process died before it recorded anything
    again = later.submit(1, 1, b"a")
    runtime.advance(1)
    assert again.result() == first.result()


async def test_an_ended_session_is_not_replaced() -> None:
    runtime = VirtualRuntime()
    group = LossyGroup(runtime)
    session = ResumableSession(runtime, group)
    session.resume(_open_directly(group), 0)
    group.sessions.remove(group.sessions.by_id[session.session])
    waiting = [session.submit(number, 1, b"x") for number in (1, 2)]
    runtime.advance(1)
    for future in [*waiting, session.submit(3, 1, b"x")]:
        with pytest.raises(SessionLost, match="has ended"):
            await future
    assert group.ran == []


async def test_a_group_that_is_behind_its_own_answers_is_not_written_to() -> None:
    runtime = VirtualRuntime()
    group = LossyGroup(runtime)
    session = ResumableSession(runtime, group)
    session.resume(_open_directly(group), 7)  # recorded elsewhere: this state never had it
    future = session.submit(8, 1, b"x")
    runtime.advance(1)
    with pytest.raises(SessionLost, match="another state"):
        await future
    assert group.ran == []


async def test_other_bytes_under_a_number_are_refused() -> None:
    runtime = VirtualRuntime()
    group = LossyGroup(runtime)
    session = ResumableSession(runtime, group)
    session.resume(_open_directly(group), 0)
    session.submit(1, 1, b"a")
    runtime.advance(1)
    changed = ResumableSession(runtime, group)
    changed.resume(session.session, 0)
    future = changed.submit(1, 1, b"other")
    runtime.advance(1)
    with pytest.raises(Refused) as raised:
        await future
    assert raised.value.outcome is Outcome.REPEAT_DIFFERS


def _open_directly(group: LossyGroup) -> int:
    group.sessions.open(Session(77, "admin", 3, 60_000, False, 0))
    return 77
