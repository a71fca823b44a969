"""Who shall be in the group: changes of membership, disks that are lost, and members that were removed.

It plays the operator's part, with a god's eye: it looks at the leader, proposes one change at a time, and replaces a
voter that lost its disk by the member that came under its name. Removed members come back as new ones by themselves.

A disk is lost or damaged only when the group can bear it, one at a time: enough other voters hold everything that was
ever committed. Otherwise acknowledged commands would be lost, and rightly so.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from orderbook.groups.replica import Replica
from orderbook.raft import Configuration, Member, MembershipRefused, NotLeader
from simulation.damage import flip_a_bit
from simulation.node import DIRECTORY, End, Node

if TYPE_CHECKING:
    from simulation.world import World

LOOK_EVERY = 0.4


class Membership:
    def __init__(self, world: World, names: list[str], sizes: list[int]) -> None:
        self.changes = 0  # statistics
        self.refusals = 0
        self._world = world
        self._wanted = names
        self._sizes = sizes
        self._lost: Node | None = None  # the voter that is being replaced
        world.later(LOOK_EVERY, self._look)

    def want(self, random: Random) -> None:
        """Other voters than before: perhaps more or fewer."""
        names = list(self._world.nodes)
        self._wanted = sorted(random.sample(names, random.choice(self._sizes)))
        self._world.scheduler.note("membership", f"wants {','.join(self._wanted)}")

    @property
    def busy(self) -> bool:
        """A disk is lost or damaged, and its member not replaced."""
        return self._lost is not None

    def lose_a_disk(self, node: Node) -> None:
        if self._can_bear_without(node):
            self._lost = node
            node.end(End.POWER, "for good")
            self._replace(node)

    def damage_a_disk(self, what: str, random: Random) -> None:
        """Bits flip, under the living process or while it is down; it is started anew in any case."""
        nodes = [node for node in self._world.nodes.values() if self._can_bear_without(node)]
        if not nodes:
            return
        node = random.choice(nodes)
        if random.random() < 0.6:
            node.end(random.choice(list(End)), "and its disk is damaged")
        where = flip_a_bit(node.disk, DIRECTORY, what, random)
        if where is not None:
            self._lost = node
            node.damaged = node.lives
            self._world.scheduler.note(node.name, f"damage in {where}")
            self._world.happened[f"a bit of a {what}"] += 1
        if node.up:
            self._world.later(random.random() * 3, node.end_for, End.KILL, random.random())
        else:
            node.restart_at = self._world.scheduler.now + random.random() * 2

    def refused(self, node: Node) -> None:
        """A member refuses its damaged directory: it comes back with an empty one."""
        self._world.happened["a damaged directory refused"] += 1
        node.end(End.KILL, "refuses its directory")
        self._replace(node)

    def _replace(self, node: Node) -> None:
        node.wipe()
        node.restart_at = self._world.scheduler.now + self._world.random.random() * 2

    def _can_bear_without(self, node: Node) -> bool:
        world = self._world
        leader = world.leader()
        if leader is None or leader.replica is None or self._lost is not None or not world.incarnation:
            return False
        configuration = leader.replica.node.configuration
        voters = {member.name: member for member in configuration.voters}
        if not _settled(leader.replica) or node.name not in voters:
            return False
        holders = sum(
            self._holds_all(world.nodes[name], member) for name, member in voters.items() if name != node.name
        )
        return holders > len(voters) // 2 and not configuration.learners

    def _holds_all(self, node: Node, member: Member) -> bool:
        replica = node.replica
        return (
            replica is not None
            and replica.id == member.id
            and replica.node.stable_index >= self._world.laws.last_committed
        )

    # --- the operator -------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        self._world.later(LOOK_EVERY * self._world.random.uniform(0.5, 1.5), self._look)
        leader = self._world.leader()
        if leader is None or leader.replica is None or not _settled(leader.replica):
            return
        configuration = leader.replica.node.configuration
        if self._lost is not None and self._was_replaced(configuration):
            self._lost = None
        plan = self._next(configuration)
        if plan is not None:
            index = leader.replica.node.configuration_index
            leader.act(lambda replica: self._propose(replica, *plan, index))

    def _was_replaced(self, configuration: Configuration) -> bool:
        assert self._lost is not None
        if self._lost.damaged is not None:
            return False
        return any(member.id == self._lost.member_id for member in configuration.voters)

    def _propose(self, replica: Replica, voters: list[Member], learners: list[Member], index: int) -> None:
        try:
            replica.node.propose_membership(voters, learners, index)
            self.changes += 1
        except (MembershipRefused, NotLeader):
            self.refusals += 1

    def _next(self, configuration: Configuration) -> tuple[list[Member], list[Member]] | None:
        """The next change on the way to who is wanted."""
        voters, learners = list(configuration.voters), list(configuration.learners)
        if self._lost is not None:
            node = self._lost
            if not node.waits_to_be_added:
                return None
            return [Member(m.name, node.member_id) if m.name == node.name else m for m in voters], learners
        if {member.name for member in voters} == set(self._wanted) and not learners:
            return None
        held = [member for member in learners if self._is_there(member)]
        known = {member.name for member in (*voters, *held)}
        nodes = (self._world.nodes[name] for name in self._wanted if name not in known)
        new = [Member(node.name, node.member_id) for node in nodes if node.waits_to_be_added]
        if new or len(held) < len(learners):
            return voters, held + new
        target = [member for member in (*voters, *held) if member.name in self._wanted]
        return (target, []) if len(target) == len(self._wanted) else None

    def _is_there(self, member: Member) -> bool:
        node = self._world.nodes[member.name]
        return not node.up or node.member_id in (0, member.id)

    @property
    def settled(self) -> bool:
        """All that was wanted is done."""
        leader = self._world.leader()
        if leader is None or leader.replica is None or self._lost is not None:
            return False
        configuration = leader.replica.node.configuration
        return _settled(leader.replica) and self._next(configuration) is None


def _settled(replica: Replica) -> bool:
    node = replica.node
    done = not node.configuration.outgoing and node.commit >= node.configuration_index
    return node.has_committed_in_term and done
