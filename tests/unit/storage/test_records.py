"""Records: what is written is read; anything else is noticed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orderbook.storage.records import (
    HARD_STATE_SIZE,
    MARK_SIZE,
    Encoder,
    RecordType,
    decode_hard_state,
    entries_size,
    last_mark,
    read_records,
)
from orderbook.storage.types import EntryTuple

NUMBERS = st.integers(0, 2**64 - 1)
ENTRIES = st.lists(st.tuples(NUMBERS, NUMBERS, st.integers(0, 255), st.binary(max_size=80)), max_size=8)
PLACES = st.tuples(st.integers(1, 2**40), st.integers(0, 2**20).map(lambda n: n * 8), st.integers(0, 2**32 - 1))


def written(entries: list[EntryTuple], segment: int = 1, offset: int = 0, crc: int = 0) -> tuple[bytes, int]:
    """(bytes with ``offset`` zeros before them, CRC of the last record)."""
    encoder = Encoder(segment, offset, crc)
    encoder.mark(offset)
    encoder.hard_state((1, 2, 3))
    for entry in entries:
        encoder.entry(entry)
    return bytes(offset) + encoder.take(), encoder.crc


def read(data: bytes, segment: int = 1, offset: int = 0, crc: int = 0) -> list[tuple[int, int, int, int, bytes]]:
    return [record[:5] for record in read_records(data, segment, offset, crc)]


@given(ENTRIES, PLACES)
def test_what_was_written_is_read(entries: list[EntryTuple], place: tuple[int, int, int]) -> None:
    data, crc = written(entries, *place)
    found = list(read_records(data, *place))
    assert [record[0] for record in found[:2]] == [RecordType.MARK, RecordType.HARD_STATE]
    assert decode_hard_state(found[1][4]) == (1, 2, 3)
    assert [(index, term, kind, payload) for _, kind, index, term, payload, _, _ in found[2:]] == entries
    assert found[-1][5:] == (len(data), crc)
    assert len(data) - place[1] == MARK_SIZE + HARD_STATE_SIZE + entries_size(entries)
    assert len(data) % 8 == 0


@given(ENTRIES, st.data())
def test_a_flipped_bit_ends_the_reading_before_its_record(entries: list[EntryTuple], data: st.DataObject) -> None:
    good, _ = written(entries)
    ends = [record[5] for record in read_records(good, 1, 0, 0)]
    position = data.draw(st.integers(0, len(good) - 1))
    bad = bytearray(good)
    bad[position] ^= 1 << data.draw(st.integers(0, 7))
    before = sum(end <= position for end in ends)
    found = read(bytes(bad))
    if len(found) > before:  # only padding, which holds nothing, may change unnoticed
        assert found == read(good)
        assert not good[position]
    else:
        assert found == read(good)[:before]


@given(ENTRIES, st.data())
def test_a_torn_end_leaves_the_whole_records_before_it(entries: list[EntryTuple], data: st.DataObject) -> None:
    good, _ = written(entries)
    cut = data.draw(st.integers(0, len(good)))
    found = read(good[:cut])
    assert found == read(good)[: len(found)]
    assert read(good[:cut] + bytes(len(good) - cut))[: len(found)] == found


@given(ENTRIES, PLACES, PLACES)
def test_records_are_valid_only_in_their_place(
    entries: list[EntryTuple], place: tuple[int, int, int], other: tuple[int, int, int]
) -> None:
    data, _ = written(entries, *place)
    body = data[place[1] :]
    assert bool(read(bytes(other[1]) + body, *other)) == (place == other)


def test_nothing_is_read_from_zeros() -> None:
    assert read(bytes(4096)) == []


def test_records_in_another_order_break_the_chain() -> None:
    first, crc = written([(1, 1, 0, b"a" * 8)])
    encoder = Encoder(1, len(first), crc)
    encoder.entry((2, 1, 0, b"b" * 8))
    encoder.entry((3, 1, 0, b"c" * 8))
    tail = encoder.take()
    half = len(tail) // 2
    assert len(read(first + tail)) == 5
    assert len(read(first + tail[half:] + tail[:half])) == 3
    assert len(read(first + tail[half:])) == 3


def test_the_last_mark_is_found_behind_damage() -> None:
    first, crc = written([(1, 1, 0, bytes(100))])
    encoder = Encoder(1, len(first), crc)
    encoder.mark(len(first))
    encoder.entry((2, 1, 0, b"x"))
    data = bytearray(first + encoder.take())
    data[40] ^= 1
    assert len(read(bytes(data))) == 1
    assert last_mark(bytes(data), 1, MARK_SIZE) == len(first)
    assert last_mark(bytes(data), 1, len(first) + 8) is None
    assert last_mark(bytes(data), 2, 0) is None


def test_a_mark_inside_a_payload_is_no_mark() -> None:
    inner, _ = written([])
    data, _ = written([(1, 1, 0, inner)])
    assert last_mark(data, 1, MARK_SIZE) is None
