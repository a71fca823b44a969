"""A network in memory that fails as real ones do: the double of ``orderbook.network.Channel``.

Every pair of names that is attached gets a connection, in the two ways of which frames travel in order. As TCP does,
a connection loses nothing but what was under way when it broke, and a way that is blocked holds its frames until it is
free again or the keepalive gives the connection up. ``Evil`` is what no TCP does: single frames are lost, doubled and
reordered, and a blocked way swallows them while the connection stands. Consensus must bear that too.

Faults on demand: ``block`` (one way), ``partition``, ``slow``, ``break_connection``, ``evil``. Everything random comes
from the generator that is handed in, every delay from the network's own runtime: neither belongs to a member.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from orderbook.network.channel import Frame, OnFrame, OnPeer
from orderbook.runtime import Runtime
from orderbook.wire.frames import MAX_FRAME_BYTES


@dataclass
class Conditions:
    """How the network is when nothing is wrong. Seconds, but for the bytes that may wait on one way."""

    delay: tuple[float, float] = (0.0002, 0.004)
    dial: tuple[float, float] = (0.02, 0.4)  # between two attempts to connect
    keepalive: tuple[float, float] = (1.0, 4.0)  # until a connection on which nothing moves is given up
    queue_bytes: int = 1 << 20


class Evil(NamedTuple):
    """Chances of one frame."""

    lose: float = 0.0
    double: float = 0.0
    reorder: float = 0.0  # comes up to ``late`` seconds after others
    late: float = 0.3


class Way:
    """One of the two directions between a pair of names. ``blocked`` and slowness outlive connections."""

    def __init__(self, sender: str, receiver: str) -> None:
        self.sender = sender
        self.receiver = receiver
        self.blocked = False
        self.extra_delay = 0.0
        self.bytes_per_second = 0.0  # 0: as fast as it goes
        self.clear()

    def clear(self) -> None:
        self.queue: deque[bytes] = deque()
        self.bytes = 0
        self.held = 0  # how many at the head of the queue came to a blocked place
        self.free_at = 0.0


class Connection:
    def __init__(self, first: str, second: str) -> None:
        self.open = True
        self.untold = [first, second]  # who has not noticed the end


class Link:
    """A pair of names, and its connection if there is one."""

    def __init__(self, first: str, second: str) -> None:
        self.names = (first, second)
        self.ways = {first: Way(first, second), second: Way(second, first)}  # by sender
        self.connection: Connection | None = None
        self.dialling = False

    @property
    def blocked(self) -> bool:
        return any(way.blocked for way in self.ways.values())


class FaultyChannel:
    """What one process sees. A process that starts anew attaches anew."""

    def __init__(self, network: FaultyNetwork, name: str, runtime: Runtime) -> None:
        self.on_frame: OnFrame = lambda peer, frame: None
        self.on_connected: OnPeer = lambda peer: None
        self.on_disconnected: OnPeer = lambda peer: None
        self.name = name
        self.runtime = runtime
        self._network = network
        self._connections: dict[str, Connection] = {}
        self._closed = False

    def send(self, peer: str, frame: Frame) -> bool:
        connection = self._connections.get(peer)
        if self._closed or connection is None:
            return False
        whole = frame if isinstance(frame, bytes) else b"".join(frame)
        if len(whole) > MAX_FRAME_BYTES:
            return False
        return self._network.carry(self.name, peer, connection, whole)

    def flush(self) -> None:
        """What is sent leaves by itself."""

    def peers(self) -> tuple[str, ...]:
        return () if self._closed else tuple(sorted(self._connections))

    def close(self) -> None:
        if not self._closed:
            self._network.leave(self)
            self._closed = True

    def connected(self, peer: str, connection: Connection) -> None:
        if not self._closed:
            self._connections[peer] = connection
            self.on_connected(peer)

    def arrived(self, peer: str, connection: Connection, frame: bytes) -> None:
        if not self._closed and self._connections.get(peer) is connection:
            self.on_frame(peer, frame)

    def disconnected(self, peer: str, connection: Connection) -> None:
        if not self._closed and self._connections.get(peer) is connection:
            del self._connections[peer]
            self.on_disconnected(peer)


class FaultyNetwork:
    """``wanted(first, second)`` says which pairs connect at all."""

    def __init__(
        self,
        runtime: Runtime,
        random: Random,
        conditions: Conditions | None = None,
        wanted: Callable[[str, str], bool] = lambda first, second: True,
    ) -> None:
        self.conditions = conditions or Conditions()
        self.evil: Evil | None = None
        self.spared: Callable[[bytes], bool] = lambda frame: False  # frames to which nothing evil is done
        self.on_arrival: Callable[[str, str, bytes], None] = lambda sender, receiver, frame: None
        self.frames = 0  # statistics
        self.lost = 0
        self.doubled = 0
        self.refused = 0
        self.broken = 0
        self._runtime = runtime
        self._random = random
        self._wanted = wanted
        self._channels: dict[str, FaultyChannel] = {}
        self._links: dict[tuple[str, str], Link] = {}

    # --- processes ----------------------------------------------------------------------------------------------------

    def attach(self, name: str, runtime: Runtime) -> FaultyChannel:
        """The channel of a process that has just started."""
        self.detach(name)
        channel = FaultyChannel(self, name, runtime)
        for other in self._channels:
            if self._wanted(*sorted((name, other))):
                self._dial_later(self._link(name, other))
        self._channels[name] = channel
        return channel

    def leave(self, channel: FaultyChannel) -> None:
        if self._channels.get(channel.name) is channel:
            self.detach(channel.name)

    def detach(self, name: str) -> None:
        """The process ended, cleanly or not; its peers notice sooner or later."""
        self._channels.pop(name, None)
        for link in self._links.values():
            if name in link.names and link.connection is not None:
                self._end(link)
                self._told(link, link.connection, name)

    # --- faults -------------------------------------------------------------------------------------------------------

    def block(self, sender: str, receiver: str) -> None:
        """Nothing gets from ``sender`` to ``receiver``; nobody is told."""
        link = self._link(sender, receiver)
        link.ways[sender].blocked = True
        if link.connection is not None:
            self._runtime.call_later(self._draw(self.conditions.keepalive), self._give_up, link, link.connection)

    def unblock(self, sender: str, receiver: str) -> None:
        link = self._link(sender, receiver)
        way = link.ways[sender]
        if way.blocked:
            way.blocked = False
            held, way.held = way.held, 0
            for _ in range(held):
                self._send_off(link, way, 0)

    def partition(self, one_side: Iterable[str], other_side: Iterable[str]) -> None:
        """Block both ways between each of one side and each of the other."""
        others = list(other_side)
        for one in one_side:
            for other in others:
                self.block(one, other)
                self.block(other, one)

    def slow(self, sender: str, receiver: str, delay: float, bytes_per_second: float = 0.0) -> None:
        way = self._link(sender, receiver).ways[sender]
        way.extra_delay, way.bytes_per_second = delay, bytes_per_second

    def break_connection(self, first: str, second: str) -> None:
        """Reset it. What is under way is lost; a new one follows."""
        self._end(self._link(first, second))

    def heal(self) -> None:
        """Whatever was blocked, slow or evil is not any more."""
        self.evil = None
        for link in self._links.values():
            for way in link.ways.values():
                self.unblock(way.sender, way.receiver)
                way.extra_delay = way.bytes_per_second = 0.0

    # --- connections --------------------------------------------------------------------------------------------------

    def _draw(self, bounds: tuple[float, float]) -> float:
        return self._random.uniform(*bounds)

    def _link(self, one: str, other: str) -> Link:
        first, second = sorted((one, other))
        link = self._links.get((first, second))
        if link is None:
            link = self._links[first, second] = Link(first, second)
        return link

    def _dial_later(self, link: Link) -> None:
        if not link.dialling:
            link.dialling = True
            self._runtime.call_later(self._draw(self.conditions.dial), self._dial, link)

    def _dial(self, link: Link) -> None:
        link.dialling = False
        if link.connection is not None or not all(name in self._channels for name in link.names):
            return  # whoever changes that dials
        if link.blocked:
            self._dial_later(link)
            return
        connection = link.connection = Connection(*link.names)
        for name, way in link.ways.items():
            channel = self._channels[name]
            channel.runtime.call_soon(channel.connected, way.receiver, connection)

    def _end(self, link: Link) -> None:
        connection = link.connection
        if connection is None or not connection.open:
            return
        connection.open = False
        for way in link.ways.values():
            way.clear()
        self.broken += 1
        for name in link.names:
            soon = self._random.random() < 0.7  # the other's machine still says so; otherwise it is silent
            after = self.conditions.delay if soon else self.conditions.keepalive
            self._runtime.call_later(self._draw(after), self._told, link, connection, name)

    def _told(self, link: Link, connection: Connection, name: str) -> None:
        """``name`` notices the end, if its process is still there."""
        if name not in connection.untold:
            return
        connection.untold.remove(name)
        channel = self._channels.get(name)
        if channel is not None:
            channel.runtime.call_soon(channel.disconnected, link.ways[name].receiver, connection)
        if not connection.untold:
            link.connection = None
            self._dial_later(link)

    def _give_up(self, link: Link, connection: Connection) -> None:
        """A keepalive went unanswered."""
        if link.connection is connection and link.blocked and self.evil is None:
            self._end(link)

    # --- frames -------------------------------------------------------------------------------------------------------

    def carry(self, sender: str, receiver: str, connection: Connection, frame: bytes) -> bool:
        """Take a frame of a channel; False if the way's queue is full."""
        link = self._link(sender, receiver)
        way = link.ways[sender]
        self.frames += 1
        if not connection.open:  # it broke, and the sender hasn't noticed
            self.lost += 1
            return True
        if self.evil is not None and not self.spared(frame):
            self._carry_evil(way, connection, frame, self.evil)
            return True
        if way.bytes + len(frame) > self.conditions.queue_bytes:
            self.refused += 1
            return False
        way.queue.append(frame)
        way.bytes += len(frame)
        self._send_off(link, way, len(frame))
        return True

    def _send_off(self, link: Link, way: Way, size: int) -> None:
        """Each departure lets one frame arrive, the one that then heads the queue: so order is kept."""
        now = self._runtime.monotonic()
        way.free_at = max(now, way.free_at) + (size / way.bytes_per_second if way.bytes_per_second else 0.0)
        after = way.free_at - now + self._draw(self.conditions.delay) + way.extra_delay
        self._runtime.call_later(after, self._arrive, link, way, link.connection)

    def _arrive(self, link: Link, way: Way, connection: Connection) -> None:
        """The frame at the head of the queue is at its end."""
        if link.connection is not connection or not connection.open:
            return
        if way.blocked:
            way.held += 1
            return
        frame = way.queue.popleft()
        way.bytes -= len(frame)
        self._deliver(way, connection, frame)

    def _carry_evil(self, way: Way, connection: Connection, frame: bytes, evil: Evil) -> None:
        random = self._random
        if way.blocked or random.random() < evil.lose:
            self.lost += 1
            return
        copies = 2 if random.random() < evil.double else 1
        self.doubled += copies - 1
        for _ in range(copies):
            delay = self._draw(self.conditions.delay) + way.extra_delay
            if random.random() < evil.reorder:
                delay += random.random() * evil.late
            self._runtime.call_later(delay, self._deliver, way, connection, frame)

    def _deliver(self, way: Way, connection: Connection, frame: bytes) -> None:
        channel = self._channels.get(way.receiver)
        if channel is not None and connection.open:
            self.on_arrival(way.sender, way.receiver, frame)
            channel.runtime.call_soon(channel.arrived, way.sender, connection, frame)
