"""A lost majority, step by step: what each step asks to have been seen, and when the word does not count."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from orderbook_operator import names
from orderbook_operator.actions import ApplyObject, Recover, ReplaceSecret
from orderbook_operator.observation import Member, Observation
from orderbook_operator.plan import Plan, plan
from orderbook_operator.policy.decision import Reason
from orderbook_operator.resource import Status
from simulation_operator import stories
from simulation_operator.operating import Operator
from simulation_operator.view import observe
from simulation_operator.world import World

REBORN = "f" * 32


def planned(seen: Observation) -> Plan:
    return plan(seen, random.Random(1).randbytes)


def lost() -> tuple[World, str, Member]:
    """Two of three machines are down; the incarnation, and the survivor."""
    world = stories.formed(3)
    survivor = stories.lose_majority(world)
    (incarnation,) = world.lives
    Operator(world).work(5)
    return world, incarnation, survivor


def with_word(world: World, word: str) -> World:
    world.annotations = {names.RECOVER: word}
    return world


def narrowed() -> tuple[World, str, Member]:
    """The word was given, and the StatefulSet has the survivor alone; the others' pods are gone with their machines."""
    world, incarnation, survivor = lost()
    operator = Operator(with_word(world, f"{survivor}@{incarnation}"))
    operator.work(3)
    for name in ("eth-0", "eth-1"):
        del world.machines[world.pods[name].node]
    world.tick()
    return world, incarnation, survivor


def reasons(result: Plan) -> list[Reason]:
    return [wait.reason for wait in result.waits]


def test_first_the_stateful_set_is_narrowed_to_the_survivor_and_the_word_kept_in_it():
    world, incarnation, survivor = lost()
    (action,) = planned(observe(with_word(world, f"{survivor}@{incarnation}"))).actions
    assert isinstance(action, ApplyObject)
    assert (action.manifest["spec"]["replicas"], action.manifest["spec"]["ordinals"]) == (1, {"start": 2})
    assert action.manifest["metadata"]["annotations"][names.RECOVERING] == f"{survivor}@{incarnation}"


@pytest.mark.parametrize(
    "word",
    ["", "eth-2", "eth-2/7", "eth-2/7@", "other-2/7@{incarnation}", "eth-2/x@{incarnation}", "{survivor}@" + REBORN],
)
def test_a_word_that_is_no_word_or_of_another_life_does_nothing(word):
    world, incarnation, survivor = lost()
    result = planned(observe(with_word(world, word.format(incarnation=incarnation, survivor=survivor))))
    assert result.actions == () and Reason.RECOVERY_REFUSED in reasons(result)


def test_nobody_is_stopped_while_a_majority_answers():
    world = stories.formed(3)
    (life,) = world.lives.values()
    seen = observe(with_word(world, f"{life.voters[2]}@{life.incarnation}"))
    result = planned(replace(seen, group=None))
    assert result.actions == () and Reason.RECOVERY_REFUSED in reasons(result)


def test_nobody_is_stopped_while_another_has_more():
    world, incarnation, survivor = lost()
    world.machines = dict.fromkeys(world.machines, "up")
    ahead = world.disk(world.pods["eth-0"])
    assert ahead is not None
    ahead.end = (ahead.end[0], ahead.end[1] + 1)
    seen = observe(with_word(world, f"{survivor}@{incarnation}"))
    nodes = {name: node for name, node in seen.nodes.items() if name != "eth-1"}
    result = planned(replace(seen, group=None, nodes=nodes))
    assert result.actions == () and Reason.RECOVERY_REFUSED in reasons(result)


def test_a_group_with_a_leader_is_not_recovered():
    world = stories.formed(3)
    (life,) = world.lives.values()
    result = planned(observe(with_word(world, f"{life.voters[2]}@{life.incarnation}")))
    assert result.actions == () and reasons(result) == [Reason.RECOVERY_REFUSED]


def test_the_pods_of_the_others_are_waited_for_and_their_dead_nodes_named():
    world, incarnation, survivor = lost()
    Operator(with_word(world, f"{survivor}@{incarnation}")).work(5)
    result = planned(observe(world))
    assert result.actions == () and Reason.RECOVERING in reasons(result)
    said = next(wait.message for wait in result.waits if wait.reason is Reason.RECOVERING)
    assert "kubectl delete node worker-0" in said and "eth-0, eth-1" in said


def test_then_the_survivor_is_asked_with_the_end_of_its_log():
    world, incarnation, survivor = narrowed()
    disk = world.disk(world.pods["eth-2"])
    assert disk is not None
    assert planned(observe(world)).actions == (Recover(survivor, incarnation, *disk.end),)


def test_a_word_that_is_taken_back_in_time_gives_the_others_back():
    world, _, _ = narrowed()
    world.annotations = {}
    (action,) = planned(observe(world)).actions
    assert isinstance(action, ApplyObject)
    assert (action.manifest["spec"]["replicas"], action.manifest["spec"]["ordinals"]) == (3, {"start": 0})


@pytest.mark.parametrize("leads", [True, False])
def test_a_word_that_is_taken_back_too_late_is_carried_out(leads):
    world, incarnation, _ = narrowed()
    operator = Operator(world)
    operator.run_pass()
    assert isinstance(operator.done[-1], Recover)
    world.annotations = {}
    silent = replace(observe(world), nodes={}, group=None)
    assert planned(silent).actions == ()  # nobody is let loose while the survivor can't say in which life it is
    if leads:
        world.tick()
    (recorded,) = [action for action in planned(observe(world)).actions if isinstance(action, ReplaceSecret)]
    assert recorded.data["incarnation"].decode() in world.lives and len(world.lives) == 2
    assert recorded.data["incarnation"].decode() != incarnation


def test_the_new_life_is_recorded_before_the_others_come_back():
    world, _, _ = narrowed()
    operator = Operator(world)
    operator.work(2)
    first, second = operator.done[:2]
    assert isinstance(first, Recover) and isinstance(second, ReplaceSecret)
    assert sorted(world.pods) == ["eth-2"]
    operator.work(1)
    assert world.objects[observe(world).stateful_set_key]["spec"]["ordinals"] == {"start": 0}


def test_where_voters_are_not_known_the_claims_tell_how_many_there_are():
    """As of a resource that was made again over kept claims."""
    world, incarnation, survivor = lost()
    seen = observe(with_word(world, f"{survivor}@{incarnation}"))
    other = replace(seen.nodes["eth-2"], pod="eth-1", member=Member("eth-1", 12), last_index=0)
    unknown = seen.resource.model_copy(update={"status": Status()})
    result = planned(replace(seen, resource=unknown, nodes={**seen.nodes, "eth-1": other}))
    assert Reason.RECOVERY_REFUSED in reasons(result)
    sets = [action.manifest for action in result.actions if isinstance(action, ApplyObject)]
    assert "StatefulSet" not in [manifest["kind"] for manifest in sets]


def test_without_known_voters_the_word_is_enough():
    world, incarnation, survivor = lost()
    seen = observe(with_word(world, f"{survivor}@{incarnation}"))
    unknown = replace(seen, resource=seen.resource.model_copy(update={"status": Status()}))
    assert [type(action) for action in planned(unknown).actions] == [ApplyObject] * len(planned(unknown).actions)
    assert planned(unknown).actions
