"""Whole lives of a group under the operator: formed, scaled, rolled, hurt, recovered, torn down."""

from __future__ import annotations

import pytest

from orderbook_operator import names
from orderbook_operator.actions import DeleteClaim, DeletePod, EvictPod, TransferLeadership
from simulation_operator import stories
from simulation_operator.operating import Operator, changes, recoveries, shape
from simulation_operator.stories import STORIES
from simulation_operator.world import STATEFUL_SET, World


def told(name: str) -> Operator:
    start, tell = STORIES[name]
    operator = Operator(start())
    tell(operator)
    return operator


def voters(world: World) -> list[str]:
    life = world.life()
    assert life is not None
    return sorted(member.name for member in life.voters)


def evicted(operator: Operator) -> list[str]:
    return [action.pod for action in operator.done if isinstance(action, EvictPod)]


def test_a_fresh_group_forms_and_is_ready():
    world = told("begin").world
    assert voters(world) == ["eth-0", "eth-1", "eth-2"]
    assert world.status["phase"] == "Ready" and world.status["ready"] == "3/3"
    assert list(world.pairs) == [("ETH", "USDC")]


def test_it_grows_by_learners_that_become_voters_in_one_change():
    operator = told("grow")
    assert voters(operator.world) == [f"eth-{i}" for i in range(5)]
    assert [(len(change.voters), len(change.learners)) for change in changes(operator)] == [(3, 1), (3, 2), (5, 0)]


def test_it_shrinks_by_one_change_after_the_leadership_moved():
    operator = told("shrink")
    kinds = [type(action) for action in operator.done]
    assert voters(operator.world) == ["eth-0", "eth-1", "eth-2"] == sorted(operator.world.pods)
    assert [len(change.voters) for change in changes(operator)] == [3]
    assert kinds.index(TransferLeadership) < kinds.index(type(changes(operator)[0]))
    assert [bool(claim.retired) for claim in operator.world.claims.values()] == [False] * 3 + [True] * 2


def test_claims_of_those_that_left_are_deleted_if_they_are_not_retained():
    operator = told("shrink, claims deleted")
    assert sorted(operator.world.claims) == [0, 1, 2]


@pytest.mark.parametrize("name", ["scale", "scale, claims deleted"])
def test_it_scales_up_and_down_and_up_again(name):
    operator = told(name)
    assert voters(operator.world) == ["eth-0"]
    assert {len(change.voters) for change in changes(operator)} == {1, 3, 5}
    deleted = [action.claim for action in operator.done if isinstance(action, DeleteClaim)]
    assert bool(deleted) == ("deleted" in name)


def test_a_roll_takes_followers_first_and_the_leader_last_after_a_confirmed_transfer():
    operator = told("roll")
    life = operator.world.life()
    assert life is not None and [old.name for old, _ in life.transfers] == [evicted(operator)[-1]]
    assert len(evicted(operator)) == 3
    assert stories.image_of(operator.world) == stories.SECOND
    assert {pod.image for pod in operator.world.pods.values()} == {stories.SECOND}


def test_a_roll_of_one_replica_goes_without_a_successor():
    assert evicted(told("roll of one")) == ["eth-0"]


def test_a_bad_roll_stops_at_the_first_pod_and_a_good_one_goes_on():
    operator = told("bad roll")
    assert {pod.image for pod in operator.world.pods.values()} == {stories.SECOND}
    assert evicted(operator).count("eth-2") == 2  # for the bad one, and for the good one


def test_a_stopped_roll_is_said_and_not_tried_again():
    operator = Operator(stories.formed(3))
    operator.world.bad_images.add(stories.BAD)
    operator.world.change_spec(image=stories.BAD)
    operator.work(20)
    evictions = len(evicted(operator))
    operator.work(20)
    assert len(evicted(operator)) == evictions == 1
    degraded = next(c for c in operator.world.status["conditions"] if c["type"] == "Degraded")
    assert (degraded["status"], degraded["reason"]) == ("True", "RollStopped")
    assert operator.world.status["failedTemplate"]
    operator.world.kill("eth-0")
    operator.work(3)
    assert operator.world.pods["eth-0"].image != stories.BAD and operator.world.serves()


