"""A file cut into numbered batches: the same ones, whoever cuts it and however often."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from orderbook.book import DefinePair, PairSpec
from orderbook.book import constants as c
from orderbook.book.codec import decode_commands
from orderbook.cli.command_file import Line
from orderbook.cli.replay_batches import NO_LINE, Batch, Cut, cut_batches
from orderbook.wire.envelope import MAX_BODY_BYTES


def place(number: int, pair: str | None = "A/B", time_ms: int | None = None, trader: str = "bob") -> Line:
    return Line(number, time_ms, (c.PLACE, number, pair, c.BID, 100, 1, trader), pair)


def rows(batches: list[Batch]) -> list[Any]:
    return [row for batch in batches for row in decode_commands(batch.body) or ()]


lines = st.lists(
    st.tuples(st.sampled_from(["A/B", "C/D", "E/F", None]), st.none() | st.integers(0, 500)), max_size=60
).map(lambda drawn: [place(number, pair, time_ms) for number, (pair, time_ms) in enumerate(drawn, start=1)])
cuts = st.builds(Cut, st.integers(1, 20), st.sampled_from([0, 1, 10, 100]))
pairs = st.none() | st.just([PairSpec("A/B", "0.01", "0.1"), PairSpec("C/D")])


@given(lines, pairs, cuts)
def test_every_line_once_in_order_and_numbered_without_a_gap(
    lines: list[Line], pairs: list[PairSpec] | None, cut: Cut
) -> None:
    batches = list(cut_batches(lines, pairs, cut))
    assert batches == list(cut_batches(lines, pairs, cut))
    assert [number for batch in batches for number in batch.lines if number] == [line.number for line in lines]
    assert [row for row in rows(batches) if row[0] == c.PLACE] == [line.row for line in lines]
    following = 1
    for batch in batches:
        assert batch.first == following
        assert len(decode_commands(batch.body) or ()) == len(batch.lines) <= cut.commands
        following = batch.last + 1


@given(lines, cuts)
def test_a_pair_is_defined_before_the_line_that_first_names_it(lines: list[Line], cut: Cut) -> None:
    known = set()
    for row in rows(list(cut_batches(lines, None, cut))):
        if row[0] == c.DEFINE_PAIR:
            assert row[1] not in known
            known.add(row[1])
        else:
            assert row[2] is None or row[2] in known


def test_given_pairs_are_a_preamble_of_their_own() -> None:
    first, second = cut_batches([place(1), place(2)], [PairSpec("A/B", "0.01")], Cut(100))
    assert first.is_preamble and first.lines == [NO_LINE]
    assert rows([first]) == [DefinePair(PairSpec("A/B", "0.01")).encoded()]
    assert second.lines == [1, 2] and not second.is_preamble


def test_without_given_pairs_there_is_no_preamble() -> None:
    [batch] = cut_batches([place(1)], None, Cut(100))
    assert batch.lines == [NO_LINE, 1] and not batch.is_preamble


def test_no_batch_spans_two_slices_of_time() -> None:
    lines = [place(n, time_ms=time) for n, time in enumerate([0, 9, 10, 11, 25], start=1)]
    cut = [batch.lines for batch in cut_batches(lines, [], Cut(100, slice_ms=10))]
    assert cut == [[1, 2], [3, 4], [5]]


def test_a_body_stays_within_what_an_entry_holds() -> None:
    lines = [place(n, trader="x" * 900) for n in range(1, 2001)]
    batches = list(cut_batches(lines, [], Cut(4096)))
    assert len(batches) == 2
    assert all(len(batch.body) <= MAX_BODY_BYTES for batch in batches)


def test_text_that_is_far_too_long_stays_too_long() -> None:
    [batch] = cut_batches([place(1, trader="x" * 5_000_000)], [], Cut(10))
    assert len(batch.body) < 2000
    assert len(rows([batch])[0][6]) > c.MAX_TRADER
