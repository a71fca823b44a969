"""Orders of a node's clients as members see them, and what members stream as clients see it."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orderbook.book import CancelOrder, Order, OrderType, PlaceOrder, SelfTrade, Side, TimeInForce, encode_commands
from orderbook.streams.order_watch import OrderWatch, order_of
from orderbook.wire.datum_frames import DatumFrameKind, unpack_datum_frame
from orderbook.wire.order_frames import RequestKind, pack
from orderbook.wire.roles import Role
from unit.streams.log_node import Reader
from unit.streams.test_members import Members, Ping, taken

PAIR = "ETH/USDC"


def batch(first: int, *commands: Any, session: int = 9) -> bytes:
    return pack(RequestKind.BATCH, 1, session, first, len(commands), 0, encode_commands(commands))


def placed(id: int, trader: str = "") -> PlaceOrder:
    return PlaceOrder(Order(id, PAIR, Side.BID, 300, 10, trader))


class Node:
    """A member with clients, and another one that watches."""

    def __init__(self, most: int = 5_000) -> None:
        self.members = Members("a", "b")
        self.watch = OrderWatch(self.members.runtime, self.members["a"], most)
        self.answered: list[bytes] = []

    def client(self, principal: str = "alice", role: Role = Role.TRADER) -> Any:
        return self.watch.watched(Reader(principal, role, 1 << 20), self.answered.append)


async def test_each_connection_is_a_producer_while_it_lasts():
    node = Node()
    consumer = node.members["b"].consume(Order)
    clients = [node.client(name) for name in ("alice", "bob")]
    node.members.run()
    assert consumer.producers == 2
    clients[0].close()
    node.members.run()
    assert consumer.producers == 1


async def test_orders_are_seen_once_with_their_trader_and_go_their_way():
    node = Node()
    consumer, client = node.members["b"].consume(Order), node.client()
    node.members.run()
    messages = [batch(1, placed(1), CancelOrder(1), placed(2, "alice")), batch(4, placed(3))]
    for message in [*messages, messages[0], messages[1], b"no request", pack(RequestKind.KEEP_ALIVE, 2, 9, 0)]:
        client.on_message(message)
    node.members.run()
    assert [(order.id, order.trader) for order in await taken(consumer)] == [(1, "alice"), (2, "alice"), (3, "alice")]
    assert node.answered[:4] == [*messages, *messages]
    assert len(node.answered) == 6


async def test_what_an_observer_sends_is_no_order():
    node = Node()
    consumer, client = node.members["b"].consume(Order), node.client(role=Role.OBSERVER)
    node.members.run()
    client.on_message(batch(1, placed(1)))
    node.members.run()
    assert await taken(consumer) == []
    assert len(node.answered) == 1


async def test_beyond_a_rate_orders_are_skipped_and_the_sequence_says_so():
    node = Node(most=3)
    consumer, client = node.members["b"].consume(Order), node.client()
    node.members.run()
    client.on_message(batch(1, *(placed(number) for number in range(1, 11))))
    node.members.run()
    client.on_message(batch(11, placed(11)))
    node.members.run()
    deliveries = consumer.deliveries()
    seen = [await anext(deliveries) for _ in range(4)]
    assert [(item.datum.id, item.lost) for item in seen] == [(1, 0), (2, 0), (3, 0), (11, 7)]
    assert len(node.answered) == 2


_orders = st.builds(
    Order,
    st.one_of(st.none(), st.integers(0, 1 << 62)),
    st.text(max_size=20),
    st.sampled_from(list(Side)),
    st.one_of(st.none(), st.integers(0, 1 << 62)),
    st.integers(0, 1 << 62),
    st.text(min_size=1, max_size=20),
    st.sampled_from(list(OrderType)),
    st.sampled_from(list(TimeInForce)),
    st.one_of(st.none(), st.integers(0, 1 << 62)),
    st.booleans(),
    st.sampled_from(list(SelfTrade)),
)


@given(_orders)
def test_an_order_is_read_as_it_was_written(order):
    (row,) = msgpack.unpackb(encode_commands([PlaceOrder(order)]), use_list=False)
    assert order_of(row, "somebody else") == order


_wild = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(1 << 63), 1 << 63), st.text(max_size=3), st.binary(max_size=3)),
    lambda inner: st.lists(inner, max_size=13).map(tuple),
    max_leaves=30,
)


@given(st.one_of(_wild, st.lists(_wild, min_size=5, max_size=12).map(lambda rest: (1, *rest))))
def test_whatever_stands_in_a_batch_is_an_order_or_is_not(row):
    order = order_of(row, "alice")
    assert order is None or type(order) is Order


# --- relays -----------------------------------------------------------------------------------------------------------


def frames(reader: Reader) -> list[Any]:
    return [unpack_datum_frame(data) for data in reader.data]


async def test_a_client_gets_what_members_stream_as_it_is():
    members = Members("a", "b")
    client = Reader("root", Role.ADMIN, 1 << 20)
    relay = members["b"].relay("Ping", client)
    producers = [members[name].produce(Ping) for name in ("a", "b")]
    members.run()
    assert [producer.consumers for producer in producers] == [1, 1]
    await producers[0].send(Ping(5))
    producers[1].close()
    members.run()
    numbers = [producer.number for producer in producers]
    assert sorted(frames(client)[:2]) == sorted([DatumFrameKind.SUBSCRIBED, number, 0] for number in numbers)
    rest = sorted(frames(client)[2:], key=len)
    assert rest == [
        [DatumFrameKind.WITHDRAW, numbers[1]],
        [DatumFrameKind.DATUM, numbers[0], 0, 1, msgpack.packb([5])],
    ]
    members["b"].end_relay(relay)
    members.run()
    assert producers[0].consumers == 0


async def test_a_client_that_does_not_read_is_closed_and_nobody_else_is():
    members = Members("a", "b")
    slow, quick = (Reader("root", Role.ADMIN, 200) for _ in range(2))
    slow.reading = False
    for reader in (slow, quick):
        members["b"].relay("Ping", reader)
    producer = members["a"].produce(Ping)
    members.run()
    for number in range(50):
        await producer.send(Ping(number))
        members.run()
    assert slow.reason == "slow_consumer"
    assert quick.reason is None
    assert len(frames(quick)) == 51


def test_a_relays_name_is_bounded():
    with pytest.raises(ValueError, match="256 bytes"):
        Members("a")["a"].relay("x" * 257, Reader("root", Role.ADMIN, 1))
