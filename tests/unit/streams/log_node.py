"""A node as the feeds see it: a replicated order book to which entries are applied one by one, without a group around.

What happens to the group of a real node (no leader, quarantine, a snapshot installed) is set by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgpack

from orderbook.book import Command, DefinePair, Order, OrderBook, PairSpec, PlaceOrder, Side, encode_commands
from orderbook.groups.replica import Phase
from orderbook.groups.replicated import Applied, ReplicatedState
from orderbook.groups.statemachine import Event
from orderbook.storage import Identity
from orderbook.streams.audience import FeedKind
from orderbook.streams.feed import FeedOptions, FeedRequest, Feeds, Subscription
from orderbook.wire.envelope import EntryType, Header, seal, stamp
from orderbook.wire.feed_frames import FeedFrameKind, unpack_feed_frame
from orderbook.wire.roles import Role
from unit.groups.virtual_runtime import VirtualRuntime

PAIR = "ETH/USDC"
OTHER = "BTC/USDC"
INCARNATION = b"first life......"


class ReplicaDouble:
    def __init__(self, state: ReplicatedState) -> None:
        self.state = state
        self.phase = Phase.MEMBER
        self.leader = 1


class GroupDouble:
    """What ``Feeds`` needs of a ``Group``."""

    def __init__(self, machine: Any) -> None:
        self.replica: ReplicaDouble | None = ReplicaDouble(ReplicatedState(machine))
        self.identity = Identity("node", 1, INCARNATION, b"")
        self.on_applied: list[Callable[[Applied], None]] = []
        self.on_change: list[Callable[[], None]] = []

    @property
    def machine(self) -> Any:
        assert self.replica is not None
        return self.replica.state.machine

    def changed(self) -> None:
        for listener in self.on_change:
            listener()


class Log:
    """The log of a group; what was written is applied to every node that is told to follow."""

    def __init__(self) -> None:
        self.entries: list[tuple[int, bytes]] = []

    def write(self, commands: Sequence[Command], principal: str = "root", role: Role = Role.ADMIN) -> None:
        body = encode_commands(commands)
        header = Header(7, len(self.entries) + 1, 0, 0, len(commands), 0, principal, role)
        self.append(seal(EntryType.PLAIN_COMMANDS, header, body))

    def quiet(self) -> None:
        """An entry without any event."""
        self.append(seal(EntryType.OPEN_SESSION, Header(7, 1, 0, 0, 0, 0, "root", 3), msgpack.packb([1000, False])))

    def append(self, sealed: bytes) -> None:
        self.entries.append((len(self.entries) + 1, stamp(sealed, 1_000_000 + len(self.entries))))


class LogNode:
    """On a virtual clock, unless it is given another runtime: then ``do`` and ``listen`` let nothing run."""

    def __init__(
        self, log: Log | None = None, options: FeedOptions | None = None, machine: Any = None, runtime: Any = None
    ) -> None:
        self.log = log if log is not None else Log()
        self.runtime = runtime or VirtualRuntime()
        self.group = GroupDouble(machine or OrderBook())
        self.feeds = Feeds(self.runtime, self.group, options)
        self.history: list[tuple[int, list[Event]]] = []

    @property
    def index(self) -> int:
        assert self.group.replica is not None
        return self.group.replica.state.index

    def follow(self, through: int | None = None) -> None:
        """Apply what the log has, as one slice of a turn."""
        replica = self.group.replica
        assert replica is not None
        for index, payload in self.log.entries[replica.state.index : through]:
            applied = replica.state.apply(index, 1, payload)
            self.history.append((index, applied.events))
            for listener in self.group.on_applied:
                listener(applied)

    def do(self, *commands: Command, principal: str = "root", role: Role = Role.ADMIN) -> int:
        """Write an entry, apply it, let the feeds run; its index."""
        self.log.write(commands, principal, role)
        self.follow()
        self._run()
        return self.index

    def define(self, *pairs: str) -> None:
        self.do(*(DefinePair(PairSpec(pair)) for pair in pairs or (PAIR,)))

    def install_snapshot_of(self, other: LogNode) -> None:
        """The leader sent a snapshot: this node's state jumps to the other's."""
        assert self.group.replica is not None
        assert other.group.replica is not None
        self.group.replica.phase = Phase.RESTORING
        self.group.changed()
        state = ReplicatedState(OrderBook())
        for _ in state.restore(list(other.group.replica.state.snapshot())):
            pass
        self.group.replica.state = state
        self.group.replica.phase = Phase.MEMBER
        self.group.changed()

    def listen(
        self,
        kind: FeedKind = FeedKind.EVENTS,
        *,
        principal: str = "root",
        role: Role = Role.ADMIN,
        room: int = 1 << 30,
        unread: int | None = None,
        **request: Any,
    ) -> Reader:
        """``unread``: the reader takes nothing, and so many bytes wait for it already."""
        reader = Reader(principal, role, room)
        if unread is not None:
            reader.reading, reader.queued_bytes = False, unread
        reader.subscription = self.feeds.subscribe(reader, FeedRequest(kind, **request))
        reader.feeds = self.feeds
        self._run()
        return reader

    def _run(self) -> None:
        if isinstance(self.runtime, VirtualRuntime):
            self.runtime.advance(0)


class Reader:
    """A ``Connection`` that keeps what it was sent. Unless ``reading``, it takes nothing and has ``room`` bytes."""

    subscription: Subscription
    feeds: Feeds

    def __init__(self, principal: str, role: Role, room: int) -> None:
        self.principal = principal
        self.role = role
        self.queued_bytes = 0
        self.reading = True
        self.reason: str | None = None
        self.data: list[bytes] = []
        self._room = room

    def send(self, data: bytes) -> bool:
        if self.reason is not None:
            return False
        if not self.reading:
            if self.queued_bytes + len(data) > self._room:
                self.close("slow_consumer")
                return False
            self.queued_bytes += len(data)
        self.data.append(data)
        return True

    def close(self, reason: str) -> None:
        self.reason = self.reason or reason

    def leave(self) -> None:
        self.feeds.unsubscribe(self.subscription)

    def frames(self, *kinds: FeedFrameKind) -> list[list[Any]]:
        found = [frame for data in self.data if (frame := unpack_feed_frame(data)) is not None]
        return [frame for frame in found if not kinds or frame[0] in kinds]

    def rows(self) -> list[tuple[tuple[int, int], tuple[Any, ...]]]:
        """(sequence, event) of everything that it was sent, in the order in which it was."""
        return [
            ((frame[1], ordinal), tuple(event))
            for frame in self.frames(FeedFrameKind.EVENTS)
            for ordinal, event in frame[3]
        ]

    def kinds(self) -> list[str]:
        return [FeedFrameKind(frame[0]).name for frame in self.frames()]


def order(id: int, side: Side, price: int, quantity: int, trader: str = "", pair: str = PAIR) -> PlaceOrder:
    return PlaceOrder(Order(id, pair, side, price, quantity, trader))


def bid(id: int, price: int, quantity: int = 10, trader: str = "bob", pair: str = PAIR) -> PlaceOrder:
    return order(id, Side.BID, price, quantity, trader, pair)


def ask(id: int, price: int, quantity: int = 10, trader: str = "alice", pair: str = PAIR) -> PlaceOrder:
    return order(id, Side.ASK, price, quantity, trader, pair)
