"""What the policy sees of one group: the cluster's objects, the nodes' own words, the time.

Plain immutable values. ``observe`` fills them in, ``plan`` and ``status`` read them, tests write them by hand. Absent
is always None or empty, never a guess: a policy that lacks an answer must hold still, and can only if it knows that it
lacks one.

Times are seconds since the epoch. Sizes are Kubernetes quantities. A member is (name, id): the name is its pod's, the
id was drawn with its directory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from orderbook_operator import names
from orderbook_operator.resource import OrderBookGroup

Manifest = Mapping[str, Any]  # an object as the API server gives it, or as a builder renders it


class ObjectKey(NamedTuple):
    """An object of the group's namespace, e.g. ("v1", "Service", "eth-peers")."""

    api_version: str
    kind: str
    name: str


class Member(NamedTuple):
    name: str
    id: int

    def __str__(self) -> str:
        """As annotations and messages write it."""
        return f"{self.name}/{self.id}"


@dataclass(frozen=True)
class PodSeen:
    """``revision`` is the label controller-revision-hash, ``template`` our annotation of what it was rendered from.

    ``running``: the node's container runs now. ``ready``: the API server says so, by the node's own probe.
    ``waiting`` is the container's reason for not running (ImagePullBackOff, CrashLoopBackOff, ...), "" if none.
    """

    name: str
    uid: str
    ordinal: int
    revision: str
    template: str
    created: float
    ready: bool = False
    running: bool = False
    terminating: bool = False
    waiting: str = ""
    image: str = ""
    address: str = ""
    node: str = ""
    node_exists: bool = True  # False: the cluster's node object is gone
    node_ready: bool = True
    zone: str = ""
    resource_version: str = ""


@dataclass(frozen=True)
class ClaimSeen:
    """``node`` is the only one that can mount its volume, "" if any can. ``retired`` is the id in the label."""

    name: str
    uid: str
    ordinal: int
    requested: str
    capacity: str = ""
    bound: bool = False
    terminating: bool = False
    retired: str = ""
    node: str = ""
    node_exists: bool = True
    resource_version: str = ""


@dataclass(frozen=True)
class StatefulSetSeen:
    """``current``: its controller has seen the newest spec, so that ``update_revision`` is that spec's.

    It has the pods of the ordinals ``first`` (``spec.ordinals.start``) to ``first`` + ``replicas`` - 1.
    """

    uid: str
    replicas: int
    template: str  # our annotation on its pod template
    update_revision: str
    current: bool
    first: int = 0

    def is_only(self, ordinal: int) -> bool:
        """It is narrowed to the pod of this ordinal."""
        return (self.first, self.replicas) == (ordinal, 1)


@dataclass(frozen=True)
class RevisionSeen:
    """A ControllerRevision of the StatefulSet: the pod template under a revision's name, to put it back.

    ``number`` is its ``revision``: it grows, also when the template is one that was there before.
    """

    name: str
    template: Manifest
    number: int = 0


class MemberSeen(NamedTuple):
    """A member of the committed configuration, as the leader knows it. ``role``: voter, learner, outgoing.

    ``caught_up``: it may be counted on (a voter) or promoted (a learner). ``active``: heard within an election timeout.
    """

    name: str
    id: int
    role: str
    lag: int
    active: bool
    caught_up: bool
    progress: str = ""

    @property
    def member(self) -> Member:
        return Member(self.name, self.id)


class PairSeen(NamedTuple):
    """A pair that the group has: prices in ``tick``s, quantities in ``lot``s, both decimals, and its limits."""

    base: str
    quote: str
    tick: str
    lot: str
    limits: tuple[tuple[str, int], ...] = ()
    halted: bool = False


@dataclass(frozen=True)
class GroupSeen:
    """The leader's own answer, read strongly: a quorum confirmed it. Only from this may membership be acted on."""

    leader: Member
    term: int
    incarnation: str
    configuration_index: int
    configuration_committed: bool
    joint: bool
    members: tuple[MemberSeen, ...]
    strangers: tuple[Member, ...] = ()  # connected to the leader, without a group, may be added
    transferee: str = ""
    version: int = 1
    pairs: tuple[PairSeen, ...] = ()

    @property
    def voters(self) -> tuple[MemberSeen, ...]:
        """Whoever counts in a quorum now: of both configurations, while they are joint."""
        return tuple(member for member in self.members if member.role in ("voter", "outgoing"))

    @property
    def settled(self) -> bool:
        """No change of membership or leadership is under way."""
        return self.configuration_committed and not self.joint and not self.transferee


@dataclass(frozen=True)
class CredentialsSeen:
    """Digests of what a node has loaded: hex, "" where it uses none."""

    certificate: str = ""
    trust: str = ""
    token_keys: str = ""


@dataclass(frozen=True)
class NodeSeen:
    """What one node says of itself, weakly. Enough to show, to recover from, and to know which credentials it has.

    ``leader_id`` is whom it believes to lead; ``incarnation`` "" if it has no group; ``phase`` is the node's word
    (joining, member, restoring, quarantined, halted). ``refused``: it could be reached and said no, or nothing useful.
    """

    pod: str
    member: Member
    phase: str
    incarnation: str = ""
    role: str = ""
    term: int = 0
    leader: str = ""
    last_term: int = 0
    last_index: int = 0
    commit: int = 0
    online: bool = False
    version_supported: int = 0
    waits_for: str = ""
    credentials: CredentialsSeen = CredentialsSeen()


@dataclass(frozen=True)
class Identity:
    """The identity Secret. ``incarnation`` is "" until it was read from a leader once."""

    uid: str
    resource_version: str
    key: bytes = field(repr=False)
    initial_size: int
    incarnation: str = ""


@dataclass(frozen=True)
class SecretSeen:
    """A Secret of ours, its data decoded."""

    uid: str
    resource_version: str
    data: Mapping[str, bytes] = field(repr=False)
    ours: bool = True


@dataclass(frozen=True)
class Observation:
    """One look at one group.

    ``objects`` holds the live manifests of what the operator applies, by key, whoever owns them; absent ones are not
    in it. ``group`` is None without a strong answer, and ``unanswered`` says why. ``nodes`` is by pod name, only those
    that answered. ``default_image`` is the operator's own. ``may_upgrade``: no other group rolls for a new rendering of
    the operator.
    """

    now: float
    resource: OrderBookGroup
    default_image: str
    objects: Mapping[ObjectKey, Manifest] = field(default_factory=dict)
    stateful_set: StatefulSetSeen | None = None
    revisions: tuple[RevisionSeen, ...] = ()
    pods: tuple[PodSeen, ...] = ()
    claims: tuple[ClaimSeen, ...] = ()
    identity: Identity | None = None
    authority: SecretSeen | None = None
    credentials: SecretSeen | None = None
    foreign: tuple[ObjectKey, ...] = ()  # names that we need, held by objects that aren't ours
    nodes: Mapping[str, NodeSeen] = field(default_factory=dict)
    group: GroupSeen | None = None
    unanswered: str = ""
    has_service_monitors: bool = False
    operator_namespace: str = ""  # where the operator's own pods are: they may reach the nodes
    may_upgrade: bool = True

    @property
    def name(self) -> str:
        return self.resource.name

    @property
    def stateful_set_key(self) -> ObjectKey:
        return ObjectKey("apps/v1", "StatefulSet", names.stateful_set(self.name))

    def pod(self, name: str) -> PodSeen | None:
        return next((pod for pod in self.pods if pod.name == name), None)

    def claim(self, ordinal: int) -> ClaimSeen | None:
        return next((claim for claim in self.claims if claim.ordinal == ordinal), None)
