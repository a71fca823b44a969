"""The log in memory and what its disk confirmed, against the plainest possible models."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orderbook.raft.durability import Durability
from orderbook.raft.errors import ConsensusViolated
from orderbook.raft.log import ENTRY_OVERHEAD, Log
from orderbook.raft.types import Entry, EntryKind, HardState, SnapshotMeta
from unit.raft.cluster import configuration


def entries(first: int, *terms: int, size: int = 0) -> list[Entry]:
    return [Entry(index, term, EntryKind.NORMAL, b"x" * size) for index, term in enumerate(terms, first)]


def test_an_empty_log_knows_the_place_before_its_first_entry() -> None:
    log = Log(5, 2, ())
    assert (log.first_index, log.last_index, log.last_term) == (6, 5, 2)
    assert [log.term_at(index) for index in (4, 5, 6)] == [None, 2, None]


@pytest.mark.parametrize("wrong", [entries(7, 2), entries(6, 1), [*entries(6, 3), *entries(8, 3)], entries(6, 3, 2)])
def test_entries_that_cannot_follow_are_refused(wrong: list[Entry]) -> None:
    with pytest.raises(ValueError, match="can't follow"):
        Log(5, 2, wrong)


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 40), max_size=30),
    st.integers(0, 30),
    st.integers(1, 31),
    st.integers(1, 300),
)
def test_a_batch_is_the_longest_that_fits_and_never_empty(sizes: list[int], cut: int, first: int, limit: int) -> None:
    log = Log(0, 0, [Entry(index, 1, EntryKind.NORMAL, b"x" * size) for index, size in enumerate(sizes, 1)])
    log.commit_to(min(cut, len(sizes)))
    log.compact(log.commit)
    if not log.first_index <= first <= log.last_index:
        return
    batch, size = log.batch(first, limit)
    costs = [size + ENTRY_OVERHEAD for size in sizes[first - 1 :]]
    assert [entry.index for entry in batch] == list(range(first, first + len(batch)))
    assert size == sum(costs[: len(batch)])
    assert len(batch) == 1 or size <= limit
    assert len(batch) == len(costs) or size + costs[len(batch)] > limit
    assert log.bytes_after(first) == sum(costs[1:])


@settings(deadline=None)
@given(st.lists(st.integers(1, 6), max_size=12).map(sorted), st.integers(0, 15), st.integers(0, 7))
def test_the_last_place_of_a_term(terms: list[int], index: int, term: int) -> None:
    log = Log(0, 0, entries(1, *terms))
    expected = max((place for place, known in enumerate(terms, 1) if place <= index and known <= term), default=0)
    assert log.last_of_term(index, term) == expected


def test_below_the_log_every_place_may_match() -> None:
    log = Log(5, 3, entries(6, 4))
    assert [log.last_of_term(index, 1) for index in (3, 5, 6)] == [3, 5, 5]


def test_only_what_is_new_is_taken_from_an_append() -> None:
    log = Log(0, 0, entries(1, 1, 1, 2))
    assert log.first_unknown(()) == 0
    assert log.first_unknown(entries(4, 2)) == 0
    assert log.first_unknown(entries(2, 1, 2)) == 2
    assert log.first_unknown(entries(2, 1, 3, 3)) == 1
    assert log.first_unknown(entries(3, 2, 2)) == 1


def test_what_is_committed_stays() -> None:
    log = Log(0, 0, entries(1, 1, 1, 2))
    assert log.commit_to(2)
    assert not log.commit_to(1)
    assert log.commit == 2
    with pytest.raises(ConsensusViolated):
        log.truncate(2)
    with pytest.raises(ConsensusViolated):
        log.commit_to(4)
    log.truncate(3)
    assert (log.last_index, log.bytes_after(0)) == (2, 2 * ENTRY_OVERHEAD)


def test_compaction_keeps_the_term_of_the_place_it_cut_at() -> None:
    log = Log(0, 0, entries(1, 1, 1, 2, 2))
    log.commit_to(4)
    log.compact(3)
    assert (log.first_index, log.term_at(3), log.term_at(2)) == (4, 2, None)
    log.compact(2)
    assert log.first_index == 4
    log.append(entries(5, 2, size=10))
    assert log.entries(4, 5) == (*entries(4, 2), *entries(5, 2, size=10))
    assert log.bytes_after(4) == 10 + ENTRY_OVERHEAD
    log.compact(4)
    assert log.bytes_after(4) == 10 + ENTRY_OVERHEAD


# Durability


class Disk:
    """Writes in order. After any number of them a crash may come: what is then on disk must bear out ``stable``."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.durability = Durability(log, HardState(9))
        self.writes: list[tuple[Entry, ...]] = []
        self.done = 0

    def write(self) -> None:
        written = self.durability.take_entries()
        if written:
            self.writes.append(written)

    def report(self, together: int) -> None:
        if self.done < len(self.writes):
            self.done = min(self.done + together, len(self.writes))
            last = self.writes[self.done - 1][-1]
            self.durability.persisted(last.index, last.term)

    def replace(self, index: int, terms: list[int]) -> None:
        if index <= self.log.last_index:
            self.log.truncate(index)
            self.durability.truncated(index)
        self.log.append(entries(self.log.last_index + 1, *terms))

    def check(self) -> None:
        stable = self.durability.stable
        for crash in range(self.done, len(self.writes) + 1):
            on_disk: list[Entry] = []
            for written in self.writes[:crash]:
                on_disk = [entry for entry in on_disk if entry.index < written[0].index] + list(written)
            assert tuple(on_disk[:stable]) == self.log.entries(1, stable)


