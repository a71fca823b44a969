"""Whom the dialler tries when, with dials that the test answers and a clock that doesn't make it wait."""

import pytest

from orderbook.network.dialler import Answer
from orderbook.network.discovery import Discovery, PeerUnreachable
from orderbook.network.handshake import Reason
from orderbook.network.service_records import ServiceRecords
from orderbook.server.runtime import AsyncioRuntime
from unit.network.members import QUICK, until


class QuickRuntime(AsyncioRuntime):
    """Timers of at most a minute fire in the next turn and are noted."""

    def __init__(self, on_failure):
        super().__init__(on_failure)
        self.delays = []

    def call_later(self, delay, callback, *args):
        if delay > 60:
            return super().call_later(delay, callback, *args)
        self.delays.append(delay)
        return super().call_later(0, callback, *args)


class World:
    """``answers``: what is at which address; whoever answers without a reason is connected."""

    def __init__(self):
        self.failures = []
        self.runtime = QuickRuntime(self.failures.append)
        self.answers = {}
        self.dialled = []
        self.linked = {}
        self.discovery = Discovery(self.runtime, QUICK, "me", self.dial, self.linked.__contains__)

    async def dial(self, address):
        self.dialled.append(address)
        answer = self.answers.get(address, Answer(None, Reason.UNREACHABLE, "nobody"))
        if answer.reason is None:
            self.linked[answer.name] = None
        return answer


@pytest.fixture
async def world():
    world = World()
    world.discovery.start()
    yield world
    world.discovery.close()
    assert world.failures == []


def records(world, **named):
    world.discovery._found(ServiceRecords(named, []))


async def test_addresses_are_tried_newest_first_and_no_more_once_connected(world):
    world.answers["x:2"] = Answer("a")
    records(world, a=["x:1", "x:2", "x:3"])
    await until(lambda: "a" in world.linked)
    await until(lambda: not world.discovery._dialler._seeking)
    assert world.dialled == ["x:3", "x:2"]


async def test_the_rest_between_tries_doubles_up_to_its_bound_and_is_jittered(world):
    records(world, a=["x:1"])
    await until(lambda: len(world.runtime.delays) >= 12)
    first, rests = world.runtime.delays[0], world.runtime.delays[1:12]
    assert first <= QUICK.first_backoff / 2
    longest = [min(QUICK.first_backoff * 2**failures, QUICK.most_backoff) for failures in range(11)]
    assert all(most / 2 <= rest <= most for rest, most in zip(rests, longest, strict=True))
    assert len(set(rests)) == len(rests)


async def test_a_lost_peer_is_sought_again(world):
    world.answers["x:1"] = Answer("a")
    records(world, a=["x:1"])
    await until(lambda: "a" in world.linked)
    del world.linked["a"]
    world.discovery.lost("a")
    await until(lambda: "a" in world.linked)
    assert world.dialled == ["x:1", "x:1"]


async def test_who_was_refused_is_not_believed_to_be_there(world):
    world.answers["x:1"] = Answer("a", Reason.NOT_PROVEN, "a rival")
    world.discovery.add("x:1")
    await until(lambda: len(world.dialled) >= 3)
    assert world.discovery.known() == {}


async def test_two_addresses_that_only_ever_refuse_are_tried_at_the_pace_of_the_rest(world):
    world.answers["x:1"] = world.answers["x:2"] = Answer("a", Reason.DUPLICATE, "never")
    records(world, a=["x:1", "x:2"])
    await until(lambda: len(world.dialled) >= 20)
    assert len(world.runtime.delays) >= len(world.dialled) / 2
    assert max(world.runtime.delays) > QUICK.most_backoff / 2


async def test_sync_with_waits_for_what_the_peer_of_the_new_connection_knows(world):
    world.answers["x:1"] = Answer("a")
    records(world, a=["x:1"])
    await until(lambda: "a" in world.linked)
    world.discovery.heard("a", [("b", "x:9")])
    await world.discovery.sync_with("x:1", timeout=300)
    del world.linked["a"]
    world.discovery.lost("a")
    with pytest.raises(PeerUnreachable):
        await world.discovery.sync_with("x:1", timeout=0)
