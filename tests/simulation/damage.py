"""Bits that flip on a disk, and what has to come of it: the directory is refused or repaired, and nothing is served.

In the log any byte is taken that the file itself proves to have been durable: below the greatest mark, or in a segment
before the last one that has begun. (Damage behind that can't be told from a torn write; nothing is promised of it.)
Of snapshots any byte is taken, of the parts of received ones too.

The member is started anew after the damage. Either it refuses its directory, and is replaced as one that lost its disk;
or it opens it, and the laws look at what it found: every entry as it was first seen, and all that it had confirmed.
"""

from __future__ import annotations

from random import Random

from faults.disk import FaultyDisk
from orderbook.storage.records import last_mark
from orderbook.storage.segment import segment_sequence

LOG, SNAPSHOT = "log", "snapshot"


def flip_a_bit(disk: FaultyDisk, directory: str, what: str, random: Random) -> str | None:
    """Where it did, in words; None if there is nothing of the kind."""
    places = _places_in_log(disk, directory) if what == LOG else _places_in_snapshots(disk, directory)
    places = [place for place in places if place[1]]
    if not places:
        return None
    path, size = random.choice(places)
    offset, mask = random.randrange(size), 1 << random.randrange(8)
    disk.flip(path, offset, mask)
    return f"{path}, offset {offset}, mask {mask}"


def _content(disk: FaultyDisk, path: str) -> bytes:
    file = disk.open(path)
    try:
        return file.read(0, file.size())
    finally:
        file.close()


def _places_in_log(disk: FaultyDisk, directory: str) -> list[tuple[str, int]]:
    """(path, how many bytes from its beginning on may be hit) of each segment."""
    places: list[tuple[str, int]] = []
    for name in disk.list_directory(directory):
        sequence = segment_sequence(name)
        if sequence is None:
            continue
        path = f"{directory}/{name}"
        data = _content(disk, path)
        used = len(data.rstrip(b"\0"))
        if used:
            places.append((path, used))
    if places:
        path, _ = places[-1]
        data = _content(disk, path)
        places[-1] = (path, last_mark(data, segment_sequence(path.rpartition("/")[2]) or 0, 0) or 0)
    return places


def _places_in_snapshots(disk: FaultyDisk, directory: str) -> list[tuple[str, int]]:
    names = [name for name in disk.list_directory(directory) if name.endswith((".snapshot", ".receiving"))]
    return [(f"{directory}/{name}", len(_content(disk, f"{directory}/{name}"))) for name in names]
