"""The spec of an ``OrderBookGroup``: what a user may ask for, and what is refused before it is stored.

Times are durations (``100ms``), sizes quantities (``4Gi``), prices and quantities integers in ticks and lots. The
defaults here are those of the CRD: the API server writes them into every resource.
"""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal

from pydantic import Field

from orderbook_operator.model import ATOMIC_LIST, Checked, ListMap, Model, Rule
from orderbook_operator.pod_settings import (
    RESERVED_ANNOTATIONS,
    Annotations,
    Labels,
    LabelSelector,
    ObjectName,
    PodSettings,
    Resources,
    Scheduling,
    reserved,
)
from orderbook_operator.scalars import (
    AnyIncrement,
    Duration,
    DurationBetween,
    Increment,
    Quantity,
    QuantityFrom,
    TextLike,
    durations,
    quantities,
)

REPLICAS = (1, 3, 5, 7)
MAX_INTEGER = 9_007_199_254_740_991  # 2^53 - 1: JSON's integers
MAX_PAIRS = 256
TIMEOUTS_RATIO = 5

_REPLICAS = Rule(
    "self in [1, 3, 5, 7]",
    "replicas must be 1, 3, 5 or 7: an even number survives no more losses than the odd one below it",
    lambda replicas: replicas in REPLICAS,
)

Asset = Annotated[
    str, TextLike("^[A-Za-z0-9._-]{1,32}$", 32, "must be an asset's name: 1 to 32 letters, digits, '.', '-' and '_'")
]
AnIncrement = Annotated[Increment, AnyIncrement()]
BookInteger = Annotated[int, Field(ge=1, le=MAX_INTEGER)]


class PairLimits(Model):
    """Bounds of a pair's orders. They may change at any time; orders that rest stay."""

    max_quantity: BookInteger = MAX_INTEGER
    """The largest quantity of one order, in lots."""

    min_price: BookInteger = 1
    """The lowest price of an order, in ticks."""

    max_price: BookInteger = MAX_INTEGER
    """The highest price of an order, in ticks."""

    rules = (
        Rule(
            "self.minPrice <= self.maxPrice",
            "minPrice must not be above maxPrice",
            lambda limits: limits.min_price <= limits.max_price,
            ".minPrice",
        ),
    )


class Pair(Model):
    """A pair that is traded. Base, quote, tick, lot and fillsKept never change; the limits may."""

    base: Asset
    """What is bought and sold, such as ETH."""

    quote: Asset
    """What it is paid with, such as USDC."""

    tick_size: AnIncrement
    """The step of prices, in units of the quote asset: a price of 1 in the interface is one tick."""

    lot_size: AnIncrement
    """The step of quantities, in units of the base asset: a quantity of 1 in the interface is one lot."""

    fills_kept: Annotated[int, Field(ge=0, le=100_000)] = 1000
    """How many of its last fills every node keeps to be asked for."""

    limits: PairLimits = PairLimits()
    """Bounds of the pair's orders."""

    rules = (
        Rule(
            "self.base != self.quote",
            "base and quote must be two assets: nothing is traded for itself",
            lambda pair: pair.base != pair.quote,
            ".quote",
        ),
        Rule(
            "self.tickSize == oldSelf.tickSize",
            "tickSize can't be changed: resting orders are priced in it; trade under another pair instead",
            path=".tickSize",
        ),
        Rule(
            "self.lotSize == oldSelf.lotSize",
            "lotSize can't be changed: resting orders are counted in it; trade under another pair instead",
            path=".lotSize",
        ),
        Rule(
            "self.fillsKept == oldSelf.fillsKept",
            "fillsKept can't be changed: it is part of what all nodes agree on since the pair was defined",
            path=".fillsKept",
        ),
    )

    @property
    def name(self) -> str:
        """As the book names it: ``ETH/USDC``."""
        return f"{self.base}/{self.quote}"


