"""The faults of a run: drawn from the seed before it begins, so that one can be left out and the others stay the same.

Each seed uses some of the kinds, often or seldom: a run with every kind at once looks like every other such run.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from faults.network import Evil
from orderbook.groups.replica import Replica
from orderbook.raft import Refused
from simulation.damage import LOG, SNAPSHOT
from simulation.node import End, Node

if TYPE_CHECKING:
    from simulation.world import World


class Fault(NamedTuple):
    at: float
    kind: str
    seed: str


def draw_schedule(seed: int, seconds: float) -> list[Fault]:
    random = Random(f"{seed} schedule")
    kinds = [kind for kind in KINDS if random.random() < 0.45] or list(KINDS)
    weights = [random.uniform(0.2, 1.0) for _ in kinds]
    gap = 0.15 * 12 ** random.random()
    faults: list[Fault] = []
    at = random.expovariate(1 / gap)
    while at < seconds:
        kind = random.choices(kinds, weights)[0]
        faults.append(Fault(at, kind, f"{seed} fault {len(faults)}"))
        at += random.expovariate(1 / gap)
    return faults


# --- targets ----------------------------------------------------------------------------------------------------------


def some_node(world: World, random: Random) -> Node:
    """Any node, the leader more often than its share."""
    leader = world.leader()
    if leader is not None and random.random() < 0.3:
        return leader
    return random.choice(list(world.nodes.values()))


def a_pair(world: World, random: Random) -> tuple[str, str]:
    first, second = random.sample(list(world.nodes), 2) if len(world.nodes) > 1 else list(world.nodes) * 2
    return first, second


def _for_a_while(random: Random, most: float) -> float:
    return most ** random.random() * 0.3


# --- kinds ------------------------------------------------------------------------------------------------------------


def lose_power(world: World, random: Random) -> None:
    some_node(world, random).end_for(End.POWER, random.random() * 4)


def kill(world: World, random: Random) -> None:
    some_node(world, random).end_for(End.KILL, random.random() * 3)


def lose_power_everywhere(world: World, random: Random) -> None:
    for node in world.nodes.values():
        node.end_for(End.POWER, random.random() * 2)


def crash_in_an_operation(world: World, random: Random) -> None:
    disk = some_node(world, random).disk
    disk.crash_at = disk.operations + random.randrange(30)


def fail_a_sync(world: World, random: Random) -> None:
    disk = some_node(world, random).disk
    disk.fail_sync_at = disk.syncs + random.randrange(10)


def fill_the_disk(world: World, random: Random) -> None:
    node = some_node(world, random)
    huge = 1 << 40
    node.disk.capacity = huge
    used = huge - node.disk.free_bytes("")
    node.disk.capacity = used + random.randrange(1 << 16)

    def empty() -> None:
        node.disk.capacity = None

    world.later(random.uniform(0.5, 5), empty)


def stall_the_disk(world: World, random: Random) -> None:
    runtime = some_node(world, random).runtime
    if runtime is not None:
        runtime.stalled_until = world.scheduler.now + _for_a_while(random, 10)


def lose_power_behind_a_disk(world: World, random: Random) -> None:
    """The leader's disk stalls, the leader goes on, and then loses what it has not written; perhaps others too."""
    leader = world.leader()
    if leader is None or leader.runtime is None:
        return
    leader.runtime.stalled_until = world.scheduler.now + 3
    world.later(random.uniform(0.05, 0.5), leader.end_for, End.POWER, random.random())
    if random.random() < 0.5:
        world.later(random.uniform(0.05, 0.5), lose_power_everywhere, world, random)


def lose_power_in_an_election(world: World, random: Random) -> None:
    """Right after a member entered a new term: its vote may be given and not written."""
    for node in world.nodes.values():
        replica = node.replica
        if replica is not None and random.random() < 0.5:
            node.trap = lambda now, term=replica.node.term: now.node.term != term
    isolate_the_leader(world, random)


def lose_power_at_a_commit(world: World, random: Random) -> None:
    """Right after a member learned of something new that is committed."""
    node = some_node(world, random)
    replica = node.replica
    if replica is not None:
        node.trap = lambda now, commit=replica.node.commit: now.node.commit > commit


def pause_the_leader(world: World, random: Random) -> None:
    """Long enough for another one to be elected. It wakes up and still believes that it leads; where its peers can't
    reach it either, it does so for a while."""
    leader = world.leader()
    if leader is None or leader.runtime is None or leader.runtime.paused:
        return
    seconds = random.uniform(0.5, 4)
    leader.runtime.paused = True
    world.later(seconds, world.scheduler.resume, leader.runtime)
    if random.random() < 0.5:
        others = [name for name in world.nodes if name != leader.name]
        world.peers.partition([leader.name], others)
        world.later(seconds + random.uniform(0, 1), _end_partition, world, [leader.name], others)


def pause(world: World, random: Random) -> None:
    """As SIGSTOP does: nothing runs, and all of it later."""
    runtime = some_node(world, random).runtime
    if runtime is not None and not runtime.paused:
        runtime.paused = True
        world.later(_for_a_while(random, 20), world.scheduler.resume, runtime)


