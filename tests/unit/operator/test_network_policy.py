"""Who may reach which port of a group's pods."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from orderbook_operator import manifests, names
from unit.operator.policy_evaluator import Source, allows
from unit.operator.resources import NAMESPACE, group

OPERATOR_NAMESPACE = "orderbook-system"
PORTS = {"peers": 7400, "clients": 8443, "probes": 9464}

WHO = {
    "a pod of the group": Source(NAMESPACE, names.labels("eth")),
    "a pod of another group": Source(NAMESPACE, names.labels("btc")),
    "a pod of a group of that name elsewhere": Source("elsewhere", names.labels("eth")),
    "a trader in the namespace": Source(NAMESPACE, {"app": "trader"}),
    "a pod of another namespace": Source("elsewhere", {"app": "trader"}),
    "the operator": Source(OPERATOR_NAMESPACE, {"app.kubernetes.io/name": "orderbook-operator"}),
    "Prometheus": Source("monitoring", {"app.kubernetes.io/name": "prometheus"}, {"purpose": "monitoring"}),
    "somebody outside": Source("", address="203.0.113.7"),
}


def reached(spec: Mapping[str, Any], who: Source, operator_namespace: str = OPERATOR_NAMESPACE) -> str:
    policies = manifests.network_policies(group(spec), operator_namespace)
    pod = manifests.pod_template(group(spec), "image")["metadata"]["labels"]
    return " ".join(name for name, port in PORTS.items() if allows(policies, who, NAMESPACE, pod, port))


DEFAULT = {
    "a pod of the group": "peers clients probes",
    "a pod of another group": "clients probes",
    "a pod of a group of that name elsewhere": "probes",
    "a trader in the namespace": "clients probes",
    "a pod of another namespace": "probes",
    "the operator": "clients probes",
    "Prometheus": "probes",
    "somebody outside": "",
}


@pytest.mark.parametrize("who", WHO)
def test_by_default(who: str) -> None:
    assert reached({}, WHO[who]) == DEFAULT[who]


CLOSED = {
    "networkPolicy": {
        "clientsFrom": [{"podSelector": {"matchLabels": {"app": "trader"}}}],
        "metricsFrom": [
            {
                "namespaceSelector": {"matchLabels": {"purpose": "monitoring"}},
                "podSelector": {"matchExpressions": [{"key": "app.kubernetes.io/name", "operator": "Exists"}]},
            }
        ],
    }
}


@pytest.mark.parametrize(
    ("who", "ports"),
    {
        **dict.fromkeys(WHO, ""),
        "a pod of the group": "peers",
        "a trader in the namespace": "clients",
        "the operator": "clients",
        "Prometheus": "probes",
    }.items(),
)
def test_closed_to_all_but_those_who_are_named(who: str, ports: str) -> None:
    assert reached(CLOSED, WHO[who]) == ports


@pytest.mark.parametrize(
    ("who", "ports"), {**dict.fromkeys(WHO, ""), "a pod of the group": "peers", "the operator": "clients"}.items()
)
def test_empty_lists_are_nobody(who: str, ports: str) -> None:
    assert reached({"networkPolicy": {"clientsFrom": [], "metricsFrom": []}}, WHO[who]) == ports


@pytest.mark.parametrize(
    ("address", "ports"), [("203.0.113.7", "clients"), ("203.0.113.200", ""), ("198.51.100.1", "")]
)
def test_addresses_from_outside(address: str, ports: str) -> None:
    block = {"ipBlock": {"cidr": "203.0.113.0/24", "except": ["203.0.113.128/25"]}}
    assert reached({"networkPolicy": {"clientsFrom": [block]}}, Source("", address=address)) == ports


def test_an_operator_outside_of_the_cluster_opens_nothing() -> None:
    closed = {"networkPolicy": {"clientsFrom": [], "metricsFrom": []}}
    for source in WHO.values():
        assert "clients" not in reached(closed, source, operator_namespace="")


def test_without_policies_everybody_reaches_everything() -> None:
    assert reached({"networkPolicy": {"enabled": False}}, WHO["somebody outside"]) == "peers clients probes"
