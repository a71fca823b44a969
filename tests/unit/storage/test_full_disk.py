"""A disk that fills up: seen before it hurts, survived, and healed by itself."""

from __future__ import annotations

from random import Random

import pytest

from faults.disk import FaultyDisk
from orderbook.storage import DiskFull
from unit.storage.member import DIRECTORY, IDENTITY, SMALL, Member, entries

OPTIONS = SMALL._replace(watermark_bytes=6000, ballast_snapshot_bytes=4000)
OTHERS = f"{DIRECTORY}/of-others"


def disk_with(free: int) -> tuple[FaultyDisk, Member]:
    """A member whose ballast is in place, on a disk of which others leave ``free`` bytes."""
    disk = FaultyDisk(Random(1), capacity=200_000)
    member = Member(disk, OPTIONS)
    look(member)
    assert member.store.health == "ok"
    others = disk.create(OTHERS)
    others.write(0, bytes(disk.free_bytes(DIRECTORY) - free))
    others.sync()
    return disk, member


def look(member: Member) -> str:
    """What is found out a while later."""
    member.now += 5
    assert member.store.health in ("ok", "full")
    member.settle()
    return member.store.health


def fill(member: Member, first: int, last: int) -> None:
    for index in range(first, last + 1):
        member.write(entries(index, index, size=200), (1, 7, 0), label=index)
        member.settle()


def test_less_than_the_watermark_is_full_and_more_is_well_again() -> None:
    disk, member = disk_with(5000)
    assert look(member) == "full"
    assert member.store.statistics.free_bytes == 5000
    disk.unlink(OTHERS)
    assert look(member) == "ok"


def test_free_space_is_looked_at_once_a_second_at_most() -> None:
    _, member = disk_with(50_000)
    member.now += 5
    for _ in range(3):
        assert member.store.health == "ok"
    assert len(member.worker.jobs) == 1
    member.settle()
    member.now += 0.5
    assert member.store.health == "ok"
    assert not member.worker.jobs


def test_a_full_disk_fails_no_write_and_goes_on_with_the_ballast() -> None:
    disk, member = disk_with(0)
    fill(member, 1, 20)
    assert member.durable == list(range(1, 21))
    assert not member.failures
    assert "segment.ballast" not in disk.list_directory(DIRECTORY)
    assert look(member) == "full"


def test_without_ballast_writes_wait_and_go_on_by_themselves_when_there_is_room() -> None:
    disk, member = disk_with(0)
    fill(member, 1, 60)
    waiting = len(member.durable)
    assert 20 < waiting < 60
    assert member.durable == list(range(1, waiting + 1))
    assert not member.failures
    assert look(member) == "full"
    assert len(member.durable) == waiting
    disk.unlink(OTHERS)
    assert look(member) == "ok"
    assert member.durable == list(range(1, 61))
    assert "segment.ballast" in disk.list_directory(DIRECTORY)
    assert Member(disk.crash(), OPTIONS).recovered.entries == entries(1, 60, size=200)


def test_waiting_writes_look_for_room_without_anyone_asking() -> None:
    disk, member = disk_with(0)
    fill(member, 1, 60)
    disk.unlink(OTHERS)
    member.now += 5
    fill(member, 61, 61)
    assert member.durable == list(range(1, 62))


def test_what_waits_for_room_was_not_acknowledged_and_is_lost_without_harm() -> None:
    disk, member = disk_with(0)
    fill(member, 1, 60)
    waiting = len(member.durable)
    disk = disk.crash()
    disk.unlink(OTHERS)
    assert Member(disk, OPTIONS).recovered.entries == entries(1, waiting, size=200)


def test_a_snapshot_and_a_cut_bring_a_full_member_back() -> None:
    disk, member = disk_with(30_000)
    fill(member, 1, 200)
    waiting = len(member.durable)
    assert waiting < 200
    assert look(member) == "full"
    for index in (waiting - 2, waiting - 1):
        member.snapshot(index, chunks=(bytes(900),))
    assert "snapshot.ballast" not in disk.list_directory(DIRECTORY)
    member.store.cut(waiting)
    member.settle()
    assert look(member) == "ok"
    assert member.durable == list(range(1, 201))


def test_a_snapshot_that_finds_no_room_fails_and_the_log_does_not() -> None:
    _, member = disk_with(0)
    writer = member.store.snapshot_writer(1, 1, b"", 0)
    with pytest.raises(OSError, match="full disk"):
        for _ in range(10):
            writer.write(b"x" * (1 << 20))
    writer.abort()
    fill(member, 1, 3)
    assert member.durable == [1, 2, 3]


def test_the_ballast_of_a_snapshot_grows_with_the_snapshots() -> None:
    disk, member = disk_with(100_000)
    member.snapshot(1, chunks=(bytes(20_000),))
    look(member)
    assert disk.open(f"{DIRECTORY}/snapshot.ballast").size() == member.store.snapshots()[0].size * 3 // 2


def test_an_opening_on_a_full_disk_uses_the_ballast() -> None:
    disk, member = disk_with(0)
    fill(member, 1, 3)
    assert Member(disk.kill(), OPTIONS).recovered.entries == entries(1, 3, size=200)


def test_an_opening_that_finds_no_room_at_all_says_so_and_harms_nothing() -> None:
    disk, member = disk_with(0)
    fill(member, 1, 60)
    waiting = len(member.durable)
    disk = disk.kill()
    for name in ("segment.ballast", "snapshot.ballast"):
        if disk.exists(f"{DIRECTORY}/{name}"):
            disk.unlink(f"{DIRECTORY}/{name}")
    disk.open(OTHERS).write(disk.open(OTHERS).size(), bytes(disk.free_bytes(DIRECTORY)))
    with pytest.raises(DiskFull, match="no room to open"):
        Member(disk, OPTIONS)
    disk.unlink(OTHERS)
    assert Member(disk, OPTIONS).recovered.entries == entries(1, waiting, size=200)


def test_an_identity_that_finds_no_room_is_refused() -> None:
    disk = FaultyDisk(Random(1), capacity=2000)
    member = Member(disk, OPTIONS, identify=False)
    with pytest.raises(DiskFull):
        member.store.identify(IDENTITY)
