"""Decimals against tick and lot."""

import pytest

from orderbook.book.constants import MAX_INTEGER
from orderbook.cli.increments import Increments, OffIncrement

UNITS = Increments.of({"pair": "ETH/USDC", "tick": "0.05", "lot": "0.001"})
WHOLE = Increments.of({"pair": "A/B", "tick": "1", "lot": "1"})


@pytest.mark.parametrize(("text", "ticks"), [("0.05", 1), ("3005", 60100), ("3005.00", 60100), ("1e2", 2000)])
def test_a_price_on_tick(text: str, ticks: int) -> None:
    assert UNITS.ticks(text) == ticks


def test_a_price_off_tick_is_refused_with_its_neighbours() -> None:
    with pytest.raises(OffIncrement, match=r"price 3005\.01 is no multiple of the tick of ETH/USDC, 0\.05") as raised:
        UNITS.ticks("3005.01")
    assert "3005.00, 3005.05" in str(raised.value)


def test_below_the_first_step_there_is_one_neighbour() -> None:
    with pytest.raises(OffIncrement, match=r"next to it: 0\.001$"):
        UNITS.lots("0.0004")


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "-inf", "", "1,5", "ten", "0x10"])
def test_what_is_no_quantity(text: str) -> None:
    with pytest.raises(OffIncrement, match="quantity is"):
        WHOLE.lots(text)


def test_more_than_a_number_of_the_book_holds() -> None:
    assert WHOLE.lots(str(MAX_INTEGER)) == MAX_INTEGER
    for text in (str(MAX_INTEGER + 1), "1e400"):
        with pytest.raises(OffIncrement, match=f"at most {MAX_INTEGER}"):
            WHOLE.lots(text)


@pytest.mark.parametrize("ticks", [1, 7, 60100, MAX_INTEGER])
def test_there_and_back(ticks: int) -> None:
    assert UNITS.ticks(UNITS.price(ticks)) == ticks
    assert UNITS.lots(UNITS.quantity(ticks)) == ticks


def test_no_exponent_is_printed() -> None:
    small = Increments.of({"pair": "A/B", "tick": "0.00000001", "lot": "1"})
    assert small.price(3) == "0.00000003"
