"""The members' volumes: grown, retired, deleted. Only the operator deletes a claim, always by uid.

A claim is retired, which a label says with the id of the member that left, once the leader's configuration has no
member of its name. Where no leader can be asked, that label tells which ordinals had members (``size``). It is removed
before a pod of this ordinal is wanted again: the node then sees that its id isn't in the configuration, moves the old
directory aside and comes as a new member.

With ``retention: Delete`` a retired claim is deleted when its pod is gone; with Retain it stays. The label comes first,
and the deletion is refused if the claim changed since: who lost the lease meanwhile can't delete what another operator
has given to a new member.
"""

from __future__ import annotations

from orderbook_operator import names
from orderbook_operator.actions import DeleteClaim, GrowClaim, LabelClaim
from orderbook_operator.observation import ClaimSeen, Observation
from orderbook_operator.policy import identity
from orderbook_operator.policy.decision import NOTHING, Plan, Reason, do, wait
from orderbook_operator.policy.size import Size
from orderbook_operator.scalars import Quantity

UNKNOWN = "unknown"  # the label's value where nobody knows the id any more


def plan(seen: Observation, size: Size) -> Plan:
    """Labels and growth: nothing here takes anything away."""
    result = NOTHING
    for claim in sorted(seen.claims, key=lambda claim: claim.ordinal):
        if claim.terminating:
            if size.includes(claim.ordinal) and claim.retired:
                result += wait(Reason.CLAIM_TERMINATING, f"{claim.name} is being deleted; a new one follows")
            continue
        if claim.retired and size.includes(claim.ordinal):
            result += do(LabelClaim(claim.name, claim.uid, ""))
        elif not claim.retired and _has_left(seen, claim, size):
            result += do(LabelClaim(claim.name, claim.uid, _id_of(seen, claim)))
        elif not claim.retired and claim.bound and _is_smaller(claim.requested, seen.resource.spec.storage.size):
            result += do(GrowClaim(claim.name, claim.uid, str(seen.resource.spec.storage.size)))
    return result


def delete(seen: Observation, size: Size) -> Plan:
    """The next retired claim that goes, if claims are not to be retained."""
    if seen.resource.spec.storage.retention != "Delete":
        return NOTHING
    for claim in sorted(seen.claims, key=lambda claim: claim.ordinal):
        unused = not claim.terminating and claim.retired and _has_left(seen, claim, size)
        if unused and seen.pod(names.pod(seen.name, claim.ordinal)) is None:
            reason = f"its member {claim.retired} left the group"
            return do(DeleteClaim(claim.name, claim.uid, reason, claim.resource_version))
    return NOTHING


def _has_left(seen: Observation, claim: ClaimSeen, size: Size) -> bool:
    """The leader's configuration has no member of this name, and none is to come."""
    group = seen.group
    if group is None or not group.settled or not identity.is_known(seen):
        return False
    if size.recovering or size.includes(claim.ordinal):
        return False
    pod = names.pod(seen.name, claim.ordinal)
    is_member = any(member.name == pod for member in group.members)
    return not is_member and claim.ordinal >= seen.resource.spec.replicas


def _id_of(seen: Observation, claim: ClaimSeen) -> str:
    pod = names.pod(seen.name, claim.ordinal)
    for member in seen.resource.status.members:
        if member.name == pod:
            return member.id
    return str(seen.nodes[pod].member.id) if pod in seen.nodes else UNKNOWN


def _is_smaller(requested: str, wanted: Quantity) -> bool:
    return Quantity.checked(requested).number < wanted.number
