"""How Prometheus finds the nodes, where its operator is installed."""

from __future__ import annotations

from typing import Any

from orderbook_operator import names
from orderbook_operator.manifests.metadata import owned
from orderbook_operator.resource import OrderBookGroup


def service_monitor(group: OrderBookGroup) -> dict[str, Any]:
    """Every pod by the headless Service, ready or not: one that isn't ready is the one to look at."""
    wanted = group.spec.monitoring
    metadata = owned(group, names.service_monitor(group.name))
    metadata["labels"] = {**wanted.labels, **metadata["labels"]}
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "ServiceMonitor",
        "metadata": metadata,
        "spec": {
            "selector": {"matchLabels": names.selector(group.name)},
            "namespaceSelector": {"matchNames": [group.namespace]},
            "podTargetLabels": [names.GROUP_LABEL],
            "endpoints": [{"port": "probes", "path": "/metrics", "interval": str(wanted.interval)}],
        },
    }