def partition(world: World, random: Random) -> None:
    names = list(world.nodes)
    random.shuffle(names)
    cut = random.randrange(len(names) + 1)
    one_side, other = names[:cut], names[cut:]
    world.peers.partition(one_side, other)
    clients = [client.name for client in world.clients if random.random() < 0.5]
    world.client_network.partition(clients, one_side)
    world.later(random.uniform(0.3, 7), _end_partition, world, one_side + clients, other + one_side)


def _end_partition(world: World, some: list[str], others: list[str]) -> None:
    for network in (world.peers, world.client_network):
        for one in some:
            for other in others:
                if one != other:
                    network.unblock(one, other)
                    network.unblock(other, one)


def isolate_the_leader(world: World, random: Random) -> None:
    leader = world.leader()
    if leader is not None:
        others = [name for name in world.nodes if name != leader.name]
        world.peers.partition([leader.name], others)
        world.later(random.uniform(0.5, 6), _end_partition, world, [leader.name], others)


def block_one_way(world: World, random: Random) -> None:
    sender, receiver = a_pair(world, random)
    world.peers.block(sender, receiver)
    world.later(random.uniform(0.3, 6), world.peers.unblock, sender, receiver)


def cut_a_pair(world: World, random: Random) -> None:
    """Two don't reach each other, and both reach everyone else."""
    one, other = a_pair(world, random)
    if one != other:
        world.peers.partition([one], [other])
        world.later(random.uniform(0.3, 6), _end_partition, world, [one], [other])


def break_a_connection(world: World, random: Random) -> None:
    world.peers.break_connection(*a_pair(world, random))
    if world.clients:
        client = random.choice(world.clients).name
        world.client_network.break_connection(client, random.choice(list(world.nodes)))


def slow_a_way(world: World, random: Random) -> None:
    sender, receiver = a_pair(world, random)
    world.peers.slow(sender, receiver, random.uniform(0.01, 0.5), random.choice((0.0, 2e4, 2e5)))
    world.later(random.uniform(0.5, 6), world.peers.slow, sender, receiver, 0.0)


def do_evil(world: World, random: Random) -> None:
    world.peers.evil = Evil(random.random() * 0.3, random.random() * 0.3, random.random() * 0.3)

    def stop() -> None:
        world.peers.evil = None

    world.later(random.uniform(0.5, 6), stop)


def jump_a_clock(world: World, random: Random) -> None:
    distance = int(10 ** random.uniform(1, 6.5))
    some_node(world, random).clock.offset_ms += random.choice((-1, 1)) * distance


def change_a_clocks_pace(world: World, random: Random) -> None:
    clock = some_node(world, random).clock
    clock.run_at(random.choice((0.5, 0.9, 0.99, 1.0, 1.01, 1.1, 2.0)), world.scheduler.now)


def transfer(world: World, random: Random) -> None:
    leader = world.leader()
    if leader is None:
        return

    def hand_over(replica: Replica) -> None:
        target = random.choice(replica.node.configuration.voters)
        try:
            replica.node.transfer_leadership(target.id)
        except Refused:
            return

    leader.act(hand_over)


def take_a_snapshot(world: World, random: Random) -> None:
    some_node(world, random).act(lambda replica: replica.take_snapshot(lambda error: None))


def fail_a_fork(world: World, random: Random) -> None:
    runtime = some_node(world, random).runtime
    if runtime is not None:
        runtime.fork_fails = True


def lose_a_disk(world: World, random: Random) -> None:
    world.membership.lose_a_disk(some_node(world, random))


def damage_a_log(world: World, random: Random) -> None:
    world.membership.damage_a_disk(LOG, random)


def damage_a_snapshot(world: World, random: Random) -> None:
    world.membership.damage_a_disk(SNAPSHOT, random)


def upgrade(world: World, random: Random) -> None:
    """A node gets a newer program, in worlds where there is one."""
    old = [node for node in world.nodes.values() if node.version == 1]
    if world.shape.versions and old:
        random.choice(old).upgrade(random.random() * 2)


def lose_a_majority(world: World, random: Random) -> None:
    """For good, in worlds where that may be: somebody decides that one survivor goes on."""
    if world.shape.recovers and world.scheduler.now > world.shape.seconds / 3:
        world.recovery.lose_all_but_one(random)


def change_members(world: World, random: Random) -> None:
    world.membership.want(random)


KINDS: dict[str, Callable[[World, Random], None]] = {
    kind.__name__: kind
    for kind in (
        lose_power,
        kill,
        lose_power_everywhere,
        crash_in_an_operation,
        fail_a_sync,
        fill_the_disk,
        stall_the_disk,
        lose_power_behind_a_disk,
        lose_power_in_an_election,
        lose_power_at_a_commit,
        pause,
        pause_the_leader,
        partition,
        isolate_the_leader,
        block_one_way,
        cut_a_pair,
        break_a_connection,
        slow_a_way,
        do_evil,
        jump_a_clock,
        change_a_clocks_pace,
        transfer,
        take_a_snapshot,
        fail_a_fork,
        lose_a_disk,
        damage_a_log,
        damage_a_snapshot,
        upgrade,
        lose_a_majority,
        change_members,
    )
}
