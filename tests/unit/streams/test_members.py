"""Typed streams between members, over the network's double on a virtual clock."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any, NamedTuple

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faults.network import Conditions, Evil, FaultyNetwork
from orderbook.streams.consumer import Consumer, Disconnected
from orderbook.streams.members import MemberStreams
from orderbook.wire.datum_frames import DatumFrameKind, pack_datum_frame
from unit.groups.virtual_runtime import VirtualRuntime


@dataclass(frozen=True)
class Quote:
    symbol: str
    price: int


class Ping(NamedTuple):
    number: int


class Members:
    def __init__(self, *names: str, seed: int = 1, conditions: Conditions | None = None) -> None:
        self.runtime = VirtualRuntime(seed)
        self.network = FaultyNetwork(self.runtime, Random(seed), conditions)
        self.streams: dict[str, MemberStreams] = {}
        for name in names:
            self.start(name)
        self.run()

    def start(self, name: str) -> None:
        self.streams[name] = MemberStreams(self.runtime, self.network.attach(name, self.runtime), name)

    def run(self, seconds: float = 10.0) -> None:
        self.runtime.advance(seconds)

    def __getitem__(self, name: str) -> MemberStreams:
        return self.streams[name]


async def taken(consumer: Consumer[Any]) -> list[Any]:
    """What waits to be iterated over."""
    found = []
    while consumer._queue:
        try:
            found.append(await anext(consumer))
        except Disconnected as end:
            found.append(end.reason)
    return found


async def send(producer: Any, *datums: Any) -> list[int]:
    return [await producer.send(datum) for datum in datums]


async def test_a_datum_goes_from_its_producer_to_every_consumer_of_its_type():
    members = Members("a", "b", "c")
    producer = members["a"].produce(Quote)
    here, there = members["a"].consume(Quote), members["b"].consume(Quote)
    other = members["c"].consume(Ping)
    members.run()
    assert await send(producer, Quote("ETH", 3), Quote("BTC", 4)) == [2, 2]
    members.run()
    assert await taken(here) == await taken(there) == [Quote("ETH", 3), Quote("BTC", 4)]
    assert await taken(other) == []


async def test_both_sides_learn_of_each_other():
    members = Members("a", "b", "c")
    consumer = members["c"].consume(Quote)
    producers = [members[name].produce(Quote) for name in ("a", "b")]
    members.run()
    await consumer.when(1).subscribed().minimum_of(2)
    await producers[0].when(1).subscribed()
    assert (consumer.producers, producers[0].consumers) == (2, 1)
    producers[0].close()
    members.run()
    assert consumer.producers == 1
    consumer.close()
    members.run()
    assert producers[1].consumers == 0


async def test_who_waits_for_more_than_there_are_waits():
    members = Members("a", "b")
    consumer = members["b"].consume(Quote)
    waiting = consumer.when(timeout=30).subscribed().minimum_of(2)
    coroutine = waiting.__await__()
    next(coroutine)
    members["a"].produce(Quote)
    members.run(1)
    assert consumer.producers == 1
    assert members.runtime._heap, "the time-out still runs"
    coroutine.close()


async def test_who_is_subscribed_misses_nothing_that_is_sent_from_then_on():
    members = Members("a", "b")
    producer, consumer = members["a"].produce(Ping), members["b"].consume(Ping)
    while not consumer.producers:
        assert members.runtime._heap
        members.run(0.0001)
    await send(producer, Ping(1))
    members.run()
    assert await taken(consumer) == [Ping(1)]


async def test_a_name_can_be_given_instead_of_the_classs():
    members = Members("a", "b")
    consumer = members["b"].consume(Quote, name="quotes of the day")
    producer = members["a"].produce(Quote, name="quotes of the day")
    members["a"].produce(Quote)
    members.run()
    await send(producer, Quote("ETH", 1))
    members.run()
    assert await taken(consumer) == [Quote("ETH", 1)]


async def test_a_delivery_says_where_it_comes_from():
    members = Members("a", "b")
    producer, consumer = members["a"].produce(Ping), members["b"].consume(Ping)
    members.run()
    await send(producer, Ping(1), Ping(2))
    members.run()
    deliveries = consumer.deliveries()
    first, second = [await anext(deliveries) for _ in range(2)]
    assert (first.datum, first.source.peer, first.sequence, first.lost) == (Ping(1), "a", 1, 0)
    assert (second.source, second.sequence) == (first.source, 2)


async def test_a_broken_connection_loses_datums_and_says_how_many():
    members = Members("a", "b")
    producer, consumer = members["a"].produce(Ping), members["b"].consume(Ping)
    members.run()
    await send(producer, Ping(1))
    members.run()
    members.network.break_connection("a", "b")
    members.run(0.5)
    await send(producer, Ping(2), Ping(3))
    members.run()
    assert consumer.producers == producer.consumers == 1
    await send(producer, Ping(4))
    members.run()
    deliveries = consumer.deliveries()
    seen = [await anext(deliveries) for _ in range(len(consumer._queue))]
    assert [item.datum.number for item in seen] in ([1, 4], [1, 2, 3, 4])
    assert sum(item.lost for item in seen) + len(seen) == 4
    assert consumer.statistics["a"].lost == sum(item.lost for item in seen)


async def test_who_does_not_iterate_is_disconnected_and_nobody_else_is():
    members = Members("a", "b")
    producer = members["a"].produce(Ping)
    slow, quick = members["b"].consume(Ping, max_queued=20), members["b"].consume(Ping)
    members.run()
    for number in range(50):
        await send(producer, Ping(number))
    members.run()
    assert len(await taken(quick)) == 50
    assert producer.consumers == 1
    assert producer.statistics["b"].slow_consumers == 1
    seen = await taken(slow)
    assert seen[-1] == "slow_consumer"
    assert seen[:-1] == [Ping(number) for number in range(len(seen) - 1)]
    members.run()
    assert producer.consumers == 2, "whoever goes on iterating is subscribed anew"
    await send(producer, Ping(99))
    members.run()
    delivery = await anext(slow.deliveries())
    assert (delivery.datum, delivery.lost) == (Ping(99), 50 - len(seen) + 1)


async def test_a_full_connection_disconnects_the_consumer_behind_it_and_tells_it():
    members = Members("a", "b", "c", conditions=Conditions(queue_bytes=500))
    producer = members["a"].produce(Ping)
    behind, beside = members["b"].consume(Ping), members["c"].consume(Ping)
    members.run()
    members.network.block("a", "b")
    for number in range(100):
        await send(producer, Ping(number))
        members.run(0.005)
    members.network.unblock("a", "b")
    members.run()
    assert [item.number for item in await taken(beside)] == list(range(100))
    seen = await taken(behind)
    assert "slow_consumer" in seen
    assert seen[: seen.index("slow_consumer")] == [Ping(number) for number in range(seen.index("slow_consumer"))]
    members.run()
    assert producer.consumers == 2


async def test_what_is_no_datum_ends_that_producer_only():
    members = Members("a", "b")
    wrong = members["a"].produce(Ping, name="Quote")
    right = members["a"].produce(Quote)
    consumer = members["b"].consume(Quote)
    members.run()
    await send(wrong, Ping(1))
    await send(right, Quote("ETH", 1))
    members.run()
    assert await taken(consumer) == [Quote("ETH", 1)]
    assert (wrong.consumers, right.consumers) == (0, 1)
    assert consumer.statistics["a"].malformed == 1


async def test_a_member_that_started_anew_is_subscribed_to_anew():
    members = Members("a", "b")
    consumer = members["b"].consume(Ping)
    members["a"].produce(Ping)
    members.run()
    members.network.detach("a")
    members.run()
    assert consumer.producers == 0
    members.start("a")
    producer = members["a"].produce(Ping)
    members.run()
    await send(producer, Ping(1))
    members.run()
    assert await taken(consumer) == [Ping(1)]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        msgpack.packb(["x"]),
        msgpack.packb([99, 1]),
        pack_datum_frame(DatumFrameKind.OFFER, -1, "Quote"),
        pack_datum_frame(DatumFrameKind.DATUM, 1, 1, 1),
        pack_datum_frame(DatumFrameKind.DATUM, 1, 1, 1, b"for nobody"),
        pack_datum_frame(DatumFrameKind.SUBSCRIBE, 1, 1),
        pack_datum_frame(DatumFrameKind.SUBSCRIBED, 1, 1),
        pack_datum_frame(DatumFrameKind.UNSUBSCRIBE, 1, 1, "x"),
        pack_datum_frame(DatumFrameKind.END, 1, 1, "x"),
        pack_datum_frame(DatumFrameKind.WITHDRAW, 1),
    ],
)
async def test_frames_that_mean_nothing_disturb_nothing(data):
    members = Members("a", "b")
    producer, consumer = members["a"].produce(Ping), members["b"].consume(Ping)
    members.run()
    members["b"]._channel.on_frame("a", data)
    members["a"]._channel.on_frame("b", data)
    await send(producer, Ping(1))
    members.run()
    assert await taken(consumer) == [Ping(1)]


async def test_what_can_not_be_sent_is_said_to_who_sends_it():
    members = Members("a")
    producer = members["a"].produce(Quote)
    with pytest.raises(TypeError, match="a stream of Quote, not of Ping"):
        await producer.send(Ping(1))
    with pytest.raises(ValueError, match="64 bits"):
        await producer.send(Quote("ETH", 1 << 70))
    with pytest.raises(ValueError, match="1048576 bytes"):
        await producer.send(Quote("x" * (1 << 20), 1))
    with pytest.raises(TypeError, match="neither"):
        members["a"].produce(int)
    with pytest.raises(ValueError, match="256 bytes"):
        members["a"].consume(Quote, name="x" * 257)
    producer.close()
    with pytest.raises(ConnectionError):
        await producer.send(Quote("ETH", 1))


async def test_after_close_what_arrived_can_be_read_and_then_it_ends():
    members = Members("a", "b")
    producer, consumer = members["a"].produce(Ping), members["b"].consume(Ping)
    members.run()
    await send(producer, Ping(1), Ping(2))
    members.run()
    members["b"].close()
    assert [item.number async for item in consumer] == [1, 2]
    members.run()
    assert producer.consumers == 0


_steps = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.integers(0, 2)),
        st.tuples(st.just("run"), st.sampled_from([0.001, 0.01, 1.0])),
        st.tuples(st.just("break"), st.sampled_from([("a", "b"), ("a", "c"), ("b", "c")])),
        st.tuples(st.just("evil"), st.booleans()),
    ),
    max_size=60,
)


@given(_steps, st.integers(0, 1 << 30))
async def test_in_order_at_most_once_and_losses_are_counted(steps, seed):
    members = Members("a", "b", "c", seed=seed)
    producers = [members[name].produce(Ping) for name in "abc"]
    consumers = [members[name].consume(Ping) for name in "abc"]
    members.run()
    for step, what in steps:
        if step == "send":
            await send(producers[what], Ping(producers[what].sequence + 1))
        elif step == "run":
            members.run(what)
        elif step == "break":
            members.network.break_connection(*what)
        else:
            members.network.evil = Evil(0.2, 0.3, 0.3) if what else None
            members.network.spared = lambda frame: frame[1] != DatumFrameKind.DATUM
    members.network.evil = None
    members.run()
    for producer in producers:
        await send(producer, Ping(producer.sequence + 1))
    members.run()
    for consumer in consumers:
        deliveries = consumer.deliveries()
        seen = [await anext(deliveries) for _ in range(len(consumer._queue))]
        for producer in producers:
            of_it = [item for item in seen if item.source.producer == producer.number]
            assert [item.sequence for item in of_it] == sorted({item.sequence for item in of_it})
            assert all(item.datum.number == item.sequence for item in of_it)
            assert sum(item.lost for item in of_it[1:]) + len(of_it) == producer.sequence - of_it[0].sequence + 1
            assert of_it[-1].sequence == producer.sequence
