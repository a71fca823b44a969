"""Linearizable reads without a log entry: ReadIndex (dissertation, section 6.4).

The leader notes its commit index, then has a heartbeat round confirmed, which proves that it still led after the read
arrived; what was committed by then is all that the read must see. Only a leader that has committed an entry of its own
term knows the commit index, so reads wait for that. All reads that arrived since the last round share the next one.

A follower asks its leader, once for all reads since its last request. Whatever it can't learn is reported as failed:
the caller asks again until its own deadline.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from orderbook.raft.messages import ReadIndex, ReadIndexReply
from orderbook.raft.state import State
from orderbook.raft.types import ReadState


class _Read(NamedTuple):
    origin: int  # the member that asked
    key: int  # the caller's context if that is this node, else the request's number


class _Round(NamedTuple):
    number: int
    commit: int
    reads: list[_Read]


class LeaderReads:
    """Reads in the hands of a leader, for itself and for its followers."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._waiting: list[_Read] = []
        self._rounds: deque[_Round] = deque()
        self.round = 0  # the last heartbeat round begun

    @property
    def waiting(self) -> bool:
        """Whether a read waits for a round to begin."""
        return bool(self._waiting)

    def add(self, origin: int, key: int) -> None:
        self._waiting.append(_Read(origin, key))

    def begin_round(self) -> None:
        """Every waiting read joins a new round, whose heartbeats the caller sends now: after they all arrived."""
        self.round += 1
        self._rounds.append(_Round(self.round, self._state.log.commit, self._waiting))
        self._waiting = []

    def confirm(self, number: int) -> None:
        """A quorum has answered the round ``number``, and with it all rounds before."""
        outbox = self._state.outbox
        while self._rounds and self._rounds[0].number <= number:
            _, commit, reads = self._rounds.popleft()
            for origin, key in reads:
                if origin == self._state.id:
                    outbox.read_states.append(ReadState(key, commit))
                else:
                    self._state.send(origin, ReadIndexReply(self._state.term, key, commit))

    def fail(self) -> None:
        """The leadership ended. Followers notice by themselves."""
        unanswered = [read for begun in self._rounds for read in begun.reads] + self._waiting
        self._state.outbox.reads_failed += [key for origin, key in unanswered if origin == self._state.id]
        self._rounds.clear()
        self._waiting = []


class ForwardedReads:
    """Reads that a node which doesn't lead has asked, or is about to ask, its leader for.

    Requests are numbered from a random start, so that an answer to a request made before a restart can't be taken for
    one made after it.
    """

    def __init__(self, state: State, draw: Callable[[int, int], int]) -> None:
        self._state = state
        self._next_request = draw(0, 2**62)
        self._waiting: list[int] = []
        self._asked: dict[int, list[int]] = {}
        self._deadlines: deque[tuple[int, int]] = deque()  # (tick, request), oldest first
        self._ticks = 0

    @property
    def waiting(self) -> bool:
        return bool(self._waiting)

    def add(self, context: int) -> None:
        """Ask the leader at the next ``flush``; without one, fail now."""
        if self._state.leader:
            self._waiting.append(context)
        else:
            self._state.outbox.reads_failed.append(context)

    def flush(self) -> None:
        """Send one request for all reads that wait."""
        if not self._waiting:
            return
        request = self._next_request
        self._next_request += 1
        self._asked[request] = self._waiting
        self._deadlines.append((self._ticks + self._state.config.election_ticks, request))
        self._waiting = []
        self._state.send(self._state.leader, ReadIndex(self._state.term, request))

    def tick(self) -> None:
        """A request that brought no answer within an election timeout was lost."""
        self._ticks += 1
        while self._deadlines and self._deadlines[0][0] <= self._ticks:
            self._finish(self._deadlines.popleft()[1], 0)

    def answer(self, reply: ReadIndexReply) -> None:
        self._finish(reply.request, reply.index)

    def fail(self) -> None:
        """The leader that was asked leads no more, as far as this node knows."""
        for contexts in self._asked.values():
            self._state.outbox.reads_failed += contexts
        self._state.outbox.reads_failed += self._waiting
        self._asked.clear()
        self._deadlines.clear()
        self._waiting = []

    def _finish(self, request: int, index: int) -> None:
        contexts = self._asked.pop(request, [])
        if index:
            self._state.outbox.read_states += [ReadState(context, index) for context in contexts]
        else:
            self._state.outbox.reads_failed += contexts
