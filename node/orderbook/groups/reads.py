"""Strong reads: wait for a read index from the leader, then until this member has applied it.

A round that fails (no leader, the term changed) is asked for again until the read's deadline, then Unavailable. Not
more than ``most`` reads wait at once: one beyond them is Unavailable(overloaded) at once.
"""

from __future__ import annotations

from collections.abc import Callable

from orderbook.groups.errors import GroupError, Unavailable

ReadDone = Callable[[GroupError | None], None]

MOST_WAITING = 10_000


class _Read:
    __slots__ = ("deadline", "done", "index")

    def __init__(self, deadline: float, done: ReadDone) -> None:
        self.deadline = deadline
        self.done = done
        self.index = 0  # the index to wait for; 0: not known yet


class Reads:
    """``ask`` starts a round at raft; the round's number comes back through ``confirmed`` or ``failed``."""

    def __init__(self, ask: Callable[[int], None], most: int = MOST_WAITING) -> None:
        self._ask = ask
        self._most = most
        self._waiting = 0
        self._next_round = 1
        self._gathering: list[_Read] = []  # share the next round
        self._rounds: dict[int, list[_Read]] = {}
        self._confirmed: list[_Read] = []
        self._retry: list[_Read] = []

    def __len__(self) -> int:
        return self._waiting

    def add(self, deadline: float, done: ReadDone) -> None:
        if self._waiting >= self._most:
            done(Unavailable("overloaded"))
        else:
            self._waiting += 1
            self._gathering.append(_Read(deadline, done))

    def start_round(self) -> None:
        """All reads that came since the last round share one: it is asked for after each of them arrived."""
        if self._gathering:
            number = self._next_round
            self._next_round += 1
            self._rounds[number] = self._gathering
            self._gathering = []
            self._ask(number)

    def confirmed(self, number: int, index: int, applied: int) -> None:
        for read in self._rounds.pop(number, ()):
            read.index = index
            self._confirmed.append(read)
        self.applied(applied)

    def failed(self, number: int) -> None:
        self._retry += self._rounds.pop(number, [])

    def applied(self, index: int) -> None:
        if self._confirmed:
            ready = [read for read in self._confirmed if read.index <= index]
            if ready:
                self._confirmed = [read for read in self._confirmed if read.index > index]
                for read in ready:
                    self._end(read, None)

    def tick(self, now: float) -> None:
        """Once a raft tick: failed rounds are asked for again, late reads end."""
        self._gathering += self._retry
        self._retry = []
        for number in list(self._rounds):
            self._rounds[number] = self._unexpired(self._rounds[number], now)
            if not self._rounds[number]:
                del self._rounds[number]
        self._gathering = self._unexpired(self._gathering, now)
        self._confirmed = self._unexpired(self._confirmed, now)

    def stop(self, reason: str) -> None:
        everyone = [*self._gathering, *self._confirmed, *self._retry]
        for reads in self._rounds.values():
            everyone += reads
        self._gathering, self._confirmed, self._retry, self._rounds = [], [], [], {}
        for read in everyone:
            self._end(read, Unavailable(reason))

    def _unexpired(self, reads: list[_Read], now: float) -> list[_Read]:
        late = [read for read in reads if read.deadline <= now]
        for read in late:
            self._end(read, Unavailable("deadline"))
        return [read for read in reads if read.deadline > now] if late else reads

    def _end(self, read: _Read, error: GroupError | None) -> None:
        self._waiting -= 1
        read.done(error)
