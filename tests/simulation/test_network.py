"""The network double keeps the promises of ``Channel``, and breaks what its faults say."""

from random import Random

import pytest

from faults.network import Conditions, Evil, FaultyNetwork
from simulation.runtime import SimulatedRuntime
from simulation.scheduler import Scheduler
from unit.network.channel_contract import CONTRACT


class World:
    def __init__(self, seed=0, conditions=None, names=("a", "b")):
        self.scheduler = Scheduler()
        self.seed = seed
        self.failures = []
        self.network = FaultyNetwork(self.runtime("network"), Random(seed), conditions)
        self.seen = {}
        self.channels = {}
        for name in names:
            self.attach(name)

    def runtime(self, name):
        return SimulatedRuntime(self.scheduler, name, Random(self.seed), self.failures.append, self.failures.append)

    def attach(self, name):
        channel = self.channels[name] = self.network.attach(name, self.runtime(name))
        seen = self.seen[name] = []
        channel.on_frame = lambda peer, frame: seen.append((peer, frame))
        channel.on_connected = lambda peer: seen.append((peer, "connected"))
        channel.on_disconnected = lambda peer: seen.append((peer, "disconnected"))
        return channel

    def run(self, seconds):
        self.scheduler.run_until(lambda: False, until=self.scheduler.now + seconds, max_steps=100_000)
        assert self.failures == []

    def until(self, condition):
        assert self.scheduler.run_until(condition, until=self.scheduler.now + 60, max_steps=100_000)

    def connect(self):
        names = sorted(self.channels)
        self.until(lambda: all(self.channels[name].peers() == tuple(set_without(names, name)) for name in names))


class ContractWorld:
    """Members that are kept apart until they may connect."""

    def __init__(self, seed):
        self.world = World(seed, Conditions(queue_bytes=8 << 20), names=())

    def add(self, name):
        others = list(self.world.channels)
        channel = self.world.attach(name)
        self.world.network.partition([name], others)
        return channel

    def connect(self):
        self.world.network.heal()

    def cut(self, one, other):
        self.world.network.partition([one], [other])
        self.world.network.break_connection(one, other)

    def heal(self, one, other):
        self.world.network.unblock(one, other)
        self.world.network.unblock(other, one)

    def start(self, action):
        action()

    def run_until(self, condition):
        self.world.until(condition)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("promise", CONTRACT, ids=lambda promise: promise.__name__)
def test_the_double_keeps(promise, seed):
    promise(ContractWorld(seed))


def set_without(names, name):
    return [other for other in names if other != name]


@pytest.fixture(params=range(5))
def world(request):
    world = World(request.param)
    world.connect()
    return world


def frames(world, name):
    return [frame for _, frame in world.seen[name] if isinstance(frame, bytes)]


def test_frames_arrive_in_order_and_in_one_piece(world):
    sent = [b"%d" % number for number in range(50)]
    for frame in sent:
        assert world.channels["a"].send("b", (frame[:1], frame[1:]))
    world.run(1)
    assert world.seen["b"] == [("a", "connected"), *(("a", frame) for frame in sent)]


def test_send_says_no_when_the_peer_is_not_there(world):
    assert not world.channels["a"].send("c", b"x")
    world.channels["a"].close()
    assert not world.channels["a"].send("b", b"x")
    assert world.channels["a"].peers() == ()


def test_a_full_queue_refuses_and_others_go_on():
    world = World(conditions=Conditions(queue_bytes=10), names="abc")
    world.connect()
    world.network.block("a", "b")
    assert world.channels["a"].send("b", b"x" * 10)
    assert not world.channels["a"].send("b", b"x")
    assert world.channels["a"].send("c", b"x")


def test_a_closed_process_hears_nothing_more_and_its_peer_notices(world):
    world.channels["b"].send("a", b"x")
    world.channels["a"].close()
    world.run(10)
    assert world.seen["a"] == [("b", "connected")]
    assert world.seen["b"] == [("a", "connected"), ("a", "disconnected")]


