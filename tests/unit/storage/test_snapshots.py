"""Snapshots: written, kept, sent and received; the log cut behind them."""

from __future__ import annotations

from random import Random

import pytest

from faults.disk import FaultyDisk, SimulatedCrash
from orderbook.storage import LogCorrupt, SnapshotCorrupt, SnapshotGone, SnapshotInfo, StorageError
from unit.storage.member import DIRECTORY, SMALL, Member, entries

CHUNKS = (b"first", bytes(5000), b"x" * 700, b"last")


def member_with_snapshot(index: int = 5, seed: int = 1) -> tuple[FaultyDisk, Member, SnapshotInfo]:
    disk = FaultyDisk(Random(seed))
    member = Member(disk)
    member.write(entries(1, 10), (1, 7, 10))
    member.settle()
    member.snapshot(index, chunks=CHUNKS)
    return disk, member, member.store.snapshots()[-1]


def whole_file(member: Member, info: SnapshotInfo, step: int = 1000) -> bytes:
    data = b""
    while piece := member.store.read_snapshot_file(info, len(data), step):
        data += piece
    return data


def path_of(info: SnapshotInfo) -> str:
    return f"{DIRECTORY}/{info.name}"


def names(disk: FaultyDisk, suffix: str) -> list[str]:
    return [name for name in disk.list_directory(DIRECTORY) if name.endswith(suffix)]


def test_a_snapshot_gives_back_its_chunks_and_says_what_it_is() -> None:
    disk, member, info = member_with_snapshot()
    assert info == SnapshotInfo(5, 1, b"configuration", 0, len(whole_file(member, info)))
    assert tuple(member.store.read_snapshot(info)) == CHUNKS
    found = Member(disk.crash())
    assert found.store.snapshots() == [info]
    assert found.recovered.snapshot == info
    assert tuple(found.store.read_snapshot(info)) == CHUNKS


def test_empty_chunks_are_left_out() -> None:
    member = Member(FaultyDisk(Random(1)))
    member.snapshot(1, chunks=(b"", b"a", b"", b"b", b""))
    assert list(member.store.read_snapshot(member.store.snapshots()[0])) == [b"a", b"b"]


def test_a_large_snapshot_is_written_and_synced_as_it_grows() -> None:
    disk = FaultyDisk(Random(1))
    member = Member(disk)
    syncs = disk.syncs
    member.snapshot(1, chunks=(b"z" * 300_000,) * 60)
    assert disk.syncs - syncs >= 3
    assert sum(map(len, member.store.read_snapshot(member.store.snapshots()[0]))) == 18_000_000


def test_the_two_newest_are_kept() -> None:
    disk, member, _ = member_with_snapshot(3)
    for index in (4, 6, 9):
        member.snapshot(index)
    assert [info.index for info in member.store.snapshots()] == [6, 9]
    assert len(names(disk, ".snapshot")) == 2
    assert [info.index for info in Member(disk.crash()).store.snapshots()] == [6, 9]


def test_an_aborted_snapshot_leaves_nothing() -> None:
    disk, member, _ = member_with_snapshot()
    for size in (10, 2_000_000):
        writer = member.store.snapshot_writer(7, 1, b"", 0)
        writer.write(bytes(size))
        writer.abort()
    assert names(disk, ".writing") == []
    with pytest.raises(StorageError, match="no snapshot at 7"):
        member.store.snapshot_committed(7)


def test_an_unfinished_snapshot_is_removed_by_the_next_opening() -> None:
    disk, member, info = member_with_snapshot()
    writer = member.store.snapshot_writer(7, 1, b"", 0)
    writer.write(bytes(2_000_000))
    assert len(names(disk, ".writing")) == 1
    disk = disk.kill()
    assert Member(disk).store.snapshots() == [info]
    assert names(disk, ".writing") == []


