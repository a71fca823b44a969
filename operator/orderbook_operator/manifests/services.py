"""The two Services: how members find each other, and how clients find a node that serves."""

from __future__ import annotations

from typing import Any

from orderbook_operator import names
from orderbook_operator.manifests.metadata import owned
from orderbook_operator.resource import OrderBookGroup


def peer_service(group: OrderBookGroup) -> dict[str, Any]:
    """Headless, with pods that aren't ready too: members must meet before they can be. Its SRV records name each pod
    and the port of each listener."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": owned(group, names.peer_service(group.name)),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": names.selector(group.name),
            "ports": [
                _port("peers", names.PEER_PORT),
                _port("clients", names.CLIENT_PORT),
                _port("probes", names.PROBE_PORT),
            ],
        },
    }


def client_service(group: OrderBookGroup) -> dict[str, Any]:
    """Ready nodes only. Any node takes any request."""
    wanted = group.spec.service
    port = _port("clients", names.CLIENT_PORT)
    if wanted.node_port is not None:
        port["nodePort"] = wanted.node_port
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": owned(group, names.client_service(group.name), wanted.annotations),
        "spec": {"type": wanted.type, "selector": names.selector(group.name), "ports": [port]},
    }


def _port(name: str, number: int) -> dict[str, Any]:
    return {"name": name, "port": number, "protocol": "TCP", "targetPort": name}