class Storage(Model):
    """The volume of each member."""

    size: Annotated[Quantity, QuantityFrom("1Gi", "64Ti", "4Gi")] = Quantity("4Gi")
    """How large each member's volume is. It may grow while the pods run, where the storage class can; never shrink."""

    class_name: ObjectName | None = None
    """The StorageClass of the volumes; left out, the cluster's default."""

    retention: Literal["Retain", "Delete"] = "Retain"
    """What becomes of a claim when its member has left the group, or the resource is deleted."""

    rules = (
        Rule(
            f"!({quantities('self.size')})"
            " || quantity(string(self.size)).compareTo(quantity(string(oldSelf.size))) >= 0",
            "storage.size can only grow: a volume can't shrink",
            path=".size",
        ),
        Rule(
            "has(self.className) == has(oldSelf.className)"
            " && (!has(self.className) || self.className == oldSelf.className)",
            "storage.className can't be changed: volumes can't move to another class; make another group instead",
        ),
    )


class Raft(Model):
    """Timings and snapshots of consensus. A change rolls the group."""

    heartbeat: Annotated[Duration, DurationBetween("10ms", "10s")] = Duration("100ms")
    """How often the leader tells its followers that it lives."""

    election_timeout: Annotated[Duration, DurationBetween("100ms", "1m")] = Duration("500ms")
    """A follower that heard nothing for one to two times as long campaigns. Shorter fails over faster; longer rides out
    slow disks and networks."""

    snapshot_every: Annotated[int, Field(ge=10, le=10_000_000)] = 50_000
    """After how many log entries a snapshot of the book is taken and the log before it dropped."""

    rules = (
        Rule(
            f"!({durations('self.electionTimeout', 'self.heartbeat')})"
            " || duration(self.electionTimeout) >= " + " + ".join(["duration(self.heartbeat)"] * TIMEOUTS_RATIO),
            f"electionTimeout must be at least {TIMEOUTS_RATIO} times heartbeat,"
            " or one late heartbeat costs a healthy leader its term",
            lambda raft: raft.election_timeout.milliseconds >= TIMEOUTS_RATIO * raft.heartbeat.milliseconds,
            ".electionTimeout",
        ),
    )


class StreamRetention(Model):
    """How far back a node can resume a stream of fills, events or book changes; what comes first bounds it."""

    entries: Annotated[int, Field(ge=1_000, le=10_000_000)] = 200_000
    """The events of how many log entries are kept."""

    memory: Annotated[Quantity, QuantityFrom("16Mi", "64Gi", "256Mi")] = Quantity("256Mi")
    """How much of the node's memory they may take."""


class Streams(Model):
    """Streams of fills, events and book changes."""

    retention: StreamRetention = StreamRetention()
    """How far back a node can resume a stream."""


class Auth(Model):
    """Who may do what. A client proves itself by a token whose roles are trader, observer and admin."""

    mode: Literal["tokens", "none"] = "tokens"
    """tokens asks every client for one; none makes everybody who reaches the client port an admin."""

    anonymous: Literal["none", "observer"] = "none"
    """What a client without a token may do: nothing, or read market data."""

    rules = (
        Rule(
            "self.mode == 'tokens' || self.anonymous == 'none'",
            "anonymous must be left out with mode none, where everybody is an admin anyway",
            lambda auth: auth.mode == "tokens" or auth.anonymous == "none",
            ".anonymous",
        ),
    )


class Tls(Model):
    """Encryption of what passes between members, and between clients and members."""

    auto: bool = True
    """Whether the operator issues and renews certificates: mutual TLS between members, TLS for clients. Without it both
    are plain; do so only where the network itself is encrypted."""

    secret: ObjectName | None = None
    """A Secret of type kubernetes.io/tls in the group's namespace: your own certificate for the client port. Among
    themselves the members keep those of the operator."""

    rules = (
        Rule(
            "self.auto || !has(self.secret)",
            "secret needs auto: true; with auto: false no port speaks TLS",
            lambda tls: tls.auto or tls.secret is None,
            ".secret",
        ),
        Rule(
            "self.auto == oldSelf.auto",
            "auto can't be changed: members with TLS and without don't reach each other; make another group instead",
            path=".auto",
        ),
    )


