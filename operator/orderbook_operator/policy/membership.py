"""Who belongs to the group: lost members replaced, new ones added and promoted, those that are too many removed.

Everything here goes by the leader's own answer, one change of the configuration at a time, and raft refuses each one
unless the configuration is still the one that was seen. A change is asked for only if the voters that are up are a
quorum before and after it: it is decided at once, or not begun.

- **Lost**: a stranger has a member's name and another id. A directory draws its id once, so the old one is gone or set
  aside, and the member will never be heard again. One joint change puts the new id in the old one's place, and the
  number of voters stays. (A learner first would need a second name: names are unique in a configuration. Raft knows
  this case, and lets the empty voter in.)
- **Growth**: strangers become learners, one at a time: the next one when all members are up. Learners that caught up
  become voters by one joint change from an odd number to an odd number.
- **Shrinkage**: the leadership goes to a member that stays, then all that leave go by one joint change. Their pods and
  claims follow when it is done (``size``, ``claims``).
"""

from __future__ import annotations

from collections.abc import Iterable

from orderbook_operator import names
from orderbook_operator.actions import ChangeMembers, TransferLeadership
from orderbook_operator.observation import GroupSeen, Member, MemberSeen, Observation
from orderbook_operator.policy.decision import NOTHING, Plan, Reason, do, wait
from orderbook_operator.policy.quorum import down, may_become, up


def replace_lost(seen: Observation) -> Plan:
    group = seen.group
    if group is None:
        return NOTHING
    strangers = {stranger.name: stranger for stranger in group.strangers}
    for lost in group.members:
        new = strangers.get(lost.name)
        if new is None or lost.active or not _belongs(seen, lost.name):
            continue
        voters = tuple(new if member.member == lost.member else member.member for member in _voters(group))
        learners = tuple(new if member.member == lost.member else member.member for member in _learners(group))
        if lost.role == "voter" and not may_become(seen, voters):
            return wait(Reason.QUORUM_AT_RISK, f"{lost} lost its volume; {new} replaces it once a quorum is up")
        reason = f"{lost.member} lost its volume, {new} takes its place"
        return do(ChangeMembers(voters, learners, group.configuration_index, reason))
    return NOTHING


def grow(seen: Observation) -> Plan:
    group = seen.group
    if group is None:
        return NOTHING
    promoted = _to_promote(seen, group)
    if promoted:
        return _promote(seen, group, promoted)
    count, wanted = len(group.members), seen.resource.spec.replicas
    if count >= wanted:
        lagging = [member.name for member in _learners(group)]
        return wait(Reason.SCALING_UP, f"waits until {_all(lagging)} caught up") if lagging else NOTHING
    lagging = [member.name for member in down(seen, group)]
    if lagging:
        return wait(Reason.MEMBERS_CATCH_UP, f"the next member comes once {_all(lagging)} is ready and caught up")
    known = {member.name for member in group.members}
    for stranger in sorted(group.strangers):
        if stranger.name not in known and _belongs(seen, stranger.name):
            learners = (*(member.member for member in _learners(group)), stranger)
            voters = tuple(member.member for member in _voters(group))
            reason = f"{stranger} is added as a learner"
            return do(ChangeMembers(voters, learners, group.configuration_index, reason))
    return wait(Reason.SCALING_UP, f"waits until a new node reports to the leader: {count} of {wanted} members")


def shrink(seen: Observation) -> Plan:
    group = seen.group
    if group is None:
        return NOTHING
    leaving = [member for member in group.members if not _is_wanted(seen, member.name)]
    if not leaving:
        return NOTHING
    who = _all(member.name for member in leaving)
    voters = tuple(member.member for member in _voters(group) if member not in leaving)
    learners = tuple(member.member for member in _learners(group) if member not in leaving)
    if any(member.role == "voter" for member in leaving) and not may_become(seen, voters):
        return wait(Reason.QUORUM_AT_RISK, f"{who} can't leave: of those that stay no quorum is up")
    if group.leader not in voters:
        staying = [member for member in up(seen, group) if member.member in voters]
        heir = min(staying, key=lambda member: (member.lag, member.name))
        return do(TransferLeadership(heir.name, f"{group.leader.name} is to leave"))
    reason = f"{who} leave: {seen.resource.spec.replicas} members are wanted"
    return do(ChangeMembers(voters, learners, group.configuration_index, reason))


def _promote(seen: Observation, group: GroupSeen, promoted: tuple[Member, ...]) -> Plan:
    voters = (*(member.member for member in _voters(group)), *promoted)
    learners = tuple(member.member for member in _learners(group) if member.member not in promoted)
    who = _all(member.name for member in promoted)
    if not may_become(seen, voters):
        return wait(Reason.QUORUM_AT_RISK, f"{who} can't become voters yet: no quorum would be up")
    return do(ChangeMembers(voters, learners, group.configuration_index, f"{who} caught up and become voters"))


def _to_promote(seen: Observation, group: GroupSeen) -> tuple[Member, ...]:
    """The learners that make the voters a greater odd number, by ordinal."""
    count = len(_voters(group))
    ready = [member for member in up(seen, group) if member.role == "learner" and _is_wanted(seen, member.name)]
    ready.sort(key=lambda member: names.ordinal(member.name, seen.name) or 0)
    target = min(count + len(ready), seen.resource.spec.replicas)
    target -= 1 - target % 2
    return tuple(member.member for member in ready[: max(0, target - count)])


def _is_wanted(seen: Observation, name: str) -> bool:
    ordinal = names.ordinal(name, seen.name)
    return ordinal is not None and ordinal < seen.resource.spec.replicas


def _belongs(seen: Observation, name: str) -> bool:
    """A stranger of this name runs in a pod of ours that stays."""
    pod = seen.pod(name)
    return _is_wanted(seen, name) and pod is not None and not pod.terminating


def _voters(group: GroupSeen) -> tuple[MemberSeen, ...]:
    return tuple(member for member in group.members if member.role == "voter")


def _learners(group: GroupSeen) -> tuple[MemberSeen, ...]:
    return tuple(member for member in group.members if member.role == "learner")


def _all(names_of: Iterable[str]) -> str:
    return ", ".join(sorted(names_of))
