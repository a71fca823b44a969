"""The StatefulSet: names, volumes and revisions of the pods. When a pod is replaced is the operator's decision alone.

OnDelete and Parallel: its controller makes missing pods and nothing else. Claims are never deleted by it: the operator
deletes one by uid, once its member has left the configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orderbook_operator import names
from orderbook_operator.manifests.metadata import owned
from orderbook_operator.manifests.pod_template import pod_template
from orderbook_operator.observation import Manifest
from orderbook_operator.resource import OrderBookGroup


def stateful_set(group: OrderBookGroup, image: str, replicas: int) -> dict[str, Any]:
    """As a new one is made. For one that is there see ``with_template`` and ``with_claim_templates_of``.

    ``image`` is used where the spec names none; ``replicas`` is how many pods there are to be, not how many voters.
    """
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": owned(group, names.stateful_set(group.name)),
        "spec": {
            "replicas": replicas,
            "serviceName": names.peer_service(group.name),
            "selector": {"matchLabels": names.selector(group.name)},
            "podManagementPolicy": "Parallel",
            "updateStrategy": {"type": "OnDelete"},
            "persistentVolumeClaimRetentionPolicy": {"whenScaled": "Retain", "whenDeleted": "Retain"},
            "template": pod_template(group, image),
            "volumeClaimTemplates": [_claim_template(group)],
        },
    }


def with_template(manifest: Manifest, template: Manifest) -> dict[str, Any]:
    """The same StatefulSet with another pod template: the one in force until a roll may begin, or one to go back to."""
    return {**manifest, "spec": {**manifest["spec"], "template": _applicable(template)}}


def with_claim_templates_of(manifest: Manifest, live: Manifest) -> dict[str, Any]:
    """The same StatefulSet with the claim templates that the live one was made with. The API server refuses any change
    of them; a larger volume is asked for in each claim."""
    return {**manifest, "spec": {**manifest["spec"], "volumeClaimTemplates": live["spec"]["volumeClaimTemplates"]}}


def _claim_template(group: OrderBookGroup) -> dict[str, Any]:
    storage = group.spec.storage
    return {
        "metadata": {"name": names.DATA_VOLUME, "labels": names.labels(group.name)},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": str(storage.size)}},
            **({"storageClassName": storage.class_name} if storage.class_name is not None else {}),
        },
    }


def _applicable(value: Any) -> Any:
    """Without what the API server adds to templates and to revisions of them, and refuses in an apply."""
    if isinstance(value, Mapping):
        return {key: _applicable(below) for key, below in value.items() if below is not None and key != "$patch"}
    return [_applicable(item) for item in value] if isinstance(value, list) else value
