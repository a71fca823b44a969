"""What the status says, from what is seen and planned; and the Events that tell the story. Pure.

=============  =======================================================================================================
Ready          every voter that is wanted is up: its pod ready, the leader hears it, it has caught up
Quorate        a leader answered, and a quorum confirmed it: orders are taken
Progressing    the operator changes something, or waits for what it began
Degraded       something is wrong that somebody should look at; the message says what, and what to do
Paused         the operator leaves pods, members and pairs alone, because the spec says so
=============  =======================================================================================================

A status holds nothing that changes while the group only works (no log index, no lag in numbers), and what can't be
known now stays as it was known last (members, pairs, version): a group without a leader still says who its members are.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from orderbook_operator import names
from orderbook_operator.actions import ApplyObject
from orderbook_operator.observation import GroupSeen, Manifest, MemberSeen, Observation, PodSeen
from orderbook_operator.policy.decision import Plan, Reason, Wait
from orderbook_operator.policy.quorum import down, up
from orderbook_operator.resource import (
    Condition,
    ConditionStatus,
    ConditionType,
    Lag,
    MemberStatus,
    Phase,
    Role,
    Status,
)
from orderbook_operator.story import EventToRecord, of_action

TROUBLE = (
    Reason.NAME_TAKEN,
    Reason.IDENTITY_LOST,
    Reason.INCARNATION_DIFFERS,
    Reason.SECRET_UNREADABLE,
    Reason.PAIR_DIFFERS,
    Reason.ROLL_STOPPED,
    Reason.POD_NOT_STARTING,
    Reason.MEMBER_PINNED,
    Reason.REPLACEMENT_REFUSED,
    Reason.RECOVERY_REFUSED,
    Reason.NO_LEADER,
    Reason.QUORUM_AT_RISK,
    Reason.ACTION_REFUSED,
)
_MOST_SAID = 8  # of the waits, in a condition's message


class Report(NamedTuple):
    """``status`` as JSON, null for what is absent: to be written if it isn't what the resource has."""

    status: dict[str, Any]
    events: tuple[EventToRecord, ...]


def report(seen: Observation, plan: Plan) -> Report:
    """The status now; an Event for each action of ``plan``, which are those that were done, and each condition that
    changed."""
    before = seen.resource.status
    conditions = tuple(_dated(seen, before, found) for found in _conditions(seen, plan))
    group = seen.group
    status = Status(
        observed_generation=seen.resource.metadata.generation or before.observed_generation,
        phase=_phase(seen, conditions),
        conditions=conditions,
        leader=group.leader.name if group is not None else None,
        term=group.term if group is not None else None,
        members=_members(seen, group) if group is not None else before.members,
        ready=f"{_ready(seen)}/{seen.resource.spec.replicas}",
        replicas=len(seen.pods),
        selector=",".join(f"{key}={value}" for key, value in sorted(names.selector(seen.name).items())),
        pairs=len(group.pairs) if group is not None else before.pairs,
        version=group.version if group is not None else before.version,
        incarnation=(seen.identity.incarnation or None) if seen.identity is not None else None,
        failed_template=_failed_template(seen, plan) or None,
    )
    changed = (_event(now, before.condition(now.type)) for now in conditions)
    events = (*(of_action(action) for action in plan.actions), *(event for event in changed if event is not None))
    return Report(status.to_dict(), events)


# --- conditions -------------------------------------------------------------------------------------------------------


def _conditions(seen: Observation, plan: Plan) -> tuple[Condition, ...]:
    return (_is_ready(seen, plan), _quorate(seen), _progressing(seen, plan), _degraded(seen, plan), _paused(seen))


def _is_ready(seen: Observation, plan: Plan) -> Condition:
    wanted, count = seen.resource.spec.replicas, _ready(seen)
    if seen.resource.is_being_deleted:
        return _condition("Ready", "False", "Deleting", "the group is being deleted")
    group = seen.group
    voters = sum(member.role == "voter" for member in group.members) if group is not None else 0
    if count == voters == wanted:
        return _condition("Ready", "True", "AllMembersUp", f"{count} of {wanted} members are up")
    if count > wanted:
        return _condition("Ready", "False", "MembersToLeave", f"{count} members are up, {wanted} are wanted")
    why = plan.waits[0] if plan.waits else None
    reason = "NoQuorum" if group is None else why.reason.value if why is not None else "MembersMissing"
    return _condition("Ready", "False", reason, f"{count} of {wanted} members are up")


