"""Resources as the API server would give them."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

from orderbook_operator.resource import OrderBookGroup

UID = "5a5b5c5d-0000-4000-8000-000000000000"
NAMESPACE = "trading"


def group(
    spec: Mapping[str, Any] | None = None,
    name: str = "eth",
    annotations: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
) -> OrderBookGroup:
    metadata = {"name": name, "namespace": NAMESPACE, "uid": UID}
    return OrderBookGroup.from_object(
        {
            "apiVersion": "orderbook.dev/v1alpha1",
            "kind": "OrderBookGroup",
            "metadata": {**metadata, "annotations": dict(annotations or {}), "labels": dict(labels or {})},
            "spec": dict(spec or {}),
        },
        strict=True,
    )


def seeded(seed: int = 1) -> Callable[[int], bytes]:
    """The only source of keys, the same for the same seed."""
    return random.Random(seed).randbytes
