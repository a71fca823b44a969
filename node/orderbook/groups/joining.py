"""From an empty directory to a member: announces, listens, and acts on what ``forming.decide`` says.

``joined(incarnation, voters)`` is called once, when this member begins or adopts a group (``voters`` is the first
configuration) or is added to one that exists (``voters`` is empty: the leader sends the rest).
"""

from __future__ import annotations

from collections.abc import Callable

from orderbook.groups.forming import Begin, Join, View, Wait, decide, view_from_wire
from orderbook.network.channel import Channel
from orderbook.raft import Member
from orderbook.runtime import Runtime, Timer
from orderbook.wire.frames import NO_INCARNATION, Frame, FrameKind, pack_frame

Joined = Callable[[bytes, tuple[Member, ...]], None]


class Joining:
    def __init__(
        self,
        runtime: Runtime,
        channel: Channel,
        group: bytes,
        member: Member,
        initial_size: int,
        given: bytes,
        every: float,
        joined: Joined,
    ) -> None:
        self.waits_for = "sees nobody yet"
        self._runtime = runtime
        self._channel = channel
        self._group = group
        self._given = given
        self._every = every
        self._joined = joined
        self._own = View(member, initial_size, NO_INCARNATION, (), (member,))
        self._views: dict[str, View] = {}
        self._decision: Begin | Join | Wait = Wait(self.waits_for)
        self._timer: Timer | None = None

    def start(self) -> None:
        self._timer = self._runtime.call_later(self._every, self._again)
        self._look()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def on_frame(self, peer: str, frame: Frame) -> None:
        """An announcement, or the first frame of a leader that added this member. Raises ValueError if malformed."""
        if frame.kind == FrameKind.ANNOUNCE:
            view = view_from_wire(frame.fields[0])
            if view.member.name != peer:
                raise ValueError(f"{peer} announces itself as {view.member.name!r}")
            self._views[peer] = view
            self._look()
        elif (
            isinstance(self._decision, Join)
            and frame.incarnation == self._decision.incarnation
            and frame.receiver == self._own.member.id
        ):
            self._end(frame.incarnation, ())

    def on_connected(self, peer: str) -> None:
        self._announce(peer)

    def on_disconnected(self, peer: str) -> None:
        self._views.pop(peer, None)
        self._look()

    def _again(self) -> None:
        self._timer = self._runtime.call_later(self._every, self._again)
        for peer in self._channel.peers():
            self._announce(peer)

    def _announce(self, peer: str) -> None:
        self._channel.send(peer, pack_announcement(self._own))

    def _look(self) -> None:
        if self._timer is None:
            return
        seen = tuple(sorted([self._own.member, *(view.member for view in self._views.values())]))
        if seen != self._own.sees:
            self._own = self._own._replace(sees=seen)
            for peer in self._channel.peers():
                self._announce(peer)
        self._decision = decide(self._group, self._own, self._views, self._given)
        if isinstance(self._decision, Begin):
            for peer in self._channel.peers():
                self._announce(peer)
            self._end(self._decision.incarnation, self._decision.voters)
        elif isinstance(self._decision, Join):
            self.waits_for = f"waits to be added to the group of incarnation {self._decision.incarnation.hex()}"
        else:
            self.waits_for = self._decision.reason

    def _end(self, incarnation: bytes, voters: tuple[Member, ...]) -> None:
        if self._timer is not None:
            self.stop()
            self._joined(incarnation, voters)


def pack_announcement(view: View) -> bytes:
    """The ANNOUNCE frame of a view, for whoever is connected."""
    return pack_frame(FrameKind.ANNOUNCE, view.incarnation, view.member.id, 0, view.to_wire())
