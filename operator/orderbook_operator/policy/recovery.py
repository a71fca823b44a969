"""A lost majority: never recovered automatically, only with a person's word, in an order that can't make two groups.

The word is the annotation ``orderbook.dev/recover: <name>/<id>@<incarnation>``: the survivor, and the life of the group
that is given up. It counts only while that incarnation is the one in the identity Secret. So it does nothing twice, and
nothing that was written for another life of the group counts.

The danger is a mistaken word: a majority that lives, but can't be seen from here. Were it still running when the
survivor begins a new life, both would take orders. Deleting the other pods doesn't stop them, the StatefulSet makes
them anew. Therefore, each step only after what the one before it asked for was *seen*:

1. The survivor's node answers under this name, id and incarnation; no other reachable member has more of the log; those
   that answer are no majority of the voters last known, or, where none are, of the claims in use. This is looked at
   before anybody is stopped, who couldn't be asked any more, and again until all are: a majority that turns up after
   all gets its pods back.
2. The StatefulSet is narrowed to the survivor's ordinal (``ordinals.start`` = k, ``replicas`` = 1), and the word is
   kept in its annotation. Its controller then ends all other pods and makes none of them anew, whoever is killed
   meanwhile. Claims stay: ``whenScaled`` is Retain.
3. All other pods are gone from the API server. A pod on a node that is down stays there, terminating: only deleting the
   node object says that it does not run any more, and that is a person's to say.
4. The survivor's node is asked to begin the new life (``Recover``). It checks once more by itself, and a repeated
   request makes the same life.
5. The new incarnation, read from the survivor, goes into the identity Secret: in an update conditional on the old one.
   From here on the word doesn't count any more.
6. So the StatefulSet gets its full range back. The others start with the new incarnation given to them; a directory
   of the old life isn't used under it, but kept aside, and they come as strangers that are added one by one.

A word that is taken back stops this if the survivor says that it is in no new life. After that the word in the
StatefulSet's annotation carries on to the end: half a recovery, with the old members let loose again, is the one thing
that must not be.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from orderbook_operator import names
from orderbook_operator.actions import Recover
from orderbook_operator.observation import Member, NodeSeen, Observation
from orderbook_operator.policy.decision import NOTHING, Plan, Reason, do, wait
from orderbook_operator.policy.quorum import quorum

_FORM = re.compile(r"(?P<name>[^/@\s]+)/(?P<id>[1-9][0-9]{0,18})@(?P<incarnation>[0-9a-f]{32})")


class Word(NamedTuple):
    """What a person consented to."""

    survivor: Member
    incarnation: str
    ordinal: int

    def __str__(self) -> str:
        return f"{self.survivor}@{self.incarnation}"


def word(seen: Observation) -> Word | None:
    """The word that counts now."""
    given = _read(seen, seen.resource.metadata.annotations.get(names.RECOVER, ""))
    if given is not None:
        return given
    begun = _read(seen, _kept(seen))
    node = seen.nodes.get(begun.survivor.name) if begun is not None else None
    is_old = node is not None and begun is not None and node.incarnation in ("", begun.incarnation)
    return None if is_old else begun


def alone(seen: Observation) -> Word | None:
    """The survivor that the StatefulSet is narrowed to, until the new life is recorded; None outside of a recovery."""
    given = word(seen)
    if given is None or seen.stateful_set is None:
        return None
    if reborn(seen):
        return given
    return None if _has_leader(seen, given) or _refusal(seen, given) else given


def reborn(seen: Observation) -> str:
    """The new life that the survivor is in and the identity Secret doesn't know yet, "" if it is in none.

    The survivor's own word is enough: it is the only pod that there is.
    """
    given = word(seen)
    if given is None or not _is_narrowed(seen, given) or any(pod.name != given.survivor.name for pod in seen.pods):
        return ""
    node = seen.nodes.get(given.survivor.name)
    said = seen.group.incarnation if seen.group is not None else node.incarnation if node is not None else ""
    return said if said != given.incarnation else ""


def plan(seen: Observation) -> Plan:
    """Steps 3 and 4, and why a word is not followed. Step 2 is the StatefulSet's size, step 5 the identity's."""
    given = word(seen)
    if given is None:
        return _unheeded(seen)
    if reborn(seen) or seen.stateful_set is None:
        return NOTHING
    if _has_leader(seen, given):
        return wait(Reason.RECOVERY_REFUSED, f"{names.RECOVER}: the group has a leader, nothing is to be recovered")
    if refusal := _refusal(seen, given):
        return wait(Reason.RECOVERY_REFUSED, f"{names.RECOVER}: {refusal}")
    return _when_narrowed(seen, given)


def _when_narrowed(seen: Observation, given: Word) -> Plan:
    live, survivor = seen.stateful_set, given.survivor
    others = sorted(pod.name for pod in seen.pods if pod.name != survivor.name)
    if live is None or not (_is_narrowed(seen, given) and live.current):
        return wait(Reason.RECOVERING, f"all pods but {survivor.name} are being stopped")
    if others:
        lost = sorted({pod.node for pod in seen.pods if pod.name in others and pod.node and not pod.node_ready})
        advice = "".join(f"; {node} is not ready: if it is gone for good, kubectl delete node {node}" for node in lost)
        return wait(Reason.RECOVERING, f"waits until {', '.join(others)} stopped{advice}")
    node = seen.nodes.get(survivor.name)
    if node is None:
        return wait(Reason.RECOVERING, f"waits for an answer of {survivor.name}")
    if node.member != survivor:
        return wait(Reason.RECOVERY_REFUSED, f"{names.RECOVER}: {survivor.name} is {node.member} now, not {survivor}")
    return do(Recover(survivor, given.incarnation, node.last_term, node.last_index))


def _read(seen: Observation, text: str) -> Word | None:
    """None unless it is well formed, names a pod of this group, and is of the recorded incarnation."""
    found = _FORM.fullmatch(text)
    if found is None or seen.identity is None or found["incarnation"] != seen.identity.incarnation:
        return None
    ordinal = names.ordinal(found["name"], seen.name)
    if ordinal is None or found["name"] != names.pod(seen.name, ordinal):
        return None
    return Word(Member(found["name"], int(found["id"])), found["incarnation"], ordinal)


def _kept(seen: Observation) -> str:
    live = seen.objects.get(seen.stateful_set_key, {}) if seen.stateful_set is not None else {}
    annotations = (live.get("metadata") or {}).get("annotations") or {}
    return str(annotations.get(names.RECOVERING, ""))


def _is_narrowed(seen: Observation, given: Word) -> bool:
    live = seen.stateful_set
    return live is not None and live.is_only(given.ordinal) and _kept(seen) == str(given)


def _is_in_old_life(seen: Observation, given: Word) -> bool:
    node = seen.nodes.get(given.survivor.name)
    return node is not None and (node.member, node.incarnation) == (given.survivor, given.incarnation)


def _has_leader(seen: Observation, given: Word) -> bool:
    """Of the life that is to be given up."""
    return seen.group is not None and seen.group.incarnation == given.incarnation


def _refusal(seen: Observation, given: Word) -> str:
    """Why the others must not be stopped, "" if they may. Once they are being stopped, the survivor may be silent."""
    node = seen.nodes.get(given.survivor.name)
    if not _is_narrowed(seen, given):
        if node is None:
            return f"{given.survivor.name} doesn't answer"
        if not _is_in_old_life(seen, given):
            return f"{given.survivor.name} is {node.member} of incarnation {node.incarnation or '(none)'}, not {given}"
    answering = [other for other in seen.nodes.values() if other.incarnation == given.incarnation]
    ahead = sorted(other.pod for other in answering if node is not None and _end(other) > _end(node))
    if ahead:
        return f"{', '.join(ahead)} has more of the log than {given.survivor.name}"
    voters = {int(member.id) for member in seen.resource.status.members if member.role != "learner"}
    alive = sorted(other.pod for other in answering if not voters or other.member.id in voters)
    many = len(voters) or sum(not claim.retired for claim in seen.claims)
    if many and len(alive) >= quorum(many):
        return f"{', '.join(alive)} answer, a majority of {many} voters: it isn't lost"
    return ""


def _end(node: NodeSeen) -> tuple[int, int]:
    return (node.last_term, node.last_index)


def _unheeded(seen: Observation) -> Plan:
    """Said only while there is no leader: an annotation left in place after a recovery is no news."""
    text = seen.resource.metadata.annotations.get(names.RECOVER)
    if text is None or seen.group is not None or seen.identity is None:
        return NOTHING
    current = seen.identity.incarnation or "unknown"
    form = f"{names.RECOVER} is <name>/<id>@<incarnation> of a member, the incarnation being {current}"
    return wait(Reason.RECOVERY_REFUSED, f"{form}; it says {text!r}")
