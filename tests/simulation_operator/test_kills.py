"""The operator is killed after any of its actions, and what it saw may be old: the end is the same."""

from __future__ import annotations

import random

import pytest

from simulation_operator.operating import Operator, shape
from simulation_operator.stories import BAD, LAST, SECOND, STORIES, THIRD, formed, serves
from simulation_operator.view import observe
from simulation_operator.world import World


def told(name: str, kill_after: int | None = None) -> Operator:
    start, tell = STORIES[name]
    operator = Operator(start(), kill_after)
    tell(operator)
    return operator


@pytest.mark.parametrize("name", [name for name in STORIES if name != "scale, claims deleted"])
def test_killed_after_any_action_it_ends_in_the_same_state(name):
    undisturbed = told(name)
    expected = shape(undisturbed.world)
    for step in range(1, len(undisturbed.done) + 1):
        assert shape(told(name, step).world) == expected, f"killed after {undisturbed.done[step - 1]!r}"


@pytest.mark.parametrize("seed", range(24))
def test_whatever_happens_it_takes_no_quorum_and_ends_as_the_spec_asks(seed):
    """Users, faults, kills and old views at random; then peace."""
    chance = random.Random(seed)
    operator = Operator(formed(3, chance.choice(["Retain", "Delete"])), seed=seed)
    world, views = operator.world, [observe(operator.world)]
    world.bad_images.add(BAD)
    for _ in range(60):
        happen(world, chance)
        views = [*views[-3:], observe(world)]
        if chance.random() < 0.2:
            operator.kill_after = len(operator.done) + chance.randrange(1, 4)
        operator.run_pass(chance.choice(views) if chance.random() < 0.3 else None)
        world.tick()
    world.machines.update(dict.fromkeys(world.machines, "up"))
    world.change_spec(image=LAST, replicas=chance.choice([1, 3, 5]), paused=False)
    operator.settle(serves)
    life = world.life()
    assert life is not None and len(world.lives) == 1
    assert sorted(member.name for member in life.voters) == [f"eth-{i}" for i in range(world.spec["replicas"])]
    assert {pod.image for pod in world.pods.values()} == {world.spec["image"]}


def happen(world: World, chance: random.Random) -> None:
    """One thing, or none, that a user or fate may do without losing a majority for good."""
    what = chance.randrange(12)
    if what == 0:
        world.change_spec(replicas=chance.choice([1, 3, 5]))
    elif what == 1:
        world.change_spec(image=chance.choice([SECOND, THIRD, BAD]))
    elif what == 2:
        world.change_spec(storage={**world.spec["storage"], "retention": chance.choice(["Retain", "Delete"])})
    elif what == 3:
        world.change_spec(paused=chance.random() < 0.5)
    elif what == 4 and world.pods:
        world.kill(chance.choice(sorted(world.pods)))
    elif what == 5:
        node = chance.choice(sorted(world.machines))
        world.machines[node] = "down" if world.machines[node] == "up" else "up"
    elif what == 6 and may_lose_a_volume(world):
        life = world.life()
        assert life is not None
        lost = chance.choice(life.members)
        world.lose_volume(world.pods[lost.name].ordinal)


def may_lose_a_volume(world: World) -> bool:
    """All members are up, and the others have all that was acknowledged."""
    life = world.life()
    if life is None or life.outgoing or len(life.voters) < 3:
        return False
    return len(life.caught_up(world.alive(life))) == len(life.members)
