"""Objects as the API server gives them -> what the policy sees. Pure: no request is made here.

A field that is missing becomes what ``observation`` calls absent. Nothing is guessed.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from orderbook_operator import names
from orderbook_operator.observation import (
    ClaimSeen,
    Identity,
    Manifest,
    PodSeen,
    RevisionSeen,
    SecretSeen,
    StatefulSetSeen,
)

ZONE = "topology.kubernetes.io/zone"
REVISION = "controller-revision-hash"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
VOLUME_ELSEWHERE = ("volume node affinity", "PersistentVolume's node affinity")


# What is known of the cluster's nodes, by name: None is gone; one of which nothing can be known is left out.
Nodes = Mapping[str, Manifest | None]


class Unreadable(ValueError):
    """An object of ours does not hold what the operator wrote there. The message names it and what is wrong."""


def epoch(timestamp: str | None) -> float:
    """Seconds since the epoch of a time as the API server writes it; 0 of none."""
    return datetime.fromisoformat(timestamp.replace("Z", "+00:00")).timestamp() if timestamp else 0.0


def uid_of(manifest: Manifest) -> str:
    return str(manifest["metadata"].get("uid", ""))


def is_owned(manifest: Manifest, uid: str) -> bool:
    """Whether the object belongs to the resource with this uid, as its controller."""
    owners = manifest["metadata"].get("ownerReferences") or ()
    return any(owner.get("controller") and owner.get("uid") == uid for owner in owners)


def pods_seen(pods: Iterable[Manifest], group: str, nodes: Nodes) -> tuple[PodSeen, ...]:
    """The members' pods, by ordinal."""
    found = [(ordinal, pod) for pod in pods if (ordinal := names.ordinal(_name(pod), group)) is not None]
    return tuple(sorted((_pod_seen(pod, ordinal, nodes) for ordinal, pod in found), key=lambda pod: pod.ordinal))


def claims_seen(
    claims: Iterable[Manifest], pods: Iterable[Manifest], group: str, nodes: Nodes
) -> tuple[ClaimSeen, ...]:
    """The members' claims, by ordinal."""
    by_name = {_name(pod): pod for pod in pods}
    found = [(ordinal, claim) for claim in claims if (ordinal := names.ordinal(_name(claim), group)) is not None]
    seen = (_claim_seen(claim, ordinal, by_name.get(names.pod(group, ordinal)), nodes) for ordinal, claim in found)
    return tuple(sorted(seen, key=lambda claim: claim.ordinal))


def _pod_seen(pod: Manifest, ordinal: int, nodes: Nodes) -> PodSeen:
    metadata, spec, status = pod["metadata"], pod["spec"], pod.get("status") or {}
    annotations, labels = metadata.get("annotations") or {}, metadata.get("labels") or {}
    container: Mapping[str, Any] = next((one for one in spec["containers"] if one["name"] == names.CONTAINER), {})
    node = spec.get("nodeName") or ""
    machine = nodes.get(node, {})
    state = _state_of(status)
    return PodSeen(
        name=metadata["name"],
        uid=metadata["uid"],
        ordinal=ordinal,
        revision=labels.get(REVISION, ""),
        template=annotations.get(names.TEMPLATE, ""),
        created=epoch(metadata.get("creationTimestamp")),
        ready=_condition(status, "Ready") == "True",
        running="running" in state,
        terminating=metadata.get("deletionTimestamp") is not None,
        waiting=_why_not_running(status, state),
        image=container.get("image", ""),
        address=status.get("podIP") or "",
        node=node,
        node_exists=machine is not None,
        node_ready=machine is not None and _is_ready(machine),
        zone=_zone(machine) or labels.get(ZONE, ""),
        resource_version=metadata.get("resourceVersion", ""),
    )


def _claim_seen(claim: Manifest, ordinal: int, pod: Manifest | None, nodes: Nodes) -> ClaimSeen:
    metadata, spec, status = claim["metadata"], claim["spec"], claim.get("status") or {}
    node = _pinned_to(claim, pod)
    return ClaimSeen(
        name=metadata["name"],
        uid=metadata["uid"],
        ordinal=ordinal,
        requested=((spec.get("resources") or {}).get("requests") or {}).get("storage", ""),
        capacity=(status.get("capacity") or {}).get("storage", ""),
        bound=status.get("phase") == "Bound",
        terminating=metadata.get("deletionTimestamp") is not None,
        retired=(metadata.get("labels") or {}).get(names.RETIRED, ""),
        node=node,
        node_exists=nodes.get(node, {}) is not None,
        resource_version=metadata["resourceVersion"],
    )


def stateful_set_seen(stateful_set: Manifest) -> StatefulSetSeen:
    metadata, spec, status = stateful_set["metadata"], stateful_set["spec"], stateful_set.get("status") or {}
    template = spec["template"]["metadata"].get("annotations") or {}
    return StatefulSetSeen(
        uid=metadata["uid"],
        replicas=spec.get("replicas", 1),
        template=template.get(names.TEMPLATE, ""),
        update_revision=status.get("updateRevision", ""),
        current=status.get("observedGeneration", 0) >= metadata.get("generation", 0),
        first=(spec.get("ordinals") or {}).get("start", 0),
    )


