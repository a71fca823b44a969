"""The edge's side of a proposal: from a request accepted here to its answer from this member's own apply.

A request is *waiting* until it is placed: first it has only been handed to a leader (here or elsewhere), then it stands
at (term, index) of a log. It ends in exactly one way:

============================================================  ====================================================
what is seen                                                  how it ends
============================================================  ====================================================
an entry with this origin and request is applied here         the answer
the leader refused it, or it was sent to nobody               Unavailable
an entry of another term is committed at its index            Unavailable: it was overwritten
the leader that it was handed to is not the leader any more,  Uncertain, unless it was placed
or the connection to it broke
its deadline passes, or this member stops                     Uncertain, if it was handed to a leader
a snapshot replaced the log at its index                      Uncertain
============================================================  ====================================================
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from orderbook.groups.errors import GroupError, Unavailable, Uncertain
from orderbook.groups.replicated import Applied

PROPOSE_BYTES = 1 << 20  # of requests in one frame to the leader; a larger one goes alone

Place = tuple[int, int]  # (term, index) of an entry
Done = Callable[[Applied | None, GroupError | None], None]


class Pending:
    """One request that waits for its answer."""

    __slots__ = ("deadline", "done", "index", "leader", "request", "sealed", "term")

    def __init__(self, request: int, sealed: bytes, deadline: float, done: Done) -> None:
        self.request = request
        self.sealed = sealed
        self.deadline = deadline  # by the runtime's monotonic clock
        self.done = done
        self.leader = 0  # who it was handed to; 0: nobody yet
        self.term = 0  # where it stands in the leader's log; 0: not known
        self.index = 0


class Proposals:
    """The requests of one edge. ``max_bytes`` bounds the bodies that wait; beyond it a request is refused."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self.answered = 0  # statistics: how requests ended
        self.unavailable = 0
        self.uncertain = 0
        self._next = 1
        self._pending: dict[int, Pending] = {}
        self._by_index: dict[int, list[Pending]] = {}

    def __len__(self) -> int:
        return len(self._pending)

    def next_request(self) -> int:
        """The number of a new request; never used twice by one process."""
        request = self._next
        self._next += 1
        return request

    def start_at(self, request: int) -> None:
        """Numbers of an earlier process of this member must not come again."""
        self._next = max(self._next, request)

    def add(self, pending: Pending) -> None:
        """Raises Unavailable(overloaded)."""
        if self.bytes + len(pending.sealed) > self.max_bytes:
            raise Unavailable("overloaded")
        self.bytes += len(pending.sealed)
        self._pending[pending.request] = pending

    def append(
        self, waiting: list[Pending], leader: int, propose: Callable[[list[bytes]], Sequence[Place] | str]
    ) -> None:
        """This member leads: into its own log, in one append; ``propose`` says where each stands, or why not."""
        placed = propose([pending.sealed for pending in waiting])
        for number, pending in enumerate(waiting):
            if isinstance(placed, str):
                self.refused(pending.request, Unavailable(placed))
            else:
                pending.leader = leader
                self.placed(pending.request, *placed[number])

    def forward(self, waiting: list[Pending], leader: int, send: Callable[[list[bytes]], bool]) -> None:
        """To the leader elsewhere, 0 for none, in as few pieces as may be; what surely doesn't leave is refused."""
        for piece in _in_pieces(waiting):
            if leader and send([pending.sealed for pending in piece]):
                for pending in piece:
                    pending.leader = leader
            else:
                for pending in piece:
                    self.refused(pending.request, Unavailable("no_leader"))

    def placed(self, request: int, term: int, index: int) -> None:
        pending = self._pending.get(request)
        if pending is not None and not pending.term:
            pending.term, pending.index = term, index
            self._by_index.setdefault(index, []).append(pending)

    def refused(self, request: int, error: GroupError) -> None:
        pending = self._pending.get(request)
        if pending is not None:
            self._finish(pending, None, error)

    def applied(self, applied: Applied) -> None:
        """An entry of this member's own was applied."""
        pending = self._pending.get(applied.request)
        if pending is not None:
            self._finish(pending, applied, None)

    def committed(self, index: int, term: int) -> None:
        """The entry at ``index`` is of ``term``: whoever stood there with another term was overwritten."""
        if index in self._by_index:
            for pending in list(self._by_index[index]):
                if pending.term != term:
                    self._finish(pending, None, Unavailable("superseded"))

    def leader_changed(self, leader: int) -> None:
        """Requests handed to another leader, and not placed, may or may not be in its log."""
        for pending in list(self._pending.values()):
            if pending.leader not in (0, leader) and not pending.term:
                self._finish(pending, None, Uncertain("the leader changed"))

    def leader_lost(self, leader: int) -> None:
        """The connection to the leader broke: what it was handed, and did not place, may or may not be in its log."""
        for pending in list(self._pending.values()):
            if pending.leader == leader and not pending.term:
                self._finish(pending, None, Uncertain("the connection to the leader broke"))

    def skipped_to(self, index: int) -> None:
        """A snapshot replaced the log up to ``index``."""
        for pending in list(self._pending.values()):
            if pending.term and pending.index <= index:
                self._finish(pending, None, Uncertain("a snapshot replaced the log where the entry stood"))

    def expire(self, now: float) -> None:
        for pending in list(self._pending.values()):
            if pending.deadline <= now:
                never_sent = pending.leader == 0
                self._finish(pending, None, Unavailable("deadline") if never_sent else Uncertain("no answer in time"))

    def stop(self) -> None:
        for pending in list(self._pending.values()):
            never_sent = pending.leader == 0
            self._finish(pending, None, Unavailable("stopped") if never_sent else Uncertain("this member stopped"))

    def _finish(self, pending: Pending, applied: Applied | None, error: GroupError | None) -> None:
        if self._pending.pop(pending.request, None) is None:
            return  # a callback of another request ended this one meanwhile
        self.bytes -= len(pending.sealed)
        if pending.term:
            there = self._by_index[pending.index]
            there.remove(pending)
            if not there:
                del self._by_index[pending.index]
        if applied is not None:
            self.answered += 1
        elif isinstance(error, Unavailable):
            self.unavailable += 1
        else:
            self.uncertain += 1
        pending.done(applied, error)


def _in_pieces(waiting: list[Pending]) -> list[list[Pending]]:
    """In order, each piece of at most ``PROPOSE_BYTES`` or of one request."""
    pieces: list[list[Pending]] = []
    size = 0
    for pending in waiting:
        if not pieces or size + len(pending.sealed) > PROPOSE_BYTES:
            pieces.append([])
            size = 0
        pieces[-1].append(pending)
        size += len(pending.sealed)
    return pieces
