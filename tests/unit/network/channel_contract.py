"""What every ``orderbook.network.channel.Channel`` promises, as functions over a world of members.

A double (the simulator's) makes a ``World`` of its own and takes ``CONTRACT`` as parameters; the real one is
``test_channel_contract.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from orderbook.network.channel import Channel


class World(Protocol):
    """Members of one group."""

    def add(self, name: str) -> Channel:
        """A new member, connected with nobody yet."""
        ...

    def connect(self) -> None:
        """Let all members find each other from now on."""
        ...

    def cut(self, one: str, other: str) -> None:
        """Break the connection of two members. It comes back by itself when ``heal`` is called, not before."""
        ...

    def heal(self, one: str, other: str) -> None: ...

    def start(self, action: Callable[[], object]) -> None:
        """Call ``action`` on the loop, once."""
        ...

    def run_until(self, condition: Callable[[], bool]) -> None:
        """Turn the loop until the condition holds. Fails the test when it never does."""
        ...


class Log:
    """All that a channel told."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.told: list[tuple[Any, ...]] = []
        channel.on_frame = lambda peer, frame: self.told.append(("frame", peer, frame))
        channel.on_connected = lambda peer: self.told.append(("connected", peer))
        channel.on_disconnected = lambda peer: self.told.append(("disconnected", peer))

    def frames(self, peer: str) -> list[bytes]:
        return [entry[2] for entry in self.told if entry[:2] == ("frame", peer)]


def two(world: World) -> tuple[Log, Log]:
    one, other = Log(world.add("one")), Log(world.add("other"))
    world.connect()
    world.run_until(lambda: one.channel.peers() == ("other",) and other.channel.peers() == ("one",))
    return one, other


def peers_are_told_when_they_connect_and_are_listed_sorted(world: World) -> None:
    logs = {name: Log(world.add(name)) for name in ("b", "c", "a")}
    world.connect()
    world.run_until(lambda: all(len(log.channel.peers()) == 2 for log in logs.values()))
    assert logs["a"].channel.peers() == ("b", "c")
    assert logs["b"].channel.peers() == ("a", "c")
    assert sorted(logs["c"].told) == [("connected", "a"), ("connected", "b")]


def frames_arrive_whole_once_and_in_order(world: World) -> None:
    one, other = two(world)
    sent = [bytes([number % 256]) * (number * 37 % 5000) for number in range(300)]
    taken: list[bool] = []
    world.start(lambda: taken.extend(one.channel.send("other", frame) for frame in sent))
    world.run_until(lambda: len(other.frames("one")) >= len(sent))
    assert taken == [True] * len(sent)
    assert other.frames("one") == sent
    assert other.told[0] == ("connected", "one")
    assert all(type(frame) is bytes for frame in other.frames("one"))


def frames_in_parts_arrive_joined(world: World) -> None:
    one, other = two(world)
    world.start(lambda: one.channel.send("other", (b"head", b"", b"tail")))
    world.run_until(lambda: bool(other.frames("one")))
    assert other.frames("one") == [b"headtail"]


def an_empty_frame_is_a_frame(world: World) -> None:
    one, other = two(world)
    world.start(lambda: (one.channel.send("other", b""), one.channel.send("other", b"after")))
    world.run_until(lambda: len(other.frames("one")) == 2)
    assert other.frames("one") == [b"", b"after"]


def frames_go_both_ways_and_only_to_whom_they_are_sent(world: World) -> None:
    logs = {name: Log(world.add(name)) for name in ("a", "b", "c")}
    world.connect()
    world.run_until(lambda: all(len(log.channel.peers()) == 2 for log in logs.values()))
    world.start(lambda: (logs["a"].channel.send("b", b"to b"), logs["b"].channel.send("a", b"to a")))
    world.run_until(lambda: bool(logs["a"].frames("b") and logs["b"].frames("a")))
    assert logs["a"].frames("b") == [b"to a"]
    assert logs["b"].frames("a") == [b"to b"]
    assert logs["c"].frames("a") == logs["c"].frames("b") == []


