"""Somebody decides that a lost majority is lost for good, and that one survivor goes on: the operator's part.

All other machines get empty disks: whoever held more is gone. The survivor is asked to recover until it has begun a new
life of the group; then the others are given its incarnation and start, and the membership grows as it is wanted.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from orderbook.groups.errors import GroupError
from orderbook.raft import Member
from simulation.node import End, Node

if TYPE_CHECKING:
    from simulation.world import World

ASK_EVERY = 0.5


class Recovery:
    def __init__(self, world: World) -> None:
        self.at = 0.0  # when the new life began, by the world's clock; 0: never
        self._world = world
        self._survivor: Node | None = None

    @property
    def under_way(self) -> bool:
        return self._survivor is not None and not self.at

    def lose_all_but_one(self, random: Random) -> None:
        """At most once in a world, and not while a single disk is lost or damaged."""
        world = self._world
        leader = world.leader()
        if self._survivor is not None or world.membership.busy or leader is None or leader.replica is None:
            return
        voters = [world.nodes[member.name] for member in leader.replica.node.configuration.voters]
        present = [node for node in voters if node.replica is not None and node.replica.node.commit > 0]
        if len(voters) < 3 or not present:
            return
        least = min(present, key=lambda node: node.replica.node.last_index if node.replica else 0)
        survivor = self._survivor = least if random.random() < 0.5 else random.choice(present)
        for node in world.nodes.values():
            if node is not survivor:
                node.end(End.POWER, "for good")
                node.wipe()
                node.restart_at = None
        world.later(ASK_EVERY, self._ask)

    def _ask(self) -> None:
        world, node = self._world, self._survivor
        assert node is not None
        if node.identity is not None and node.identity.incarnation not in (b"", world.incarnation):
            self._begun(node)
            return
        world.later(ASK_EVERY, self._ask)
        if node.runtime is not None and node.replica is not None:
            node.runtime.spawn(self._recover(node), "recover")

    async def _recover(self, node: Node) -> None:
        group, replica, identity = node.group, node.replica, node.identity
        if group is None or replica is None or identity is None:
            return
        raft = replica.node
        try:
            await group.recover(Member(identity.name, identity.member_id), raft.last_term, raft.last_index)
        except GroupError as refusal:  # it may still believe in a leader
            self._world.scheduler.note(node.name, f"is not recovered: {refusal}")

    def _begun(self, node: Node) -> None:
        world = self._world
        assert node.identity is not None
        world.incarnation = node.identity.incarnation
        self.at = world.scheduler.now
        world.happened["a lost majority recovered"] += 1
        world.scheduler.note("recovery", "a new life has begun")
        for other in world.nodes.values():
            if other is not node:
                other.given = world.incarnation
                other.restart_at = self.at + world.random.random()
