"""How many pods others (drains, preemptions, and we ourselves) may evict."""

from __future__ import annotations

from typing import Any

from orderbook_operator import names
from orderbook_operator.manifests.metadata import owned
from orderbook_operator.resource import OrderBookGroup


def disruption_budget(group: OrderBookGroup, voters: int) -> dict[str, Any] | None:
    """One pod from three voters on; of two none can be missed; a single one has no budget, or it could never be
    drained."""
    if voters < 2:
        return None
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": owned(group, names.disruption_budget(group.name)),
        "spec": {
            "maxUnavailable": 1 if voters > 2 else 0,
            "selector": {"matchLabels": names.selector(group.name)},
        },
    }
