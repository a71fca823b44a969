"""The node's side of the feeds: fills, events and level changes of the applied log, to whoever listens.

A reader gets everything from the sequence that it asked for, in order and without a gap, or is told why not: GAP when
this node no longer has it, RESET when its token is of another life of the group. Every node serves, leading or not.

- A reader is **behind** until it was sent all that this node has applied; it is then **live**. All live readers stand
  at one place of the log, so that an entry is packed at most once for all that see the same (``audience``), in the turn
  after it was applied. Who is behind is served from the ring in slices, and no faster than it reads.
- A reader that asks for what this node has not applied yet (it comes from a node that was further) waits behind.
- A live reader whose connection is full is disconnected by the connection; one that is behind and reads more slowly
  than the ring moves is disconnected here. Both hear ``slow_consumer`` and may come back with their token.
- When nobody listens an applied entry costs an append to the ring.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from orderbook.book import Pairs, TopOfBook
from orderbook.groups.errors import Unavailable
from orderbook.groups.group import Group
from orderbook.groups.replica import Phase
from orderbook.groups.replicated import Applied, ReplicatedState
from orderbook.runtime import Runtime, Timer
from orderbook.streams.audience import Audience, FeedKind, Scene, View
from orderbook.streams.connection import Connection
from orderbook.streams.feed_json import feed_text
from orderbook.streams.ring import EVENT_BYTES, EventRing
from orderbook.wire.feed_frames import FeedFrameKind, pack_feed_frame
from orderbook.wire.roles import Role

WHOLE_BOOK = 1 << 31
_SERVING = (Phase.MEMBER, Phase.RESTORING)


class FeedOptions(NamedTuple):
    """Times are seconds of the monotonic clock, sizes bytes."""

    ring_indexes: int = 200_000
    ring_bytes: int = 256 << 20
    mark_every: float = 0.5  # how often a reader hears how far it is
    leaderless: float = 5.0  # how long there may be no leader before readers are sent to other nodes
    slice: float = 0.005  # how long readers that are behind are served before the loop turns
    ahead_bytes: int = 4 << 20  # may wait in the connection of a reader that is behind; far below what it can hold
    paced: float = 0.02  # how long to wait for such a reader to read


class FeedRequest(NamedTuple):
    """What a reader asks for: the first sequence that it does not have, None for what comes next, of which life.

    ``oldest``: everything that this node has, whatever ``start`` says; for events and fills.
    """

    kind: FeedKind
    pair: str | None = None
    start: tuple[int, int] | None = None
    incarnation: bytes | None = None
    text: bool = False
    oldest: bool = False


class NotOffered(ValueError):
    """This node has no such feed, for anyone or for this reader. ``code`` is for programs."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class FeedStatistics:
    """Plain integers since this node started."""

    def __init__(self) -> None:
        self.subscribed = 0
        self.resumes = 0  # of them, with a sequence to go on from
        self.gaps = 0
        self.resets = 0
        self.slow_consumers = 0
        self.frames = 0
        self.bytes = 0


class ConsumerStatistics(NamedTuple):
    """One reader. ``lag``: log indexes that it was not sent; ``queued_bytes``: sent, and not yet taken by it."""

    principal: str
    kind: FeedKind
    pair: str | None
    live: bool
    lag: int
    queued_bytes: int
    frames: int


class Subscription:
    """One reader. ``position``, while it is behind, is the first sequence that it was not sent."""

    def __init__(self, connection: Connection, view: View, position: tuple[int, int]) -> None:
        self.connection = connection
        self.view = view
        self.position = position
        self.audience: Audience | None = None  # None: it was never taken, or has ended
        self.live = False
        self.frames = 0


