"""Opening a damaged log: what is cut off, and what is refused with file, offset and advice."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from faults.disk import FaultyDisk
from orderbook.storage import DirectoryLocked, Disk, LogCorrupt, StorageError, UnknownFormat
from unit.storage.member import DIRECTORY, SMALL, Member, entries

FIRST, SECOND, THIRD = (f"{DIRECTORY}/{number:016d}.segment" for number in (1, 2, 3))


def life(writes: int = 3, size: int = 40) -> FaultyDisk:
    """Entry by entry, each in its own write, then the process is killed."""
    disk = FaultyDisk(Random(1))
    member = Member(disk)
    for index in range(1, writes + 1):
        member.write(entries(index, index, size=size), (index, 7, 0))
        member.settle()
    return disk.kill()


def content(disk: FaultyDisk, path: str) -> bytes:
    file = disk.open(path)
    return file.read(0, file.size())


def place_of(disk: FaultyDisk, path: str, index: int, term: int = 1) -> int:
    """Where the payload of an entry stands."""
    return content(disk, path).index(b"%d/%d " % (index, term))


def names(disk: FaultyDisk) -> list[str]:
    return [name for name in disk.list_directory(DIRECTORY) if name.endswith("segment")]


def test_bad_bytes_in_the_last_write_are_cut_off_whatever_follows() -> None:
    disk = FaultyDisk(Random(1))
    member = Member(disk)
    member.write(entries(1, 3), (1, 7, 0))
    member.settle()
    member.write(entries(4, 8), (2, 7, 0))
    member.settle()
    disk = disk.kill()
    disk.flip(FIRST, place_of(disk, FIRST, 6))
    found = Member(disk)
    assert found.recovered.entries == entries(1, 5)
    assert found.recovered.hard_state == (2, 7, 0)
    assert found.recovered.truncated is not None
    assert FIRST in found.recovered.truncated
    assert b"6/1 " not in content(disk, FIRST)
    assert b"8/1 " not in content(disk, FIRST)
    found.write(entries(6, 9, term=2))
    found.settle()
    assert Member(disk.kill()).recovered.entries == entries(1, 5) + entries(6, 9, term=2)


def test_bad_bytes_below_a_later_mark_are_refused_and_nothing_is_changed() -> None:
    disk = life()
    offset = place_of(disk, FIRST, 2)
    disk.flip(FIRST, offset)
    before = content(disk, FIRST)
    with pytest.raises(LogCorrupt, match="a write began at") as caught:
        Member(disk)
    assert caught.value.path == FIRST
    assert offset - 40 <= caught.value.offset <= offset
    assert "set this directory aside" in str(caught.value)
    assert content(disk, FIRST) == before
    assert disk.locks == {}


@pytest.mark.parametrize("offset", range(0, 240, 8))
def test_a_damaged_header_is_refused_once_a_second_write_was_made(offset: int) -> None:
    disk = life()
    if not content(disk, FIRST)[offset]:
        offset += 1
    disk.flip(FIRST, offset, 0x80)
    try:
        recovered = Member(disk).recovered
    except LogCorrupt as error:
        assert error.path == FIRST
        assert error.offset <= offset
    except UnknownFormat:
        assert 8 <= offset < 12
    else:  # padding or the unused field of the prologue
        assert recovered.entries == entries(1, 3)
        assert recovered.truncated is None


def test_a_first_write_cut_short_is_a_segment_that_has_not_begun() -> None:
    disk = FaultyDisk(Random(1))
    Member(disk)
    disk = disk.kill()
    disk.flip(FIRST, 20)
    found = Member(disk, identify=False)
    assert found.recovered.identity is None
    assert found.recovered.truncated is not None
    assert names(disk) == []


def test_bad_bytes_in_an_earlier_segment_are_refused() -> None:
    disk = life(60, size=150)
    for path in (FIRST, SECOND):
        data = content(disk, path)
        offset = data.rstrip(b"\0").rindex(b"/1 ")
        disk.flip(path, offset)
        with pytest.raises(LogCorrupt) as caught:
            Member(disk)
        assert caught.value.path == path
        assert caught.value.offset <= offset
        disk.flip(path, offset)
        disk = disk.kill()
    assert Member(disk).recovered.entries == entries(1, 60, size=150)


def test_an_earlier_segment_that_lost_its_end_is_refused() -> None:
    disk = life(60, size=150)
    file = disk.open(FIRST)
    used = len(content(disk, FIRST).rstrip(b"\0"))
    file.write(used - 400, bytes(400))
    with pytest.raises(LogCorrupt, match=r"no valid record|records are missing") as caught:
        Member(disk)
    assert caught.value.path == FIRST


def test_stray_bytes_behind_the_end_of_an_earlier_segment_are_refused() -> None:
    disk = life(60, size=150)
    used = len(content(disk, FIRST).rstrip(b"\0"))
    assert used < 4090
    disk.flip(FIRST, 4090)
    with pytest.raises(LogCorrupt, match="durable when the next one began") as caught:
        Member(disk)
    assert caught.value.path == FIRST
    assert used <= caught.value.offset <= used + 8


def test_records_lost_at_a_record_s_border_are_missed_too() -> None:
    disk = life(60, size=150)
    file = disk.open(FIRST)
    start = place_of(disk, FIRST, 5) - 32 - 88  # its record's head, the write's mark and hard state before it
    file.write(start, bytes(4096 - start))
    with pytest.raises(LogCorrupt, match="records are missing") as caught:
        Member(disk)
    assert caught.value.path == FIRST
    assert caught.value.offset == start


def test_a_missing_segment_is_refused() -> None:
    disk = life(60, size=150)
    disk.unlink(SECOND)
    with pytest.raises(LogCorrupt, match="begins after entry"):
        Member(disk)
    assert FIRST.rpartition("/")[2] in names(disk)


def test_a_segment_under_another_s_name_is_refused() -> None:
    disk = life(60, size=150)
    disk.rename(SECOND, f"{DIRECTORY}/swap")
    disk.rename(THIRD, SECOND)
    disk.rename(f"{DIRECTORY}/swap", THIRD)
    with pytest.raises(LogCorrupt, match="header is damaged"):
        Member(disk)


def test_a_damaged_end_before_a_segment_whose_first_write_was_cut_short_is_refused() -> None:
    """The next segment's first byte proves that the one before was durable."""
    disk = life(60, size=150)
    last = names(disk)[-1]
    while not content(disk, f"{DIRECTORY}/{last}").rstrip(b"\0"):
        disk.unlink(f"{DIRECTORY}/{last}")
        last = names(disk)[-1]
    before = names(disk)[-2]
    file = disk.open(f"{DIRECTORY}/{last}")
    file.write(0, bytes(4096))
    file.write(100, b"torn")
    disk.flip(f"{DIRECTORY}/{before}", content(disk, f"{DIRECTORY}/{before}").rstrip(b"\0").rindex(b"/1 "))
    with pytest.raises(LogCorrupt) as caught:
        Member(disk)
    assert caught.value.path == f"{DIRECTORY}/{before}"


