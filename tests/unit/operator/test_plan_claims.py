"""When a member's volume goes: its label says that the member left, and only then, in a later look, it is deleted."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from orderbook_operator import actions as a
from orderbook_operator import names
from orderbook_operator.observation import ClaimSeen, Observation
from orderbook_operator.plan import plan
from unit.operator.groups_seen import (
    Change,
    at_rest,
    changed,
    claim,
    group,
    learner,
    new_pod,
    no_leader,
    sight,
    spec,
    stateful_set,
)

LEFT = 3  # the ordinal of a member that was there once


def left_behind(retired: str = "7", retention: str = "Delete") -> Observation:
    """Three members, and the claim of a fourth that left."""
    seen = at_rest(3, retention)
    name = names.claim(seen.name, LEFT)
    old = ClaimSeen(name, f"uid-of-{name}", LEFT, "1Gi", bound=True, retired=retired, resource_version="55")
    return replace(seen, claims=(*seen.claims, old))


def touched(seen: Observation) -> list[a.Action]:
    """What is planned for claims."""
    actions = plan(seen, random.Random(1).randbytes).actions
    return [action for action in actions if isinstance(action, a.DeleteClaim | a.LabelClaim)]


def test_a_claim_is_labelled_in_one_look_and_deleted_in_a_later_one():
    (label,) = touched(left_behind(retired=""))
    assert isinstance(label, a.LabelClaim) and label.claim == "data-eth-3" and label.retired
    (deletion,) = touched(left_behind())
    assert isinstance(deletion, a.DeleteClaim)
    assert (deletion.claim, deletion.uid, deletion.resource_version) == ("data-eth-3", "uid-of-data-eth-3", "55")


def test_a_retained_claim_is_labelled_and_stays():
    assert [type(action) for action in touched(left_behind("", "Retain"))] == [a.LabelClaim]
    assert touched(left_behind("7", "Retain")) == []


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(learner(LEFT, 901, caught_up=False), id="its ordinal has a member again"),
        pytest.param(group(configuration_committed=False), id="the member left by a change that may be undone"),
        pytest.param(group(joint=True), id="a change of members is under way"),
        pytest.param(group(transferee="eth-1"), id="a change of leadership is under way"),
        pytest.param(group(incarnation="0" * 32), id="another group answers"),
        pytest.param(no_leader, id="nobody leads"),
        pytest.param(new_pod(LEFT, ready=False), id="its pod is still there"),
        pytest.param(claim(LEFT, terminating=True), id="it goes already"),
        pytest.param(sight(identity=None), id="the identity is lost"),
        pytest.param(spec(paused=True), id="the group is paused"),
    ],
)
def test_a_retired_claim_is_not_deleted_where(change: Change):
    assert not [action for action in touched(changed(left_behind(), change)) if isinstance(action, a.DeleteClaim)]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(learner(LEFT, 901, caught_up=False), id="its member is there"),
        pytest.param(group(configuration_committed=False), id="its member left by a change that may be undone"),
        pytest.param(spec(replicas=5), id="its member is to come"),
        pytest.param(no_leader, id="nobody leads"),
    ],
)
def test_a_claim_is_not_retired_where(change: Change):
    assert touched(changed(left_behind(retired=""), stateful_set(replicas=4), change)) == []


def test_a_claim_is_used_again_before_its_pod_comes():
    actions = plan(changed(left_behind(), spec(replicas=5)), random.Random(1).randbytes).actions
    assert [type(action) for action in actions] == [a.LabelClaim, a.ApplyObject]
    assert not touched(changed(left_behind(), spec(replicas=5)))[0].retired  # type: ignore[union-attr]


def test_the_number_of_pods_is_changed_only_as_the_stateful_set_was_seen():
    seen = changed(at_rest(3), stateful_set(replicas=5))
    (applied,) = plan(seen, random.Random(1).randbytes).actions
    assert isinstance(applied, a.ApplyObject)
    assert applied.resource_version == seen.objects[seen.stateful_set_key]["metadata"]["resourceVersion"] != ""