def test_a_process_that_starts_anew_is_disconnected_first():
    for seed in range(20):
        world = World(seed)
        world.connect()
        world.channels["a"].send("b", b"old")
        world.run(0.001)
        before = list(world.seen["b"])
        world.attach("a")
        world.until(lambda world=world: world.seen["a"])
        world.channels["a"].send("b", b"new")
        world.run(10)
        after = world.seen["b"][len(before) :]
        assert after == [("a", "disconnected"), ("a", "connected"), ("a", b"new")], seed


def test_connected_and_disconnected_alternate_around_frames(world):
    for _ in range(10):
        world.network.break_connection("a", "b")
        for _ in range(5):
            world.channels["a"].send("b", b"x")
            world.run(0.3)
    states = [what for _, what in world.seen["b"]]
    connected = False
    for state in states:
        if isinstance(state, bytes):
            assert connected
        else:
            assert connected == (state == "disconnected")
            connected = not connected
    assert states.count("disconnected") >= 3


def test_a_short_blockade_only_delays(world):
    world.channels["a"].send("b", b"1")
    world.network.block("a", "b")
    world.channels["a"].send("b", b"2")
    world.run(0.9)
    assert frames(world, "b") == []
    world.network.unblock("a", "b")
    world.channels["a"].send("b", b"3")
    world.run(0.5)
    assert frames(world, "b") == [b"1", b"2", b"3"]


def test_a_long_blockade_of_one_way_breaks_the_connection_for_both(world):
    world.network.block("a", "b")
    world.run(12)
    assert world.seen["a"][-1] == ("b", "disconnected")
    assert world.seen["b"][-1] == ("a", "disconnected")
    world.network.heal()
    world.run(2)
    assert world.channels["a"].peers() == ("b",)


def test_partitions_leave_each_side_connected():
    world = World(names="abcd")
    world.network.partition("ab", "cd")
    world.run(15)
    assert [world.channels[name].peers() for name in "abcd"] == [("b",), ("a",), ("d",), ("c",)]
    world.network.heal()
    world.connect()


def test_a_slow_way_takes_its_time(world):
    world.network.slow("a", "b", 0.5, bytes_per_second=100)
    world.channels["a"].send("b", b"x" * 100)
    world.run(1.4)
    assert frames(world, "b") == []
    world.run(0.2)
    assert len(frames(world, "b")) == 1


def test_evil_loses_doubles_and_reorders_but_spares_what_it_is_told_to():
    world = World(3)
    world.connect()
    world.network.evil = Evil(lose=0.2, double=0.2, reorder=0.3)
    world.network.spared = lambda frame: frame.startswith(b"s")
    numbers = [b"%03d" % number for number in range(200)]
    for number in numbers:
        world.channels["a"].send("b", number)
        world.channels["a"].send("b", b"s" + number)
        world.run(0.005)
    world.run(1)
    arrived = [frame for frame in frames(world, "b") if not frame.startswith(b"s")]
    assert [frame for frame in frames(world, "b") if frame.startswith(b"s")] == [b"s" + number for number in numbers]
    assert 120 < len(set(arrived)) < 200
    assert len(arrived) > len(set(arrived))
    assert arrived != sorted(arrived)


def test_a_way_that_is_blocked_swallows_frames_while_evil_reigns(world):
    world.network.evil = Evil()
    world.network.block("a", "b")
    world.channels["a"].send("b", b"gone")
    world.channels["b"].send("a", b"heard")
    world.run(10)
    assert world.channels["a"].peers() == ("b",)
    assert (frames(world, "a"), frames(world, "b")) == ([b"heard"], [])


def test_the_same_seed_gives_the_same_run():
    def run(seed):
        world = World(seed)
        world.network.on_arrival = lambda sender, receiver, frame: world.scheduler.mix(frame)
        world.connect()
        for number in range(20):
            world.channels["a"].send("b", b"%d" % number)
        world.run(2)
        return world.scheduler.digest()

    assert run(1) == run(1)
    assert run(1) != run(2)
