"""What a policy answers: what to do now, and why a wanted thing isn't done now."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from orderbook_operator.actions import DISRUPTIVE, Action


class Reason(Enum):
    """Why something waits: a closed set, shown as conditions' reasons and as labels of metrics."""

    # What the cluster or the resource has to give first
    NAME_TAKEN = "NameTaken"
    IDENTITY_LOST = "IdentityLost"
    INCARNATION_DIFFERS = "IncarnationDiffers"
    CLAIM_TERMINATING = "ClaimTerminating"
    SECRET_UNREADABLE = "SecretUnreadable"
    TEARING_DOWN = "TearingDown"
    PAIR_DIFFERS = "PairDiffers"
    # What the group has to give first
    FORMING = "Forming"
    NO_LEADER = "NoLeader"
    CHANGE_IN_PROGRESS = "ChangeInProgress"
    MEMBERS_CATCH_UP = "MembersCatchUp"
    ROTATING_CREDENTIALS = "RotatingCredentials"
    QUORUM_AT_RISK = "QuorumAtRisk"
    # A roll
    ROLLING = "Rolling"
    ROLL_STOPPED = "RollStopped"
    UPGRADE_QUEUED = "UpgradeQueued"
    POD_NOT_STARTING = "PodNotStarting"
    # The size
    SCALING_UP = "ScalingUp"
    SCALING_DOWN = "ScalingDown"
    # What only a person may decide
    MEMBER_PINNED = "MemberPinned"
    REPLACEMENT_REFUSED = "ReplacementRefused"
    RECOVERING = "Recovering"
    RECOVERY_REFUSED = "RecoveryRefused"
    # What nodes say of themselves: added by the status
    MEMBER_QUARANTINED = "MemberQuarantined"
    GROUP_HALTED = "GroupHalted"
    # What was tried and is not done: added to a plan by whoever carries it out
    ACTION_BLOCKED = "ActionBlocked"
    ACTION_REFUSED = "ActionRefused"


class Wait(NamedTuple):
    """A wanted thing that isn't done now; ``message`` is a sentence that says what it waits for."""

    reason: Reason
    message: str


@dataclass(frozen=True)
class Plan:
    """``actions`` in the order to do them; ``waits`` for the status.

    At most one action is disruptive, and it is the last one: after it the group is to be observed anew.
    """

    actions: tuple[Action, ...] = ()
    waits: tuple[Wait, ...] = ()

    def __add__(self, other: Plan) -> Plan:
        return Plan(self.actions + other.actions, self.waits + other.waits)

    def __bool__(self) -> bool:
        return bool(self.actions or self.waits)

    @property
    def disruptive(self) -> tuple[Action, ...]:
        return tuple(action for action in self.actions if isinstance(action, DISRUPTIVE))


NOTHING = Plan()


def do(*actions: Action) -> Plan:
    return Plan(actions)


def wait(reason: Reason, message: str) -> Plan:
    return Plan(waits=(Wait(reason, message),))