def test_every_damaged_byte_is_noticed_when_read() -> None:
    disk, member, info = member_with_snapshot()
    good = whole_file(member, info)
    for offset in [*range(40), *range(40, len(good), 97), *range(len(good) - 30, len(good))]:
        if 12 <= offset < 16:  # not used
            continue
        disk.flip(path_of(info), offset)
        with pytest.raises((SnapshotCorrupt, StorageError)):
            list(member.store.read_snapshot(info))
        disk.flip(path_of(info), offset)
    assert tuple(member.store.read_snapshot(info)) == CHUNKS


@pytest.mark.parametrize("kept", [0, 10, 16, 40, -13, -8, -1])
def test_a_snapshot_that_lost_its_end_is_noticed(kept: int) -> None:
    disk, member, info = member_with_snapshot()
    disk.open(path_of(info)).truncate(kept % info.size)
    with pytest.raises(SnapshotCorrupt):
        list(member.store.read_snapshot(info))


def test_a_snapshot_with_something_behind_its_end_is_noticed() -> None:
    disk, member, info = member_with_snapshot()
    disk.open(path_of(info)).write(info.size, b"more")
    with pytest.raises(SnapshotCorrupt, match="4 bytes follow"):
        list(member.store.read_snapshot(info))


def test_a_damaged_snapshot_is_put_aside_and_the_older_one_serves() -> None:
    disk, member, older = member_with_snapshot(5)
    member.snapshot(8)
    newer = member.store.snapshots()[-1]
    member.store.cut(8)
    member.settle()
    disk = disk.kill()
    disk.flip(path_of(newer), newer.size - 20)
    found = Member(disk)
    assert found.recovered.snapshot == older
    assert found.recovered.entries[-1] == entries(10, 10)[0]
    assert found.recovered.truncated is not None
    assert newer.name in found.recovered.truncated
    assert names(disk, ".corrupt") == [f"{newer.name}.corrupt"]


def test_without_a_snapshot_that_reaches_the_log_the_opening_is_refused() -> None:
    disk, member, _ = member_with_snapshot()
    member.snapshot(20, term=3)
    newer = member.store.snapshots()[-1]
    member.store.reset_to_snapshot(newer, (3, 0, 20), lambda: None)
    member.settle()
    disk = disk.kill()
    disk.flip(path_of(newer), newer.size - 20)
    with pytest.raises(LogCorrupt, match="begins after entry 20, but the newest whole snapshot reaches 5"):
        Member(disk)


def test_a_reader_of_a_snapshot_that_was_replaced_is_told() -> None:
    _, member, info = member_with_snapshot(3)
    reading = member.store.read_snapshot(info)
    assert next(reading) == CHUNKS[0]
    for index in (4, 6):
        member.snapshot(index)
    assert tuple(reading) == CHUNKS[1:]
    with pytest.raises(SnapshotGone):
        next(member.store.read_snapshot(info))
    with pytest.raises(SnapshotGone):
        member.store.read_snapshot_file(info, 0, 10)


def transfer(sender: Member, info: SnapshotInfo, receiver: Member, step: int = 900) -> None:
    held = receiver.store.receive_snapshot(info, 0, b"")
    while held < info.size:
        held = receiver.store.receive_snapshot(info, held, sender.store.read_snapshot_file(info, held, step))


def test_a_snapshot_is_sent_and_received() -> None:
    _, sender, info = member_with_snapshot()
    disk = FaultyDisk(Random(2))
    receiver = Member(disk)
    transfer(sender, info, receiver)
    assert receiver.store.snapshots() == []
    assert receiver.store.finish_receive(info) == info
    assert receiver.store.snapshots() == [info]
    found = Member(disk.crash())
    assert tuple(found.store.read_snapshot(info)) == CHUNKS
    assert names(disk, ".receiving") == []


