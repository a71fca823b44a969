"""The front door over real sockets: members and clients, orders in and fills out by any node."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

import pytest

from orderbook import (
    BookDelta,
    BookSnapshot,
    CancelOrder,
    Consistency,
    Depth,
    Event,
    Fill,
    Fills,
    Network,
    NotBootstrapped,
    Order,
    OrderCount,
    PlaceOrder,
    RejectReason,
    Side,
    Token,
)
from unit.client.exchange import NAMES, PAIR, SECONDS, Exchange, take
from unit.groups.counter_machine import Counter


def ask(id: int, price: int, quantity: int = 10, trader: str = "alice") -> Order:
    return Order(id, PAIR, Side.ASK, price, quantity, trader)


def bid(id: int, price: int, quantity: int = 10, trader: str = "bob") -> Order:
    return Order(id, PAIR, Side.BID, price, quantity, trader)


async def test_orders_go_in_at_any_node_and_fills_come_out_of_every_node(tmp_path):
    async with Exchange(tmp_path) as exchange:
        clients = {name: await exchange.client(name) for name in NAMES}
        feeds = {name: client.streams.consume(Fill, pair=PAIR) for name, client in clients.items()}
        for feed in feeds.values():
            await feed.when(SECONDS).subscribed()
        for number, name in enumerate(NAMES):
            orders = clients[name].streams.produce(Order)
            outcome = await orders.send(ask(2 * number + 1, 300 + number))
            assert (outcome.rejected, outcome.order_id, outcome.fills) == (None, 2 * number + 1, [])
        orders = exchange.networks["ada"].streams.produce(Order)
        outcome = await orders.send(bid(100, 302, 25))
        assert [(fill.ask_order_id, fill.price, fill.quantity) for fill in outcome.fills] == [
            (1, 300, 10), (3, 301, 10), (5, 302, 5),
        ]  # fmt: skip
        for feed in feeds.values():
            assert await take(feed, 3) == outcome.fills
        answer = await exchange.groups["bea"].query(Fills(), Consistency.STRONG)
        assert answer.value == outcome.fills


async def test_a_feed_goes_on_without_gap_or_repeat_when_its_node_dies_and_comes_back(tmp_path):
    async with Exchange(tmp_path) as exchange:
        client = await exchange.client()
        events, depth, levels = client.streams.consume(Event, start=(0, 0)), Depth(), client.streams.consume(BookDelta)
        orders = client.streams.produce(Order)
        await levels.when(SECONDS).subscribed()
        outcomes = []
        for round in range(3):
            sending = [orders.send(ask(1000 * round + n + 1, 300 + n % 7)) for n in range(100)]
            sending += [orders.send(bid(1000 * round + n + 501, 298 + n % 7, 7)) for n in range(100)]
            dead = exchange.leader if round == 1 else None
            if dead is not None:
                name = await dead()
                await exchange.stop(name)
            outcomes += await asyncio.gather(*sending)
            if dead is not None:
                await exchange.start(name)
        assert all(outcome.rejected is None for outcome in outcomes)
        wanted = sorted((event.sequence, event.fields[2:]) for outcome in outcomes for event in outcome.events)
        seen = []
        while len(seen) < len(wanted):
            (event,) = await take(events, 1)
            if event.fields[0] in (1, 3):
                seen.append((event.sequence, event.fields[2:]))
        assert seen == wanted
        await exchange.caught_up()
        book = (await exchange.groups["ada"].query(OrderCount())).value
        while sum(row[2] for side in Side for row in depth.side(PAIR, side)) != book:
            (item,) = await take(levels, 1)
            assert isinstance(item, BookSnapshot | BookDelta)
            depth.follow(item)


async def test_a_rejection_is_an_outcome_with_its_reason(tmp_path):
    async with Exchange(tmp_path) as exchange:
        orders = (await exchange.client()).streams.produce(Order)
        refused, placed = await asyncio.gather(orders.send(bid(1, 0)), orders.send(bid(2, 300)))
        assert (refused.rejected, refused.fills) == (RejectReason.INVALID_PRICE, [])
        assert placed.rejected is None
        assert placed.sequence > refused.sequence
        cancelled = await orders.execute(CancelOrder(2, trader="bob"))
        assert cancelled.rejected is None
        assert (orders.statistics.batches, orders.statistics.answered, orders.unanswered) == (2, 3, 0)
        with pytest.raises(OverflowError):
            orders.send(bid(3, 1 << 70))
        with pytest.raises(ValueError, match="16384 bytes"):
            orders.send(bid(3, 300, trader="x" * 20_000))


async def test_orders_of_a_client_that_asked_for_it_are_cancelled_when_it_goes(tmp_path):
    async with Exchange(tmp_path) as exchange:
        leaving, staying = await exchange.client(), await exchange.client()
        fleeting = leaving.streams.produce(Order, cancel_on_disconnect=True)
        lasting = staying.streams.produce(Order)
        await asyncio.gather(*(fleeting.send(ask(n, 300)) for n in range(1, 4)), lasting.send(ask(10, 300)))
        await leaving.close()
        answer = await exchange.groups["ada"].query(OrderCount())
        assert answer.value == 1


async def test_orders_of_a_client_that_vanished_are_cancelled_by_log_time(tmp_path):
    async with Exchange(tmp_path) as exchange:
        client = await exchange.client()
        orders = client.streams.produce(Order, cancel_on_disconnect=True, session_timeout_ms=1000)
        await orders.send(ask(1, 300))
        watching = (await exchange.client()).streams.consume(Event)
        await watching.when(SECONDS).subscribed()
        await orders._on_close()  # the connection ends without a goodbye
        (event,) = await take(watching, 1)
        assert (event.view.order_id, event.document()["reason"]) == (1, "session_closed")


async def test_members_watch_the_orders_of_clients_and_members_and_execute_nothing(tmp_path):
    async with Exchange(tmp_path) as exchange:
        watching = exchange.networks["cyd"].streams.consume(Order)
        client = (await exchange.client("ada")).streams.produce(Order)
        member = exchange.networks["bea"].streams.produce(Order)
        await watching.when(SECONDS).subscribed().minimum_of(2)
        await client.send(ask(1, 300))
        await client.send(Order(None, PAIR, Side.BID, 290, 3, post_only=True))
        assert await take(watching, 2) == [ask(1, 300), Order(None, PAIR, Side.BID, 290, 3, "admin", post_only=True)]
        await member.send(bid(7, 295))
        assert await take(watching, 1) == [bid(7, 295)]
        assert (await exchange.groups["cyd"].query(OrderCount())).value == 3


async def test_a_strong_read_anywhere_sees_what_was_executed_anywhere(tmp_path):
    async with Exchange(tmp_path) as exchange:
        for number, name in enumerate(NAMES * 3):
            events = await exchange.groups[name].execute(PlaceOrder(ask(number + 1, 300)))
            assert events[0][:3] == (1, 0, number + 1)
            other = exchange.groups[NAMES[(number + 1) % 3]]
            answer = await other.query(OrderCount(), Consistency.STRONG)
            assert answer.value == number + 1
            weak = await exchange.groups[NAMES[(number + 2) % 3]].query(
                OrderCount(), Consistency.WEAK, min_index=answer.at
            )
            assert weak.value == number + 1


@dataclass(frozen=True)
class Quote:
    symbol: str
    price: int


async def test_a_users_own_machine_replicates_and_its_own_types_stream(tmp_path):
    async with Exchange(tmp_path, Counter) as exchange:
        results = await exchange.groups["bea"].execute_many([["add", n] for n in range(1, 5)])
        assert len(results) == 4
        ada, cyd = exchange.networks["ada"], exchange.networks["cyd"]
        with pytest.raises(ValueError, match="0 groups of the order book"):
            ada.streams.produce(Order)
        assert cyd.streams.consume(Order).producers == 0
        quotes, consumer = ada.streams.produce(Quote), cyd.streams.consume(Quote)
        await consumer.when(SECONDS).subscribed().minimum_of(1)
        assert await quotes.send(Quote("ETH", 3)) == 1
        assert await take(consumer, 1) == [Quote("ETH", 3)]
        assert consumer.statistics["ada"].received == 1


async def test_a_member_alone_waits_and_says_for_whom(tmp_path):
    network = await Network.start("exchange", tmp_path / "ada")
    group = await network.groups.with_key("secret").with_state_machine(Counter()).with_initial_size(3).join()
    assert network.local.name == "ada"
    assert network.local.address.startswith("127.0.0.1:")
    with pytest.raises(TimeoutError, match="online"):
        await group.when(0.2).online()
    with pytest.raises(NotBootstrapped):
        await group.execute(["add", 1])
    await network.close()


async def test_what_a_group_is_joined_with_is_checked(tmp_path):
    network = await Network.start("exchange", tmp_path / "ada")
    with pytest.raises(ValueError, match="at least one byte"):
        network.groups.with_key("")
    with pytest.raises(ValueError, match="at least one member"):
        network.groups.with_initial_size(0)
    with pytest.raises(ValueError, match="with_key"):
        await network.groups.with_state_machine(Counter()).join()
    await network.close()


async def test_what_clients_can_not_produce_is_said():
    client = await Network.connect(["http://127.0.0.1:1"])
    with pytest.raises(TypeError, match="clients produce Order"):
        client.streams.produce(Quote)
    with pytest.raises(TypeError, match="neither"):
        client.streams.consume(int)
    await client.close()


async def test_a_client_watches_what_is_sent_anywhere_and_goes_on_at_the_next_node(tmp_path):
    async with Exchange(tmp_path) as exchange:
        watching = (await exchange.client("ada", "bea")).streams.consume(Order)
        alice = (await exchange.client("bea")).streams.produce(Order)
        bob = (await exchange.client("cyd")).streams.produce(Order)
        quotes = exchange.networks["cyd"].streams.produce(Quote)
        ticker = (await exchange.client("bea")).streams.consume(Quote)
        await watching.when(SECONDS).subscribed().minimum_of(2)
        await ticker.when(SECONDS).subscribed()
        await alice.send(ask(1, 300))
        await bob.send(bid(2, 300))
        await quotes.send(Quote("ETH", 3))
        assert await take(watching, 2) == [ask(1, 300), bid(2, 300)]
        assert await take(ticker, 1) == [Quote("ETH", 3)]
        assert watching.address == exchange.urls["ada"]
        await exchange.stop("ada")
        async with asyncio.timeout(SECONDS):
            while watching.address != exchange.urls["bea"] or watching.producers < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        await bob.send(bid(3, 299))
        assert await take(watching, 1) == [bid(3, 299)]


async def test_a_token_outlives_its_client(tmp_path: Path):
    async with Exchange(tmp_path) as exchange:
        first = await exchange.client()
        feed = first.streams.consume(Event, start=(0, 0))
        orders = exchange.networks["ada"].streams.produce(Order)
        await orders.send(ask(1, 300))
        await take(feed, 2)
        token = feed.token
        assert isinstance(token, Token)
        await first.close()
        await orders.send(ask(2, 300))
        again = (await exchange.client("bea")).streams.consume(Event, start=token)
        (event,) = await take(again, 1)
        assert event.view.order_id == 2