def revisions_seen(revisions: Iterable[Manifest], stateful_set: str) -> tuple[RevisionSeen, ...]:
    """Those of the StatefulSet with this uid. Their data is a patch that replaces the template."""
    found = []
    for revision in revisions:
        if not is_owned(revision, stateful_set):
            continue
        template = ((revision.get("data") or {}).get("spec") or {}).get("template")
        if template is not None:
            plain = {key: value for key, value in template.items() if key != "$patch"}
            found.append(RevisionSeen(revision["metadata"]["name"], plain, int(revision.get("revision", 0))))
    return tuple(sorted(found, key=lambda revision: revision.number))


def secret_seen(secret: Manifest, *, ours: bool) -> SecretSeen:
    metadata = secret["metadata"]
    encoded = secret.get("data") or {}
    data = {key: base64.b64decode(value) for key, value in encoded.items()}
    return SecretSeen(metadata["uid"], metadata["resourceVersion"], data, ours)


def identity_seen(secret: Manifest, *, whole: bool = True) -> Identity:
    """Raises Unreadable; not if it needs not be ``whole``, since it is only there to be deleted."""
    metadata, data = secret["metadata"], secret.get("data") or {}
    if not whole:
        return Identity(metadata["uid"], metadata["resourceVersion"], b"", 0)
    who = f"Secret {metadata['namespace']}/{metadata['name']}"
    try:
        key = base64.b64decode(data[names.IDENTITY_KEY], validate=True)
        size = int(base64.b64decode(data[names.IDENTITY_INITIAL_SIZE]))
        incarnation = base64.b64decode(data.get(names.IDENTITY_INCARNATION, "")).decode("ascii").strip()
    except KeyError as error:
        raise Unreadable(f"{who} has no key {error}: put back what the operator wrote, from a backup") from error
    except ValueError:  # what it says would quote the content
        fields = f"{names.IDENTITY_KEY}, {names.IDENTITY_INITIAL_SIZE} (a number), {names.IDENTITY_INCARNATION}"
        raise Unreadable(f"{who} does not hold what the operator wrote there: {fields}") from None
    if not key or size < 1:
        raise Unreadable(f"{who} holds an empty group key, or an initial size below 1")
    return Identity(metadata["uid"], metadata["resourceVersion"], key, size, incarnation)


def selected_node(claim: Manifest) -> str:
    """Where the scheduler placed the first pod of a claim, "" if it didn't note it."""
    return str((claim["metadata"].get("annotations") or {}).get(SELECTED_NODE, ""))


def _name(manifest: Manifest) -> str:
    return str(manifest["metadata"]["name"])


def _state_of(status: Mapping[str, Any]) -> Mapping[str, Any]:
    """Of the node's container: running, waiting or terminated."""
    statuses = status.get("containerStatuses") or ()
    state: Mapping[str, Any] = next((one.get("state") or {} for one in statuses if one["name"] == names.CONTAINER), {})
    return state


def _why_not_running(status: Mapping[str, Any], state: Mapping[str, Any]) -> str:
    for word in ("waiting", "terminated"):
        if word in state:
            return str(state[word].get("reason", "")) or word.capitalize()
    scheduled = _find_condition(status, "PodScheduled")
    if scheduled.get("status") == "False":
        return str(scheduled.get("reason", "")) or "Unschedulable"
    return ""


def _pinned_to(claim: Manifest, pod: Manifest | None) -> str:
    """The only node that can mount the claim's volume, as far as a claim and its pod tell; "" if they don't.

    The scheduler notes on a claim where its first pod went. A volume that can move has its pod elsewhere later, or can
    be scheduled elsewhere; one that can't move makes the scheduler say so.
    """
    selected = selected_node(claim)
    if pod is None:
        return selected
    placed = pod["spec"].get("nodeName") or ""
    if placed:
        return selected if placed == selected else ""
    message = str(_find_condition(pod.get("status") or {}, "PodScheduled").get("message", ""))
    return selected if any(words in message for words in VOLUME_ELSEWHERE) else ""


def _find_condition(status: Mapping[str, Any], type: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = next((one for one in status.get("conditions") or () if one["type"] == type), {})
    return found


def _condition(status: Mapping[str, Any], type: str) -> str:
    return str(_find_condition(status, type).get("status", ""))


def _is_ready(node: Manifest) -> bool:
    """Of a node that can't be read nothing is known: it counts as well."""
    return not node or _condition(node.get("status") or {}, "Ready") == "True"


def _zone(node: Manifest | None) -> str:
    return str(((node or {}).get("metadata", {}).get("labels") or {}).get(ZONE, ""))
