"""The whole policy of the operator: what is seen of one group -> what to do next. Pure.

``plan`` is asked again and again, after every change and every few seconds, and remembers nothing. What it sees
decides, so it may be stopped between any two actions, by a kill or by an error, and goes on from what is there. Each
action names what it expects (a uid, a resourceVersion, the index of a configuration, an incarnation); done from a stale
view it is refused.

Invariants, each tested over random observations and in simulation with a kill after every action:

1. The group's quorum is never lost by what we do: a pod is disrupted, and a change of members asked for, only if the
   voters that are up without it are a quorum (``policy.quorum``).
2. A plan holds at most one disruptive action, as its last. After it the group is looked at anew.
3. Members, leadership and running pods are touched only by the leader's own strong answer, when no change of
   membership or leadership is under way. Without it: only what can't hurt.
4. Nothing that could form a second group: the identity is created once, and never where a claim exists.
5. Data goes only with a person's word: ``retention: Delete``, the annotation ``replace-member`` for one claim, the
   annotation ``recover`` for the minority's last entries.
6. Converged input yields no action.

In order of precedence, the first that has a say wins where it must:

    deleted            teardown, and nothing else
    no finalizer       add it before anything is created
    names taken        a condition; what needs such a name isn't done
    certificates       also while paused
    paused             nothing from here on
    identity           created; the incarnation recorded; without one, no StatefulSet
    objects            Services, policies, budget, account, monitor
    claims             labels of retired ones, growth
    pairs              by the leader's answer
    StatefulSet        size and template in force; a pass that changes it does nothing disruptive
    broken pods        deleted by uid, if made from another template and not running, or surely of no use
    recovery           with the annotation
    -- from here on with the leader's answer and nothing under way: the first of these that has an action --
    pinned             with the annotation: claim and pod of a member on a lost node
    lost               members without their volume, replaced
    grow               one change of members at a time. Before the roll: a pod that waits to be added isn't ready, and
                       the disruption budget would hold up every eviction because of it
    roll               pods of an older template
    shrink             one change of members
    claims             of members that left, with ``retention: Delete``
"""

from __future__ import annotations

from collections.abc import Callable

from orderbook_operator import credentials, manifests, names
from orderbook_operator.actions import SetFinalizer
from orderbook_operator.observation import Observation
from orderbook_operator.policy import (
    claims,
    identity,
    membership,
    objects,
    pairs,
    pinned,
    recovery,
    roll,
    size,
    teardown,
    template,
)
from orderbook_operator.policy.decision import NOTHING, Plan, Reason, do, wait

__all__ = ["Plan", "plan"]


def plan(seen: Observation, draw: Callable[[int], bytes]) -> Plan:
    """What to do next, and why what is wanted isn't done now.

    ``draw(n)`` gives n random bytes, the only source of keys.
    """
    metadata = seen.resource.metadata
    if seen.resource.is_being_deleted:
        return teardown.plan(seen)
    if names.FINALIZER not in metadata.finalizers:
        return do(SetFinalizer(True, metadata.resource_version))
    result = objects.names_taken(seen) + _secrets(seen, draw)
    if seen.resource.spec.paused:
        return result
    result += identity.plan(seen, draw) + objects.plan(seen) + pinned.conditions(seen)
    if seen.identity is None or seen.stateful_set_key in seen.foreign:
        return result
    result += pairs.plan(seen) if identity.is_known(seen) else NOTHING
    return result + _pods_and_members(seen)


def _secrets(seen: Observation, draw: Callable[[int], bytes]) -> Plan:
    """A Secret that can't be read stops no member: the nodes go on with what they have loaded."""
    loaded = credentials.loaded_by(seen)
    secrets = seen.authority, seen.credentials
    try:
        result = do(*credentials.plan_secrets(seen.resource, *secrets, loaded, seen.now, draw))
        late = credentials.awaited(seen.resource, *secrets, loaded)
    except credentials.UnreadableSecret as error:
        return wait(Reason.SECRET_UNREADABLE, str(error))
    if late:
        sentence = f"new certificates and token keys wait until {', '.join(late)} has loaded what is there"
        result += wait(Reason.ROTATING_CREDENTIALS, sentence)
    return result


def _pods_and_members(seen: Observation) -> Plan:
    target = size.wanted(seen)
    choice = template.choose(
        seen, manifests.template_hash(seen.resource, seen.default_image), manifests.asked_hash(seen.resource)
    )
    changed = objects.stateful_set(seen, target, choice)
    result = choice.waits + claims.plan(seen, target) + changed
    if changed.actions:
        return result
    return result + (roll.heal(seen) or recovery.plan(seen) + _with_leader(seen, target))


def _with_leader(seen: Observation, target: size.Size) -> Plan:
    group = seen.group
    if group is None:
        return _without_leader(seen)
    if not identity.is_known(seen):
        return NOTHING
    if not group.settled:
        to = f"leadership goes to {group.transferee}" if group.transferee else "a change of members is under way"
        return wait(Reason.CHANGE_IN_PROGRESS, to)
    result = NOTHING
    for step in (pinned.replace, membership.replace_lost, membership.grow, roll.plan, membership.shrink):
        result += step(seen)
        if result.actions:
            return result
    return result + claims.delete(seen, target)


def _without_leader(seen: Observation) -> Plan:
    why = seen.unanswered or "no node answers"
    if seen.identity is not None and not seen.identity.incarnation:
        waiting = sorted(f"{pod}: {node.waits_for}" for pod, node in seen.nodes.items() if node.waits_for)
        return wait(Reason.FORMING, "; ".join(waiting) or why)
    return wait(Reason.NO_LEADER, why)
