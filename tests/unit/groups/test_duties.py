"""What a leader proposes of its own: each thing once, again when it was lost, and not without a reason."""

import msgpack
import pytest

from orderbook.groups.duties import Duty, LeaderDuties
from orderbook.groups.replicated import ReplicatedState, Verdict
from orderbook.wire.envelope import EntryType
from unit.groups.counter_machine import Counter
from unit.groups.log_writer import LogWriter

INITIAL = [msgpack.packb([["add", 0]]), msgpack.packb([["add", 1]])]


class Leader:
    def __init__(self, initial=(), check_every=100):
        self.state = ReplicatedState(Counter(initial=initial))
        self.log = LogWriter(self.state)
        self.duties = LeaderDuties(self.state, check_every)
        self.duties.begin(1)

    def due(self, verdict=None, version=0, stamp=None):
        return self.duties.due(self.log.clock_ms if stamp is None else stamp, verdict, version)

    def apply(self, type, *fields):
        applied = self.log.write(type, *fields)
        self.duties.applied(applied.type)
        return applied


@pytest.fixture
def leader():
    return Leader()


def test_a_leader_with_nothing_to_do_proposes_nothing(leader):
    assert leader.due() == []


def test_the_machines_initial_commands_come_once_in_a_leadership():
    leader = Leader(initial=INITIAL)
    initial = [Duty(EntryType.PLAIN_COMMANDS, body, 1) for body in INITIAL]
    assert leader.due() == initial
    assert leader.due() == []
    leader.duties.begin(1)
    assert leader.due() == []
    leader.duties.begin(2)
    assert leader.due() == initial


def test_a_tick_is_due_when_a_deadline_has_passed_and_once_until_it_is_applied(leader):
    leader.log.plain(["alarm", 100])
    leader.log.clock_ms += 99
    assert leader.due() == []
    leader.log.clock_ms += 1
    assert leader.due() == [Duty(EntryType.TICK)]
    assert leader.due() == []
    leader.apply(EntryType.TICK)
    assert leader.due() == []


def test_while_something_is_due_another_tick_follows(leader):
    leader.log.plain(*[["alarm", 100]] * 5)
    leader.log.clock_ms += 100
    ticks = 0
    while leader.due() == [Duty(EntryType.TICK)]:
        assert leader.apply(EntryType.TICK).events
        ticks += 1
    assert ticks == 3


def test_what_log_time_has_passed_is_due_even_if_the_leaders_clock_is_behind(leader):
    leader.log.plain(*[["alarm", 100]] * 5)
    leader.log.tick(after_ms=200)
    assert leader.due(stamp=0) == [Duty(EntryType.TICK)]


def test_a_session_that_is_due_needs_a_tick(leader):
    leader.log.open(timeout_ms=5_000)
    leader.log.clock_ms += 5_000
    assert leader.due() == [Duty(EntryType.TICK)]
    assert leader.apply(EntryType.TICK).closed == (1,)
    assert leader.due() == []


def test_a_check_comes_every_so_many_entries_counted_from_the_last_one():
    leader = Leader(check_every=10)
    for _ in range(9):
        leader.log.plain(["add", 1])
    assert leader.due() == []
    leader.log.plain(["add", 1])
    assert leader.due() == [Duty(EntryType.CHECK)]
    leader.log.plain(["add", 1])
    assert leader.due() == []
    leader.apply(EntryType.CHECK)
    for _ in range(9):
        leader.log.plain(["add", 1])
        assert leader.due() == []
    leader.log.plain(["add", 1])
    assert leader.due() == [Duty(EntryType.CHECK)]


def test_a_verdict_is_logged_once_until_it_is_applied(leader):
    duty = Duty(EntryType.VERDICT, msgpack.packb([5, 77]))
    assert leader.due(verdict=Verdict(5, 77)) == [duty]
    assert leader.due(verdict=Verdict(5, 77)) == []
    leader.apply(EntryType.VERDICT)
    assert leader.due(verdict=Verdict(6, None)) == [Duty(EntryType.VERDICT, msgpack.packb([6, None]))]


def test_a_newer_version_is_raised_once_and_never_lowered(leader):
    raising = [Duty(EntryType.SET_MACHINE_VERSION, msgpack.packb(2))]
    assert leader.due(version=0) == leader.due(version=1) == []
    assert leader.due(version=2) == raising
    assert leader.due(version=2) == []
    leader.log.by_admin(EntryType.SET_MACHINE_VERSION, 2)
    leader.duties.applied(EntryType.SET_MACHINE_VERSION)
    assert leader.due(version=2) == leader.due(version=1) == []


def test_a_version_that_is_held_is_not_raised(leader):
    leader.log.configure(hold_machine_version=1)
    assert leader.due(version=2) == []
    leader.log.configure(hold_machine_version=0)
    assert len(leader.due(version=2)) == 1


def test_whatever_could_not_be_proposed_is_said_again():
    leader = Leader(initial=INITIAL, check_every=1)
    leader.log.plain(["alarm", 0])
    everything = leader.due(verdict=Verdict(5, 77), version=2)
    assert [duty.type for duty in everything] == [
        *(EntryType.PLAIN_COMMANDS, EntryType.PLAIN_COMMANDS),
        *(EntryType.TICK, EntryType.CHECK, EntryType.VERDICT, EntryType.SET_MACHINE_VERSION),
    ]
    assert leader.due(verdict=Verdict(5, 77), version=2) == []
    leader.duties.retry()
    assert leader.due(verdict=Verdict(5, 77), version=2) == everything


def test_a_new_leadership_does_not_rely_on_what_an_earlier_one_proposed(leader):
    assert len(leader.due(verdict=Verdict(5, 77))) == 1
    leader.duties.begin(2)
    assert len(leader.due(verdict=Verdict(5, 77))) == 1
