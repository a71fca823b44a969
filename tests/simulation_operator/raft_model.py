"""A group as the operator meets it: members, a leader, lag, joint changes. Raft's promises, without its messages.

What it keeps of raft, since the policy relies on it: a leader needs a quorum of each half of the configuration; who
leads has all that was acknowledged; a change expects the configuration in force, and waits for the one before it; a
joint one is left by itself; removed members set their directory aside. Time goes in ticks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from orderbook_operator.observation import Member

CATCHING_UP = 2  # ticks that a member needs after it came up


class Refused(Exception):
    """The API server or the group said no: the message says why."""


@dataclass
class Disk:
    """The directory on a claim: whose it is, of which life, and what was set aside."""

    id: int
    incarnation: str = ""
    end: tuple[int, int] = (0, 0)
    aside: int = 0


@dataclass
class Life:
    """A group from its beginning, or from its recovery, on."""

    incarnation: str
    parent: str
    voters: tuple[Member, ...]
    learners: tuple[Member, ...] = ()
    outgoing: tuple[Member, ...] = ()
    index: int = 1
    term: int = 1
    last: int = 1
    acknowledged: int = 0
    leader: Member | None = None
    transferee: Member | None = None
    behind: dict[Member, int] = field(default_factory=dict)  # ticks until it has caught up
    transfers: list[tuple[Member, Member]] = field(default_factory=list)

    @property
    def halves(self) -> tuple[tuple[Member, ...], ...]:
        return (self.voters, self.outgoing) if self.outgoing else (self.voters,)

    @property
    def members(self) -> tuple[Member, ...]:
        return tuple(dict.fromkeys(self.voters + self.outgoing + self.learners))

    def has_quorum(self, alive: Iterable[Member]) -> bool:
        up = set(alive)
        return all(len(up.intersection(half)) > len(half) // 2 for half in self.halves)

    def caught_up(self, alive: Iterable[Member]) -> list[Member]:
        return [member for member in alive if self.behind.get(member, CATCHING_UP) == 0]

    def serves(self, alive: Iterable[Member]) -> bool:
        """Orders are taken: by a leader, and by a quorum that has all of the log."""
        return self.has_quorum(self.caught_up(alive))

    def tick(self, alive: Mapping[Member, Disk]) -> None:
        """One step of time. ``alive`` are the members whose process runs."""
        for member in list(self.behind):
            if member not in alive:
                del self.behind[member]
        for member in alive:
            self.behind.setdefault(member, CATCHING_UP)
        if self.leader not in alive or not self.has_quorum(alive):
            self.leader = self.transferee = None
        if self.leader is None and self.has_quorum(alive):
            self._elect(alive)
        if self.leader is None:
            return
        if self.transferee is not None:
            self._hand_over(alive)
        self._replicate(alive)
        if self.outgoing and self.has_quorum(self.caught_up(alive)):
            self.outgoing, self.index = (), self.index + 1
            if self.leader not in self.voters:
                self.leader = None

    def _elect(self, alive: Mapping[Member, Disk]) -> None:
        candidates = [voter for half in self.halves for voter in half if voter in alive]
        newest = max(alive[candidate].end for candidate in candidates)
        self.leader = min(candidate for candidate in candidates if alive[candidate].end == newest)
        assert newest[1] >= self.acknowledged, f"{self.leader} leads without what was acknowledged"
        self.last = newest[1]
        self.term += 1
        self.behind[self.leader] = 0

    def _hand_over(self, alive: Mapping[Member, Disk]) -> None:
        heir, self.transferee = self.transferee, None
        if heir in alive and heir in self.voters and self.behind[heir] == 0:
            assert heir is not None and self.leader is not None
            self.transfers.append((self.leader, heir))
            self.leader, self.term = heir, self.term + 1

    def _replicate(self, alive: Mapping[Member, Disk]) -> None:
        self.last += 1
        assert self.leader is not None
        self.behind[self.leader] = 0
        for member, disk in alive.items():
            if member not in self.members:
                continue
            if self.behind[member]:
                self.behind[member] -= 1
            if self.behind[member] == 0:
                disk.end = (self.term, self.last)
        if self.serves(alive):
            self.acknowledged = self.last

    # What an operator asks of the leader

    def change(
        self,
        voters: tuple[Member, ...],
        learners: tuple[Member, ...],
        expected: int,
        alive: Iterable[Member],
        strangers: Iterable[Member],
    ) -> None:
        """Raises Refused."""
        if self.leader is None or self.outgoing or self.transferee is not None:
            raise Refused("no leader that is free")
        if expected != self.index:
            raise Refused("stale configuration")
        known = {*self.members, *strangers}
        if any(member not in known for member in voters + learners):
            raise Refused("unknown member")
        leaving = [member for member in self.voters if member not in voters]
        entering = [member for member in voters if member not in self.voters]
        fit = self.caught_up(alive)
        for member in entering:
            replaces = member.name in {old.name for old in leaving}
            if not replaces and not (member in self.learners and member in fit):
                raise Refused("not caught up")
        everyone = [member.name for member in voters + learners]
        if not voters or len(set(everyone)) < len(everyone) or (voters, learners) == (self.voters, self.learners):
            raise Refused("no proper configuration")
        self.outgoing = self.voters if len(entering) + len(leaving) > 1 else ()
        self.voters, self.learners, self.index = tuple(sorted(voters)), tuple(sorted(learners)), self.index + 1
        if not self.outgoing and self.leader not in self.voters:
            self.leader = None

    def transfer(self, to: str, alive: Iterable[Member]) -> None:
        """Raises Refused."""
        heir = next((voter for voter in self.voters if voter.name == to and voter in set(alive)), None)
        if self.leader is None or heir is None or heir == self.leader:
            raise Refused("nobody to lead")
        self.transferee = heir
