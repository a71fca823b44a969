"""Everything that the operator can do to a group: a closed set of plain values, made by ``plan``, done by ``act``.

Each carries what makes it safe against a stale view: the uid of what it deletes, the resourceVersion of what it
replaces, the configuration index or incarnation that it expects. Doing one twice, or after another operator did it,
does no harm: it is refused, or changes nothing.

``DISRUPTIVE`` ones take something away that serves. After one of them the group is observed anew before anything else
is done.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from orderbook_operator.observation import Manifest, Member, ObjectKey, PairSeen


@dataclass(frozen=True)
class SetFinalizer:
    """Add or remove our finalizer. ``resource_version`` guards against a change in between."""

    present: bool
    resource_version: str


@dataclass(frozen=True)
class ApplyObject:
    """Server-side apply, with our field manager. ``uid`` is that of the live object, "" to create it.

    ``resource_version``: refused if the object changed since it was seen, for what decides how many pods there are.
    ``reclaim``: fields that others added are ours to remove first (entries of managedFields rewritten).
    """

    manifest: Manifest
    uid: str = ""
    reclaim: bool = False
    resource_version: str = ""


@dataclass(frozen=True)
class CreateSecret:
    """POST. Refused if one is there. ``owned``: garbage collection removes it with the resource."""

    name: str
    data: Mapping[str, bytes] = field(repr=False)
    owned: bool


@dataclass(frozen=True)
class ReplaceSecret:
    """PUT with uid and resourceVersion."""

    name: str
    data: Mapping[str, bytes] = field(repr=False)
    uid: str
    resource_version: str
    owned: bool


@dataclass(frozen=True)
class DeleteObject:
    key: ObjectKey
    uid: str
    reason: str


@dataclass(frozen=True)
class EvictPod:
    """Through the eviction API, so that the disruption budget has its say."""

    pod: str
    uid: str
    reason: str


@dataclass(frozen=True)
class DeletePod:
    """For pods that serve nobody: their container isn't running or never got ready, or their member has left. Grace as
    the pod's.

    ``resource_version``: refused if the pod changed since it was seen, so that one that has started meanwhile stays.
    """

    pod: str
    uid: str
    reason: str
    resource_version: str = ""


@dataclass(frozen=True)
class DeleteClaim:
    """``resource_version``: refused if the claim changed since it was seen, so that one that is used again stays."""

    claim: str
    uid: str
    reason: str
    resource_version: str = ""


@dataclass(frozen=True)
class LabelClaim:
    """``retired`` "" removes the label."""

    claim: str
    uid: str
    retired: str


@dataclass(frozen=True)
class GrowClaim:
    claim: str
    uid: str
    size: str


@dataclass(frozen=True)
class ChangeMembers:
    """One change of the configuration, refused by raft unless it is still the one at ``expected_index``."""

    voters: tuple[Member, ...]
    learners: tuple[Member, ...]
    expected_index: int
    reason: str


@dataclass(frozen=True)
class TransferLeadership:
    to: str
    reason: str


@dataclass(frozen=True)
class DefinePair:
    pair: PairSeen


@dataclass(frozen=True)
class ChangePair:
    """Limits only: tick and lot of a pair never change."""

    pair: PairSeen


@dataclass(frozen=True)
class Recover:
    """Ask the survivor's node to begin a new incarnation from its data."""

    survivor: Member
    incarnation: str
    last_term: int
    last_index: int


Action = (
    SetFinalizer
    | ApplyObject
    | CreateSecret
    | ReplaceSecret
    | DeleteObject
    | EvictPod
    | DeletePod
    | DeleteClaim
    | LabelClaim
    | GrowClaim
    | ChangeMembers
    | TransferLeadership
    | DefinePair
    | ChangePair
    | Recover
)

# Nothing is built on these. One that is refused (a port that is taken, a volume that can't grow) holds up nothing else.
INDEPENDENT = (ApplyObject, DeleteObject, LabelClaim, GrowClaim, DefinePair, ChangePair)

DISRUPTIVE = (EvictPod, DeletePod, DeleteClaim, ChangeMembers, TransferLeadership, Recover)
