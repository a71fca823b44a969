"""What storage may rely on, held against the real disk and the faulty double alike."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from faults.disk import FaultyDisk
from orderbook.storage import DirectoryLocked, Disk, FileSystem


@pytest.fixture(params=["disk", "double"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[FileSystem, str]:
    if request.param == "disk":
        return Disk(), str(tmp_path / "deep" / "data")
    return FaultyDisk(Random(1)), "/deep/data"


def test_a_directory_is_made_with_its_parents_and_making_it_again_does_nothing(place: tuple[FileSystem, str]) -> None:
    filesystem, directory = place
    filesystem.make_directory(directory)
    filesystem.create(f"{directory}/a").close()
    filesystem.make_directory(directory)
    assert filesystem.list_directory(directory) == ["a"]


def test_names_are_listed_sorted_with_directories(place: tuple[FileSystem, str]) -> None:
    filesystem, directory = place
    filesystem.make_directory(f"{directory}/b")
    for name in ("c", "a"):
        filesystem.create(f"{directory}/{name}").close()
    assert filesystem.list_directory(directory) == ["a", "b", "c"]
    assert filesystem.exists(f"{directory}/b")
    assert filesystem.exists(f"{directory}/c")
    assert not filesystem.exists(f"{directory}/d")


def test_what_is_written_is_read_whoever_reads(place: tuple[FileSystem, str]) -> None:
    filesystem, directory = place
    filesystem.make_directory(directory)
    file = filesystem.create(f"{directory}/f")
    file.write(0, b"hello")
    file.write_durable(3, memoryview(b"p me"))
    other = filesystem.open(f"{directory}/f")
    assert other.read(0, 100) == b"help me"
    assert other.size() == 7
    file.close()
    other.close()


def test_reading_stops_at_the_end(place: tuple[FileSystem, str]) -> None:
    filesystem, directory = place
    filesystem.make_directory(directory)
    file = filesystem.create(f"{directory}/f")
    file.write(0, b"12345")
    assert file.read(3, 10) == b"45"
    assert file.read(5, 10) == b""
    assert file.read(50, 10) == b""
    file.close()


def test_writing_behind_the_end_leaves_zeros_between(place: tuple[FileSystem, str]) -> None:
    filesystem, directory = place
    filesystem.make_directory(directory)
    file = filesystem.create(f"{directory}/f")
    file.write(4, b"x")
    file.sync()
    assert file.read(0, 9) == b"\0\0\0\0x"
    file.close()


def test_reserved_room_reads_as_zeros_and_counts_as_size(place: tuple[FileSystem, str]) -> None:
    filesystem, directory = place
    filesystem.make_directory(directory)
    file = filesystem.create(f"{directory}/f")
    file.reserve(1000)
    assert file.size() == 1000
    assert file.read(0, 1000) == bytes(1000)
    file.truncate(10)
    assert file.size() == 10
    file.close()


def test_create_empties_what_stood_there(place: tuple[FileSystem, str]) -> None:
    filesystem, directory = place
    filesystem.make_directory(directory)
    file = filesystem.create(f"{directory}/f")
    file.write(0, b"old")
    file.close()
    file = filesystem.create(f"{directory}/f")
    assert file.size() == 0
    file.close()


def test_rename_replaces_its_target(place: tuple[FileSystem, str]) -> None:
    filesystem, directory = place
    filesystem.make_directory(directory)
    for name in ("a", "b"):
        file = filesystem.create(f"{directory}/{name}")
        file.write(0, name.encode())
        file.close()
    filesystem.rename(f"{directory}/a", f"{directory}/b")
    filesystem.sync_directory(directory)
    assert filesystem.list_directory(directory) == ["b"]
    file = filesystem.open(f"{directory}/b")
    assert file.read(0, 9) == b"a"
    file.close()


def test_an_unlinked_file_stays_readable_through_its_handle(place: tuple[FileSystem, str]) -> None:
    filesystem, directory = place
    filesystem.make_directory(directory)
    file = filesystem.create(f"{directory}/f")
    file.write(0, b"still here")
    filesystem.unlink(f"{directory}/f")
    assert not filesystem.exists(f"{directory}/f")
    assert file.read(0, 99) == b"still here"
    file.truncate(5)
    file.close()


def test_what_is_missing_raises_file_not_found(place: tuple[FileSystem, str]) -> None:
    filesystem, directory = place
    with pytest.raises(FileNotFoundError):
        filesystem.list_directory(directory)
    with pytest.raises(FileNotFoundError):
        filesystem.create(f"{directory}/f")
    filesystem.make_directory(directory)
    for operation in (filesystem.open, filesystem.unlink):
        with pytest.raises(FileNotFoundError):
            operation(f"{directory}/none")
    with pytest.raises(FileNotFoundError):
        filesystem.rename(f"{directory}/none", f"{directory}/other")


def test_closing_twice_does_nothing_and_a_closed_file_refuses(place: tuple[FileSystem, str]) -> None:
    filesystem, directory = place
    filesystem.make_directory(directory)
    file = filesystem.create(f"{directory}/f")
    file.close()
    file.close()
    with pytest.raises(OSError, match=r".*"):
        file.write(0, b"x")


def test_a_directory_is_locked_once(place: tuple[FileSystem, str]) -> None:
    filesystem, directory = place
    filesystem.make_directory(directory)
    lock = filesystem.lock(directory)
    with pytest.raises(DirectoryLocked, match="in use by process") as caught:
        filesystem.lock(directory)
    assert caught.value.directory == directory
    lock.release()
    lock.release()
    filesystem.lock(directory).release()


def test_free_bytes_is_what_can_still_be_written(place: tuple[FileSystem, str]) -> None:
    filesystem, directory = place
    filesystem.make_directory(directory)
    assert filesystem.free_bytes(directory) > 0
