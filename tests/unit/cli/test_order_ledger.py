"""What a client was told against what the log says."""

from typing import Any

import pytest

from orderbook.book import DefinePair, Order, OrderBook, PairSpec, PlaceOrder, Side, TopOfBook
from orderbook.book.codec import encode_commands
from orderbook.cli.engine_bench import EntryContext
from orderbook.cli.order_ledger import OrderLedger


def entries() -> tuple[OrderBook, dict[int, list[Any]]]:
    """A book, and the events of four entries: a pair, and three batches of two orders."""
    book, context = OrderBook(), EntryContext()
    log = {}
    batches: list[list[Any]] = [[DefinePair(PairSpec("A/B"))]]
    for first in (1, 3, 5):
        sides = (Side.BID, Side.ASK)
        batches.append([PlaceOrder(Order(first + n, "A/B", sides[n], 100 + n * (first < 5), 7)) for n in range(2)])
    for index, commands in enumerate(batches, start=10):
        context.index = index
        log[index] = book.apply(context, encode_commands(commands), len(commands))
    return book, log


def read(ledger: OrderLedger, log: dict[int, list[Any]], *, without: int = 0, twice: int = 0) -> None:
    for index, events in log.items():
        for event in () if index == without else events:
            ledger.seen(index, event)
    if twice:
        for event in log[twice]:
            ledger.seen(max(log) + 1, event)
    ledger.read_up_to(max(log) + 1)


def answer(ledger: OrderLedger, log: dict[int, list[Any]]) -> None:
    for index in (11, 12, 13):
        ledger.answered(2, index, 0, [list(event) for event in log[index]])


@pytest.mark.parametrize("answers_first", [True, False])
def test_what_was_answered_is_in_the_log(answers_first: bool) -> None:
    book, log = entries()
    ledger = OrderLedger()
    for step in (answer, read) if answers_first else (read, answer):
        step(ledger, log)
    assert (ledger.acknowledged, ledger.lost, ledger.doubled) == (6, 0, 0)
    view = book.query(TopOfBook("A/B", 100))
    assert ledger.levels.side("A/B", Side.BID) == view.bids
    assert ledger.levels.side("A/B", Side.ASK) == view.asks


def test_an_answer_that_the_log_does_not_hold_is_lost() -> None:
    _, log = entries()
    ledger = OrderLedger()
    answer(ledger, log)
    read(ledger, log, without=12)
    assert ledger.lost == 2


@pytest.mark.parametrize("answers_first", [True, False])
def test_an_answer_that_the_log_contradicts_is_lost(answers_first: bool) -> None:
    _, log = entries()
    ledger = OrderLedger()
    told = {**log, 12: [(*event[:4], *event[5:]) for event in log[12]]}
    if answers_first:
        answer(ledger, told)
        read(ledger, log)
    else:
        read(ledger, log)
        answer(ledger, told)
    assert ledger.lost == 2


def test_an_order_that_was_accepted_twice_is_doubled() -> None:
    _, log = entries()
    ledger = OrderLedger()
    answer(ledger, log)
    read(ledger, log, twice=11)
    assert (ledger.lost, ledger.doubled) == (0, 2)
