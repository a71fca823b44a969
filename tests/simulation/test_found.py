"""What the simulator found, each in the smallest world that shows it."""

import pytest

from faults.network import Conditions
from orderbook.groups.options import ReplicaOptions
from simulation.machine import REGISTERS
from simulation.schedule import Fault
from simulation.world import World, draw_shape


def small_world(seed, faults, *, machines=3, seconds=8.0, options=None, **shape):
    """Three machines on which nothing is slow or odd but what the test says."""
    usual = draw_shape(seed)._replace(
        machines=machines,
        initial_size=3,
        sizes=[3],
        clients=3,
        kind=REGISTERS,
        seconds=seconds,
        options=options or ReplicaOptions(),
        disk_seconds=(0.0001, 0.002),
        conditions=Conditions(),
    )
    return World(seed, faults, usual._replace(**shape))


@pytest.mark.parametrize("seed", range(8))
def test_a_member_that_is_slow_to_receive_a_snapshot_catches_up_while_others_are_taken(seed):
    """Each new one took the place of the one on its way, and the receiver began again, for ever; or the log behind the
    one that it had received was gone before it could go on from there."""
    options = ReplicaOptions(snapshot_entries=10, tail_entries=0, check_every=5)
    slow = small_world(
        seed, [Fault(2.0, "lose_a_disk", "x")], options=options, disk_seconds=(0.001, 0.06), chunk_bytes=400
    )
    assert slow.run().healed_after < 30
