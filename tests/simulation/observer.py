"""Consumers in the simulator: they read the feed of events from whichever node answers, some slowly.

What they saw is compared with what any node ever applied: in order, each event once, and every hole announced by a Gap
that names its end.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

from orderbook.client.feeds import Feed
from orderbook.groups.group import Group
from orderbook.groups.replicated import Applied
from orderbook.groups.waiting import Conditions
from orderbook.streams.audience import FeedKind
from orderbook.streams.feed import FeedOptions, Feeds
from orderbook.streams.local import LocalFeedSource
from orderbook.streams.market import Gap, Reset
from simulation.laws import LawBroken
from simulation.node import Node
from simulation.runtime import SimulatedRuntime

if TYPE_CHECKING:
    from simulation.world import World

Place = tuple[int, int]  # log index, ordinal


class Observer:
    """One reader in a process of its own."""

    def __init__(self, runtime: SimulatedRuntime, random: Random, source: LocalFeedSource) -> None:
        self.runtime = runtime
        self.random = random
        self.pause = random.choice((0.0, 0.0, 0.5))  # the chance of a rest between two events
        self.lives: list[tuple[bytes, list[Any]]] = []  # incarnation, and what was seen of it: (place, event) and Gaps
        self.feed: Feed[Any] | None = None
        self._source = source

    def start(self) -> None:
        self.runtime.spawn(self._read(), "observe")

    async def _read(self) -> None:
        ahead = self.random.choice((3, 1000))
        feed = self.feed = Feed(self.runtime, self._source, FeedKind.EVENTS, start=(0, 0), patience=3.0, ahead=ahead)
        await feed.when().subscribed()
        assert feed.token is not None
        self.lives.append((feed.token.incarnation, []))
        while True:
            try:
                event = await anext(feed)
            except Reset as reset:
                self.lives.append((reset.incarnation, [Gap((0, 0), reset.first_available)]))
            except Gap as gap:
                self.lives[-1][1].append(gap)
            else:
                self.lives[-1][1].append((event.sequence, event.fields))
            if self.random.random() < self.pause:
                await self._rest(self.random.random() * 0.3)

    async def _rest(self, seconds: float) -> None:
        over: list[bool] = []
        conditions = Conditions(self.runtime)
        self.runtime.call_later(seconds, lambda: (over.append(True), conditions.check()))
        await conditions.until(lambda: bool(over), None, "a rest")

    def caught_up(self, incarnation: bytes, last: Place) -> bool:
        token = self.feed.token if self.feed is not None and self.lives else None
        return token is not None and token.incarnation == incarnation and token.next >= last


class Audience:
    """The observers of a world, and the feeds of its nodes."""

    def __init__(self, world: World, observers: int, ring: int) -> None:
        self._world = world
        self._options = FeedOptions(ring_indexes=ring, leaderless=2.0, mark_every=0.2, ahead_bytes=5_000)
        self._applied: dict[tuple[bytes, int], list[tuple[Any, ...]]] = {}  # by incarnation and log index
        self._served: dict[str, tuple[Group, Feeds]] = {}
        self.observers = [self._observer(number) for number in range(1, observers + 1)]

    def _observer(self, number: int) -> Observer:
        world = self._world
        random = Random(f"{world.seed} observer {number}")
        names = list(world.nodes)
        random.shuffle(names)
        source = LocalFeedSource(self._feeds_of, names, max_queued=random.choice((20_000, 1 << 20)))
        observer = Observer(world.process(f"o{number}"), random, source)
        world.later(random.random() * 3, observer.start)
        return observer

    def _feeds_of(self, name: str) -> Feeds | None:
        served = self._served.get(name)
        return served[1] if served is not None else None

    def after_event(self, node: Node) -> None:
        """A node's group may be another one than before the event."""
        group, served = node.group, self._served.get(node.name)
        if served is not None and served[0] is not group:
            del self._served[node.name]
            served[1]._end_all("killed")  # its connections break; nothing more is said
        if group is not None and node.name not in self._served:
            assert node.runtime is not None
            self._served[node.name] = (group, Feeds(node.runtime, group, self._options))
            group.on_applied.append(lambda applied: self._note_applied(group, applied))

    def _note_applied(self, group: Group, applied: Applied) -> None:
        key = (group.identity.incarnation, applied.log_index)
        events = [tuple(event) for event in applied.events]
        if self._applied.setdefault(key, events) != events:
            raise LawBroken(f"two members have different events at {applied.log_index}")

    # --- in the end ---------------------------------------------------------------------------------------------------

    def hurry(self) -> None:
        """All is well: nobody rests any more."""
        for observer in self.observers:
            observer.pause = 0.0

    def caught_up(self, incarnation: bytes) -> bool:
        last = max((index for life, index in self._applied if life == incarnation), default=0)
        return all(observer.caught_up(incarnation, (last, 0)) for observer in self.observers)

    def check(self) -> int:
        """How many events were seen, all observers together. Raises LawBroken."""
        seen = 0
        for observer in self.observers:
            for life, rows in observer.lives:
                seen += self._check(life, rows)
        return seen

    def _check(self, life: bytes, seen: list[Any]) -> int:
        holes = [item for item in seen if isinstance(item, Gap)]
        rows = [item for item in seen if not isinstance(item, Gap)]
        if [row[0] for row in rows] != sorted({row[0] for row in rows}):
            raise LawBroken("a consumer saw events out of order, or one twice")
        expected = [
            ((index, ordinal), event)
            for (incarnation, index), events in sorted(self._applied.items())
            if incarnation == life
            for ordinal, event in enumerate(events)
        ]
        expected = [row for row in expected if not any(hole.wanted <= row[0] < hole.first_available for hole in holes)]
        if expected[: len(rows)] != rows:
            wrong = next(place for place, row in enumerate(rows) if expected[place : place + 1] != [row])
            raise LawBroken(f"a consumer saw {rows[wrong]}; {expected[wrong : wrong + 1]} came next")
        return len(rows)
