"""The operator's rights are what its code asks the API server for: no verb is missing, none is there for nothing."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import yaml

from orderbook_operator import cluster as c
from orderbook_operator.__main__ import WATCHED
from orderbook_operator.observe import OWNED_KINDS

OPERATOR = Path(__file__).parents[3] / "k8s" / "operator.yaml"  # what the chart renders
WATCHED_PLURALS = {resource[-1] for resource in WATCHED} | {c.GROUP.plural}

READ_AS_OURS = {"list", "get"}  # by label, and by name where somebody else's may stand there
MADE_AND_REMOVED = {"create", "patch", "delete"}  # an apply is a patch
USED: dict[str, set[str]] = {
    **{kind.plural: READ_AS_OURS | MADE_AND_REMOVED for kind in (*OWNED_KINDS, c.SERVICE_MONITOR)},
    c.GROUP.plural: {"get", "list", "patch"},  # the finalizer
    f"{c.GROUP.plural}/status": {"patch"},
    f"{c.GROUP.plural}/finalizers": {"update"},  # who owns what blocks the owner's deletion must have it
    c.POD.plural: {"list", "delete"},
    f"{c.POD.plural}/eviction": {"create"},
    c.CLAIM.plural: {"list", "patch", "delete"},
    c.REVISION.plural: {"list"},
    c.SECRET.plural: {"get", "create", "update", "delete"},
    c.EVENT.plural: {"get", "create", "patch"},
}


def granted(role: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for item in yaml.safe_load_all(OPERATOR.read_text()):
        if item and item["kind"] in ("Role", "ClusterRole") and item["metadata"]["name"] == role:
            for rule in item["rules"]:
                for resource in rule["resources"]:
                    found[resource] |= set(rule["verbs"])
    return dict(found)


def test_in_a_watched_namespace() -> None:
    watched: Any = {plural: {"watch", "list"} for plural in WATCHED_PLURALS}
    plurals = USED.keys() | watched.keys()
    assert granted("orderbook-operator") == {
        plural: USED.get(plural, set()) | watched.get(plural, set()) for plural in plurals
    }


def test_of_its_lease_and_of_nodes() -> None:
    assert granted("orderbook-operator-lease") == {c.LEASE.plural: {"get", "create", "update"}}
    assert granted("orderbook-operator-orderbook-system-nodes") == {c.NODE.plural: {"get"}}
