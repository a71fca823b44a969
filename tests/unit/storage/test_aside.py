"""A directory's contents moved aside, whole, whatever happens meanwhile."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from faults.disk import FaultyDisk, SimulatedCrash
from orderbook.storage import DirectoryLocked, Disk, StorageError, left_incarnation, set_aside
from unit.storage.member import DIRECTORY, Member, entries

LEFT = bytes(range(16))


def life() -> FaultyDisk:
    disk = FaultyDisk(Random(1))
    member = Member(disk)
    for index in range(1, 61):
        member.write(entries(index, index, size=150), (1, 7, 0))
        member.settle()
    member.snapshot(30)
    return disk.kill()


def test_the_node_comes_back_empty_and_the_operator_finds_everything() -> None:
    disk = life()
    before = disk.list_directory(DIRECTORY)
    assert set_aside(disk, DIRECTORY, LEFT) == f"{DIRECTORY}/aside-0001"
    assert disk.list_directory(f"{DIRECTORY}/aside-0001") == before
    assert Member(disk, identify=False).recovered.identity is None
    assert Member(disk, directory=f"{DIRECTORY}/aside-0001").recovered.entries == entries(1, 60, size=150)


def test_each_time_gets_its_own_place() -> None:
    disk = life()
    set_aside(disk, DIRECTORY, LEFT)
    Member(disk).close()
    assert set_aside(disk, DIRECTORY, LEFT) == f"{DIRECTORY}/aside-0002"


def test_an_open_directory_is_left_alone() -> None:
    disk = FaultyDisk(Random(1))
    Member(disk)
    with pytest.raises(DirectoryLocked):
        set_aside(disk, DIRECTORY, LEFT)


def test_a_move_cut_short_is_finished_by_the_next_opening() -> None:
    for number in range(100):
        disk = life()
        before = disk.list_directory(DIRECTORY)
        disk.random.seed(number)
        disk.crash_at = disk.operations + number
        try:
            set_aside(disk, DIRECTORY, LEFT)
        except SimulatedCrash:
            disk = disk.crash()
        else:
            assert number > 10
            return
        found = Member(disk, identify=False)
        if found.recovered.identity is None:
            assert set(before) <= set(disk.list_directory(f"{DIRECTORY}/aside-0001"))
            assert left_incarnation(disk, DIRECTORY) == LEFT
        else:
            assert found.recovered.entries == entries(1, 60, size=150)
            assert left_incarnation(disk, DIRECTORY) == b""
    pytest.fail("the move never ends")


def test_the_real_disk_moves_too(tmp_path: Path) -> None:
    directory = str(tmp_path / "data")
    Member(Disk(), directory=directory).close()
    assert set_aside(Disk(), directory, LEFT) == f"{directory}/aside-0001"
    member = Member(Disk(), identify=False, directory=directory)
    assert member.recovered.identity is None
    member.close()


def test_the_group_that_was_left_last_is_remembered_whatever_becomes_of_the_files() -> None:
    disk = life()
    assert left_incarnation(disk, DIRECTORY) == b""
    set_aside(disk, DIRECTORY, bytes(16))
    Member(disk).close()
    set_aside(disk, DIRECTORY, LEFT)
    for number in (1, 2):
        for name in disk.list_directory(f"{DIRECTORY}/aside-000{number}"):
            disk.unlink(f"{DIRECTORY}/aside-000{number}/{name}")
    disk = disk.crash()
    assert left_incarnation(disk, DIRECTORY) == LEFT
    Member(disk).close()
    assert set_aside(disk, DIRECTORY, bytes(16)) == f"{DIRECTORY}/aside-0003"


def test_a_damaged_memory_of_the_group_that_was_left_is_refused_by_name() -> None:
    disk = life()
    set_aside(disk, DIRECTORY, LEFT)
    disk.open(f"{DIRECTORY}/aside-0001.incarnation").truncate(3)
    with pytest.raises(StorageError, match=r"aside-0001\.incarnation holds 3 bytes, not the 16"):
        left_incarnation(disk, DIRECTORY)
