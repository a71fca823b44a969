"""Observations of groups at rest, and what to change in them: the rows of the policy's tables start here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from orderbook_operator import names
from orderbook_operator.observation import GroupSeen, Member, MemberSeen, Observation, PodSeen
from simulation_operator.stories import formed
from simulation_operator.view import observe

Change = Callable[[Observation], Observation]


def at_rest(replicas: int = 3, retention: str = "Retain") -> Observation:
    return observe(formed(replicas, retention))


def changed(seen: Observation, *changes: Change) -> Observation:
    for change in changes:
        seen = change(seen)
    return seen


def spec(**fields: Any) -> Change:
    def change(seen: Observation) -> Observation:
        resource = seen.resource.model_copy(update={"spec": seen.resource.spec.model_copy(update=fields)})
        return replace(seen, resource=resource)

    return change


def metadata(**fields: Any) -> Change:
    def change(seen: Observation) -> Observation:
        resource = seen.resource.model_copy(update={"metadata": seen.resource.metadata.model_copy(update=fields)})
        return replace(seen, resource=resource)

    return change


def annotated(name: str, word: str) -> Change:
    return metadata(annotations={name: word})


def sight(**fields: Any) -> Change:
    return lambda seen: replace(seen, **fields)


def pod(ordinal: int, **fields: Any) -> Change:
    def one(found: PodSeen) -> PodSeen:
        return replace(found, **fields) if found.ordinal == ordinal else found

    return lambda seen: replace(seen, pods=tuple(one(found) for found in seen.pods))


def no_pod(ordinal: int) -> Change:
    return lambda seen: replace(seen, pods=tuple(found for found in seen.pods if found.ordinal != ordinal))


def claim(ordinal: int, **fields: Any) -> Change:
    return lambda seen: replace(
        seen, claims=tuple(replace(found, **fields) if found.ordinal == ordinal else found for found in seen.claims)
    )


def group(**fields: Any) -> Change:
    def change(seen: Observation) -> Observation:
        assert seen.group is not None
        return replace(seen, group=replace(seen.group, **fields))

    return change


def member(ordinal: int, **fields: Any) -> Change:
    def change(seen: Observation) -> Observation:
        members = tuple(
            found._replace(**fields) if found.name == names.pod(seen.name, ordinal) else found
            for found in led(seen).members
        )
        return group(members=members)(seen)

    return change


def learner(ordinal: int, id: int, *, caught_up: bool) -> Change:
    def change(seen: Observation) -> Observation:
        new = MemberSeen(names.pod(seen.name, ordinal), id, "learner", 0, True, caught_up)
        return group(members=tuple(sorted((*led(seen).members, new))))(seen)

    return change


def new_pod(ordinal: int, **fields: Any) -> Change:
    """Like that of ordinal 0, which every group has."""

    def change(seen: Observation) -> Observation:
        name = names.pod(seen.name, ordinal)
        made = replace(seen.pods[0], name=name, uid=f"uid-of-{name}", ordinal=ordinal, **fields)
        return replace(seen, pods=(*seen.pods, made))

    return change


def down(ordinal: int) -> Change:
    """Its process is dead: neither the leader nor Kubernetes counts on it."""

    def change(seen: Observation) -> Observation:
        return changed(seen, pod(ordinal, ready=False), member(ordinal, active=False, caught_up=False))

    return change


def stateful_set(**fields: Any) -> Change:
    def change(seen: Observation) -> Observation:
        assert seen.stateful_set is not None
        live = dict(seen.objects[seen.stateful_set_key])
        if "replicas" in fields:
            live = {**live, "spec": {**live["spec"], "replicas": fields["replicas"]}}
        objects = {**seen.objects, seen.stateful_set_key: live}
        return replace(seen, stateful_set=replace(seen.stateful_set, **fields), objects=objects)

    return change


def led(seen: Observation) -> GroupSeen:
    assert seen.group is not None
    return seen.group


def id_of(seen: Observation, ordinal: int) -> Member:
    return next(one.member for one in led(seen).members if one.name == names.pod(seen.name, ordinal))


def leader_is(ordinal: int) -> Change:
    return lambda seen: group(leader=id_of(seen, ordinal))(seen)


def stranger(ordinal: int, id: int) -> Change:
    return lambda seen: group(strangers=(*led(seen).strangers, Member(names.pod(seen.name, ordinal), id)))(seen)


no_leader: Change = sight(group=None, unanswered="no quorum")
