"""Consumers over groups whose machines crash, are cut off, wiped, removed and come back; the world itself judges."""

import pytest

from simulation.world import World, draw_shape


def run(seed, ring):
    world = World(seed, shape=draw_shape(seed)._replace(observers=3, ring=ring))
    try:
        return world, world.run().digest
    except BaseException as error:
        error.add_note(f"seed {seed}, ring {ring}")
        raise


@pytest.mark.parametrize("ring", [15, 100_000])
def test_observers_saw_what_was_applied_whatever_happened(ring):
    gaps = resumed = 0
    for seed in range(18):
        world, _ = run(seed, ring)
        gaps += sum(observer.feed.statistics.gaps for observer in world.audience.observers)
        resumed += sum(observer.feed.statistics.connections > 1 for observer in world.audience.observers)
        assert world.judged["events seen"] > 0
    assert resumed > 0
    assert gaps > 0 or ring > 15


def test_the_same_seed_gives_the_same_run():
    assert run(7, 100)[1] == run(7, 100)[1]
