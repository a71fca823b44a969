"""What an ``OrderBookGroup`` must not say, and the sentence with which each is refused.

One table for both judges: the API server, by the CRD's rules, and the models, by their own.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, NamedTuple

ETH: dict[str, Any] = {"base": "ETH", "quote": "USDC", "tickSize": "0.01", "lotSize": "0.001"}
BTC: dict[str, Any] = {"base": "BTC", "quote": "USDC", "tickSize": "0.1", "lotSize": "0.00001"}
LEGAL: dict[str, Any] = {"replicas": 3, "pairs": [ETH, BTC], "storage": {"size": "4Gi", "className": "fast"}}

LABEL_VALUE = "must be a label's value: at most 63 letters, digits, '-', '_' and '.', an alphanumeric at both ends"
KEY_WORDS = "at most 63 letters, digits, '-', '_' and '.', after an optional DNS prefix and '/'"
RESERVED_LABELS = (
    "labels must not take the operator's and Kubernetes' own keys: orderbook.dev/*, app.kubernetes.io/*,"
    " kubernetes.io/*, statefulset.kubernetes.io/*, apps.kubernetes.io/*, controller-revision-hash, pod-template-hash"
)
RESERVED_ANNOTATIONS = (
    "annotations must not take the operator's and Kubernetes' own keys: orderbook.dev/*, kubectl.kubernetes.io/*"
)
NODE_VALUES = "values must be given with In and NotIn, be one integer with Gt and Lt, and be left out otherwise"
OBJECT_NAME = "must be an object's name: at most 253 lower-case letters, digits, '-' and '.'"
INCREMENT = "must be a positive decimal of at most 36 characters, in quotes and without needless zeros, such as '0.01'"
REPLICAS = "replicas must be 1, 3, 5 or 7: an even number survives no more losses than the odd one below it"


class Refusal(NamedTuple):
    """``change`` is a merge patch of LEGAL. ``is_change``: refused only as a change of a group that is there."""

    name: str
    change: dict[str, Any]
    says: str
    is_change: bool = False

    @property
    def spec(self) -> dict[str, Any]:
        return merged(LEGAL, self.change)


class Bound(NamedTuple):
    """What the plain schema refuses, and the words of each judge."""

    name: str
    change: dict[str, Any]
    api_says: str
    model_says: str


def merged(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """RFC 7396."""
    result = copy.deepcopy(base)
    for key, value in change.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            result[key] = merged(result.get(key) or {}, value)
        else:
            result[key] = value
    return result


def refusals() -> Iterator[Refusal]:
    yield from _group()
    yield from _pairs()
    yield from _scalars()
    yield from _network()
    yield from _pods()
    yield from _changes()


def _pair(**change: Any) -> dict[str, Any]:
    return {"pairs": [{**ETH, **change}, BTC]}


def _group() -> Iterator[Refusal]:
    for replicas in (-1, 0, 2, 4, 6, 8):
        yield Refusal(f"{replicas} replicas", {"replicas": replicas}, REPLICAS)
    timeouts = (
        "electionTimeout must be at least 5 times heartbeat, or one late heartbeat costs a healthy leader its term"
    )
    yield Refusal("heartbeat as long as the election", {"raft": {"heartbeat": "500ms"}}, timeouts)
    close = {"raft": {"heartbeat": "101ms", "electionTimeout": "500ms"}}
    yield Refusal("heartbeat just too long", close, timeouts)
    yield Refusal(
        "anonymous observers where everybody is an admin",
        {"auth": {"mode": "none", "anonymous": "observer"}},
        "anonymous must be left out with mode none, where everybody is an admin anyway",
    )
    yield Refusal(
        "a certificate for a port without TLS",
        {"tls": {"auto": False, "secret": "mine"}},
        "secret needs auto: true; with auto: false no port speaks TLS",
    )
    yield Refusal(
        "more retained events than memory",
        {"resources": {"limits": {"memory": "300Mi"}}, "streams": {"retention": {"memory": "200Mi"}}},
        "streams.retention.memory must be at most half of resources.limits.memory: the book needs room beside it",
    )
    for name, amounts in (("cpu", ("3", "2500m")), ("memory", ("2Gi", "2000Mi"))):
        yield Refusal(
            f"a request of {name} above its limit",
            {"resources": {"requests": {name: amounts[0]}, "limits": {name: amounts[1]}}},
            f"requests.{name} must not be more than limits.{name}; lower the one, or raise the other",
        )
    yield Refusal(
        "an image with a space",
        {"image": "orderbook: latest"},
        "must be the reference of an image, such as registry.example.com/orderbook:1.0",
    )
    yield Refusal("a storage class in capitals", {"storage": {"className": "Fast"}}, OBJECT_NAME)


def _pairs() -> Iterator[Refusal]:
    asset = "must be an asset's name: 1 to 32 letters, digits, '.', '-' and '_'"
    for base in ("", "ETH/USD", "Ξ"):
        yield Refusal(f"an asset called {base!r}", _pair(base=base), asset)
    yield Refusal(
        "an asset traded for itself",
        _pair(base="USDC"),
        "base and quote must be two assets: nothing is traded for itself",
    )
    for tick in ("0", "0.0", "-0.01", "0.010", "01", "1e-2", ".5", "5.", "1,5", ""):
        yield Refusal(f"a tick of {tick!r}", _pair(tickSize=tick), INCREMENT)
    yield Refusal("a lot of '0.00'", _pair(lotSize="0.00"), INCREMENT)
    yield Refusal(
        "a lowest price above the highest",
        _pair(limits={"minPrice": 11, "maxPrice": 10}),
        "minPrice must not be above maxPrice",
    )


def _scalars() -> Iterator[Refusal]:
    for heartbeat in ("100", "abc", "", "9ms", "11s", "0.1s", "1d", "-1s"):
        says = "must be a duration of 10ms to 10s, written like 100ms, 2s or 1m30s"
        yield Refusal(f"a heartbeat of {heartbeat!r}", {"raft": {"heartbeat": heartbeat}}, says)
    says = "must be a duration of 100ms to 1m, written like 100ms, 2s or 1m30s"
    yield Refusal("an election timeout of an hour", {"raft": {"electionTimeout": "1h"}}, says)
    says = "must be a duration of 1s to 1h, written like 100ms, 2s or 1m30s"
    yield Refusal("a scrape each millisecond", {"monitoring": {"interval": "1ms"}}, says)
    says = "must be a duration of 10s to 24h, written like 100ms, 2s or 1m30s"
    yield Refusal("a deadline of a second", {"progressDeadline": "1s"}, says)
    for size in ("1", "1023Mi", "65Ti", "many", "", -5, "4 Gi", "4gi"):
        says = "must be a quantity of 1Gi to 64Ti, such as 4Gi"
        yield Refusal(f"a volume of {size!r}", {"storage": {"size": size}}, says)
    says = "must be a quantity of 16Mi to 64Gi, such as 256Mi"
    yield Refusal("a kilobyte of events", {"streams": {"retention": {"memory": "1k"}}}, says)
    says = "must be a quantity of 1m to 1024, such as 500m or 2"
    yield Refusal("no CPU", {"resources": {"requests": {"cpu": 0}}}, says)
    says = "must be a quantity of 64Mi to 16Ti, such as 2Gi"
    yield Refusal("memory in millibytes", {"resources": {"requests": {"memory": "512m"}}}, says)


def _clients_from(*peers: dict[str, Any]) -> dict[str, Any]:
    return {"networkPolicy": {"clientsFrom": list(peers)}}


def _network() -> Iterator[Refusal]:
    peer = "a peer must be either an ipBlock, or a namespaceSelector, a podSelector or both"
    yield Refusal("a peer that is nobody", _clients_from({}), peer)
    both = {"podSelector": {}, "ipBlock": {"cidr": "10.0.0.0/8"}}
    yield Refusal("a peer that is pods and addresses", _clients_from(both), peer)
    for cidr in ("10.0.0.0", "10.0.0.0/33", "eth0", "300.0.0.0/8"):
        says = "must be a range of addresses such as 10.0.0.0/8 or 2001:db8::/32"
        yield Refusal(f"addresses of {cidr}", _clients_from({"ipBlock": {"cidr": cidr}}), says)
    for inner in ("11.0.0.0/16", "10.0.0.0/7", "10.0.0.0/8", "2001:db8::/64"):
        block = {"ipBlock": {"cidr": "10.0.0.0/8", "except": [inner]}}
        says = "except must have only ranges that are smaller than cidr and lie within it"
        yield Refusal(f"10.0.0.0/8 except {inner}", _clients_from(block), says)
    for type in ("NodePort", "LoadBalancer"):
        yield Refusal(
            f"a {type} that nobody outside may reach",
            {"service": {"type": type}},
            "service.type NodePort and LoadBalancer bring clients from outside the cluster:"
            " networkPolicy.clientsFrom must name their ipBlock (0.0.0.0/0 is all), or networkPolicy.enabled be false",
        )
    yield Refusal(
        "a node port of a ClusterIP",
        {"service": {"nodePort": 31000}},
        "nodePort must be left out with type ClusterIP; it goes with NodePort and LoadBalancer",
    )
    annotations = {"service": {"annotations": {"orderbook.dev/group": "eth"}}}
    yield Refusal("a reserved annotation of the Service", annotations, RESERVED_ANNOTATIONS)


def _pods() -> Iterator[Refusal]:
    for key in ("orderbook.dev/group", "app.kubernetes.io/name", "controller-revision-hash"):
        yield Refusal(f"a reserved label {key}", {"pod": {"labels": {key: "x"}}}, RESERVED_LABELS)
    annotations = {"pod": {"annotations": {"orderbook.dev/template": "x"}}}
    yield Refusal("a reserved annotation of pods", annotations, RESERVED_ANNOTATIONS)
    for key in ("two words", "a/b/c", "-a", "x" * 64, "/a"):
        says = f"labels must have keys of {KEY_WORDS}"
        yield Refusal(f"a label's key {key!r}", {"pod": {"labels": {key: "x"}}}, says)
    says = f"annotations must have keys of {KEY_WORDS}"
    yield Refusal("an annotation's key with a space", {"pod": {"annotations": {"two words": "x"}}}, says)
    yield Refusal("a label's value with a space", {"pod": {"labels": {"team": "two words"}}}, LABEL_VALUE)
    says = "env must not set names that start with ORDERBOOK_: they come from other fields"
    yield Refusal("a reserved variable", {"pod": {"env": [{"name": "ORDERBOOK_KEY", "value": "x"}]}}, says)
    says = "must be a variable's name: letters, digits and '_', no digit first"
    yield Refusal("a variable with a dash", {"pod": {"env": [{"name": "A-B"}]}}, says)
    for toleration, says in (
        ({"operator": "Exists", "key": "a", "value": "b"}, "value must be empty with operator Exists"),
        ({"operator": "Equal", "value": "b"}, "key must be given with operator Equal"),
        (
            {"key": "a", "effect": "NoSchedule", "tolerationSeconds": 5},
            "tolerationSeconds must come with effect NoExecute",
        ),
    ):
        yield Refusal(f"a toleration of {toleration}", {"scheduling": {"tolerations": [toleration]}}, says)
    yield from _affinities()


def _affinities() -> Iterator[Refusal]:
    for requirement in (
        {"key": "zone", "operator": "In"},
        {"key": "zone", "operator": "Exists", "values": ["a"]},
        {"key": "cores", "operator": "Gt", "values": ["4", "8"]},
        {"key": "cores", "operator": "Lt", "values": ["few"]},
    ):
        terms = {"nodeSelectorTerms": [{"matchExpressions": [requirement]}]}
        affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}
        yield Refusal(f"a node with {requirement}", {"scheduling": {"affinity": affinity}}, NODE_VALUES)
    term = {
        "topologyKey": "kubernetes.io/hostname",
        "labelSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]},
    }
    says = "values must be given with In and NotIn, and left out with Exists and DoesNotExist"
    affinity = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    yield Refusal("pods with a label in nothing", {"scheduling": {"affinity": affinity}}, says)
    says = f"must be a label's key: {KEY_WORDS}"
    yield Refusal("a spread over no label", {"scheduling": {"topologySpread": [{"topologyKey": "a b"}]}}, says)


def _changes() -> Iterator[Refusal]:
    removed = "pairs can't be removed: their orders and fills are in the book; halt a pair that shall no longer trade"
    for name, pairs in (("a pair removed", [ETH]), ("all pairs removed", []), ("no word of pairs", None)):
        yield Refusal(name, {"pairs": pairs}, removed, True)
    yield Refusal("a pair renamed", {"pairs": [ETH, {**BTC, "quote": "USDT"}]}, removed, True)
    says = "tickSize can't be changed: resting orders are priced in it; trade under another pair instead"
    yield Refusal("a changed tick", _pair(tickSize="0.1"), says, True)
    says = "lotSize can't be changed: resting orders are counted in it; trade under another pair instead"
    yield Refusal("a changed lot", _pair(lotSize="0.1"), says, True)
    says = "fillsKept can't be changed: it is part of what all nodes agree on since the pair was defined"
    yield Refusal("fewer kept fills", _pair(fillsKept=10), says, True)
    for size in ("3Gi", "4095Mi", 3 << 30):
        says = "storage.size can only grow: a volume can't shrink"
        yield Refusal(f"a volume shrunk to {size}", {"storage": {"size": size}}, says, True)
    for name in ("slow", None):
        says = "storage.className can't be changed: volumes can't move to another class; make another group instead"
        yield Refusal(f"a storage class changed to {name}", {"storage": {"className": name}}, says, True)
    says = "auto can't be changed: members with TLS and without don't reach each other; make another group instead"
    yield Refusal("TLS switched off", {"tls": {"auto": False}}, says, True)


def bounds() -> Iterator[Bound]:
    long = "spec.pairs[0].base: Too long: may not be more than 32"
    yield Bound("an asset of 33 letters", _pair(base="E" * 33), long, "must be an asset's name: 1 to 32 letters")
    long = "spec.pairs[0].tickSize: Too long: may not be more than 36"
    yield Bound("a tick of 37 digits", _pair(tickSize="1" * 37), long, "at most 36 characters")
    number = 'spec.pairs[0].tickSize in body must be of type string: "number"'
    yield Bound("a tick that is no string", _pair(tickSize=0.01), number, "in quotes")
    yield Bound("no tick", {"pairs": [{"base": "A", "quote": "B", "lotSize": "1"}]}, "Required", "tickSize is missing")
    entries = "spec.raft.snapshotEvery in body should be greater than or equal to 10"
    yield Bound("a snapshot each entry", {"raft": {"snapshotEvery": 1}}, entries, "greater than or equal to 10")
    price = "maxPrice in body should be less than or equal to 9007199254740991"
    beyond = "less than or equal to 9007199254740991"
    yield Bound("a price of 2^53", _pair(limits={"maxPrice": 2**53}), price, beyond)
    kept = '"Retain", "Delete"'
    yield Bound("a retention of Keep", {"storage": {"retention": "Keep"}}, kept, "'Retain' or 'Delete'")
    port = {"service": {"type": "NodePort", "nodePort": 70000}, "networkPolicy": {"enabled": False}}
    yield Bound("a node port of 70000", port, "less than or equal to 65535", "less than or equal to 65535")
    many = [{**ETH, "base": f"A{number}"} for number in range(257)]
    yield Bound("257 pairs", {"pairs": many}, "must have at most 256 items", "at most 256 items")
    yield Bound("a field that is none", {"shards": 2}, 'unknown field "spec.shards"', "spec.shards is no field")
    reference = {"pod": {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "a", "key": "b"}}}]}}
    none = 'unknown field "spec.pod.env[0].valueFrom"'
    yield Bound("a variable from a Secret", reference, none, "spec.pod.env[0].valueFrom is no field")
    duplicate = "spec.pairs[1]: Duplicate value"
    yield Bound("a pair twice", {"pairs": [ETH, {**ETH, "tickSize": "1"}]}, duplicate, "ETH/USDC is there twice")
