"""A member whose volume can be mounted by one cluster node only, and that node is gone.

Nobody but a person knows whether the node comes back. So nothing is done by itself; the status names two steps:
``kubectl delete node NAME``, which says that nothing runs there any more, so that Kubernetes removes the pod (nothing
here ever deletes with a grace of 0); and the annotation ``orderbook.dev/replace-member: <name>/<id>``, the consent to
give up this one member's claim, whatever ``storage.retention`` says. The annotation counts only while that very member
is in the configuration, isn't heard, and its claim is pinned to a node that doesn't exist. Then the claim is deleted by
uid, and the pod that waits for it; the StatefulSet makes both anew, and the member is replaced like any that lost its
volume (``membership``).
"""

from __future__ import annotations

import re

from orderbook_operator import names
from orderbook_operator.actions import DeleteClaim, DeletePod
from orderbook_operator.observation import ClaimSeen, Member, MemberSeen, Observation
from orderbook_operator.policy.decision import NOTHING, Plan, Reason, do, wait

_FORM = re.compile(r"(?P<name>[^/@\s]+)/(?P<id>[1-9][0-9]{0,18})")


def replace(seen: Observation) -> Plan:
    """What the annotation consents to: the claim, then its pod."""
    asked = _request(seen)
    if asked is None or seen.group is None:
        return NOTHING
    member = next((member for member in seen.group.members if member.member == asked), None)
    ordinal = names.ordinal(asked.name, seen.name)
    if member is None or member.active or ordinal is None:
        return NOTHING
    claim, pod = seen.claim(ordinal), seen.pod(asked.name)
    if claim is None or not claim.node or claim.node_exists:
        return NOTHING
    if not claim.terminating:
        reason = f"{claim.node} is gone, and {names.REPLACE_MEMBER} gives {asked} up"
        return do(DeleteClaim(claim.name, claim.uid, reason, claim.resource_version))
    if pod is not None and not pod.terminating and not pod.running:
        reason = "its volume was given up; it comes back with a new one"
        return do(DeletePod(pod.name, pod.uid, reason, pod.resource_version))
    return NOTHING


def conditions(seen: Observation) -> Plan:
    """Which members are pinned to what is gone, and what to do; why the annotation is not followed."""
    result = NOTHING
    for claim in sorted(seen.claims, key=lambda claim: claim.ordinal):
        member = _member(seen, claim)
        if member is None or not _is_pinned(seen, claim):
            continue
        if claim.terminating:
            sentence = f"{claim.name} is given up; {member.name} comes back once its pod on {claim.node} is removed"
            result += wait(Reason.CLAIM_TERMINATING, sentence)
            continue
        step = f"kubectl delete node {claim.node}, then " if claim.node_exists else ""
        sentence = (
            f"{member.name}: its volume can only be mounted by {claim.node}, which is "
            f"{'not ready' if claim.node_exists else 'gone'}. If it doesn't come back: {step}"
            f"kubectl annotate obg {seen.name} -n {seen.resource.namespace} --overwrite "
            f"{names.REPLACE_MEMBER}={member.member}"
        )
        result += wait(Reason.MEMBER_PINNED, sentence)
    return result + _refusal(seen)


def _is_pinned(seen: Observation, claim: ClaimSeen) -> bool:
    pod = seen.pod(names.pod(seen.name, claim.ordinal))
    is_down = pod is not None and pod.node == claim.node and not (pod.node_exists and pod.node_ready)
    return bool(claim.node) and (not claim.node_exists or is_down)


def _member(seen: Observation, claim: ClaimSeen) -> MemberSeen | None:
    name = names.pod(seen.name, claim.ordinal)
    members = seen.group.members if seen.group is not None else ()
    return next((member for member in members if member.name == name and not member.active), None)


def _request(seen: Observation) -> Member | None:
    found = _FORM.fullmatch(seen.resource.metadata.annotations.get(names.REPLACE_MEMBER, ""))
    return Member(found["name"], int(found["id"])) if found is not None else None


def _refusal(seen: Observation) -> Plan:
    word = seen.resource.metadata.annotations.get(names.REPLACE_MEMBER)
    if word is None or seen.group is None:
        return NOTHING
    asked = _request(seen)
    if asked is None:
        return wait(Reason.REPLACEMENT_REFUSED, f"{names.REPLACE_MEMBER} is <name>/<id> of a member, not {word!r}")
    if any(member.member == asked and member.active for member in seen.group.members):
        return wait(
            Reason.REPLACEMENT_REFUSED, f"{names.REPLACE_MEMBER}: the leader hears {asked}, nothing is given up"
        )
    return NOTHING
