"""A roll: pods that were made from another template than the StatefulSet's are replaced, one at a time.

A pod is *outdated* if it names another revision than the newest one, once the controller has seen the newest template
(under OnDelete ``status.currentRevision`` never moves). In this order:

1. pods whose container doesn't run: they serve nobody, so they are deleted at any time, also without a leader, claim
   and membership untouched; by this a first apply with a wrong image heals when the image is corrected. So are pods
   that run but serve nobody (``is_idle``): of a group that never had a leader, or its only member;
2. pods whose member isn't in the configuration;
3. learners, then followers, those that are down first, by eviction, if

   - every other member is up: ready and caught up, so that at most one pod is down by the roll, and
   - the quorum check allows it;

4. the leader, once it has given the leadership to a follower that is up and not outdated: by then it is a follower.

The only voter of a group of one is replaced without a successor. If the group is to grow anyway, it grows first.
"""

from __future__ import annotations

from collections.abc import Iterable

from orderbook_operator.actions import DeletePod, EvictPod, TransferLeadership
from orderbook_operator.observation import GroupSeen, MemberSeen, Observation, PodSeen
from orderbook_operator.policy import recovery
from orderbook_operator.policy.decision import NOTHING, Plan, Reason, do, wait
from orderbook_operator.policy.quorum import down, is_up, may_disrupt, up

_REASON = "its pod was made from an older template"


def outdated(seen: Observation) -> tuple[PodSeen, ...]:
    """The pods that are to be replaced, as far as the StatefulSet's controller tells."""
    live = seen.stateful_set
    if live is None or not live.current:
        return ()
    return tuple(
        pod
        for pod in seen.pods
        if not pod.terminating and (pod.revision != live.update_revision or pod.template != live.template)
    )


def heal(seen: Observation) -> Plan:
    """Point 1, without asking the group."""
    for pod in outdated(seen):
        if not pod.running or is_idle(seen, pod):
            return do(DeletePod(pod.name, pod.uid, _REASON, pod.resource_version))
    return NOTHING


def is_idle(seen: Observation, pod: PodSeen) -> bool:
    """It runs and surely serves nobody: no pod of the group is ready, it had all the time that a change may take, and
    either the group never had a leader, or this is its only member. Of several members that ran once nobody can say,
    without a leader, which of them is needed."""
    patience = seen.resource.spec.progress_deadline.seconds
    if seen.group is not None or seen.identity is None or recovery.alone(seen) is not None:
        return False
    if any(other.ready for other in seen.pods) or seen.now - pod.created <= patience:
        return False
    members = [claim.ordinal for claim in seen.claims if not claim.retired]
    is_only = members == [pod.ordinal] and seen.stateful_set is not None and seen.stateful_set.is_only(pod.ordinal)
    return not seen.identity.incarnation or is_only


def plan(seen: Observation) -> Plan:
    """The next step of a roll that is under way; NOTHING if no pod is outdated."""
    return step(seen, outdated(seen))


def may_begin(seen: Observation) -> Plan:
    """The first step, if all pods were outdated: an action if a new template may be applied now."""
    return step(seen, tuple(pod for pod in seen.pods if not pod.terminating))


def step(seen: Observation, old: Iterable[PodSeen]) -> Plan:
    group = seen.group
    pods = sorted(old, key=lambda pod: -pod.ordinal)
    if group is None or not pods:
        return NOTHING
    members = {member.name: member for member in group.members}
    for pod in pods:
        if not pod.running or pod.name not in members:
            return do(DeletePod(pod.name, pod.uid, _REASON, pod.resource_version))
    first = min(pods, key=lambda pod: _turn(seen, group, members[pod.name]))
    others = [member.name for member in down(seen, group) if member.name != first.name]
    if others:
        return wait(Reason.ROLLING, f"{first.name} is next, once {', '.join(others)} is ready and caught up")
    if not may_disrupt(seen, first.name):
        return wait(
            Reason.QUORUM_AT_RISK, f"{first.name} can't be replaced: without it the group has no quorum that is up"
        )
    if first.name != group.leader.name:
        return do(EvictPod(first.name, first.uid, _REASON))
    return _leader(seen, group, first, {pod.name for pod in pods})


def _turn(seen: Observation, group: GroupSeen, member: MemberSeen) -> tuple[bool, bool, bool]:
    return (member.member == group.leader, is_up(seen, group, member), member.role != "learner")


def _leader(seen: Observation, group: GroupSeen, pod: PodSeen, old: set[str]) -> Plan:
    if len(group.voters) == 1:
        if seen.resource.spec.replicas > 1:
            return NOTHING
        return do(EvictPod(pod.name, pod.uid, _REASON))
    heirs = [member for member in up(seen, group) if member.role == "voter" and member.name not in old]
    if not heirs:
        return wait(Reason.ROLLING, f"{pod.name} leads, and nobody that is up and renewed can take over yet")
    heir = min(heirs, key=lambda member: (member.lag, member.name))
    return do(TransferLeadership(heir.name, f"{pod.name} is to be replaced: {_REASON}"))
