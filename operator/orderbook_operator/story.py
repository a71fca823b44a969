"""What a step is called, in an Event and in a condition: a reason of one word, a sentence, and whether it is a warning.

The sentences hold names, never a uid or an index: the same step is the same Event, and is counted.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from orderbook_operator import actions as a


class EventToRecord(NamedTuple):
    """``reason`` is one CamelCase word."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


def of_action(action: a.Action) -> EventToRecord:
    """The Event of an action that was done."""
    match action:
        case a.SetFinalizer(present):
            return _normal(
                "Guarded" if present else "Released", "the finalizer was added" if present else "all is removed"
            )
        case a.ApplyObject(manifest, uid, reclaim):
            what = f"{manifest['kind']} {manifest['metadata']['name']}"
            if not uid:
                return _normal("Created", f"created {what}")
            return _normal("Updated", f"put {what} right" + (", and took over what others wrote" if reclaim else ""))
        case a.CreateSecret(name):
            return _normal("Created", f"created Secret {name}")
        case a.ReplaceSecret(name):
            return _normal("Updated", f"updated Secret {name}")
        case a.DeleteObject(key, _, reason):
            return _normal("Deleted", f"deleted {key.kind} {key.name}: {reason}")
        case a.GrowClaim(claim, _, size):
            return _normal("ClaimGrown", f"asked for {size} in {claim}")
        case a.LabelClaim(claim, _, retired):
            told = f"{claim} is retired: member {retired} left" if retired else f"{claim} is used again"
            return _normal("ClaimRetired" if retired else "ClaimReused", told)
        case a.DefinePair(pair):
            return _normal("PairDefined", f"{pair.base}/{pair.quote}: tick {pair.tick}, lot {pair.lot}")
        case a.ChangePair(pair):
            return _normal("PairChanged", f"limits of {pair.base}/{pair.quote}")
        case _:
            return _of_disruptive(action)


def _of_disruptive(action: a.Action) -> EventToRecord:
    match action:
        case a.EvictPod(pod, _, reason):
            return _normal("PodEvicted", f"{pod}: {reason}")
        case a.DeletePod(pod, _, reason):
            return _normal("PodDeleted", f"{pod}: {reason}")
        case a.DeleteClaim(claim, _, reason):
            return _normal("ClaimDeleted", f"{claim}: {reason}")
        case a.ChangeMembers(_, _, _, reason):
            return _normal("MembersChanged", reason)
        case a.TransferLeadership(to, reason):
            return _normal("LeadershipTransferred", f"to {to}: {reason}")
        case a.Recover(survivor, incarnation):
            sentence = (
                f"{survivor} begins a new life of the group of incarnation {incarnation}, whose majority was lost"
            )
            return EventToRecord("Warning", "Recovered", sentence)
    raise AssertionError(f"no story of {action!r}")


def _normal(reason: str, message: str) -> EventToRecord:
    return EventToRecord("Normal", reason, message)