def _quorate(seen: Observation) -> Condition:
    if seen.group is not None:
        return _condition("Quorate", "True", "LeaderConfirmed", "a quorum confirmed the leader")
    reason = "Forming" if _is_forming(seen) else "NoLeader"
    return _condition("Quorate", "False", reason, seen.unanswered or "no node answers")


def _progressing(seen: Observation, plan: Plan) -> Condition:
    if seen.resource.is_being_deleted:
        return _condition(
            "Progressing", "True", Reason.TEARING_DOWN.value, _said(plan.waits) or "removing what it owns"
        )
    own = [wait for wait in plan.waits if wait.reason not in TROUBLE]
    if plan.actions:
        event = of_action(plan.actions[-1])
        return _condition("Progressing", "True", event.reason, event.message)
    if own:
        return _condition("Progressing", "True", own[0].reason.value, _said(own))
    if coming := [name for name, is_coming in _down(seen) if is_coming]:
        sentence = f"waits until {', '.join(coming)} is ready and caught up"
        return _condition("Progressing", "True", Reason.MEMBERS_CATCH_UP.value, sentence)
    if plan.waits:
        return _condition("Progressing", "False", plan.waits[0].reason.value, "waits: see Degraded")
    if seen.resource.spec.paused:
        return _condition("Progressing", "False", "SpecPaused", "nothing of the spec is done until paused is false")
    return _condition("Progressing", "False", "Converged", "the group is as the spec asks")


def _degraded(seen: Observation, plan: Plan) -> Condition:
    troubles = _withdrawn(seen) + [wait for wait in plan.waits if wait.reason in TROUBLE] + _broken_pods(seen)
    if troubles:
        return _condition("Degraded", "True", troubles[0].reason.value, _said(troubles))
    if down := [name for name, is_coming in _down(seen) if not is_coming]:
        return _condition(
            "Degraded", "True", "MembersDown", f"{', '.join(down)} is not ready, or lags behind the leader"
        )
    return _condition("Degraded", "False", "Healthy", "")


def _paused(seen: Observation) -> Condition:
    if seen.resource.spec.paused:
        return _condition(
            "Paused", "True", "SpecPaused", "pods, members and pairs are left alone until paused is false"
        )
    return _condition("Paused", "False", "Active", "")


def _withdrawn(seen: Observation) -> list[Wait]:
    """Nodes that don't trust their own state any more: the worst that can be, and nothing that heals by itself."""
    found = []
    for name, node in sorted(seen.nodes.items()):
        if node.phase == "quarantined":
            sentence = (
                f"{name} is quarantined: its state differs from the majority's. Keep its volume for the analysis, or"
                " delete claim and pod, and it is built anew from the others"
            )
            found.append(Wait(Reason.MEMBER_QUARANTINED, sentence))
        elif node.phase == "halted":
            found.append(Wait(Reason.GROUP_HALTED, f"{name} has halted: no majority of members agrees on the state"))
    return found


def _broken_pods(seen: Observation) -> list[Wait]:
    """Pods that the kubelet can't start. One that was only just made isn't broken yet."""
    broken = [pod for pod in seen.pods if not pod.running and not pod.terminating and _is_failing(pod.waiting)]
    return [Wait(Reason.POD_NOT_STARTING, _why_it_waits(pod)) for pod in broken]


def _why_it_waits(pod: PodSeen) -> str:
    if pod.waiting == "Unschedulable":
        return f"{pod.name} doesn't start: no node of the cluster takes it now (kubectl describe pod {pod.name})"
    return f"{pod.name} doesn't start: {pod.waiting}" + (f" ({pod.image})" if pod.image else "")


def _down(seen: Observation) -> list[tuple[str, bool]]:
    """The members that aren't up, and whether they are on their way: their pod goes, or was made not long ago."""
    if seen.group is None:
        return []
    patience = seen.resource.spec.progress_deadline.seconds
    found = []
    for member in sorted(down(seen, seen.group)):
        pod = seen.pod(member.name)
        is_coming = pod is None or (pod.node_ready and (pod.terminating or seen.now - pod.created <= patience))
        found.append((member.name, is_coming))
    return found


