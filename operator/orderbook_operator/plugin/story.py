"""What ``kubectl orderbook status`` tells: the resource's own word, and beside it what nodes say now. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from orderbook_operator.observation import PodSeen
from orderbook_operator.resource import Condition, OrderBookGroup

Json = dict[str, Any]

_GOOD = {"Ready": "True", "Quorate": "True", "Progressing": "False", "Degraded": "False", "Paused": "False"}


class MemberRow(NamedTuple):
    """``lag`` in entries, as the leader counts it now; None where no leader answers. ``phase``: the node's own word."""

    name: str
    id: str
    role: str
    ready: bool | None
    lag: int | None
    applied: int | None
    version: str
    zone: str
    machine: str
    phase: str


def leader_of(documents: Mapping[str, Json]) -> Json | None:
    """Of what nodes say of themselves (/v1/group), the word of the one that leads in the newest term."""
    leading = [document for document in documents.values() if document["role"] == "leader"]
    return max(leading, key=lambda document: document["term"], default=None)


def members(resource: OrderBookGroup, pods: Sequence[PodSeen], documents: Mapping[str, Json]) -> list[MemberRow]:
    """Those of the leader's configuration if it answers, else those of the resource's status."""
    leader = leader_of(documents)
    known = {(one.name, one.id): one for one in resource.status.members}
    if leader is not None:
        listed = [
            (one["name"], one["id"], "leader" if one["leader"] else one["role"], one["lag"])
            for one in leader["configuration"]["members"]
        ]
    else:
        listed = [(one.name, one.id, one.role, None) for one in resource.status.members]
    by_pod = {pod.name: pod for pod in pods}
    rows = []
    for name, id, role, lag in listed:
        told, pod, document = known.get((name, id)), by_pod.get(name), documents.get(name)
        is_same = document is not None and document["id"] == id
        rows.append(
            MemberRow(
                *(name, id, role, pod.ready if pod else None, lag),
                document["applied"] if document is not None and is_same else None,
                told.version or "" if told else "",
                (told.zone or "" if told else "") or (pod.zone if pod else ""),
                pod.node if pod else "",
                _phase(document, pod, is_same=is_same),
            )
        )
    return sorted(rows, key=lambda row: (len(row.name), row.name, row.id))


def _phase(document: Json | None, pod: PodSeen | None, *, is_same: bool) -> str:
    if document is not None and is_same:
        return "online" if document["online"] else str(document["waits_for"] or document["phase"])
    if document is not None:
        return f"its pod runs another member, {document['id']}"
    if pod is None:
        return "no pod is seen"
    return pod.waiting or ("ending" if pod.terminating else "does not answer")


def headline(resource: OrderBookGroup, leader: Json | None) -> str:
    status = resource.status
    led = f"leader {leader['name']} (term {leader['term']})" if leader else ""
    if not led:
        led = f"leader {status.leader} (term {status.term}) by its status" if status.leader else "no known leader"
    parts = [
        status.phase or "not looked at by an operator yet",
        f"{status.ready or '0/' + str(resource.spec.replicas)} ready",
        led,
        f"{status.pairs or 0} pairs",
        *([f"rules version {status.version}"] if status.version else []),
    ]
    return f"{resource.namespace}/{resource.name}: " + ", ".join(parts)


def is_bad(condition: Condition) -> bool:
    return condition.status != _GOOD[condition.type]


def is_ready(resource: OrderBookGroup) -> bool:
    condition = resource.status.condition("Ready")
    return condition is not None and condition.status == "True" and is_current(resource)


def is_current(resource: OrderBookGroup) -> bool:
    """The operator has acted on the newest spec."""
    return (resource.status.observed_generation or 0) >= resource.metadata.generation


def since(timestamp: str, now: float) -> str:
    """How long ago, as kubectl tells ages."""
    seconds = max(0, int(now - datetime.fromisoformat(timestamp.replace("Z", "+00:00")).timestamp()))
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def document(
    resource: OrderBookGroup, rows: Sequence[MemberRow], leader: Json | None, problems: Mapping[str, str]
) -> Json:
    """For --json. ``problems``: why there is no answer, by node or by what was asked for."""
    status = resource.status.model_dump(mode="json", exclude_none=True)
    return {
        "namespace": resource.namespace,
        "name": resource.name,
        "phase": resource.status.phase,
        "ready": is_ready(resource),
        "leader": leader["name"] if leader else None,
        "term": leader["term"] if leader else None,
        "incarnation": resource.status.incarnation,
        "conditions": status.get("conditions", []),
        "members": [row._asdict() for row in rows],
        "problems": dict(problems),
    }
