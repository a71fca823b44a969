"""Feeds in the simulator: over real groups whose machines crash, are cut off, wiped, removed and come back.

Observers read from whichever node answers, some slowly, from rings that are short. What they saw is compared with what
any node ever applied: in order, each once, and every hole announced by a Gap that names its end.
"""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from orderbook.client.feeds import Feed
from orderbook.groups.group import Group
from orderbook.groups.replicated import Applied
from orderbook.groups.waiting import Conditions
from orderbook.streams.audience import FeedKind
from orderbook.streams.feed import FeedOptions, Feeds
from orderbook.streams.local import LocalFeedSource
from orderbook.streams.market import Gap, Reset
from simulation.scheduler import Host
from simulation.world import NotHealed, World

OBSERVERS = 3
Place = tuple[int, int]


class Observer:
    """One reader in a process of its own."""

    def __init__(self, world: ObservedWorld, number: int) -> None:
        self.random = Random(f"{world.seed} observer {number}")
        self.runtime = world._process(f"o{number}")
        self.pause = self.random.choice((0.0, 0.0, 0.5))
        self.lives: list[tuple[bytes, list[Any]]] = []  # incarnation, and what was seen of it: (place, event) and Gaps
        names = list(world.nodes)
        self.random.shuffle(names)
        self._source = LocalFeedSource(world.feeds_of, names, max_queued=self.random.choice((20_000, 1 << 20)))
        self._world = world

    def start(self) -> None:
        self.runtime.spawn(self._read(), "observe")

    async def _read(self) -> None:
        self.feed: Feed[Any] = Feed(
            self.runtime, self._source, FeedKind.EVENTS, start=(0, 0), patience=3.0, ahead=self.random.choice((3, 1000))
        )
        await self.feed.when().subscribed()
        assert self.feed.token is not None
        self.lives.append((self.feed.token.incarnation, []))
        while True:
            try:
                event = await anext(self.feed)
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
        token = self.feed.token if self.lives else None
        return token is not None and token.incarnation == incarnation and token.next >= last


class ObservedWorld(World):
    def __init__(self, seed: int, ring: int) -> None:
        super().__init__(seed)
        self.options_of_feeds = FeedOptions(ring_indexes=ring, leaderless=2.0, mark_every=0.2, ahead_bytes=5_000)
        self.applied: dict[tuple[bytes, int], list[tuple[Any, ...]]] = {}
        self.served: dict[str, tuple[Group, Feeds]] = {}
        self.observers = [Observer(self, number) for number in range(OBSERVERS)]
        for observer in self.observers:
            self.later(observer.random.random() * 3, observer.start)

    def feeds_of(self, name: str) -> Feeds | None:
        served = self.served.get(name)
        return served[1] if served is not None else None

    def _after_event(self, host: Host) -> None:
        super()._after_event(host)
        node = self.nodes.get(host.name)
        if node is None:
            return
        group, served = node.group, self.served.get(node.name)
        if served is not None and served[0] is not group:
            del self.served[node.name]
            served[1]._end_all("killed")  # its connections break; nothing more is said
        if group is not None and node.name not in self.served:
            assert node.runtime is not None
            self.served[node.name] = (group, Feeds(node.runtime, group, self.options_of_feeds))
            group.on_applied.append(lambda applied: self._note_applied(group, applied))

    def _note_applied(self, group: Group, applied: Applied) -> None:
        key = (group.identity.incarnation, applied.log_index)
        events = [tuple(event) for event in applied.events]
        assert self.applied.setdefault(key, events) == events

    def _last_words(self) -> None:
        super()._last_words()
        leader = self.leader()
        assert leader is not None and leader.identity is not None
        life = leader.identity.incarnation
        for observer in self.observers:
            observer.pause = 0.0
        end = (max(index for incarnation, index in self.applied if incarnation == life), 0)
        if not self._advance(lambda: all(o.caught_up(life, end) for o in self.observers), self.scheduler.now + 30):
            raise NotHealed(f"observers did not catch up with {end}: {[o.feed.token for o in self.observers]}")
        for observer in self.observers:
            for life, seen in observer.lives:
                self._compare(life, seen)

    def _compare(self, life: bytes, seen: list[Any]) -> None:
        whole = [
            ((index, ordinal), event)
            for (incarnation, index), events in sorted(self.applied.items())
            if incarnation == life
            for ordinal, event in enumerate(events)
        ]
        holes = [item for item in seen if isinstance(item, Gap)]
        rows = [item for item in seen if not isinstance(item, Gap)]
        assert [row[0] for row in rows] == sorted({row[0] for row in rows}), "out of order, or twice"
        hidden = [row for row in whole if any(hole.wanted <= row[0] < hole.first_available for hole in holes)]
        assert [row for row in whole if row not in hidden][: len(rows)] == rows, "lost without a Gap, or made up"


def run(seed: int, ring: int) -> tuple[ObservedWorld, str]:
    world = ObservedWorld(seed, ring)
    try:
        return world, world.run().digest
    except BaseException as error:
        error.add_note(f"seed {seed}, ring {ring}")
        raise


@pytest.mark.parametrize("ring", [15, 100_000])
@pytest.mark.parametrize("first", [0, 6, 12])
def test_observers_saw_what_was_applied_whatever_happened(first, ring):
    gaps = resumed = 0
    for seed in range(first, first + 6):
        world, _ = run(seed, ring)
        gaps += sum(observer.feed.statistics.gaps for observer in world.observers)
        resumed += sum(observer.feed.statistics.connections > 1 for observer in world.observers)
    assert resumed > 0
    assert gaps > 0 or ring > 15


def test_the_same_seed_gives_the_same_run():
    assert run(7, 100)[1] == run(7, 100)[1]
