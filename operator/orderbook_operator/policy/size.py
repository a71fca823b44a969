"""How many pods the StatefulSet has, and from which ordinal on.

======================================= =========================================================================
the leader's answer                     1 + the highest ordinal in the configuration, learners too: a member has a pod
... and ``spec.replicas`` is above that one more, once every member is up: the new pod draws its id and comes as a
                                        stranger; it stays while the others lag again
... while a change is under way         never less than now
no answer                               1 + the highest ordinal of an unretired claim, and never less than now: what
                                        can't be read must not end pods
no answer, no group yet                 at least the initial size, the constant that the nodes read
a recovery                              the survivor alone, see ``recovery``
======================================= =========================================================================

Only pods whose member isn't in the configuration go, so that a smaller number never takes a member away.
"""

from __future__ import annotations

from typing import NamedTuple

from orderbook_operator import names
from orderbook_operator.observation import GroupSeen, Observation
from orderbook_operator.policy import identity, recovery
from orderbook_operator.policy.quorum import down


class Size(NamedTuple):
    """Pods of the ordinals ``first`` to ``first`` + ``replicas`` - 1; ``recovering`` is the word for a recovery."""

    replicas: int
    first: int = 0
    recovering: str = ""

    def includes(self, ordinal: int) -> bool:
        return self.first <= ordinal < self.first + self.replicas


def wanted(seen: Observation) -> Size:
    """The size for the StatefulSet now. Needs the identity."""
    survivor = recovery.alone(seen)
    if survivor is not None:
        return Size(1, survivor.ordinal, str(survivor))
    live = seen.stateful_set.first + seen.stateful_set.replicas if seen.stateful_set is not None else 0
    group = seen.group
    if group is None or not identity.is_known(seen):
        return Size(max(live, _from_claims(seen)))
    least = highest(seen, group) + 1
    if least == 0 or not group.settled:
        return Size(max(live, least))
    if seen.resource.spec.replicas > least and (_may_grow(seen, group, least) or live > least):
        return Size(least + 1)
    return Size(least)


def highest(seen: Observation, group: GroupSeen) -> int:
    """The highest ordinal of a member, -1 if no member is named like a pod of this group."""
    ordinals = [names.ordinal(member.name, seen.name) for member in group.members]
    return max((ordinal for ordinal in ordinals if ordinal is not None), default=-1)


def _from_claims(seen: Observation) -> int:
    least = max((claim.ordinal for claim in seen.claims if not claim.retired), default=-1) + 1
    assert seen.identity is not None
    return least if seen.identity.incarnation and least else max(least, seen.identity.initial_size)


def _may_grow(seen: Observation, group: GroupSeen, ordinal: int) -> bool:
    """No other member may lag, and the new pod's claim must not be going away."""
    claim = seen.claim(ordinal)
    return not down(seen, group) and not (claim is not None and claim.terminating)
