"""A client's feed over nodes that die, lag, forget and begin anew. No sockets: the nodes are in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from orderbook.book import Fill, Side
from orderbook.client.feeds import Feed
from orderbook.server.runtime import AsyncioRuntime
from orderbook.storage import Identity
from orderbook.streams.audience import FeedKind
from orderbook.streams.feed import FeedOptions
from orderbook.streams.local import LocalFeedSource
from orderbook.streams.market import BookDelta, BookSnapshot, Depth, Event, FeedRefused, Gap, Reset, Token
from orderbook.wire.roles import Role
from unit.streams.log_node import INCARNATION, OTHER, PAIR, Log, LogNode, ask, bid

QUICK = FeedOptions(mark_every=0.01, ahead_bytes=1_000)


class Nodes:
    """Some nodes that follow one log, each when told to; a node that is down can't be reached."""

    def __init__(self, runtime: AsyncioRuntime, names: tuple[str, ...], options: FeedOptions = QUICK) -> None:
        self.runtime = runtime
        self.log = Log()
        self.options = options
        self.by_name = {name: LogNode(self.log, options, runtime=runtime) for name in names}
        self.down: list[str] = []
        self.opened: list[str] = []
        self.feeds: list[Feed[Any]] = []
        self.by_name[names[0]].define(PAIR, OTHER)
        self.follow()

    def follow(self, *names: str) -> None:
        for name in names or self.by_name:
            self.by_name[name].follow()

    def do(self, *commands: Any) -> None:
        self.log.write(commands)
        self.follow(*(name for name in self.by_name if name not in self.down))

    def kill(self, name: str) -> None:
        self.down.append(name)
        self.by_name[name].feeds.close("killed")

    def start_empty(self, name: str) -> None:
        """The node comes back and knows only what is applied from now on."""
        fresh = LogNode(self.log, self.options, runtime=self.runtime)
        donor = LogNode(self.log)
        donor.follow()
        fresh.install_snapshot_of(donor)
        self.by_name[name] = fresh
        if name in self.down:
            self.down.remove(name)

    def source(self, **options: Any) -> LocalFeedSource:
        def feeds_of(name: str) -> Any:
            self.opened.append(name)
            return None if name in self.down else self.by_name[name].feeds

        return LocalFeedSource(feeds_of, tuple(self.by_name), **options)

    def feed(
        self, kind: FeedKind = FeedKind.EVENTS, source: LocalFeedSource | None = None, **options: Any
    ) -> Feed[Any]:
        feed: Feed[Any] = Feed(self.runtime, source or self.source(), kind, **options)
        self.feeds.append(feed)
        return feed

    def logged(self, start: tuple[int, int] = (0, 0)) -> list[tuple[tuple[int, int], tuple[Any, ...]]]:
        whole = LogNode(self.log)
        whole.follow()
        rows = [((index, n), event) for index, events in whole.history for n, event in enumerate(events)]
        return [row for row in rows if row[0] >= start]


@pytest.fixture
async def nodes() -> AsyncIterator[Nodes]:
    failures: list[BaseException] = []
    made = Nodes(AsyncioRuntime(failures.append), ("a", "b", "c"))
    yield made
    for feed in made.feeds:
        await feed.close()
    for node in made.by_name.values():
        node.feeds.close()
    assert failures == []


async def take(feed: Feed[Any], count: int) -> list[Any]:
    return [await asyncio.wait_for(anext(feed), 5) for _ in range(count)]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - nothing tells of every change
            await asyncio.sleep(0.002)


async def test_fills_are_typed_and_carry_their_sequence(nodes):
    feed = nodes.feed(FeedKind.FILLS)
    await feed.when(5).subscribed()
    nodes.do(ask(1, 300), bid(2, 300, 4))
    (fill,) = await take(feed, 1)
    assert fill == Fill(2, 1, PAIR, 300, 4, Side.BID, 0, 6, fill.time_ms, (2, 2))
    assert str(fill) == "Fill(bid=2, ask=1, ETH/USDC@300, qty=4)"


async def test_events_come_with_names_when_asked(nodes):
    feed = nodes.feed(start=(2, 0))
    nodes.do(ask(1, 300))
    (event,) = await take(feed, 1)
    assert isinstance(event, Event)
    assert (event.sequence, event.view.order_id, event.view.trader) == ((2, 0), 1, "alice")
    assert event.document()["sequence"] == [2, 0]


