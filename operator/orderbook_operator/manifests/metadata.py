"""What every object of a group carries: its name, the group's labels, and the resource as its owner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orderbook_operator import names
from orderbook_operator.model import Model
from orderbook_operator.resource import OrderBookGroup

_MEANT_EMPTY = ("podSelector", "namespaceSelector", "labelSelector")  # {} selects all; left out, something else


def owned(group: OrderBookGroup, name: str, annotations: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Metadata of an object that goes with the resource. Its labels are ours alone: a label of the resource is not
    passed on, so that changing one changes nothing else."""
    return {
        "name": name,
        "namespace": group.namespace,
        "labels": names.labels(group.name),
        **({"annotations": dict(annotations)} if annotations else {}),
        "ownerReferences": [
            {
                "apiVersion": f"{names.API_GROUP}/{names.API_VERSION}",
                "kind": names.KIND,
                "name": group.name,
                "uid": group.metadata.uid,
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }


def document(model: Model) -> dict[str, Any]:
    """A part of the spec as Kubernetes writes it: without what is absent or empty, as the API server keeps it."""
    rendered: dict[str, Any] = _without_empty(model.model_dump(mode="json", by_alias=True, exclude_none=True))
    return rendered


def _without_empty(value: Any) -> Any:
    if isinstance(value, dict):
        cleaned = {key: _without_empty(below) for key, below in value.items()}
        return {key: below for key, below in cleaned.items() if below not in ("", [], {}) or key in _MEANT_EMPTY}
    return [_without_empty(item) for item in value] if isinstance(value, list) else value
