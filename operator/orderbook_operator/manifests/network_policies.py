"""Who may reach which port of a group's pods: one policy a listener. What no policy allows is refused.

    7400 peers     the group's own pods
    8443 clients   whom ``networkPolicy.clientsFrom`` names, and the pods of the operator's namespace
    9464 probes    whom ``networkPolicy.metricsFrom`` names

The policies select the pods, so they add up: a pod that one of them selects takes nothing that none of them allows.
Probes of the kubelet come from the pod's own cluster node, which Kubernetes lets through whatever policies say; so does
a port-forward, which comes from there too. What pods send is not restricted: they ask DNS and each other.
"""

from __future__ import annotations

from typing import Any

from orderbook_operator import names
from orderbook_operator.manifests.metadata import document, owned
from orderbook_operator.resource import OrderBookGroup

_NAMESPACE_NAME = "kubernetes.io/metadata.name"  # the API server labels every namespace with its name


def network_policies(group: OrderBookGroup, operator_namespace: str) -> tuple[dict[str, Any], ...]:
    """Empty where the spec turns them off. ``operator_namespace`` is "" for an operator outside of the cluster."""
    wanted = group.spec.network_policy
    if not wanted.enabled:
        return ()
    own_pods: dict[str, Any] = {"podSelector": {"matchLabels": names.selector(group.name)}}
    clients = [document(peer) for peer in wanted.clients_from]
    if operator_namespace:
        clients.append({"namespaceSelector": {"matchLabels": {_NAMESPACE_NAME: operator_namespace}}})
    metrics = [document(peer) for peer in wanted.metrics_from]
    return (
        _policy(group, "peers", names.PEER_PORT, [own_pods]),
        _policy(group, "clients", names.CLIENT_PORT, clients),
        _policy(group, "probes", names.PROBE_PORT, metrics),
    )


def _policy(group: OrderBookGroup, listener: str, port: int, peers: list[dict[str, Any]]) -> dict[str, Any]:
    """An empty ``from`` would be everybody: without a peer there is no rule, which is nobody."""
    rules = [{"from": peers, "ports": [{"protocol": "TCP", "port": port}]}] if peers else []
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": owned(group, names.network_policy(group.name, listener)),
        "spec": {
            "podSelector": {"matchLabels": names.selector(group.name)},
            "policyTypes": ["Ingress"],
            **({"ingress": rules} if rules else {}),
        },
    }
