"""The log while it runs: gathering, order, segments, the end after a failure."""

from __future__ import annotations

from random import Random

import pytest

from faults.disk import FaultyDisk, SimulatedCrash
from orderbook.storage import Identity, StorageError, StoreFailed
from unit.storage.member import IDENTITY, SMALL, Member, entries


def disk(seed: int = 1) -> FaultyDisk:
    return FaultyDisk(Random(seed))


def reopened(member: Member) -> Member:
    """The same directory after the process was killed."""
    assert isinstance(member.filesystem, FaultyDisk)
    return Member(member.filesystem.kill())


def test_an_empty_directory_has_no_identity_and_refuses_writes() -> None:
    member = Member(disk(), identify=False)
    assert member.recovered.identity is None
    assert member.recovered.entries == []
    with pytest.raises(StorageError, match="no identity"):
        member.write(entries(1, 1))


def test_the_identity_is_found_again_and_may_gain_its_incarnation() -> None:
    unborn = Identity("node-0", 7, b"", b"")
    member = Member(disk(), identify=False)
    member.store.identify(unborn)
    member = reopened(member)
    assert member.recovered.identity == unborn
    member.store.identify(IDENTITY)
    assert member.store.identity == IDENTITY
    assert reopened(member).recovered.identity == IDENTITY


def test_nothing_runs_in_the_background_before_the_group_has_begun() -> None:
    member = Member(disk(), identify=False)
    member.store.identify(Identity("node-0", 7, b"", b""))
    assert member.store.health == "ok"
    assert not member.worker.jobs
    member.write(hard_state=(1, 7, 0), label="vote")
    member.write(hard_state=(2, 7, 0), label="vote again")
    member.settle()
    assert member.durable == ["vote", "vote again"]


def test_written_entries_and_hard_state_are_found_again() -> None:
    member = Member(disk())
    member.write(entries(1, 3), (1, 7, 2))
    member.write(entries(4, 5))
    member.write(hard_state=(2, 0, 4))
    member.settle()
    recovered = reopened(member).store.take_recovered()
    assert recovered.entries == entries(1, 5)
    assert recovered.hard_state == (2, 0, 4)
    assert recovered.base == (0, 0)
    assert recovered.truncated is None


def test_what_was_recovered_is_handed_over_once() -> None:
    member = Member(disk())
    assert member.store.take_recovered() is member.recovered
    with pytest.raises(StorageError, match="has been taken"):
        member.store.take_recovered()


def test_what_gathers_during_a_write_goes_as_one() -> None:
    member = Member(disk())
    for index in range(1, 6):
        member.write(entries(index, index), label=index)
    assert len(member.worker.jobs) == 1
    member.settle()
    assert member.durable == [1, 2, 3, 4, 5]
    assert member.store.statistics.syncs == 2
    assert member.store.statistics.entries_written == 5
    assert member.store.statistics.waiting_bytes == 0


def test_a_gathered_write_stays_below_its_bound() -> None:
    member = Member(disk())
    for index in range(1, 41):
        member.write(entries(index, index, size=200), label=index)
    member.settle()
    assert member.durable == list(range(1, 41))
    assert member.store.statistics.syncs >= 1 + 39 * 232 // SMALL.write_bytes


def test_nothing_is_acknowledged_before_its_write_is_durable() -> None:
    member = Member(disk())
    member.write(entries(1, 1), label="first")
    member.write(entries(2, 2), label="second")
    assert member.durable == []
    member.worker.step()
    assert member.durable == ["first"]


def test_a_callback_may_write() -> None:
    member = Member(disk())
    member.store.write(None, entries(1, 1), lambda: member.write(entries(2, 2), label="from the callback"))
    member.settle()
    assert member.durable == ["from the callback"]
    assert reopened(member).recovered.entries == entries(1, 2)


def test_an_empty_write_is_acknowledged_in_its_place() -> None:
    member = Member(disk())
    member.write(entries(1, 1), label="entries")
    member.write(label="nothing")
    member.settle()
    assert member.durable == ["entries", "nothing"]


def test_an_entry_that_goes_back_drops_what_followed() -> None:
    member = Member(disk())
    member.write(entries(1, 5))
    member.write(entries(3, 4, term=2))
    member.settle()
    assert member.store.last_index == 4
    assert reopened(member).recovered.entries == entries(1, 2) + entries(3, 4, term=2)


@pytest.mark.parametrize("bad", [entries(5, 6), entries(0, 0), [*entries(4, 4), *entries(6, 6)]])
def test_a_gap_is_refused_and_changes_nothing(bad: list[tuple[int, int, int, bytes]]) -> None:
    member = Member(disk())
    member.write(entries(1, 3))
    with pytest.raises(ValueError, match="can't follow entry 3"):
        member.write(bad)
    member.write(entries(4, 4))
    member.settle()
    assert reopened(member).recovered.entries == entries(1, 4)


def test_the_log_goes_on_over_many_segments() -> None:
    member = Member(disk())
    for index in range(1, 301):
        member.write(entries(index, index, size=100), (index, 7, index - 1), label=index)
        if index % 3 == 0:
            member.settle()
    member.settle()
    assert member.durable == list(range(1, 301))
    assert member.store.statistics.segments > 5
    recovered = reopened(member).recovered
    assert recovered.entries == entries(1, 300, size=100)
    assert recovered.hard_state == (300, 7, 299)


def test_a_write_larger_than_a_segment_gets_one_of_its_size() -> None:
    member = Member(disk())
    member.write(entries(1, 2, size=5000), label="large")
    member.write(entries(3, 3), label="after")
    member.settle()
    assert member.durable == ["large", "after"]
    assert reopened(member).recovered.entries == entries(1, 2, size=5000) + entries(3, 3)