@settings(deadline=None)
@given(st.data())
def test_what_is_called_durable_survives_a_crash_at_any_moment(data: st.DataObject) -> None:
    """Also when entries are replaced and come back while reports of their first write are under way."""
    disk = Disk(Log(0, 0, ()))
    for _ in range(data.draw(st.integers(1, 25))):
        match data.draw(st.sampled_from(["replace", "write", "write", "report", "report"])):
            case "replace":
                index = data.draw(st.integers(1, disk.log.last_index + 1))
                before = disk.log.term_at(index - 1) or 1
                disk.replace(index, sorted(data.draw(st.lists(st.integers(before, 3), min_size=1, max_size=3))))
            case "write":
                disk.write()
            case "report":
                disk.report(data.draw(st.integers(1, 3)))
        disk.check()
    disk.replace(disk.log.last_index + 1, [4])  # as every later leader does with its no-op
    disk.write()
    while disk.done < len(disk.writes):
        disk.report(data.draw(st.integers(1, 3)))
    disk.check()
    assert disk.durability.stable == disk.log.last_index


def test_a_report_may_name_a_place_within_a_write() -> None:
    log = Log(0, 0, ())
    durability = Durability(log, HardState(1))
    log.append(entries(1, 1, 1, 1))
    durability.take_entries()
    assert durability.persisted(2, 1)
    assert durability.stable == 2
    assert not durability.persisted(2, 1)
    assert durability.persisted(3, 1)
    assert not durability.persisted(3, 1)
    assert not durability.persisted(4, 1)


def test_a_snapshot_under_way_vouches_for_no_more_than_was_committed() -> None:
    log = Log(0, 0, entries(1, 1, 1, 1, 1))
    durability = Durability(log, HardState(1))
    log.commit_to(2)
    meta = SnapshotMeta(9, 3, configuration([1]), 0)
    durability.install(meta)
    log.restart_after(9, 3)
    log.append(entries(10, 3))
    assert durability.take_entries() == ()
    assert durability.take_hard_state(3, 0) == HardState(3, 0, 2)
    assert not durability.installed(SnapshotMeta(8, 3, configuration([1]), 0))
    assert durability.installed(meta)
    assert durability.stable == 9
    assert durability.take_entries() == tuple(entries(10, 3))


def test_a_commit_index_alone_is_nothing_to_write() -> None:
    log = Log(0, 0, entries(1, 1))
    durability = Durability(log, HardState(1, 2, 0))
    log.commit_to(1)
    assert durability.take_hard_state(1, 2) is None
    assert durability.take_hard_state(2, 0) == HardState(2, 0, 1)
    assert durability.take_hard_state(2, 0) is None