class Feeds:
    """One per node. It hangs itself into the group; ``close`` ends all readers."""

    def __init__(self, runtime: Runtime, group: Group, options: FeedOptions | None = None) -> None:
        self.options = options or FeedOptions()
        self.statistics = FeedStatistics()
        self.ring = EventRing(self.options.ring_indexes, self.options.ring_bytes)
        self._runtime = runtime
        self._group = group
        self._state: ReplicatedState | None = None
        self._live_at = 0  # the log index that live readers were sent
        self._unsent = 0  # events behind it
        self._live: dict[View, dict[Subscription, None]] = {}
        self._behind: dict[Subscription, None] = {}
        self._audiences: dict[View, Audience] = {}
        self._members: dict[View, int] = {}  # readers of each audience
        self._pump_due = False
        self._paced: Timer | None = None
        self._marking: Timer | None = None
        self._led_at = runtime.monotonic()
        self._changed()
        group.on_applied.append(self._applied)
        group.on_change.append(self._changed)

    # --- what the server calls ----------------------------------------------------------------------------------------

    @property
    def is_book(self) -> bool:
        return self._group.machine.signature == "orderbook"

    def check(self, request: FeedRequest, role: Role) -> None:
        """Raises Unavailable if this node serves nobody now, NotOffered if it never will serve this."""
        replica = self._group.replica
        if replica is None:
            raise Unavailable("not_online")
        if replica.phase is not Phase.MEMBER:
            raise Unavailable(replica.phase.value)
        if not self.is_book and (request.kind is not FeedKind.EVENTS or role != Role.ADMIN):
            raise NotOffered(
                "not_offered", f"the machine {self._group.machine.signature!r} has only events, and for admins only"
            )
        if request.pair is not None and self.is_book and request.pair not in self._pairs():
            raise NotOffered("unknown_pair", f"{request.pair} is no pair of this group")

    def subscribe(self, connection: Connection, request: FeedRequest) -> Subscription:
        """Begin. Frames come from now on, until the connection ends, or is ended with a reason. Raises as ``check``."""
        self.check(request, connection.role)
        self._follow_state()
        view = View(request.kind, request.pair, connection.principal, connection.role, request.text)
        position = (self.ring.last + 1, 0)
        if request.oldest and request.kind is not FeedKind.BOOK:
            position = (self.ring.first, 0)
        elif request.start is not None:
            position = max(request.start, (1, 0))
        subscription = Subscription(connection, view, position)
        incarnation = self._group.identity.incarnation
        self.statistics.subscribed += 1
        if request.incarnation is not None and request.incarnation != incarnation:
            self.statistics.resets += 1
            self._say(subscription, FeedFrameKind.RESET, incarnation, self.ring.first)
            connection.close("reset")
        elif position < (self.ring.first, 0):
            self._end_with_gap(subscription)
        else:
            self.statistics.resumes += request.start is not None
            self._take(subscription)
            self._say(subscription, FeedFrameKind.SUBSCRIBED, incarnation, *position)
            if request.kind is FeedKind.BOOK and request.start is None:
                self._say_book(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """The connection has ended. Again, or of one that was never taken: nothing."""
        audience, subscription.audience = subscription.audience, None
        if audience is None:
            return
        self._behind.pop(subscription, None)
        view = audience.view
        live = self._live.get(view)
        if live is not None:
            live.pop(subscription, None)
            if not live:
                del self._live[view]
        self._members[view] -= 1
        if not self._members[view]:
            del self._members[view], self._audiences[view]
        if not self._members and self._marking is not None:
            self._marking.cancel()
            self._marking = None

    def consumers(self) -> list[ConsumerStatistics]:
        """All readers as they are now."""
        last = self.ring.last
        return [
            ConsumerStatistics(
                reader.view.principal,
                reader.view.kind,
                reader.view.pair,
                reader.live,
                last - (self._live_at if reader.live else min(last, reader.position[0] - 1)),
                reader.connection.queued_bytes,
                reader.frames,
            )
            for reader in self._everyone()
        ]

    def close(self, reason: str = "going_away") -> None:
        """End all readers; each hears how far it is, so that it goes on elsewhere."""
        self._mark_all()
        self._end_all(reason)

    def _end_all(self, reason: str) -> None:
        for reader in self._everyone():
            self.unsubscribe(reader)
            reader.connection.close(reason)
        if self._paced is not None:
            self._paced.cancel()

    # --- what the group calls -----------------------------------------------------------------------------------------

    def _applied(self, applied: Applied) -> None:
        if applied.log_index <= self.ring.last:  # the member entered its group anew and applies its log again
            self._end_all("stopped")
            self.ring.restart(applied.log_index)
            self._live_at = self.ring.last
        if self._members:
            self._before_recording(applied)
        self.ring.record(applied.log_index, applied.now_ms, applied.events)

    def _before_recording(self, applied: Applied) -> None:
        """Live readers are served in the next turn, but before the ring drops what they were not sent."""
        self._unsent += len(applied.events)
        indexes = applied.log_index - self._live_at
        if self._unsent * EVENT_BYTES * 2 > self.options.ring_bytes or indexes * 2 > self.options.ring_indexes:
            self._serve_live()
            self._unsent = len(applied.events)
        self._wake()

    def _changed(self) -> None:
        replica = self._group.replica
        if replica is None:
            return
        self._follow_state()
        if replica.phase not in _SERVING:
            self._end_all(replica.phase.value)  # what was applied last is not to be trusted: no more of it is sent

    def _follow_state(self) -> None:
        """Another state took the place of the old one (a snapshot was installed): the ring begins behind it."""
        replica = self._group.replica
        if replica is None or replica.state is self._state:
            return
        self._serve_live()
        self._state = replica.state
        if replica.state.index == self.ring.last:
            return  # it hides nothing
        self.ring.restart(replica.state.index + 1)
        for reader in self._everyone():
            if reader.live:
                self._fall_behind(reader)
            if reader.position < (self.ring.first, 0):
                self._end_with_gap(reader)
        self._live_at = self.ring.last

    # --- sending ------------------------------------------------------------------------------------------------------

    def _wake(self) -> None:
        if not self._pump_due:
            self._pump_due = True
            self._runtime.call_soon(self._pump)

    def _pump(self) -> None:
        self._pump_due = False
        self._serve_live()
        if self._behind:
            self._serve_behind()

    def _serve_live(self) -> None:
        ring = self.ring
        if self._live and ring.last > self._live_at:
            for entry in ring.after(self._live_at + 1):
                scene = Scene(entry)
                for view in list(self._live):
                    for frame in self._audiences[view].frames(scene):
                        for reader in list(self._live.get(view, ())):
                            self._send(reader, frame.data)
        self._live_at = ring.last
        self._unsent = 0

    def _serve_behind(self) -> None:
        """In turn, each until it is live, full, or all have had their slice."""
        until = self._runtime.monotonic() + self.options.slice
        waits = False
        for reader in list(self._behind):
            if reader.position < (self.ring.first, 0):
                self.statistics.slow_consumers += 1
                self.unsubscribe(reader)
                reader.connection.close("slow_consumer")
            elif self._catch_up(reader, until):
                waits = True
            if self._runtime.monotonic() > until:
                self._wake()
                break
        if waits and self._paced is None:
            self._paced = self._runtime.call_later(self.options.paced, self._pace_over)

    def _catch_up(self, reader: Subscription, until: float) -> bool:
        """Send a reader what it lacks; whether it must read first."""
        audience, (index, ordinal) = reader.audience, reader.position
        if audience is None:
            return False
        for entry in self.ring.after(index):
            for frame in audience.frames_from(Scene(entry), ordinal if entry.log_index == index else 0):
                if reader.connection.queued_bytes > self.options.ahead_bytes:
                    return True
                if not self._send(reader, frame.data):
                    return False
                reader.position = frame.next
            reader.position = (entry.log_index + 1, 0)
            if self._runtime.monotonic() > until:
                self._behind[reader] = self._behind.pop(reader)  # the others first
                return False
        if reader.position <= (self.ring.last + 1, 0):
            del self._behind[reader]
            reader.live = True
            self._live.setdefault(reader.view.narrowed(), {})[reader] = None
        return False

    def _pace_over(self) -> None:
        self._paced = None
        self._wake()

    def _send(self, reader: Subscription, frame: bytes) -> bool:
        reader.frames += 1
        self.statistics.frames += 1
        self.statistics.bytes += len(frame)
        if reader.connection.send(frame):
            return True
        self.statistics.slow_consumers += 1
        self.unsubscribe(reader)
        return False

    def _say(self, reader: Subscription, kind: FeedFrameKind, *fields: object) -> bool:
        frame = pack_feed_frame(kind, *fields)
        return self._send(reader, feed_text(frame) if reader.view.text else frame)

    def _say_book(self, reader: Subscription) -> None:
        """The levels as they stand: this node has applied exactly what comes before ``position``."""
        machine = self._group.machine
        for pair in [reader.view.pair] if reader.view.pair is not None else self._pairs():
            levels = machine.query(TopOfBook(pair, WHOLE_BOOK))
            if levels is not None and not self._say(reader, FeedFrameKind.BOOK, pair, levels.bids, levels.asks):
                return

    def _end_with_gap(self, reader: Subscription) -> None:
        self.statistics.gaps += 1
        self.unsubscribe(reader)
        self._say(reader, FeedFrameKind.GAP, self.ring.first)
        reader.connection.close("gap")

    # --- readers ------------------------------------------------------------------------------------------------------

    def _take(self, reader: Subscription) -> None:
        view = reader.view.narrowed()
        if view not in self._audiences:
            self._audiences[view] = Audience(view, self.is_book, self._encoded if view.text else _as_it_is)
        reader.audience = self._audiences[view]
        self._members[view] = self._members.get(view, 0) + 1
        self._behind[reader] = None
        if self._marking is None:
            self._led_at = self._runtime.monotonic()
            self._marking = self._runtime.call_later(self.options.mark_every, self._mark)
        self._wake()

    def _fall_behind(self, reader: Subscription) -> None:
        reader.live = False
        reader.position = (self._live_at + 1, 0)
        self._live.pop(reader.view.narrowed(), None)
        self._behind[reader] = None

    def _everyone(self) -> list[Subscription]:
        return [*self._behind, *(reader for live in self._live.values() for reader in live)]

    def _mark(self) -> None:
        self._marking = self._runtime.call_later(self.options.mark_every, self._mark)
        now = self._runtime.monotonic()
        replica = self._group.replica
        if replica is not None and replica.leader:
            self._led_at = now
        if now - self._led_at > self.options.leaderless:
            self.close("not_online")
        else:
            self._mark_all()

    def _mark_all(self) -> None:
        self._serve_live()
        for reader in self._everyone():
            self._say(reader, FeedFrameKind.MARK, self._live_at + 1 if reader.live else reader.position[0])

    def _pairs(self) -> Sequence[str]:
        return [pair.pair for pair in self._group.machine.query(Pairs())]

    def _encoded(self, frame: bytes) -> bytes:
        return feed_text(frame, self.is_book)


def _as_it_is(frame: bytes) -> bytes:
    return frame
