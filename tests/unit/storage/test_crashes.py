"""Power lost or process killed in every single operation of a scripted life: nothing acknowledged is lost.

The model is a list of all the states that the log went through, one for each record. After a crash the log found must
be one of them, not older than the last one acknowledged; the same holds for hard states.
"""

from __future__ import annotations

from random import Random

import pytest

from faults.disk import FaultyDisk, SimulatedCrash
from orderbook.storage.types import EntryTuple, HardStateTuple
from unit.storage.member import DIRECTORY, IDENTITY, SMALL, Member, entries, payload_of

LogState = dict[int, int]  # index -> term of every entry since the beginning


class Life:
    """A scripted life of one member, and what it was promised."""

    def __init__(self, disk: FaultyDisk, seed: int) -> None:
        self.disk = disk
        self.script = Random(seed)
        self.states: list[LogState] = [{}]
        self.hard_states: list[HardStateTuple] = [(0, 0, 0)]
        self.acknowledged = (0, 0)  # places in the two lists
        self.identified = False
        self.snapshots: list[int] = []  # durable when they were taken in
        self.offered: list[int] = []  # maybe durable
        self.member: Member | None = None

    def run(self) -> None:
        member = self.member = Member(self.disk, identify=False)
        member.store.identify(IDENTITY)
        self.identified = True
        term = 1
        for step in range(50):
            choice = self.script.random()
            if choice < 0.65:
                term += self.script.random() < 0.3
                self.write(member, term)
            elif choice < 0.85:
                self.snapshot(member)
            elif choice < 0.9:
                self.jump(member, term)
            else:
                member.now += 10
                assert member.store.health in ("ok", "stalled")
            for _ in range(self.script.randrange(4)):
                member.worker.step()
            assert not member.failures, step
        member.settle()

    def write(self, member: Member, term: int) -> None:
        state = self.states[-1]
        last = max(state, default=0)
        first = last + 1
        if self.script.random() < 0.3:
            first = max(last - self.script.randrange(4), max(self.offered, default=0) + 1, 1)
        batch: list[EntryTuple] = []
        for index in range(first, first + self.script.randrange(8)):
            state = {each: of for each, of in state.items() if each < index} | {index: term}
            self.states.append(state)
            batch.append((index, term, 0, payload_of(index, term, self.script.randrange(30, 300))))
        hard_state = (term, 7, last) if self.script.random() < 0.6 else None
        if hard_state is not None:
            self.hard_states.append(hard_state)
        self.promise(member, batch, hard_state)

    def promise(self, member: Member, batch: list[EntryTuple], hard_state: HardStateTuple | None) -> None:
        promised = (len(self.states) - 1, len(self.hard_states) - 1)
        member.store.write(hard_state, batch, lambda: self.acknowledge(promised))

    def acknowledge(self, promised: tuple[int, int]) -> None:
        assert promised >= self.acknowledged
        self.acknowledged = promised

    def snapshot(self, member: Member) -> None:
        """Of all that was acknowledged and no later write takes back: as committed entries are."""
        state, *later = self.states[self.acknowledged[0] :]
        lasting = [index for index, term in state.items() if all(each.get(index) == term for each in later)]
        index = max(lasting, default=0)
        if index > max(self.offered, default=0):
            self.offered.append(index)
            member.snapshot(index, state[index], (b"state at %d" % index, bytes(900)))
            self.snapshots.append(index)
            member.store.cut(index)

    def jump(self, member: Member, term: int) -> None:
        """A snapshot of the leader's, ahead of this log, is installed."""
        index = max(self.states[-1], default=0) + 5
        self.offered.append(index)
        self.states.append(dict.fromkeys(range(1, index + 1), term))
        member.snapshot(index, term, (b"state at %d" % index,))
        self.snapshots.append(index)
        self.hard_states.append((term, 7, index))
        promised = (len(self.states) - 1, len(self.hard_states) - 1)
        info = member.store.snapshots()[-1]
        member.store.reset_to_snapshot(info, (term, 7, index), lambda: self.acknowledge(promised))

    def check(self, found: Member) -> None:
        recovered = found.recovered
        if recovered.identity is None:
            assert not self.identified
            return
        assert recovered.identity == IDENTITY
        snapshot = recovered.snapshot.index if recovered.snapshot else 0
        assert snapshot in [0, *self.offered]
        assert snapshot >= max(self.snapshots, default=0)
        base, base_term = recovered.base
        assert base <= snapshot
        for place, (index, term, _, payload) in enumerate(recovered.entries):
            assert index == base + 1 + place
            assert payload.startswith(payload_of(index, term, 0))
        log = {index: term for index, term, _, _ in recovered.entries}
        last = max(log, default=base)
        assert any(
            max(state, default=0) == last
            and all(state[index] == term for index, term in log.items())
            and state.get(base, 0) == base_term
            for state in self.states[self.acknowledged[0] :]
        ), f"{recovered} is no state since {self.states[self.acknowledged[0]]}"
        known = [(term, vote, min(commit, last)) for term, vote, commit in self.hard_states[self.acknowledged[1] :]]
        assert recovered.hard_state in known
        for info in found.store.snapshots():
            assert b"state at %d" % info.index in next(found.store.read_snapshot(info))

    def go_on(self, found: Member) -> None:
        """What was found is good enough to live on with, and survives another loss of power."""
        if found.recovered.identity is None:
            found.store.identify(IDENTITY)
        last = found.store.last_index
        found.write(entries(last + 1, last + 40, term=99, size=150), (99, 0, 0), label="later")
        found.settle()
        assert found.durable == ["later"]
        assert isinstance(found.filesystem, FaultyDisk)
        final = Member(found.filesystem.crash())
        assert final.recovered.entries[-40:] == entries(last + 1, last + 40, term=99, size=150)
        assert final.recovered.hard_state == (99, 0, 0)