def nothing_arrives_before_the_sender_returned(world: World) -> None:
    one, other = two(world)
    seen: list[int] = []
    world.start(lambda: (one.channel.send("other", b"frame"), seen.append(len(other.frames("one")))))
    world.run_until(lambda: bool(other.frames("one")))
    assert seen == [0]


def a_frame_for_a_stranger_is_not_taken(world: World) -> None:
    one, _ = two(world)
    taken: list[bool] = []
    world.start(lambda: taken.append(one.channel.send("nobody", b"frame")))
    world.run_until(lambda: bool(taken))
    assert taken == [False]


def a_frame_above_the_limit_is_not_taken_and_disturbs_nothing(world: World) -> None:
    one, other = two(world)
    taken: list[bool] = []
    large = bytes((16 << 20) + 1)
    world.start(lambda: taken.extend([one.channel.send("other", large), one.channel.send("other", b"small")]))
    world.run_until(lambda: bool(other.frames("one")))
    assert taken == [False, True]
    assert other.frames("one") == [b"small"]


def a_full_queue_drops_frames_and_recovers(world: World) -> None:
    one, other = two(world)
    taken: list[bool] = []

    def fill() -> None:
        while not taken or taken[-1]:
            assert len(taken) < 1000, "the queue has no bound"
            taken.append(one.channel.send("other", len(taken).to_bytes(2, "big") + bytes(1 << 20)))

    world.start(fill)
    sent = len(taken) - 1
    assert sent > 0
    world.run_until(lambda: len(other.frames("one")) == sent)
    assert [int.from_bytes(frame[:2], "big") for frame in other.frames("one")] == list(range(sent))
    world.start(lambda: taken.append(one.channel.send("other", b"more")))
    assert taken[-1]
    world.run_until(lambda: other.frames("one")[-1:] == [b"more"])


def a_broken_connection_is_told_to_both_and_comes_back(world: World) -> None:
    one, other = two(world)
    world.start(lambda: world.cut("one", "other"))
    world.run_until(lambda: one.channel.peers() == () and other.channel.peers() == ())
    assert one.told == [("connected", "other"), ("disconnected", "other")]
    taken: list[bool] = []
    world.start(lambda: taken.append(one.channel.send("other", b"lost")))
    assert taken == [False]
    world.start(lambda: world.heal("one", "other"))
    world.run_until(lambda: one.channel.peers() == ("other",) and other.channel.peers() == ("one",))
    world.start(lambda: one.channel.send("other", b"arrives"))
    world.run_until(lambda: bool(other.frames("one")))
    assert other.told == [
        ("connected", "one"),
        ("disconnected", "one"),
        ("connected", "one"),
        ("frame", "one", b"arrives"),
    ]


def a_closed_channel_is_silent_and_its_peers_are_told(world: World) -> None:
    one, other = two(world)
    world.start(lambda: other.channel.send("one", b"late"))
    world.start(one.channel.close)
    world.run_until(lambda: other.told[-1] == ("disconnected", "one"))
    assert other.channel.peers() == ()
    before = list(one.told)
    taken: list[bool] = []
    world.start(lambda: taken.extend([other.channel.send("one", b"x"), one.channel.send("other", b"x")]))
    assert taken == [False, False]
    assert one.told == before
    assert ("disconnected", "other") not in one.told


CONTRACT: tuple[Callable[[World], None], ...] = (
    peers_are_told_when_they_connect_and_are_listed_sorted,
    frames_arrive_whole_once_and_in_order,
    frames_in_parts_arrive_joined,
    an_empty_frame_is_a_frame,
    frames_go_both_ways_and_only_to_whom_they_are_sent,
    nothing_arrives_before_the_sender_returned,
    a_frame_for_a_stranger_is_not_taken,
    a_frame_above_the_limit_is_not_taken_and_disturbs_nothing,
    a_full_queue_drops_frames_and_recovers,
    a_broken_connection_is_told_to_both_and_comes_back,
    a_closed_channel_is_silent_and_its_peers_are_told,
)
