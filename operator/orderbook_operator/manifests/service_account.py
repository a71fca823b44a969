"""The identity of the pods towards Kubernetes: one of their own, without rights and without a token."""

from __future__ import annotations

from typing import Any

from orderbook_operator import names
from orderbook_operator.manifests.metadata import owned
from orderbook_operator.resource import OrderBookGroup


def service_account(group: OrderBookGroup) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": owned(group, names.service_account(group.name)),
        "automountServiceAccountToken": False,
    }