def live_until(seed: int, crash_at: int | None) -> Life:
    """A life that ends in operation ``crash_at``, or in old age."""
    disk = FaultyDisk(Random(seed * 1000 + (crash_at or 0)))
    disk.crash_at = crash_at
    life = Life(disk, seed)
    try:
        life.run()
    except SimulatedCrash:
        assert crash_at is not None
    return life


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("end", ["crash", "kill"])
def test_nothing_acknowledged_is_lost_wherever_it_ends(seed: int, end: str) -> None:
    operations = live_until(seed, None).disk.operations
    assert operations > 100
    for number in range(operations):
        life = live_until(seed, number)
        found = Member(life.disk.crash() if end == "crash" else life.disk.kill(), identify=False)
        life.check(found)
        life.go_on(found)


@pytest.mark.parametrize("seed", range(3))
def test_an_opening_may_be_cut_short_anywhere_too(seed: int) -> None:
    total = live_until(seed, None).disk.operations
    for number in range(3, total, total // 6):
        for again in range(500):
            life = live_until(seed, number)
            disk = life.disk.crash()
            disk.crash_at = again
            try:
                Member(disk, identify=False)
            except SimulatedCrash:
                found = Member(disk.crash(), identify=False)
                life.check(found)
            else:
                break
        else:
            pytest.fail("the opening never ends")


def test_the_script_does_all_there_is_to_do() -> None:
    """A guard of the tests above: lives with many segments, cuts, branches and jumps."""
    cut = jumped = branched = 0
    for seed in range(6):
        life = live_until(seed, None)
        assert life.member is not None
        assert life.acknowledged == (len(life.states) - 1, len(life.hard_states) - 1)
        assert life.member.store.statistics.segments > 0
        names = life.disk.list_directory(DIRECTORY)
        cut += "0000000000000001.segment" not in names
        jumped += any(len(after) - len(before) > 1 for before, after in zip(life.states, life.states[1:], strict=False))
        branched += any(len(after) < len(before) for before, after in zip(life.states, life.states[1:], strict=False))
    assert cut > 2
    assert jumped > 2
    assert branched > 2


@pytest.mark.parametrize("damage", ["skip the sync", "wrong sector"])
def test_the_check_notices_what_it_is_for(damage: str) -> None:
    """Were syncs skipped, or bytes changed behind an acknowledged write, the tests above would fail."""
    noticed = 0
    for seed in range(4):
        disk = FaultyDisk(Random(seed))
        member = Member(disk, SMALL)
        member.settle()
        disk.lies = damage == "skip the sync"
        member.write(entries(1, 20), (5, 7, 0))
        member.settle()
        assert member.durable == [None]
        if damage == "wrong sector":
            disk.flip(f"{DIRECTORY}/0000000000000001.segment", 700)
        found = Member(disk.crash())
        noticed += found.recovered.entries != entries(1, 20)
    assert noticed