def test_segments_that_were_only_prepared_are_made_anew() -> None:
    disk = life()
    assert len(names(disk)) == 2
    found = Member(disk)
    assert len(names(disk)) == 1
    assert found.recovered.entries == entries(1, 3)


def test_a_newer_format_names_both_versions() -> None:
    disk = life()
    disk.flip(FIRST, 8, 1 ^ 9)
    with pytest.raises(UnknownFormat, match="format version 9, this release knows 1"):
        Member(disk)


def test_a_snapshot_without_a_log_is_refused() -> None:
    disk = FaultyDisk(Random(1))
    member = Member(disk)
    member.snapshot(5)
    disk = disk.kill()
    for name in names(disk):
        disk.unlink(f"{DIRECTORY}/{name}")
    with pytest.raises(StorageError, match="no log"):
        Member(disk)


def test_a_log_behind_a_snapshot_begins_anew_after_it() -> None:
    disk = FaultyDisk(Random(1))
    member = Member(disk)
    member.write(entries(1, 3), (1, 7, 3))
    member.settle()
    member.snapshot(8, term=2)
    disk = disk.kill()
    found = Member(disk)
    assert found.recovered.base == (8, 2)
    assert found.recovered.entries == []
    assert found.recovered.hard_state == (1, 7, 3)
    assert found.recovered.snapshot is not None
    assert found.recovered.snapshot.index == 8
    found.write(entries(9, 10, term=2))
    found.settle()
    again = Member(disk.kill())
    assert again.recovered.base == (8, 2)
    assert again.recovered.entries == entries(9, 10, term=2)


def test_a_log_on_another_branch_than_the_snapshot_begins_anew_after_it() -> None:
    disk = FaultyDisk(Random(1))
    member = Member(disk)
    member.write(entries(1, 9), (1, 7, 3))
    member.settle()
    member.snapshot(5, term=2)
    assert Member(disk.kill()).recovered.base == (5, 2)


def test_a_log_that_covers_the_snapshot_keeps_all_its_entries() -> None:
    disk = FaultyDisk(Random(1))
    member = Member(disk)
    member.write(entries(1, 9), (1, 7, 3))
    member.settle()
    member.snapshot(5)
    recovered = Member(disk.kill()).recovered
    assert recovered.entries == entries(1, 9)
    assert recovered.snapshot is not None


def test_a_second_process_is_told_directory_and_holder(tmp_path: Path) -> None:
    directory = str(tmp_path / "data")
    first = Member(Disk(), directory=directory)
    with pytest.raises(DirectoryLocked, match=r"data is in use by process \d+") as caught:
        Member(Disk(), directory=directory)
    assert caught.value.directory == directory
    first.close()
    Member(Disk(), directory=directory).close()


def test_the_real_disk_keeps_what_the_double_keeps(tmp_path: Path) -> None:
    directory = str(tmp_path / "data")
    member = Member(Disk(), directory=directory)
    for index in range(1, 101):
        member.write(entries(index, index, size=200), (index, 7, 0), label=index)
        member.settle()
    member.close()
    again = Member(Disk(), SMALL, directory=directory)
    assert again.recovered.entries == entries(1, 100, size=200)
    assert again.recovered.hard_state == (100, 7, 0)
    again.close()
