"""The models mean what the machines do: one client after another, on the real machines."""

from random import Random

import msgpack
import pytest

from linearizability.checker import UNKNOWN
from linearizability.models import BookModel, Observed, RegisterModel
from property.book.naive import BID
from unit.book.market import Market

PAIR = "ETH/USDC"


def place(id, side, price, quantity, trader="alice"):
    return [1, id, PAIR, side, price, quantity, trader, None, None, None, None, None]


def test_registers_answer_with_what_they_then_hold():
    model = RegisterModel()
    state = model.step((), [["k", "put", 3], ["k", "add", 4]], (("k", 3), ("k", 7)))
    assert state == (("k", 7),)
    assert model.step(state, [["k", "add", 1]], (("k", 9),)) is None
    assert model.step(state, [["k", "add", 1]], UNKNOWN) == (("k", 8),)
    assert model.step(state, Observed(), (("k", 7),)) == state
    assert model.step(state, Observed(), ()) is None


def test_a_book_fills_and_shows_what_is_left():
    model = BookModel()
    state = model.step((), [place(1, BID, 100, 5)], ("accepted 1 rests 5",))
    assert state is not None
    assert model.step(state, Observed(), (1, ((100, 5, 1),), ())) == state
    after = model.step(state, [place(2, 2, 99, 2, "bob")], ("accepted 2 rests 0", "fill 1x2 2@100"))
    assert after is not None
    assert model.step(after, Observed(), (1, ((100, 3, 1),), ())) == after
    assert model.step(after, [[2, 1, None]], ("cancelled 1 5 requested",)) is None, "two of them are filled"
    assert model.step(after, [[2, 1, None]], ("cancelled 1 3 requested",)) == ()


def test_in_which_order_different_levels_began_is_forgotten():
    model = BookModel()
    one = model.step((), [place(1, BID, 100, 5), place(2, BID, 99, 5)], UNKNOWN)
    other = model.step((), [place(2, BID, 99, 5), place(1, BID, 100, 5)], UNKNOWN)
    assert one == other
    behind = model.step((), [place(2, BID, 100, 5), place(1, BID, 100, 5)], UNKNOWN)
    ahead = model.step((), [place(1, BID, 100, 5), place(2, BID, 100, 5)], UNKNOWN)
    assert behind != ahead


@pytest.mark.parametrize("seed", range(10))
def test_the_book_says_what_the_engine_says(seed):
    random, market, model = Random(seed), Market(), BookModel(depth=1000)
    state = model.start()
    for number in range(120):
        row = place(number + 1, random.randrange(1, 3), random.randrange(95, 106), random.randrange(1, 9))
        row[6] = random.choice(("alice", "bob"))
        row[8] = random.choice((None, None, 2))
        row[11] = random.choice((None, 1, 2, 3, 4))
        earlier = random.randrange(number + 1) + 1
        rows = [
            random.choice(
                (row, row, [2, earlier, None], [2, earlier, 1], [3, earlier, random.randrange(95, 106), None])
            )
        ]
        rows = msgpack.unpackb(msgpack.packb(rows))
        state = model.step(state, rows, tuple(market.rows(*rows)))
        assert state is not None
        assert model.observed(state)[1:] == (tuple(market.bids), tuple(market.asks))