def test_a_log_goes_on_after_each_of_many_restarts() -> None:
    member = Member(disk())
    for index in range(1, 60):
        member.write(entries(index, index, size=150), (index, 0, 0))
        member.settle()
        member = reopened(member)
        assert member.recovered.entries == entries(1, index, size=150)
        assert member.recovered.hard_state[0] == index


def test_the_next_segment_is_prepared_while_the_current_one_fills() -> None:
    member = Member(disk())
    slow: list[str] = []
    member.write(entries(1, 1))
    member.settle()
    filesystem = member.filesystem
    assert isinstance(filesystem, FaultyDisk)
    for index in range(2, 200):
        operations: list[str] = []
        filesystem.before = lambda _number, kind, _path, seen=operations: seen.append(kind)
        member.write(entries(index, index, size=100))
        member.worker.step()
        slow += [kind for kind in operations if kind not in ("write", "sync")]
        member.settle()
    assert slow == []
    assert member.store.statistics.segments > 4


def test_the_hard_state_of_a_commit_ahead_of_the_log_is_cut_to_it() -> None:
    member = Member(disk())
    member.write(entries(1, 2), (1, 7, 9))
    member.settle()
    assert reopened(member).recovered.hard_state == (1, 7, 2)


def test_another_identity_with_its_hard_state_is_ordered_among_the_writes() -> None:
    other = Identity("node-0", 8, bytes(16), b"only me")
    member = Member(disk())
    member.write(entries(1, 3), (1, 7, 1), label="before")
    member.store.change_identity(other, (9, 0, 3), lambda: member.durable.append("identity"))
    member.write(entries(4, 4, term=9), label="after")
    member.settle()
    assert member.durable == ["before", "identity", "after"]
    recovered = reopened(member).recovered
    assert recovered.identity == other
    assert recovered.hard_state == (9, 0, 3)
    assert recovered.entries == entries(1, 3) + entries(4, 4, term=9)


def test_the_identity_is_not_changed_in_place_while_a_write_is_under_way() -> None:
    member = Member(disk())
    member.write(entries(1, 1))
    with pytest.raises(StorageError, match="under way"):
        member.store.identify(IDENTITY)


def test_a_failed_sync_is_the_end() -> None:
    member = Member(disk())
    filesystem = member.filesystem
    assert isinstance(filesystem, FaultyDisk)
    member.write(entries(1, 1), label="before")
    member.settle()
    filesystem.fail_sync_at = filesystem.syncs
    member.write(entries(2, 2), label="lost")
    member.write(entries(3, 3), label="behind")
    syncs = filesystem.syncs
    member.settle()
    assert member.durable == ["before"]
    assert [type(failure) for failure in member.failures] == [OSError]
    assert filesystem.syncs == syncs + 1
    with pytest.raises(StoreFailed):
        member.write(entries(4, 4))


def test_after_a_failed_sync_a_restart_makes_durable_what_it_reads_before_anyone_relies_on_it() -> None:
    for seed in range(10):
        member = Member(disk(seed))
        filesystem = member.filesystem
        assert isinstance(filesystem, FaultyDisk)
        member.write(entries(1, 1), (1, 7, 0))
        member.settle()
        filesystem.fail_sync_at = filesystem.syncs
        member.write(entries(2, 30), (2, 7, 0))
        member.settle()
        assert member.failures
        again = Member(filesystem.kill())
        assert again.recovered.entries == entries(1, 30)
        assert isinstance(again.filesystem, FaultyDisk)
        last = Member(again.filesystem.crash())
        assert last.recovered.entries == entries(1, 30)
        assert last.recovered.hard_state == again.recovered.hard_state == (2, 7, 0)


def test_a_write_that_takes_too_long_shows_as_stalled() -> None:
    member = Member(disk())
    member.write(entries(1, 1))
    assert member.store.health == "ok"
    member.now = 0.9
    assert member.store.health == "ok"
    member.now = 1.1
    assert member.store.health == "stalled"
    member.settle()
    assert member.store.health == "ok"


def test_the_time_of_syncs_is_counted() -> None:
    member = Member(disk())
    filesystem = member.filesystem
    assert isinstance(filesystem, FaultyDisk)
    member.write(entries(1, 1))

    def slow(_number: int, kind: str, _path: str) -> None:
        member.now += 0.003 if kind == "sync" else 0.0

    filesystem.before = slow
    member.worker.step()
    statistics = member.store.statistics
    assert statistics.last_sync_seconds == statistics.sync_seconds == pytest.approx(0.003)
    assert statistics.sync_histogram == [0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]
    assert statistics.bytes_written > 40


def test_a_closed_store_acknowledges_nothing_and_releases_the_directory() -> None:
    member = Member(disk())
    member.write(entries(1, 1), label="under way")
    member.write(entries(2, 2), label="waiting")
    closed = []
    member.store.close(lambda: closed.append(True))
    member.store.close()
    assert not closed
    member.worker.close()
    assert closed == [True]
    assert member.durable == []
    with pytest.raises(StoreFailed):
        member.write(entries(3, 3))
    assert Member(member.filesystem).recovered.entries == entries(1, 1)


def test_nothing_is_caught_that_means_the_machine_stopped() -> None:
    member = Member(disk())
    assert isinstance(member.filesystem, FaultyDisk)
    member.filesystem.crash_at = member.filesystem.operations
    member.write(entries(1, 1))
    with pytest.raises(SimulatedCrash):
        member.settle()
    assert member.durable == []
