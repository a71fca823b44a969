"""Refusals and faults of consensus, grouped by whose fault they are.

A ``Refused`` changed nothing: the request came to the wrong node or at the wrong moment, and may be made again.
``ConsensusViolated`` means that a promise of Raft is already broken (two leaders of one term, a committed entry
overwritten). The process must stop before it spreads: it is never handled and never skipped.
"""

from __future__ import annotations

from enum import StrEnum


class Refused(Exception):
    """The request was refused and changed nothing."""


class NotLeader(Refused):
    """This node does not lead. ``leader`` is the id of who does as far as it knows, 0 if it knows none."""

    def __init__(self, leader: int) -> None:
        super().__init__(f"not the leader; the leader is {leader or 'unknown'}")
        self.leader = leader


class ProposalsPaused(Refused):
    """The leadership is on its way to ``target``; a proposal would only hold it up."""

    def __init__(self, target: int) -> None:
        super().__init__(f"the leadership is being given to {target}")
        self.target = target


class TooManyUncommitted(Refused):
    """The log holds ``uncommitted`` bytes that no quorum has confirmed; with this proposal they pass the limit."""

    def __init__(self, uncommitted: int, limit: int) -> None:
        super().__init__(f"{uncommitted} bytes await a quorum; the limit is {limit}")
        self.uncommitted = uncommitted
        self.limit = limit


class MembershipReason(StrEnum):
    """Why a change of membership was refused. The set is closed: callers may switch on it."""

    STALE_CONFIGURATION = "stale_configuration"
    CHANGE_IN_PROGRESS = "change_in_progress"
    LEADER_NOT_READY = "leader_not_ready"
    TRANSFER_IN_PROGRESS = "transfer_in_progress"
    NOT_CAUGHT_UP = "not_caught_up"
    NOTHING_TO_CHANGE = "nothing_to_change"
    NO_VOTERS = "no_voters"
    INVALID_MEMBER = "invalid_member"
    DUPLICATE_NAME = "duplicate_name"
    DUPLICATE_ID = "duplicate_id"
    RENAMED = "renamed"


class MembershipRefused(Refused):
    """A change of membership was refused: ``reason`` for programs, ``sentence`` for people."""

    def __init__(self, reason: MembershipReason, sentence: str) -> None:
        super().__init__(f"{reason.value}: {sentence}")
        self.reason = reason
        self.sentence = sentence


class TransferReason(StrEnum):
    """Why a transfer of leadership was refused. The set is closed: callers may switch on it."""

    ALREADY_LEADER = "already_leader"
    NOT_A_VOTER = "not_a_voter"
    UNREACHABLE = "unreachable"
    TRANSFER_IN_PROGRESS = "transfer_in_progress"


class TransferRefused(Refused):
    """A transfer of leadership was refused: ``reason`` for programs, ``sentence`` for people."""

    def __init__(self, reason: TransferReason, sentence: str) -> None:
        super().__init__(f"{reason.value}: {sentence}")
        self.reason = reason
        self.sentence = sentence


class ConsensusViolated(Exception):
    """A safety property of Raft does not hold. Stop the process; look at disks and at who shares an id."""
