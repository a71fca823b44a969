"""The resource is being deleted: what it owns goes, and then our finalizer. Needs no leader, creates nothing.

1. The StatefulSet, and with it the pods: they are waited for, but for those on nodes that are down or gone, which
   nobody could make go. A pod that has no StatefulSet any more is deleted by itself.
2. The other objects, in no order that matters.
3. With ``retention: Delete`` the claims, by uid, and after the last one the identity. A claim that is on its way out
   counts as gone: nothing can use it again. With Retain claims and identity stay: a group of this name that is made
   again comes back with its data.
4. The finalizer. What is absent is done, what isn't ours is left alone; so nothing can hold it up.
"""

from __future__ import annotations

from orderbook_operator import names
from orderbook_operator.actions import Action, DeleteClaim, DeleteObject, DeletePod, SetFinalizer
from orderbook_operator.observation import ObjectKey, Observation, PodSeen
from orderbook_operator.policy.decision import NOTHING, Plan, Reason, do, wait
from orderbook_operator.seen import is_owned, uid_of

_REASON = "the resource is deleted"


def plan(seen: Observation) -> Plan:
    metadata = seen.resource.metadata
    if names.FINALIZER not in metadata.finalizers:
        return NOTHING
    stateful_set = _objects(seen, only=True)
    if stateful_set:
        return do(*stateful_set)
    if pods := _pods(seen):
        return _await(pods, seen.stateful_set is None)
    return do(*_objects(seen, only=False)) + _volumes(seen) or do(SetFinalizer(False, metadata.resource_version))


def _pods(seen: Observation) -> list[PodSeen]:
    return sorted((pod for pod in seen.pods if pod.node_exists and pod.node_ready), key=lambda pod: pod.ordinal)


def _await(pods: list[PodSeen], orphaned: bool) -> Plan:
    result = wait(Reason.TEARING_DOWN, f"waits until {', '.join(pod.name for pod in pods)} ended")
    left = next((pod for pod in pods if not pod.terminating), None)
    return do(DeletePod(left.name, left.uid, _REASON)) + result if orphaned and left is not None else result


def _volumes(seen: Observation) -> Plan:
    if seen.resource.spec.storage.retention != "Delete":
        return NOTHING
    for claim in sorted(seen.claims, key=lambda claim: claim.ordinal):
        if not claim.terminating:
            return do(DeleteClaim(claim.name, claim.uid, _REASON))
    if seen.identity is None:
        return NOTHING
    return do(DeleteObject(ObjectKey("v1", "Secret", names.identity_secret(seen.name)), seen.identity.uid, _REASON))


def _objects(seen: Observation, only: bool) -> list[Action]:
    """Ours that aren't going yet: the StatefulSet ``only``, or all others."""
    uid = seen.resource.metadata.uid
    found: list[Action] = [
        DeleteObject(key, uid_of(live), _REASON)
        for key, live in sorted(seen.objects.items())
        if (key == seen.stateful_set_key) == only
        and is_owned(live, uid)
        and "deletionTimestamp" not in live["metadata"]
    ]
    secrets = {names.authority_secret(seen.name): seen.authority, names.credentials_secret(seen.name): seen.credentials}
    if not only:
        found += [
            DeleteObject(ObjectKey("v1", "Secret", name), secret.uid, _REASON)
            for name, secret in secrets.items()
            if secret is not None and secret.ours
        ]
    return found