class Monitoring(Model):
    """How Prometheus finds the nodes."""

    service_monitor: bool = True
    """Whether a ServiceMonitor is made, in clusters that know that kind."""

    labels: Labels = Field(default_factory=dict)
    """Labels of the ServiceMonitor, as your Prometheus selects them."""

    interval: Annotated[Duration, DurationBetween("1s", "1h")] = Duration("15s")
    """How often the nodes are scraped."""


def _is_range(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return "/" in text


def _lies_within(inner: str, outer: str) -> bool:
    narrow, wide = ipaddress.ip_network(inner, strict=False), ipaddress.ip_network(outer, strict=False)
    return narrow.network_address in wide and narrow.prefixlen > wide.prefixlen


Cidr = Annotated[
    str,
    Field(max_length=49),
    Checked(Rule("isCIDR(self)", "must be a range of addresses such as 10.0.0.0/8 or 2001:db8::/32", _is_range)),
]


class IpBlock(Model):
    """A range of addresses."""

    cidr: Cidr
    """The range, such as 10.0.0.0/8."""

    except_: Annotated[tuple[Cidr, ...], Field(alias="except", max_length=16, json_schema_extra=ATOMIC_LIST)] = ()
    """Ranges within it that are left out."""

    rules = (
        Rule(
            "!has(self.except) || !isCIDR(self.cidr) || self.except.all(e, !isCIDR(e)"
            " || (cidr(self.cidr).containsIP(cidr(e).ip())"
            " && cidr(e).prefixLength() > cidr(self.cidr).prefixLength()))",
            "except must have only ranges that are smaller than cidr and lie within it",
            lambda block: all(_lies_within(inner, block.cidr) for inner in block.except_),
            ".except",
        ),
    )


class NetworkPeer(Model):
    """Who may connect: pods, or a range of addresses."""

    namespace_selector: LabelSelector | None = None
    """Pods of the namespaces with these labels; {} is every namespace. Left out, the group's own namespace."""

    pod_selector: LabelSelector | None = None
    """Pods with these labels; {} is every pod."""

    ip_block: IpBlock | None = None
    """A range of addresses, for clients from outside the cluster."""

    rules = (
        Rule(
            "has(self.ipBlock) != (has(self.namespaceSelector) || has(self.podSelector))",
            "a peer must be either an ipBlock, or a namespaceSelector, a podSelector or both",
            lambda peer: (
                (peer.ip_block is not None) != (peer.namespace_selector is not None or peer.pod_selector is not None)
            ),
        ),
    )


Peers = Annotated[tuple[NetworkPeer, ...], Field(max_length=16, json_schema_extra=ATOMIC_LIST)]


class NetworkPolicySettings(Model):
    """Who may reach which port. Members reach each other and the operator reaches them in any case."""

    enabled: bool = True
    """Whether a NetworkPolicy guards the pods."""

    clients_from: Peers = (NetworkPeer(pod_selector=LabelSelector()),)
    """Who may reach the client port: by default the pods of the group's namespace; an empty list is nobody."""

    metrics_from: Peers = (NetworkPeer(namespace_selector=LabelSelector()),)
    """Who may reach the port of metrics and probes: by default every pod of the cluster; an empty list is nobody."""


class Service(Model):
    """The Service through which clients reach the ready nodes."""

    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = "ClusterIP"
    """ClusterIP is reached from within the cluster, NodePort and LoadBalancer from outside too."""

    node_port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """The port on every node, from the cluster's range (30000 to 32767 unless set otherwise); left out, any."""

    annotations: Annotated[Annotations, reserved("annotations", RESERVED_ANNOTATIONS)] = Field(default_factory=dict)
    """Annotations of the Service, for example of a cloud's load balancer."""

    rules = (
        Rule(
            "!has(self.nodePort) || self.type != 'ClusterIP'",
            "nodePort must be left out with type ClusterIP; it goes with NodePort and LoadBalancer",
            lambda service: service.node_port is None or service.type != "ClusterIP",
            ".nodePort",
        ),
    )


class ImagePullSecret(Model):
    """A reference to a Secret of type kubernetes.io/dockerconfigjson."""

    name: ObjectName
    """The Secret's name."""


def _is_reachable(spec: Spec) -> bool:
    policy = spec.network_policy
    outside = any(peer.ip_block is not None for peer in policy.clients_from)
    return spec.service.type == "ClusterIP" or not policy.enabled or outside


def _has_memory(spec: Spec) -> bool:
    limit = spec.resources.limits.memory
    return limit is None or spec.streams.retention.memory.number * 2 <= limit.number


class Spec(Model):
    """What the group should be."""

    replicas: Annotated[int, Checked(_REPLICAS)] = 3
    """How many members vote: 1, 3, 5 or 7. A group goes on while a majority of them is up.
    kubectl scale changes it too."""

    image: (
        Annotated[
            str,
            TextLike(
                r"^[a-zA-Z0-9][-a-zA-Z0-9._/:@]*$",
                512,
                "must be the reference of an image, such as registry.example.com/orderbook:1.0",
            ),
        ]
        | None
    ) = None
    """The image of the nodes; left out, the operator's own. A change rolls the group."""

    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    """When a node of the cluster fetches the image."""

    image_pull_secrets: Annotated[tuple[ImagePullSecret, ...], Field(max_length=8), ListMap("name")] = ()
    """Secrets of the group's namespace with which the image is fetched from a private registry."""

    pairs: Annotated[tuple[Pair, ...], Field(max_length=MAX_PAIRS), ListMap("base", "quote")] = ()
    """What is traded. Pairs can be added at any time; none can be removed, halt it instead."""

    storage: Storage = Storage()
    """The volume of each member."""

    raft: Raft = Raft()
    """Timings and snapshots of consensus."""

    streams: Streams = Streams()
    """Streams of fills, events and book changes."""

    auth: Auth = Auth()
    """Who may do what."""

    tls: Tls = Tls()
    """Encryption between members, and between clients and members."""

    resources: Resources = Resources()
    """CPU and memory of each pod."""

    scheduling: Scheduling = Scheduling()
    """Where the pods run."""

    pod: PodSettings = PodSettings()
    """Labels, annotations and environment of the pods."""

    monitoring: Monitoring = Monitoring()
    """How Prometheus finds the nodes."""

    network_policy: NetworkPolicySettings = NetworkPolicySettings()
    """Who may reach which port."""

    service: Service = Service()
    """The Service through which clients reach the group."""

    paused: bool = False
    """Whether the operator leaves pods, members and pairs alone. Status, certificates and deletion go on."""

    progress_deadline: Annotated[Duration, DurationBetween("10s", "24h")] = Duration("10m")
    """How long a changed pod may take to be ready and caught up, before the change is stopped and taken back."""

    rules = (
        Rule(
            "!has(oldSelf.pairs) || oldSelf.pairs.all(o,"
            " has(self.pairs) && self.pairs.exists(p, p.base == o.base && p.quote == o.quote))",
            "pairs can't be removed: their orders and fills are in the book; halt a pair that shall no longer trade",
            path=".pairs",
        ),
        Rule(
            "self.service.type == 'ClusterIP' || !self.networkPolicy.enabled"
            " || self.networkPolicy.clientsFrom.exists(p, has(p.ipBlock))",
            "service.type NodePort and LoadBalancer bring clients from outside the cluster:"
            " networkPolicy.clientsFrom must name their ipBlock (0.0.0.0/0 is all), or networkPolicy.enabled be false",
            _is_reachable,
            ".service.type",
        ),
        Rule(
            "!has(self.resources.limits) || !has(self.resources.limits.memory)"
            f" || !({quantities('self.resources.limits.memory', 'self.streams.retention.memory')})"
            " || quantity(string(self.resources.limits.memory)).sub(quantity(string(self.streams.retention.memory)))"
            ".compareTo(quantity(string(self.streams.retention.memory))) >= 0",
            "streams.retention.memory must be at most half of resources.limits.memory: the book needs room beside it",
            _has_memory,
            ".streams.retention.memory",
        ),
    )
