"""The CustomResourceDefinition of ``OrderBookGroup``, made from the models."""

from __future__ import annotations

from typing import Any

from orderbook_operator.model import VALIDATIONS, Rule
from orderbook_operator.names import API_GROUP, API_VERSION, KIND, PLURAL
from orderbook_operator.resource import LONGEST_NAME, NAME_PATTERN, OrderBookGroup
from orderbook_operator.schema import structural

_NAME = Rule(
    f"size(self.metadata.name) <= {LONGEST_NAME} && self.metadata.name.matches('{NAME_PATTERN}')",
    f"metadata.name must be at most {LONGEST_NAME} lower-case letters, digits and '-', a letter first and no '-' last:"
    " pods and Services are named after it",
)


def crd() -> dict[str, Any]:
    """The manifest, complete."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{API_GROUP}"},
        "spec": {
            "group": API_GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": KIND.lower(),
                "shortNames": ["obg"],
                "categories": ["orderbook"],
            },
            "versions": [
                {
                    "name": API_VERSION,
                    "served": True,
                    "storage": True,
                    "additionalPrinterColumns": _columns(),
                    "subresources": {
                        "status": {},
                        "scale": {
                            "specReplicasPath": ".spec.replicas",
                            "statusReplicasPath": ".status.replicas",
                            "labelSelectorPath": ".status.selector",
                        },
                    },
                    "schema": {"openAPIV3Schema": schema()},
                }
            ],
        },
    }


def schema() -> dict[str, Any]:
    """The schema of the whole object. Of metadata the API server knows the rest by itself."""
    document = structural(OrderBookGroup)
    document["properties"] = {
        "apiVersion": {"type": "string", "description": f"The version of this kind: {API_GROUP}/{API_VERSION}."},
        "kind": {"type": "string", "description": f"The kind: {KIND}."},
        "metadata": {"type": "object"},
        "spec": document["properties"]["spec"],
        "status": document["properties"]["status"],
    }
    document["required"] = ["spec"]
    document[VALIDATIONS] = [_NAME.document()]
    return document


def _columns() -> list[dict[str, Any]]:
    """What ``kubectl get obg`` shows; of priority 1 only with ``-o wide``."""

    def column(name: str, path: str, description: str, type: str = "string", priority: int = 0) -> dict[str, Any]:
        return {"name": name, "type": type, "jsonPath": path, "description": description, "priority": priority}

    quorate = '.status.conditions[?(@.type=="Quorate")].status'
    return [
        column("Ready", ".status.ready", "Voters that are ready, of those wanted"),
        column("Quorate", quorate, "Whether a majority of the voters is up and agrees"),
        column("Leader", ".status.leader", "The member that leads"),
        column("Pairs", ".status.pairs", "How many pairs the book has", "integer"),
        column("Version", ".status.version", "The version of the state machine's rules", "integer"),
        column("Phase", ".status.phase", "The state of the group in a word", priority=1),
        column("Term", ".status.term", "The leader's Raft term", "integer", priority=1),
        column("Age", ".metadata.creationTimestamp", "How old the resource is", "date"),
    ]
