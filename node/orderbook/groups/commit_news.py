"""When the leader tells the others of a new commit index.

An append carries it, so under load it is never alone. Alone it costs every member a frame, a turn and a wake-up, as
much as an entry does; sent after each single order it would stand in the way of the next. So it waits for an append, at
most ``commit_hold``, unless somebody elsewhere waits for it: the member whose client gave the entry, or all of them,
where it is a change of the group itself.
"""

from __future__ import annotations

from collections.abc import Callable

from orderbook.raft import RawNode
from orderbook.runtime import Runtime, Timer


class CommitNews:
    """``wake`` has a turn follow, in which what was announced leaves."""

    def __init__(self, runtime: Runtime, node: RawNode, hold: float, wake: Callable[[], None]) -> None:
        self._runtime = runtime
        self._node = node
        self._hold = hold
        self._wake = wake
        self._awaited = False
        self._timer: Timer | None = None

    def applied(self, origin: int) -> None:
        """An entry was applied here that ``origin`` answers for, 0 for nobody."""
        if origin != self._node.id:
            self._awaited = True

    def turn(self) -> None:
        """At the end of each turn."""
        if not self._node.holds_commit:
            return
        if self._awaited:
            self._announce()
        elif self._timer is None:
            self._timer = self._runtime.call_later(self._hold, self._announce)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _announce(self) -> None:
        self.stop()
        self._awaited = False
        self._node.announce_commit()
        self._wake()
