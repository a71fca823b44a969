"""Whether the group would still decide: the check before everything that takes something away.

A member is *up* if the leader heard from it within an election timeout and counts it as caught up, and if Kubernetes
says that its pod is ready and isn't on its way out. Either alone would be too hopeful: a ready pod may lag, and a
member that keeps up may be terminating already.

Pod p may be disrupted only if the up voters without p are a quorum of every majority that decides. While a change of
configuration is under way there are two, and the leader's answer doesn't tell the halves apart; then nothing may be
disrupted, which is stricter. A group of one voter is exempt: it could never be rolled otherwise.
"""

from __future__ import annotations

from orderbook_operator.observation import GroupSeen, Member, MemberSeen, Observation


def quorum(voters: int) -> int:
    """How many of so many voters decide."""
    return voters // 2 + 1


def is_up(seen: Observation, group: GroupSeen, member: MemberSeen) -> bool:
    pod = seen.pod(member.name)
    keeps_up = member.member == group.leader or (member.active and member.caught_up)
    return keeps_up and pod is not None and pod.ready and not pod.terminating


def up(seen: Observation, group: GroupSeen) -> tuple[MemberSeen, ...]:
    """The members that can be counted on now, learners too."""
    return tuple(member for member in group.members if is_up(seen, group, member))


def down(seen: Observation, group: GroupSeen) -> tuple[MemberSeen, ...]:
    return tuple(member for member in group.members if not is_up(seen, group, member))


def may_disrupt(seen: Observation, name: str) -> bool:
    """Whether the group surely goes on while the pod ``name`` is away. False without the leader's own answer."""
    group = seen.group
    if group is None or not group.settled:
        return False
    voters = [voter.name for voter in group.voters]
    if name not in voters or voters == [name]:
        return True
    left = [member for member in up(seen, group) if member.role == "voter" and member.name != name]
    return len(left) >= quorum(len(voters))


def may_become(seen: Observation, voters: tuple[Member, ...]) -> bool:
    """Whether both the voters of now and ``voters`` have a quorum that is up: a change to them is decided at once."""
    group = seen.group
    if group is None or not group.settled:
        return False
    alive = {member.member for member in up(seen, group)}
    halves = (tuple(voter.member for voter in group.voters), voters)
    return all(sum(member in alive for member in half) >= quorum(len(half)) for half in halves)
