"""What the group owns beside its Secrets: made where it is missing, put back where it drifted, removed where it isn't
wanted any more. A same-named object that isn't ours is left alone, whatever it is.

The StatefulSet goes by what is in force rather than by what the spec renders: its template (``template``), its size
(``size``), and the claim templates that it was made with, which can't change. It is changed only as it was seen, by
resourceVersion: its size ends pods, and a request of an operator that has lost the lease meanwhile may arrive late.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from orderbook_operator import manifests, names
from orderbook_operator.actions import ApplyObject, DeleteObject
from orderbook_operator.manifests.compare import drift
from orderbook_operator.observation import Manifest, ObjectKey, Observation
from orderbook_operator.policy.decision import NOTHING, Plan, Reason, do, wait
from orderbook_operator.policy.size import Size
from orderbook_operator.policy.template import Choice
from orderbook_operator.seen import is_owned, uid_of


def names_taken(seen: Observation) -> Plan:
    result = NOTHING
    for key in seen.foreign:
        advice = "delete or rename it, or make the group under another name"
        if (
            key.kind == "Secret"
        ):  # what only lost its labels must not be deleted by our advice: it may be the group's key
            labels = " ".join(f"{label}={value}" for label, value in sorted(names.labels(seen.name).items()))
            where = f"-n {seen.resource.namespace}"
            advice = f"if it only lost its labels, kubectl label secret {key.name} {where} {labels}; else {advice}"
        result += wait(Reason.NAME_TAKEN, f"{key.kind} {key.name} is not this group's: {advice}")
    return result


def plan(seen: Observation) -> Plan:
    """All but the StatefulSet: nothing here concerns a running pod."""
    desired = {key_of(manifest): manifest for manifest in _wanted(seen)}
    result = NOTHING
    for key, manifest in desired.items():
        result += _put_right(seen, key, manifest)
    for key, live in sorted(seen.objects.items()):
        unwanted = key not in desired and key != seen.stateful_set_key
        if unwanted and is_owned(live, seen.resource.metadata.uid) and "deletionTimestamp" not in live["metadata"]:
            result += do(DeleteObject(key, uid_of(live), "the group has no use for it"))
    return result


def stateful_set(seen: Observation, size: Size, choice: Choice) -> Plan:
    """The StatefulSet as it is to be now; NOTHING if it is."""
    manifest = manifests.stateful_set(seen.resource, seen.default_image, size.replicas)
    live = seen.objects.get(seen.stateful_set_key)
    if seen.stateful_set is not None and live is not None:
        manifest = manifests.with_claim_templates_of(manifest, live)
        if choice.manifest is not None:
            manifest = manifests.with_template(manifest, choice.manifest)
    notes = {
        names.PROVEN_TEMPLATE: choice.proven,
        names.FAILED_TEMPLATE: choice.failed,
        names.ASKED: choice.asked,
        names.RECOVERING: size.recovering,
    }
    metadata: dict[str, Any] = dict(manifest["metadata"])
    if any(notes.values()):  # an empty map is none, to the API server
        metadata["annotations"] = {key: value for key, value in notes.items() if value}
    spec = {**manifest["spec"], "ordinals": {"start": size.first}}  # written even if 0: only then its drift is seen
    return _put_right(seen, seen.stateful_set_key, {**manifest, "metadata": metadata, "spec": spec}, fenced=True)


def key_of(manifest: Manifest) -> ObjectKey:
    return ObjectKey(manifest["apiVersion"], manifest["kind"], manifest["metadata"]["name"])


def _wanted(seen: Observation) -> Iterator[Manifest]:
    group = seen.resource
    yield manifests.service_account(group)
    yield manifests.peer_service(group)
    yield manifests.client_service(group)
    yield from manifests.network_policies(group, seen.operator_namespace)
    budget = manifests.disruption_budget(group, _voters(seen))
    if budget is not None:
        yield budget
    if seen.has_service_monitors and group.spec.monitoring.service_monitor:
        yield manifests.service_monitor(group)


def _voters(seen: Observation) -> int:
    """As the leader says; else as last known; else as many as begin."""
    if seen.group is not None:
        return sum(member.role == "voter" for member in seen.group.members)
    known = sum(member.role != "learner" for member in seen.resource.status.members)
    begin = seen.identity.initial_size if seen.identity is not None else seen.resource.spec.replicas
    return known or begin


def _put_right(seen: Observation, key: ObjectKey, manifest: Manifest, *, fenced: bool = False) -> Plan:
    """``fenced``: only if nothing has changed in the live object since it was seen."""
    live = seen.objects.get(key)
    if key in seen.foreign or (live is not None and "deletionTimestamp" in live["metadata"]):
        return NOTHING
    if live is None:
        return do(ApplyObject(manifest))
    found = drift(manifest, live)
    if found is None:
        return NOTHING
    version = str(live["metadata"]["resourceVersion"]) if fenced else ""
    return do(ApplyObject(manifest, uid_of(live), bool(found.foreign_managers), version))
