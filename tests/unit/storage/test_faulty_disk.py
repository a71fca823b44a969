"""How the double of the file system fails: as much as a real one may, and no more."""

from __future__ import annotations

import errno
from random import Random

import pytest

from faults.disk import SECTOR, FaultyDisk, FaultyFile, SimulatedCrash
from unit.storage.member import IDENTITY, Member, entries


def disk_with_file(seed: int = 1, content: bytes = b"") -> tuple[FaultyDisk, FaultyFile]:
    disk = FaultyDisk(Random(seed))
    disk.make_directory("d")
    file = disk.create("d/f")
    file.write(0, content)
    file.sync()
    disk.sync_directory("d")
    return disk, file


def content_of(disk: FaultyDisk, path: str = "d/f") -> bytes:
    file = disk.open(path)
    return file.read(0, file.size())


def test_what_was_synced_survives_every_crash() -> None:
    for seed in range(20):
        disk, _ = disk_with_file(seed, b"x" * 2000)
        assert content_of(disk.crash()) == b"x" * 2000


def test_unsynced_sectors_are_old_or_new_each_by_itself() -> None:
    seen = set()
    for seed in range(40):
        disk, file = disk_with_file(seed, b"a" * (2 * SECTOR))
        file.write(0, b"b" * (2 * SECTOR))
        after = content_of(disk.crash())
        sectors = after[:SECTOR], after[SECTOR:]
        assert all(sector in (b"a" * SECTOR, b"b" * SECTOR) for sector in sectors)
        seen.add((sectors[0][:1], sectors[1][:1]))
    assert len(seen) == 4


def test_a_durable_write_makes_its_own_sectors_durable_and_no_others() -> None:
    lost = 0
    for seed in range(20):
        disk, file = disk_with_file(seed, b"a" * (4 * SECTOR))
        file.write(0, b"b" * SECTOR)
        file.write_durable(2 * SECTOR, b"c" * SECTOR)
        after = content_of(disk.crash())
        assert after[2 * SECTOR : 3 * SECTOR] == b"c" * SECTOR
        lost += after[:SECTOR] == b"a" * SECTOR
    assert 0 < lost < 20


def test_names_are_durable_only_with_their_directory() -> None:
    found = set()
    for seed in range(40):
        disk, _ = disk_with_file(seed)
        disk.create("d/g").write(0, b"x")
        disk.unlink("d/f")
        found.add(tuple(disk.crash().list_directory("d")))
    assert found == {(), ("f",), ("g",), ("f", "g")}


def test_a_rename_is_whole_or_not_at_all() -> None:
    for seed in range(20):
        disk, _ = disk_with_file(seed, b"old")
        new = disk.create("d/new")
        new.write(0, b"new")
        new.sync()
        disk.rename("d/new", "d/f")
        assert content_of(disk.crash()) in (b"old", b"new")


def test_after_a_failed_sync_the_cache_shows_what_the_disk_never_gets() -> None:
    disk, file = disk_with_file(1, b"old")
    file.write(0, b"new")
    disk.fail_sync_at = disk.syncs
    with pytest.raises(OSError, match="failure of a sync"):
        file.sync()
    file.sync()
    assert content_of(disk) == b"new"
    assert content_of(disk.crash()) == b"old"


def test_a_killed_process_loses_nothing_but_its_locks() -> None:
    disk, file = disk_with_file(1, b"old")
    disk.lock("d")
    file.write(0, b"new")
    after = disk.kill()
    assert content_of(after) == b"new"
    after.lock("d")
    assert content_of(after.crash()) in (b"old", b"new")


def test_a_full_disk_refuses_and_changes_nothing() -> None:
    disk = FaultyDisk(Random(1), capacity=1000)
    disk.make_directory("d")
    file = disk.create("d/f")
    file.write(0, bytes(900))
    for grow in (lambda: file.write(900, bytes(200)), lambda: file.reserve(1001)):
        with pytest.raises(OSError, match="full disk") as caught:
            grow()
        assert caught.value.errno == errno.ENOSPC
    assert file.size() == 900
    assert disk.free_bytes("d") == 100
    disk.unlink("d/f")
    assert disk.free_bytes("d") == 1000


def test_a_crash_stops_the_machine_at_the_chosen_operation() -> None:
    disk, file = disk_with_file(1, b"old")
    disk.crash_at = disk.operations + 1
    file.write(0, b"new")
    with pytest.raises(SimulatedCrash):
        file.sync()
    disk.crash()
    with pytest.raises(SimulatedCrash):
        file.write(0, b"ghost")


def test_the_same_seed_gives_the_same_ruin() -> None:
    def ruin() -> bytes:
        disk, file = disk_with_file(7, b"a" * 9000)
        file.write(0, b"b" * 9000)
        return content_of(disk.crash())

    assert ruin() == ruin()


@pytest.mark.parametrize("seed", range(6))
def test_the_log_before_a_beginning_anew_stays_until_that_one_is_durable(seed: int) -> None:
    """The sync of a segment that begins anew fails; the next process sees it in the page cache, and loses power."""
    opening = 0
    while True:
        disk = FaultyDisk(Random(seed))
        member = Member(disk)
        member.write(entries(1, 20), (3, 7, 5))
        member.settle()
        member.snapshot(40, 3)
        member.settle()
        disk.fail_sync_at = disk.syncs
        member.store.reset_to_snapshot(member.store.snapshots()[-1], (3, 7, 40), lambda: None)
        member.settle()
        assert member.failures, "the sync failed"
        disk = disk.kill()
        disk.crash_at = disk.operations + opening
        try:
            Member(disk, identify=False)
        except SimulatedCrash:
            opening += 1
        else:
            assert opening > 3, "an opening changes files"
            return
        found = Member(disk.crash(), identify=False).recovered
        assert found.identity == IDENTITY
        assert found.hard_state[:2] == (3, 7)
        assert found.base == (40, 3) or found.entries[-1][:2] == (20, 1)
