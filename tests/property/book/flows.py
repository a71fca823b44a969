"""Random commands that meet each other often: few prices, few traders, few ids."""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import strategies as st

from unit.book.market import PAIR

Row = tuple[Any, ...]

_ids = st.integers(1, 12)
_quantities = st.integers(1, 12)
_prices = st.integers(95, 105)
_terms = st.sampled_from(
    # type, time in force, post only
    [(None, None, None)] * 8
    + [(None, 2, None), (None, 3, None), (None, 4, None), (None, None, True), (None, 4, True), (2, None, None)]
    + [(2, 2, None), (2, 3, None)]
)


@st.composite
def places(draw: st.DrawFn) -> Row:
    kind, tif, post_only = draw(_terms)
    price = None if kind == 2 else draw(_prices)
    expires = draw(st.integers(1, 80)) if tif == 4 else None
    who = draw(st.sampled_from(["alice", "bob", "carol"]))
    mode = draw(st.sampled_from([None, None, None, 1, 2, 3, 4]))
    side = draw(st.sampled_from([1, 2]))
    return (1, draw(_ids), PAIR, side, price, draw(_quantities), who, kind, tif, expires, post_only, mode)


cancels = st.tuples(st.just(2), _ids, st.none() | _quantities)
amends = st.tuples(st.just(3), _ids, st.none() | _prices, st.none() | _quantities)
cancels_of_all = st.tuples(st.just(4), st.sampled_from(["alice", "bob", "carol"]), st.sampled_from([None, PAIR]))
entries_with_mass_cancels = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.lists(places() | places() | places() | cancels | amends | cancels_of_all, min_size=1, max_size=6),
    ),
    max_size=20,
)
steps = st.lists(st.tuples(st.integers(0, 3), places() | places() | places() | cancels | amends), max_size=60)


WILD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1.0, "", "1", b"1", (), {}, PAIR, 2**52, 2**53, 2**62, 2**63 - 1, 2**63, 2**64 - 1,
    -(2**63),
)  # fmt: skip


def random_row(random: Random) -> Row:
    """A command for long runs, now and then with a wild value in some place of it."""
    row = _likely_row(random)
    if random.random() < 0.97:
        return row
    place = random.randrange(len(row))
    return (*row[:place], random.choice(WILD), *row[place + 1 :])


def _likely_row(random: Random) -> Row:
    draw = random.random()
    id = random.randint(1, 400)
    if draw < 0.6:
        kind = 2 if random.random() < 0.05 else None
        tif = random.choice([None] * 6 + [2, 3] + ([] if kind else [4]))
        terms = (kind, tif, random.randint(1, 9_000) if tif == 4 else None, random.choice([None] * 9 + [True]))
        price = None if kind else random.randint(90, 110)
        who = random.choice(["alice", "bob", "carol", "dave"])
        pair = random.choice([PAIR, PAIR, "BTC/USDC", "NO/PAIR"])
        id_or_none = id if random.random() < 0.9 else None
        mode = random.choice([None, 1, 2, 3, 4])
        quantity = random.randint(1, 2 ** random.randint(1, 52))
        return (1, id_or_none, pair, random.randint(1, 2), price, quantity, who, *terms, mode)
    if draw < 0.8:
        return (2, id, random.choice([None, random.randint(1, 50)]))
    if draw < 0.93:
        return (3, id, random.choice([None, random.randint(90, 110)]), random.choice([None, random.randint(1, 10**6)]))
    others: list[Row] = [
        (4, random.choice(["alice", "bob"]), random.choice([None, PAIR])),
        (12, "BTC/USDC", random.choice([None, True])),
        (13, "BTC/USDC"),
        (14, random.choice([None, "bob"]), random.randint(0, 60), random.randint(0, 90), random.randint(1, 500)),
        (11, PAIR, random.choice([None, 2**40, 2**53 - 1]), random.choice([1, 92]), None),
        (15,),
        (16,),
        (16,),
        (1, -5, PAIR, 1, 1.5, None),
        (99, "nonsense"),
    ]
    return random.choice(others)