async def test_when_a_node_dies_the_next_one_goes_on_without_gap_or_repeat(nodes):
    feed = nodes.feed(start=(0, 0))
    seen = []
    for number in range(1, 30):
        nodes.do(ask(number, 300), bid(100 + number, 300, 5))
        seen += await take(feed, 1)
        if number in (10, 20):
            nodes.kill(feed.address)
    seen += await take(feed, len(nodes.logged()) - len(seen))
    assert [(event.sequence, event.fields) for event in seen] == nodes.logged()
    assert feed.address not in nodes.down
    assert feed.statistics.connections == 3


async def test_what_was_received_before_the_node_died_is_not_asked_for_again(nodes):
    feed = nodes.feed(start=(0, 0))
    nodes.do(*(ask(number, 300) for number in range(1, 11)))
    await take(feed, 3)  # the whole entry arrived, most of it waits here
    nodes.kill(feed.address)
    await until(lambda: feed.statistics.connections == 2)
    rest = await take(feed, len(nodes.logged()) - 3)
    assert [(event.sequence, event.fields) for event in rest] == nodes.logged()[3:]
    assert feed.statistics.repeats == 0


async def test_a_node_that_repeats_is_heard_once(nodes):
    class Stutter(LocalFeedSource):
        async def open(self, address, request):
            return await super().open(address, request._replace(start=(0, 0)))

    source = nodes.source()
    feed = nodes.feed(source=Stutter(source._feeds_of, source.addresses), start=(2, 1))
    nodes.do(ask(1, 300), ask(2, 300))
    nodes.do(ask(3, 300))
    assert [event.sequence for event in await take(feed, 2)] == [(2, 1), (3, 0)]
    assert feed.statistics.repeats > 0


async def test_a_lagging_node_sends_what_comes_next_when_it_has_it(nodes):
    feed = nodes.feed()
    await feed.when(5).subscribed()
    nodes.log.write([ask(1, 300)])
    nodes.follow("a")
    await take(feed, 1)
    nodes.kill("a")
    await until(lambda: feed.address == "b")
    nodes.follow("b", "c")
    nodes.do(ask(2, 300))
    assert [event.sequence for event in await take(feed, 1)] == [(3, 0)]


async def test_a_gap_is_raised_only_when_every_node_has_said_so(nodes):
    nodes.do(ask(1, 300))
    for name in ("a", "b"):
        nodes.start_empty(name)
    feed = nodes.feed(start=(0, 0))
    assert [event.sequence for event in await take(feed, 3)] == [(1, 0), (1, 1), (2, 0)]
    assert (feed.address, nodes.opened) == ("c", ["a", "b", "c"])
    nodes.start_empty("c")
    nodes.do(ask(2, 300))
    other = nodes.feed(start=(1, 1))
    with pytest.raises(Gap) as gap:
        await take(other, 1)
    assert (gap.value.wanted, gap.value.first_available) == ((1, 1), (3, 0))
    assert [event.sequence for event in await take(other, 1)] == [(3, 0)]
    assert other.statistics.gaps == 1


async def test_a_gap_waits_for_a_node_that_is_down_but_not_for_ever(nodes):
    nodes.do(ask(1, 300))
    nodes.kill("a")
    for name in ("b", "c"):
        nodes.start_empty(name)
    patient = nodes.feed(start=(1, 0), patience=60)
    hasty = nodes.feed(start=(1, 0), patience=0.05)
    with pytest.raises(Gap):
        await take(hasty, 1)
    assert not patient._items
    nodes.down.remove("a")
    assert [event.sequence for event in await take(patient, 3)] == [(1, 0), (1, 1), (2, 0)]


async def test_after_a_gap_the_node_that_has_most_is_read_and_if_it_dies_the_next(nodes):
    nodes.start_empty("a")
    nodes.do(ask(1, 300))
    nodes.start_empty("b")
    nodes.do(ask(2, 300))
    nodes.start_empty("c")
    feed = nodes.feed(start=(1, 0))
    with pytest.raises(Gap) as gap:
        await take(feed, 1)
    assert (gap.value.first_available, feed.address) == ((2, 0), "a")
    assert [event.sequence for event in await take(feed, 2)] == [(2, 0), (3, 0)]

    class Dying(LocalFeedSource):
        async def open(self, address, request):
            if request.oldest and address == "a":
                raise ConnectionError
            return await super().open(address, request)

    source = nodes.source()
    other = nodes.feed(source=Dying(source._feeds_of, source.addresses), start=(1, 0), patience=0.05)
    with pytest.raises(Gap) as gap:
        await take(other, 1)
    assert (gap.value.first_available, other.address) == ((3, 0), "b")