def _is_failing(waiting: str) -> bool:
    return bool(waiting) and waiting not in ("ContainerCreating", "PodInitializing", "Pending")


def _is_forming(seen: Observation) -> bool:
    return seen.identity is None or not seen.identity.incarnation


def _said(waits: Iterable[Wait]) -> str:
    return "; ".join(list(dict.fromkeys(wait.message for wait in waits))[:_MOST_SAID])


def _condition(type: ConditionType, status: ConditionStatus, reason: str, message: str) -> Condition:
    return Condition(type=type, status=status, reason=reason, message=message, last_transition_time="")


def _dated(seen: Observation, before: Status, found: Condition) -> Condition:
    known = before.condition(found.type)
    at = datetime.fromtimestamp(seen.now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if known is not None and known.status == found.status:
        at = known.last_transition_time
    generation = seen.resource.metadata.generation or None
    return found.model_copy(update={"last_transition_time": at, "observed_generation": generation})


def _event(now: Condition, before: Condition | None) -> EventToRecord | None:
    if before is not None and (before.status, before.reason) == (now.status, now.reason):
        return None
    if before is None and now.status == "False":
        return None  # a new group is nothing yet, which is no news
    bad = (now.type == "Degraded" and now.status == "True") or (now.type == "Quorate" and now.status == "False")
    negation = {"True": "", "False": "Not", "Unknown": "Unknown"}[now.status]
    sentence = f"{now.reason}: {now.message}" if now.message else now.reason
    return EventToRecord("Warning" if bad else "Normal", f"{negation}{now.type}", sentence)


# --- the rest ---------------------------------------------------------------------------------------------------------


def _phase(seen: Observation, conditions: tuple[Condition, ...]) -> Phase:
    holds = {condition.type for condition in conditions if condition.status == "True"}
    if seen.resource.is_being_deleted:
        return "Deleting"
    if seen.resource.spec.paused:
        return "Paused"
    if "Quorate" not in holds:
        return "Forming" if _is_forming(seen) else "Unavailable"
    if "Degraded" in holds and "Progressing" not in holds:
        return "Degraded"
    return "Updating" if "Progressing" in holds else "Ready" if "Ready" in holds else "Degraded"


def _ready(seen: Observation) -> int:
    if seen.group is None:
        return 0
    return sum(member.role == "voter" for member in up(seen, seen.group))


def _members(seen: Observation, group: GroupSeen) -> tuple[MemberStatus, ...]:
    return tuple(_member(seen, group, member) for member in sorted(group.members))


def _member(seen: Observation, group: GroupSeen, member: MemberSeen) -> MemberStatus:
    pod = seen.pod(member.name)
    role: Role = "leader" if member.member == group.leader else "voter"
    if member.role in ("learner", "outgoing"):
        role = "learner" if member.role == "learner" else "outgoing"
    return MemberStatus(
        name=member.name,
        id=str(member.id),
        role=role,
        lag=_lag(seen, group, member),
        version=_tag(pod.image) if pod is not None else "",
        zone=pod.zone if pod is not None else "",
    )


def _lag(seen: Observation, group: GroupSeen, member: MemberSeen) -> Lag:
    """Stuck: its pod has had the time that a change may take, and it isn't caught up."""
    if member.member == group.leader or (member.active and member.caught_up):
        return "none"
    pod = seen.pod(member.name)
    patience = seen.resource.spec.progress_deadline.seconds
    return "stuck" if pod is None or seen.now - pod.created > patience else "catching_up"


def _tag(image: str) -> str:
    """The tag of an image's reference, the digest's beginning where there is none."""
    plain, _, digest = image.partition("@")
    _, colon, tag = plain.rpartition("/")[2].partition(":")
    return (tag if colon else digest[:19])[:64]


def _failed_template(seen: Observation, plan: Plan) -> str:
    """As the StatefulSet says, or will say after this plan."""
    live: Manifest = seen.objects.get(seen.stateful_set_key, {}) if seen.stateful_set is not None else {}
    for action in plan.actions:
        if isinstance(action, ApplyObject) and action.manifest["kind"] == "StatefulSet":
            live = action.manifest
    annotations = (live.get("metadata") or {}).get("annotations") or {}
    return str(annotations.get(names.FAILED_TEMPLATE, ""))
