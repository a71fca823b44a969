"""A directory's contents moved aside, whole, whatever happens meanwhile."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from faults.disk import FaultyDisk, SimulatedCrash
from orderbook.storage import DirectoryLocked, Disk, set_aside
from unit.storage.member import DIRECTORY, Member, entries


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
    assert set_aside(disk, DIRECTORY) == f"{DIRECTORY}/aside-0001"
    assert disk.list_directory(f"{DIRECTORY}/aside-0001") == before
    assert Member(disk, identify=False).recovered.identity is None
    assert Member(disk, directory=f"{DIRECTORY}/aside-0001").recovered.entries == entries(1, 60, size=150)


def test_each_time_gets_its_own_place() -> None:
    disk = life()
    set_aside(disk, DIRECTORY)
    Member(disk).close()
    assert set_aside(disk, DIRECTORY) == f"{DIRECTORY}/aside-0002"


def test_an_open_directory_is_left_alone() -> None:
    disk = FaultyDisk(Random(1))
    Member(disk)
    with pytest.raises(DirectoryLocked):
        set_aside(disk, DIRECTORY)


def test_a_move_cut_short_is_finished_by_the_next_opening() -> None:
    for number in range(100):
        disk = life()
        before = disk.list_directory(DIRECTORY)
        disk.random.seed(number)
        disk.crash_at = disk.operations + number
        try:
            set_aside(disk, DIRECTORY)
        except SimulatedCrash:
            disk = disk.crash()
        else:
            assert number > 10
            return
        found = Member(disk, identify=False)
        if found.recovered.identity is None:
            assert set(before) <= set(disk.list_directory(f"{DIRECTORY}/aside-0001"))
        else:
            assert found.recovered.entries == entries(1, 60, size=150)
    pytest.fail("the move never ends")


def test_the_real_disk_moves_too(tmp_path: Path) -> None:
    directory = str(tmp_path / "data")
    Member(Disk(), directory=directory).close()
    assert set_aside(Disk(), directory) == f"{directory}/aside-0001"
    member = Member(Disk(), identify=False, directory=directory)
    assert member.recovered.identity is None
    member.close()