def test_a_piece_at_the_wrong_offset_says_what_is_held() -> None:
    _, sender, info = member_with_snapshot()
    receiver = Member(FaultyDisk(Random(2)))
    assert receiver.store.receive_snapshot(info, 700, b"x" * 10) == 0
    assert receiver.store.receive_snapshot(info, 0, sender.store.read_snapshot_file(info, 0, 700)) == 700
    assert receiver.store.receive_snapshot(info, 0, b"again") == 700
    assert receiver.store.receive_snapshot(info, 700, bytes(info.size)) == 700
    transfer(sender, info, receiver)
    receiver.store.finish_receive(info)


def test_what_is_held_survives_a_restart() -> None:
    _, sender, info = member_with_snapshot()
    disk = FaultyDisk(Random(2))
    receiver = Member(disk)
    receiver.store.receive_snapshot(info, 0, sender.store.read_snapshot_file(info, 0, 3000))
    receiver = Member(disk.kill())
    assert receiver.store.receive_snapshot(info, 0, b"") == 3000
    transfer(sender, info, receiver)
    assert receiver.store.finish_receive(info) == info


def test_a_part_that_lost_power_is_checked_as_a_whole_and_begun_again() -> None:
    restarted = 0
    for seed in range(20):
        _, sender, info = member_with_snapshot()
        disk = FaultyDisk(Random(seed))
        receiver = Member(disk)
        receiver.store.receive_snapshot(info, 0, sender.store.read_snapshot_file(info, 0, 3000))
        receiver = Member(disk.crash())
        transfer(sender, info, receiver)
        try:
            receiver.store.finish_receive(info)
        except SnapshotCorrupt:
            restarted += 1
            assert receiver.store.receive_snapshot(info, 0, b"") == 0
            transfer(sender, info, receiver)
            receiver.store.finish_receive(info)
        assert tuple(receiver.store.read_snapshot(info)) == CHUNKS
    assert 0 < restarted < 20


def test_beginning_another_snapshot_drops_the_part_of_the_first() -> None:
    _, sender, info = member_with_snapshot()
    disk = FaultyDisk(Random(2))
    receiver = Member(disk)
    receiver.store.receive_snapshot(info, 0, sender.store.read_snapshot_file(info, 0, 3000))
    other = info._replace(index=6)
    assert receiver.store.receive_snapshot(other, 0, b"") == 0
    assert len(names(disk, ".receiving")) == 1
    assert receiver.store.receive_snapshot(info, 0, b"") == 0


def test_an_offer_that_its_file_does_not_keep_is_refused() -> None:
    _, sender, info = member_with_snapshot()
    receiver = Member(FaultyDisk(Random(2)))
    wrong = info._replace(term=2)
    held = 0
    while held < wrong.size:
        held = receiver.store.receive_snapshot(wrong, held, sender.store.read_snapshot_file(info, held, 4000))
    with pytest.raises(SnapshotCorrupt):
        receiver.store.finish_receive(wrong)
    with pytest.raises(SnapshotCorrupt, match="nothing of it is held"):
        receiver.store.finish_receive(wrong)


def test_a_snapshot_that_is_there_already_needs_no_sending() -> None:
    _, member, info = member_with_snapshot()
    assert member.store.receive_snapshot(info, 0, b"") == info.size
    assert member.store.finish_receive(info) == info


def test_after_an_installed_snapshot_the_log_begins_anew() -> None:
    disk, member, _ = member_with_snapshot()
    member.snapshot(50, term=4)
    info = member.store.snapshots()[-1]
    member.write(entries(11, 11), label="before")
    member.store.reset_to_snapshot(info, (4, 0, 50), lambda: member.durable.append("reset"))
    member.write(entries(51, 52, term=4), label="after")
    assert member.store.last_index == 52
    member.settle()
    assert member.durable == [None, "before", "reset", "after"]
    assert member.store.statistics.segments == 1
    recovered = Member(disk.crash()).recovered
    assert recovered.base == (50, 4)
    assert recovered.hard_state == (4, 0, 50)
    assert recovered.entries == entries(51, 52, term=4)


