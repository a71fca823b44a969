from hypothesis import given
from hypothesis import strategies as st

from orderbook.streams.ring import EVENT_BYTES, EventRing

EVENT = (1, 0)


def indexes(ring: EventRing, start: int = 0) -> list[int]:
    return [entry.log_index for entry in ring.after(start)]


def test_entries_without_events_move_the_end_and_take_no_place():
    ring = EventRing(100, 1 << 20)
    ring.record(1, 0, [EVENT])
    ring.record(2, 0, [])
    ring.record(3, 0, [EVENT])
    assert (indexes(ring), ring.first, ring.last, len(ring)) == ([1, 3], 1, 3, 2)
    assert indexes(ring, 2) == [3]


def test_indexes_bound_it():
    ring = EventRing(10, 1 << 20)
    for index in range(1, 31):
        ring.record(index, 0, [EVENT])
    assert indexes(ring) == list(range(21, 31))
    assert ring.first == 21


def test_bytes_bound_it_but_the_newest_entry_stays():
    ring = EventRing(1000, 5 * EVENT_BYTES)
    for index in range(1, 5):
        ring.record(index, 0, [EVENT, EVENT])
    assert (indexes(ring), ring.first) == ([3, 4], 3)
    ring.record(5, 0, [EVENT] * 50)
    assert (indexes(ring), ring.first) == ([5], 5)


def test_a_new_beginning_forgets_everything():
    ring = EventRing(1000, 1 << 20)
    ring.record(1, 0, [EVENT])
    ring.restart(50)
    assert (indexes(ring), ring.first, ring.last, ring.events) == ([], 50, 49, 0)


@given(st.lists(st.integers(0, 5), max_size=4000), st.integers(1, 50), st.integers(1, 60))
def test_it_holds_exactly_what_comes_after_first(sizes, most_indexes, most_events):
    ring = EventRing(most_indexes, most_events * EVENT_BYTES)
    for index, size in enumerate(sizes, start=1):
        ring.record(index, 0, [EVENT] * size)
        assert ring.first >= index + 1 - most_indexes
    there = [index for index, size in enumerate(sizes, start=1) if size and index >= ring.first]
    assert indexes(ring) == there
    assert ring.events == sum(sizes[index - 1] for index in there)
    assert ring.events <= most_events or len(there) == 1
    assert ring.last == len(sizes)
