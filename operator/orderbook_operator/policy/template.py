"""Which pod template the StatefulSet has: the one in force until a roll begins, and back to it when the roll fails.

A killed pod comes back from the template that the StatefulSet has at that moment. So the template of a new spec isn't
applied when the spec changes, but just before the first pod goes; and once a pod of it didn't get ready and caught up
within ``progressDeadline``, the template that is known to work is put back, so that no healthy pod that dies by itself
comes back broken.

Known to work is a template that every member was up with: its hash stands in an annotation of the StatefulSet
(``proven``). The hash that failed stands beside it (``failed``), written in the very update that puts the old template
back: whoever is killed in between has recorded both or neither. It isn't tried again until the spec renders another.

=========================== ========================================================================================
no StatefulSet              the rendered template
it has the rendered one     the same: drift in it is mended. Its pods failed: the proven one
it has another one          that one, as the ControllerRevision of its pods has it (the live one may have been edited),
                            but the rendered one
                            - with a leader, once the first pod may go (``roll``). If it is an upgrade of the operator
                              that renders otherwise, not while another group rolls: who changes a spec waits for nobody
                            - without one, if a pod's container doesn't run, or it surely serves nobody
                              (``roll.is_idle``): that can't hurt, and may heal
=========================== ========================================================================================
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from orderbook_operator import names
from orderbook_operator.observation import Manifest, Observation, PodSeen, RevisionSeen
from orderbook_operator.policy import identity, recovery, roll
from orderbook_operator.policy.decision import NOTHING, Plan, Reason, wait
from orderbook_operator.policy.quorum import down, is_up


@dataclass(frozen=True)
class Choice:
    """``manifest`` None is the rendered template. ``proven``, ``failed`` and ``asked`` are hashes, "" for none."""

    manifest: Manifest | None = None
    proven: str = ""
    failed: str = ""
    waits: Plan = NOTHING
    asked: str = ""


def choose(seen: Observation, rendered: str, asked: str) -> Choice:
    """``rendered`` is the hash of what the spec renders to now, ``asked`` that of what the user asks of the pods."""
    live = seen.stateful_set
    if live is None:
        return Choice(asked=asked)
    proven, failed = live.template if _is_proven(seen) else _annotation(seen, names.PROVEN_TEMPLATE), _failed(seen)
    failed = failed if failed == rendered else ""
    if live.template == rendered:
        back = _revision(seen, proven) if proven not in ("", rendered) and late(seen) else None
        if back is None:
            return Choice(None, proven, asked=asked)
        return Choice(back.template, proven, rendered, asked=asked)
    kept, before = _kept(seen), _annotation(seen, names.ASKED)
    if failed:
        return Choice(kept, proven, failed, wait(Reason.ROLL_STOPPED, stopped(rendered)), before)
    waits = _holds(seen, is_upgrade=before in ("", asked))
    return Choice(None, proven, asked=asked) if waits is None else Choice(kept, proven, "", waits, before)


def stopped(failed: str) -> str:
    return (
        f"the pods of template {failed} didn't get ready and caught up in time; "
        "the template before it is in force until the spec changes"
    )


def late(seen: Observation) -> tuple[PodSeen, ...]:
    """The pods of the newest template that should be ready and caught up by now, and aren't."""
    live = seen.stateful_set
    if live is None or not live.current:
        return ()
    patience = seen.resource.spec.progress_deadline.seconds
    return tuple(
        pod
        for pod in seen.pods
        if pod.revision == live.update_revision and seen.now - pod.created > patience and not _serves(seen, pod)
    )


def _serves(seen: Observation, pod: PodSeen) -> bool:
    group = seen.group
    member = next((member for member in group.members if member.name == pod.name), None) if group is not None else None
    if group is None:  # of a pod that runs nobody can say whose fault it is, unless it is the whole group
        return pod.ready or (pod.running and len(seen.pods) > 1)
    if member is None:
        return pod.ready
    return is_up(seen, group, member)


def _is_proven(seen: Observation) -> bool:
    """Every member is up with the template that the StatefulSet has."""
    live, group = seen.stateful_set, seen.group
    is_done = live is not None and live.current and not roll.outdated(seen)
    return is_done and group is not None and group.settled and not down(seen, group)


def _holds(seen: Observation, *, is_upgrade: bool) -> Plan | None:
    """Why the rendered template isn't applied yet, None if it is to be."""
    if recovery.alone(seen) is not None:
        return NOTHING
    if seen.group is None:
        if any(not pod.running or roll.is_idle(seen, pod) for pod in seen.pods) or not seen.pods:
            return None
        return wait(Reason.NO_LEADER, f"a new template waits for a leader: {seen.unanswered or 'no answer'}")
    if not identity.is_known(seen):
        return NOTHING
    if is_upgrade and not seen.may_upgrade:
        return wait(Reason.UPGRADE_QUEUED, "the operator's new template waits until another group is done with its own")
    first = roll.may_begin(seen)
    return None if first.actions else first


def _kept(seen: Observation) -> Manifest:
    """The template in force, as it was when its pods were made."""
    live = seen.stateful_set
    assert live is not None
    revision = _revision(seen, live.template)
    if revision is not None:
        return revision.template
    template: Manifest = seen.objects[seen.stateful_set_key]["spec"]["template"]
    return template


def _revision(seen: Observation, template: str) -> RevisionSeen | None:
    """That of the most pods with this template, the ready ones before others; the newest if there are none."""
    revisions = {revision.name: revision for revision in seen.revisions if _hash(revision.template) == template}
    votes = Counter[str]()
    for pod in seen.pods:
        if pod.revision in revisions:
            votes[pod.revision] += 100 if pod.ready else 1
    return max(revisions.values(), key=lambda revision: (votes[revision.name], revision.number), default=None)


def _hash(template: Manifest) -> str:
    annotations = (template.get("metadata") or {}).get("annotations") or {}
    return str(annotations.get(names.TEMPLATE, ""))


def _failed(seen: Observation) -> str:
    return _annotation(seen, names.FAILED_TEMPLATE) or seen.resource.status.failed_template or ""


def _annotation(seen: Observation, annotation: str) -> str:
    live = seen.objects.get(seen.stateful_set_key, {})
    return str(((live.get("metadata") or {}).get("annotations") or {}).get(annotation, ""))