def test_a_wrong_first_image_heals_when_it_is_corrected():
    assert voters(told("bad beginning").world) == ["eth-0", "eth-1", "eth-2"]


def test_a_single_replica_whose_new_version_never_gets_ready_is_put_back():
    operator = told("mute roll of one")
    assert [action.pod for action in operator.done if isinstance(action, DeletePod)] == ["eth-0"]
    assert len(operator.world.lives) == 1 and voters(operator.world) == ["eth-0"]


def test_a_first_version_that_never_gets_ready_heals_when_it_is_corrected():
    assert voters(told("mute beginning").world) == ["eth-0", "eth-1", "eth-2"]


def test_pods_that_run_are_left_alone_without_a_leader_in_a_group_that_had_one():
    """Nobody can say which of them is needed, and a person's change may be what broke them or what heals them."""
    operator = Operator(stories.formed(3))
    operator.world.mute_images.add(stories.FIRST)
    operator.world.change_spec(image=stories.SECOND)
    before = len(operator.done)
    operator.work(40)
    assert len(operator.done) == before and not operator.world.serves()


def test_a_lost_volume_is_one_joint_swap_of_ids():
    operator = told("lost volume")
    (swap,) = changes(operator)
    assert [member.name for member in swap.voters] == ["eth-0", "eth-1", "eth-2"] and swap.learners == ()


def test_a_member_on_a_lost_machine_is_replaced_with_consent_only():
    operator = told("lost machine")
    deleted = [action.claim for action in operator.done if isinstance(action, DeleteClaim)]
    assert deleted == ["data-eth-1"]


def test_a_lost_majority_is_recovered_once_and_the_old_members_come_back_as_new_ones():
    operator = told("recover")
    assert len(recoveries(operator)) == 1
    assert voters(operator.world) == ["eth-0", "eth-1", "eth-2"]
    assert [operator.world.claims[i].disk.aside for i in range(3)] == [1, 1, 0]  # type: ignore[union-attr]
    operator.work(20)
    assert len(recoveries(operator)) == 1


def test_nothing_is_recovered_without_a_word():
    operator = Operator(stories.formed(3))
    stories.lose_majority(operator.world)
    before = len(operator.done)
    operator.work(50)
    assert len(operator.done) == before
    conditions = {c["type"]: (c["status"], c["reason"]) for c in operator.world.status["conditions"]}
    assert conditions["Quorate"] == ("False", "NoLeader") and conditions["Degraded"][0] == "True"


def test_drift_comes_back_without_a_pod_touched():
    operator = told("drift")
    assert evicted(operator) == [] and stories.image_of(operator.world) != "somebody/else:1"


def test_a_teardown_leaves_claims_and_identity_if_they_are_retained():
    world = told("tear down").world
    assert world.gone and not world.pods and not world.objects
    assert sorted(world.claims) == [0, 1, 2] and sorted(world.secrets) == [names.identity_secret("eth")]


def test_a_teardown_removes_all_if_claims_are_to_be_deleted():
    world = told("tear down, claims deleted").world
    assert world.gone and not world.pods and not world.objects and not world.claims and not world.secrets


def test_a_group_made_again_over_its_claims_is_the_same_group():
    operator = told("make again")
    assert len(operator.world.lives) == 1 and voters(operator.world) == ["eth-0", "eth-1", "eth-2"]


@pytest.mark.parametrize("name", STORIES)
def test_at_its_end_nothing_is_left_to_do(name):
    operator = told(name)
    if not operator.world.gone:
        before = shape(operator.world)
        assert not operator.work(3)
        assert shape(operator.world) == before
        assert STATEFUL_SET in operator.world.objects
