"""What Kubernetes' NetworkPolicies mean for one connection, ingress only.

A pod that no policy selects takes everything. One that some select takes what at least one rule of them allows: a
source that a peer of the rule fits (no ``from``: everybody) to a port that the rule names (no ``ports``: all). Within a
peer both selectors must fit; without a namespaceSelector the source is in the policy's own namespace.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_address, ip_network
from typing import Any, NamedTuple


class Source(NamedTuple):
    """Who connects: a pod with its labels and those of its namespace; with neither, somebody outside of the cluster."""

    namespace: str
    labels: Mapping[str, str] = {}
    namespace_labels: Mapping[str, str] = {}
    address: str = "10.0.0.1"

    @property
    def all_namespace_labels(self) -> dict[str, str]:
        return {"kubernetes.io/metadata.name": self.namespace, **self.namespace_labels}


def allows(
    policies: Iterable[Mapping[str, Any]], source: Source, namespace: str, labels: Mapping[str, str], port: int
) -> bool:
    """``source`` may connect to ``port`` of a pod with these labels in this namespace."""
    selecting = [
        policy
        for policy in policies
        if policy["metadata"]["namespace"] == namespace
        and "Ingress" in policy["spec"]["policyTypes"]
        and selects(policy["spec"]["podSelector"], labels)
    ]
    return not selecting or any(
        _fits_port(rule, port) and _fits_source(rule, source, namespace)
        for policy in selecting
        for rule in policy["spec"].get("ingress", ())
    )


def _fits_port(rule: Mapping[str, Any], port: int) -> bool:
    ports = rule.get("ports")
    return not ports or any(row.get("protocol", "TCP") == "TCP" and row.get("port", port) == port for row in ports)


def _fits_source(rule: Mapping[str, Any], source: Source, namespace: str) -> bool:
    peers = rule.get("from")
    return not peers or any(_fits_peer(peer, source, namespace) for peer in peers)


def _fits_peer(peer: Mapping[str, Any], source: Source, namespace: str) -> bool:
    if "ipBlock" in peer:
        block, address = peer["ipBlock"], ip_address(source.address)
        excepted = any(address in ip_network(part) for part in block.get("except", ()))
        return address in ip_network(block["cidr"]) and not excepted
    if not source.namespace:
        return False
    if "namespaceSelector" in peer:
        fits = selects(peer["namespaceSelector"], source.all_namespace_labels)
    else:
        fits = source.namespace == namespace
    return fits and selects(peer.get("podSelector", {}), source.labels)


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """An empty selector selects all."""
    wanted: Mapping[str, str] = selector.get("matchLabels", {})
    return wanted.items() <= labels.items() and all(
        _fits_expression(row, labels) for row in selector.get("matchExpressions", ())
    )


def _fits_expression(row: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    value, values = labels.get(row["key"]), row.get("values", ())
    answers = {
        "In": value in values,
        "NotIn": value not in values,
        "Exists": value is not None,
        "DoesNotExist": value is None,
    }
    return answers[row["operator"]]
