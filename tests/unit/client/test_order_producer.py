"""Batches, outcomes and errors of ``produce(Order)``, over a session double that answers when it is told to."""

from __future__ import annotations

import asyncio
from typing import Any

import msgpack
import pytest

from orderbook.book import CancelOrder, Order, PlaceOrder, RejectReason, Side, encode_commands
from orderbook.client.order_producer import BATCH_BYTES, BATCH_COMMANDS, OrderProducer
from orderbook.client.order_stream import BatchAnswer
from orderbook.groups.errors import Uncertain
from unit.book.market import Market
from unit.groups.virtual_runtime import VirtualRuntime

PAIR = "ETH/USDC"


def bid(id: int | None, price: int = 300, quantity: int = 10, trader: str = "bob") -> Order:
    return Order(id, PAIR, Side.BID, price, quantity, trader)


class SessionDouble:
    """Runs batches through a book when ``answer`` is called."""

    def __init__(self) -> None:
        self.market = Market()
        self.batches: list[tuple[int, bytes, Any]] = []
        self.closed = False

    def submit(self, commands: int, body: bytes, done: Any) -> None:
        self.batches.append((commands, body, done))

    def close(self, done: Any) -> None:
        self.closed = True
        done()

    def answer(self, before: int = 0) -> None:
        commands, body, done = self.batches.pop(0)
        events = self.market.entry(body, commands)
        answer = BatchAnswer(self.market.context.index, before, [list(event) for event in events])
        done(answer, None)


class Producing:
    def __init__(self) -> None:
        self.runtime = VirtualRuntime()
        self.session = SessionDouble()
        self.announced: list[Order] = []
        self.orders = OrderProducer(
            self.runtime, self.session, lambda answer: answer, lambda: True, self.announced.append
        )

    def turn(self) -> None:
        self.runtime.advance(0)


async def test_what_is_sent_in_one_turn_travels_as_one_batch():
    producing = Producing()
    futures = [producing.orders.send(bid(number)) for number in range(1, 6)]
    assert producing.session.batches == []
    producing.turn()
    ((count, body, _),) = producing.session.batches
    assert (count, body) == (5, encode_commands([PlaceOrder(bid(number)) for number in range(1, 6)]))
    producing.session.answer()
    outcomes = await asyncio.gather(*futures)
    assert [outcome.order_id for outcome in outcomes] == [1, 2, 3, 4, 5]
    assert [outcome.sequence for outcome in outcomes] == [(2, n) for n in range(5)]
    assert producing.announced == [bid(number) for number in range(1, 6)]


async def test_a_batch_is_bounded_in_commands_and_bytes():
    producing = Producing()
    for number in range(BATCH_COMMANDS + 1):
        producing.orders.send(bid(number + 1))
    producing.turn()
    assert [count for count, *_ in producing.session.batches] == [BATCH_COMMANDS, 1]
    producing.session.batches.clear()
    for number in range(60):
        producing.orders.send(bid(number + 1, trader="x" * 10_000))
    producing.turn()
    assert sum(count for count, *_ in producing.session.batches) == 60
    assert all(len(body) <= BATCH_BYTES + 11_000 for _, body, _ in producing.session.batches)


async def test_an_outcome_holds_the_orders_own_events_wherever_they_stand():
    producing = Producing()
    first = producing.orders.send(Order(1, PAIR, Side.ASK, 300, 10, "alice"))
    second, third, fourth = (producing.orders.send(bid(n, quantity=4)) for n in (2, 3, 3))
    last = producing.orders.execute(CancelOrder(3))
    producing.turn()
    producing.session.answer(before=2)
    outcomes = [await future for future in (first, second, third, fourth, last)]
    assert [outcome.sequence for outcome in outcomes] == [(2, 2), (2, 3), (2, 5), (2, 7), (2, 9)]
    assert [(fill.bid_order_id, fill.sequence) for fill in outcomes[2].fills] == [(3, (2, 6))]
    assert [len(outcome.fills) for outcome in outcomes] == [0, 1, 1, 1, 0]
    assert [outcome.rejected for outcome in outcomes] == [None] * 5
    assert outcomes[-1].order_id == 3


async def test_what_no_command_of_the_batch_asked_for_is_in_no_outcome():
    producing = Producing()
    future = producing.orders.send(bid(1))
    producing.turn()
    ((_, _, done),) = producing.session.batches
    accepted, expired = [1, 0, 1, PAIR, 1, 300, 10, 10, "bob", 1, 1], [6, -1, 9, PAIR, 1, 300, 10, "eve"]
    done(BatchAnswer(4, 3, [None, expired, accepted, None]), None)
    outcome = await future
    assert [(event.sequence, event.fields) for event in outcome.events] == [((4, 5), tuple(accepted))]


async def test_a_refusal_by_the_book_is_an_outcome():
    producing = Producing()
    refused = producing.orders.send(bid(1, price=0))
    producing.turn()
    producing.session.answer()
    outcome = await refused
    assert (outcome.rejected, outcome.order_id) == (RejectReason.INVALID_PRICE, 1)


async def test_the_book_assigns_ids_where_none_are_given():
    producing = Producing()
    future = producing.orders.send(bid(None))
    producing.turn()
    producing.session.answer()
    assert (await future).order_id == 1 << 52


async def test_what_the_group_could_not_answer_is_raised_for_each_of_the_batch():
    producing = Producing()
    futures = [producing.orders.send(bid(number)) for number in (1, 2)]
    producing.turn()
    producing.session.batches[0][2](None, Uncertain("the session ended"))
    for future in futures:
        with pytest.raises(Uncertain):
            await future
    assert (producing.orders.statistics.failed, producing.orders.unanswered) == (2, 0)


async def test_who_stopped_waiting_disturbs_nobody():
    producing = Producing()
    first, second = (producing.orders.send(bid(number)) for number in (1, 2))
    first.cancel()
    producing.turn()
    producing.session.answer()
    assert (await second).order_id == 2


async def test_what_no_command_holds_is_said_at_once_and_the_others_go_on():
    producing = Producing()
    with pytest.raises(OverflowError):
        producing.orders.send(bid(1 << 70))
    with pytest.raises(TypeError):
        producing.orders.send(bid(object()))
    with pytest.raises(ValueError, match="16384"):
        producing.orders.send(bid(1, trader="x" * 20_000))
    producing.orders.send(bid(1))
    producing.turn()
    assert [count for count, *_ in producing.session.batches] == [1]
    assert producing.announced == [bid(1)]


async def test_closing_sends_what_was_gathered_and_ends_the_session():
    producing = Producing()
    producing.orders.send(bid(1))
    await producing.orders.close()
    assert [count for count, *_ in producing.session.batches] == [1]
    assert producing.session.closed
    assert msgpack.unpackb(producing.session.batches[0][1])[0][1] == 1
