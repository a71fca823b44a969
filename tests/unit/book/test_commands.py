"""Commands leave trailing defaults out, and their bytes are few."""

import pytest

from orderbook.book import (
    AmendOrder,
    CancelAll,
    CancelOrder,
    ChangePair,
    Command,
    Configure,
    DefinePair,
    Halt,
    HaltPair,
    Order,
    OrderType,
    PairSpec,
    PlaceOrder,
    Resume,
    ResumePair,
    SelfTrade,
    Side,
    TimeInForce,
    encode_commands,
)
from orderbook.book.codec import decode_commands
from unit.book.market import PAIR, Market


@pytest.mark.parametrize(
    ("command", "row"),
    [
        (PlaceOrder(Order(1, PAIR, Side.BID, 300, 10)), (1, 1, PAIR, 1, 300, 10)),
        (PlaceOrder(Order(1, PAIR, Side.ASK, 300, 10, "bob")), (1, 1, PAIR, 2, 300, 10, "bob")),
        (
            PlaceOrder(Order(None, PAIR, Side.BID, None, 10, type=OrderType.MARKET)),
            (1, None, PAIR, 1, None, 10, None, 2),
        ),
        (
            PlaceOrder(Order(1, PAIR, Side.BID, 3, 10, time_in_force=TimeInForce.GTD, expires=5)),
            (1, 1, PAIR, 1, 3, 10, None, None, 4, 5),
        ),
        (
            PlaceOrder(Order(1, PAIR, Side.BID, 3, 10, post_only=True, self_trade=SelfTrade.CANCEL_BOTH)),
            (1, 1, PAIR, 1, 3, 10, None, None, None, None, True, 4),
        ),
        (CancelOrder(1), (2, 1)),
        (CancelOrder(1, 5), (2, 1, 5)),
        (CancelOrder(1, trader="bob"), (2, 1, None, "bob")),
        (AmendOrder(1, price=5), (3, 1, 5)),
        (AmendOrder(1, quantity=5, trader="bob"), (3, 1, None, 5, "bob")),
        (CancelAll(), (4,)),
        (CancelAll(pair=PAIR), (4, None, PAIR)),
        (DefinePair(PairSpec(PAIR)), (10, PAIR)),
        (DefinePair(PairSpec(PAIR, lot="0.1", max_price=5)), (10, PAIR, None, "0.1", None, None, None, 5)),
        (ChangePair(PAIR, min_price=5), (11, PAIR, None, 5)),
        (HaltPair(PAIR), (12, PAIR)),
        (HaltPair(PAIR, cancel=True), (12, PAIR, True)),
        (ResumePair(PAIR), (13, PAIR)),
        (Configure(5), (14, None, 5)),
        (Configure(trader="bob"), (14, "bob")),
        (Halt(), (15,)),
        (Halt(cancel=True), (15, True)),
        (Resume(), (16,)),
    ],
)
def test_the_positional_form(command: Command, row: tuple[object, ...]) -> None:
    assert command.encoded() == row
    assert decode_commands(encode_commands([command])) == (row,)


def test_a_default_may_be_left_out_or_given() -> None:
    assert Market().rows([1, 1, PAIR, 1, 300, 10, None, None, None, None, None, None]) == ["accepted 1 rests 10"]
    assert Market().rows([1, 1, PAIR, 1, 300, 10, "bob", 1, 1, None, False, 1]) == ["accepted 1 rests 10"]


def test_enums_are_plain_integers_in_the_log() -> None:
    row = PlaceOrder(Order(1, PAIR, Side.BID, 300, 10)).encoded()
    assert type(row[3]) is int


def test_an_order_takes_less_than_forty_bytes() -> None:
    assert len(encode_commands([PlaceOrder(Order(2**40, PAIR, Side.BID, 300_500, 15, "bob"))])) < 40
