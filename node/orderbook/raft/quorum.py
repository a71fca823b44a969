"""Majorities, of one configuration or of both halves of a joint one (Raft paper, section 6).

Every decision of consensus is one of two questions: what value has a majority reached (commit index, read round), and
has a vote been won. In the joint state the answer is the more pessimistic one of both halves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import NamedTuple


class VoteResult(IntEnum):
    PENDING = 0
    WON = 1
    LOST = 2


class Electorate(NamedTuple):
    """Ids of the voters of the configuration being entered and, in the joint state, of the one being left."""

    incoming: tuple[int, ...]
    outgoing: tuple[int, ...] = ()

    def agreed(self, reached: Callable[[int], int]) -> int:
        """The greatest value that a majority of each half has reached; 0 if there are no voters."""
        value = _majority_reached(self.incoming, reached)
        if self.outgoing:
            return min(value, _majority_reached(self.outgoing, reached))
        return value

    def result(self, votes: Mapping[int, bool]) -> VoteResult:
        """Where a vote stands. Won needs a majority of each half; lost as soon as one half can't be won any more."""
        incoming = _tally(self.incoming, votes)
        if not self.outgoing:
            return incoming
        outgoing = _tally(self.outgoing, votes)
        if incoming is outgoing:
            return incoming
        return VoteResult.LOST if VoteResult.LOST in (incoming, outgoing) else VoteResult.PENDING


def _majority_reached(voters: tuple[int, ...], reached: Callable[[int], int]) -> int:
    if not voters:
        return 0
    return sorted(map(reached, voters))[(len(voters) - 1) // 2]


def _tally(voters: tuple[int, ...], votes: Mapping[int, bool]) -> VoteResult:
    needed = len(voters) // 2 + 1
    granted = sum(1 for voter in voters if votes.get(voter) is True)
    refused = sum(1 for voter in voters if votes.get(voter) is False)
    if granted >= needed:
        return VoteResult.WON
    return VoteResult.LOST if len(voters) - refused < needed else VoteResult.PENDING