async def test_another_life_of_the_group_is_said_and_then_read(nodes):
    nodes.do(ask(1, 300))
    for node in nodes.by_name.values():
        node.group.identity = Identity("node", 1, b"second life.....", b"")
    feed = nodes.feed(start=Token(INCARNATION, (2, 0)))
    with pytest.raises(Reset) as reset:
        await take(feed, 1)
    assert reset.value.incarnation == b"second life....."
    assert [event.sequence for event in await take(feed, 3)] == [(1, 0), (1, 1), (2, 0)]
    assert feed.token == Token(b"second life.....", (3, 0))


async def test_the_token_is_of_what_was_handed_out_not_of_what_arrived(nodes):
    feed = nodes.feed(start=(0, 0))
    nodes.do(ask(1, 300), ask(2, 300), ask(3, 300))
    await take(feed, 3)
    assert feed.token == Token(INCARNATION, (2, 1))
    again = nodes.feed(start=feed.token)
    assert [event.sequence for event in await take(again, 2)] == [(2, 1), (2, 2)]


async def test_the_token_moves_on_with_what_the_reader_may_not_see(nodes):
    source = nodes.source(principal="carol", role=Role.TRADER)
    feed = nodes.feed(source=source)
    await feed.when(5).subscribed()
    nodes.do(ask(1, 300))
    await until(lambda: feed.token == Token(INCARNATION, (3, 0)))


async def test_a_slow_reader_loses_its_connection_and_nothing_else(nodes):
    source = nodes.source(max_queued=3_000)
    feed = nodes.feed(source=source, ahead=5, start=(0, 0))
    quick = nodes.feed(start=(0, 0))
    for number in range(1, 200):
        nodes.do(ask(number, 300))
        await asyncio.sleep(0)
    assert [event.sequence for event in await take(quick, 200)] == [row[0] for row in nodes.logged()[:200]]
    assert sum(node.feeds.statistics.slow_consumers for node in nodes.by_name.values()) > 0
    assert [(e.sequence, e.fields) for e in await take(feed, 201)] == nodes.logged()
    assert feed.statistics.connections > 1
    assert quick.statistics.connections == 1


async def test_a_followed_book_survives_death_and_gap(nodes):
    feed = nodes.feed(FeedKind.BOOK, pair=PAIR)
    depth = Depth()
    nodes.do(ask(1, 300), ask(2, 301))
    await feed.when(5).subscribed()
    nodes.kill(feed.address)
    nodes.do(bid(3, 300, 4))

    async def follow_until(levels: list[tuple[int, int, int]]) -> list[type]:
        kinds = []
        while depth.side(PAIR, Side.ASK) != levels:
            (item,) = await take(feed, 1)
            depth.follow(item)
            kinds.append(type(item))
        return kinds

    await follow_until([(300, 6, 1), (301, 10, 1)])
    nodes.do(bid(4, 300, 6))
    assert await follow_until([(301, 10, 1)]) == [BookDelta]
    nodes.kill(feed.address)
    nodes.do(ask(5, 303))
    for name in ("a", "b", "c"):
        nodes.by_name[name].feeds.close()
        nodes.start_empty(name)
    assert BookSnapshot in await follow_until([(301, 10, 1), (303, 10, 1)])


async def test_a_pair_that_is_just_about_to_be_defined_is_waited_for(nodes):
    feed = nodes.feed(pair="XRP/USDC", patience=60)
    await until(lambda: len(nodes.opened) > 3)
    nodes.by_name["c"].define("XRP/USDC")
    await feed.when(5).subscribed()
    assert feed.address == "c"


async def test_a_pair_that_no_node_knows_is_refused(nodes):
    feed = nodes.feed(pair="XRP/USDC", patience=0.1)
    with pytest.raises(FeedRefused):
        await feed.when(5).subscribed()
    with pytest.raises(FeedRefused, match="XRP/USDC is no pair") as refused:
        await take(feed, 1)
    assert refused.value.code == "unknown_pair"
    with pytest.raises(StopAsyncIteration):
        await anext(feed)


async def test_closing_ends_the_iteration_and_the_subscription(nodes):
    feed = nodes.feed(start=(0, 0))
    await take(feed, 1)
    await feed.close()
    rest = [event.sequence async for event in feed]
    assert rest == [(1, 1)]
    await until(lambda: not any(node.feeds.consumers() for node in nodes.by_name.values()))