def filled(tail_entries: int = 0, tail_bytes: int = 0) -> tuple[FaultyDisk, Member]:
    """300 entries in some fifteen segments."""
    disk = FaultyDisk(Random(1))
    member = Member(disk, SMALL._replace(tail_entries=tail_entries, tail_bytes=tail_bytes))
    for index in range(1, 301):
        member.write(entries(index, index, size=100), (1, 7, 0))
        member.settle()
    return disk, member


def base_after_cut(disk: FaultyDisk) -> int:
    recovered = Member(disk.kill()).recovered
    assert recovered.entries == entries(recovered.base[0] + 1, 300, size=100)
    assert recovered.base[1] == (1 if recovered.base[0] else 0)
    return recovered.base[0]


def test_with_one_snapshot_nothing_is_cut() -> None:
    disk, member = filled()
    member.snapshot(200)
    member.store.cut(200)
    member.settle()
    assert base_after_cut(disk) == 0


def test_a_cut_stops_at_the_older_snapshot() -> None:
    disk, member = filled()
    member.snapshot(150)
    member.snapshot(280)
    before = member.store.statistics.segments
    member.store.cut(280)
    member.settle()
    assert member.store.statistics.segments < before
    assert 120 < base_after_cut(disk) <= 150


def test_a_cut_stops_where_it_was_told_to() -> None:
    disk, member = filled()
    member.snapshot(150)
    member.snapshot(280)
    member.store.cut(100)
    member.settle()
    assert 70 < base_after_cut(disk) <= 100


def test_a_cut_leaves_a_tail_of_entries() -> None:
    disk, member = filled(tail_entries=50, tail_bytes=1 << 20)
    member.snapshot(200)
    member.snapshot(280)
    member.store.cut(280)
    member.settle()
    assert 120 < base_after_cut(disk) <= 150


def test_a_cut_leaves_a_tail_of_bytes() -> None:
    disk, member = filled(tail_entries=1000, tail_bytes=2 * SMALL.segment_bytes)
    member.snapshot(200)
    member.snapshot(280)
    member.store.cut(280)
    member.settle()
    assert 130 < base_after_cut(disk) < 200


def test_the_room_of_what_was_cut_is_given_back() -> None:
    disk, member = filled()
    before = disk.free_bytes(DIRECTORY)
    member.snapshot(250)
    member.snapshot(280)
    member.store.cut(280)
    member.settle()
    assert disk.free_bytes(DIRECTORY) > before


def test_statistics_tell_of_the_newest_snapshot() -> None:
    _, member, _ = member_with_snapshot()
    member.now = 10.0
    member.snapshot(9)
    statistics = member.store.statistics
    assert (statistics.snapshots, statistics.snapshot_index, statistics.snapshot_at) == (2, 9, 10.0)
    assert statistics.snapshot_bytes == member.store.snapshots()[-1].size


@pytest.mark.parametrize("killed", [False, True])
def test_a_failed_sync_of_a_received_snapshot_is_not_repeated(killed: bool) -> None:
    """The page cache goes on showing what the disk never got; a second sync would succeed, and prove nothing."""
    _, sender, info = member_with_snapshot()
    disk = FaultyDisk(Random(6))
    receiver = Member(disk)
    transfer(sender, info, receiver)
    disk.fail_sync_at = disk.syncs

    def kill_before_it_is_dropped(number: int, kind: str, path: str) -> None:
        if killed and kind == "unlink":
            raise SimulatedCrash

    disk.before = kill_before_it_is_dropped
    with pytest.raises(SimulatedCrash if killed else OSError):
        receiver.store.finish_receive(info)
    if killed:
        disk = disk.kill()
        receiver = Member(disk)
    assert receiver.store.receive_snapshot(info, 0, b"") == 0
    transfer(sender, info, receiver)
    receiver.store.finish_receive(info)
    assert Member(disk.crash()).store.snapshots() == [info]
