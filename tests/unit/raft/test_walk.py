"""Random walks through everything that can happen to a group, with the laws of the paper looked at after each step."""

from __future__ import annotations

from contextlib import suppress
from random import Random

import pytest

from orderbook.raft.errors import Refused
from orderbook.raft.types import Role
from unit.raft.cluster import Cluster


class Walk:
    """One walk. The seed is the whole bug report."""

    def __init__(self, seed: int, nodes: int = 3) -> None:
        self.random = random = Random(seed)
        voters = list(range(1, nodes + 1))
        self.cluster = Cluster(
            voters,
            draw=lambda node, low, high: random.randrange(low, high),
            election_ticks=random.choice([4, 10]),
            heartbeat_ticks=random.choice([1, 3]),
            max_append_bytes=random.choice([1, 64, 1000]),
            max_inflight_appends=random.choice([1, 3, 100]),
            max_inflight_bytes=random.choice([50, 1000]),
            promotion_lag=random.choice([2, 50]),
        )
        self.next_id = nodes + 1
        self.proposed = 0
        self.context = 0
        self.calm = random.choice([0.02, 0.2, 0.6])  # how much of the network's traffic goes wrong

    def run(self, steps: int) -> None:
        actions = [
            (self._flow, 25),
            (self._work, 30),
            (self._persist, 20),
            (self._deliver, 45),
            (self._tick, 14),
            (self._propose, 8),
            (self._read, 4),
            (self._crash, 0.3),
            (self._restart, 1.5),
            (self._membership, 3),
            (self._transfer, 0.7),
            (self._snapshot, 1.2),
            (self._cut, 0.3),
            (self._heal, 0.8),
            (self._unreachable, 0.5),
            (self._step_down, 0.1),
        ]
        calls = [action for action, _ in actions]
        weights = [weight for _, weight in actions]
        for step in range(steps):
            self.random.choices(calls, weights)[0]()
            if step % 25 == 0:
                self.cluster.laws.logs_match(self.cluster.peers.values())
        self.cluster.laws.logs_match(self.cluster.peers.values())

    def settle(self) -> None:
        """When all faults end, the group must find a leader, leave a joint state, and bring everyone up to date."""
        cluster = self.cluster
        cluster.heal()
        for node in list(cluster.down):
            cluster.restart(node)
        asked: tuple[int, int] | None = None  # term and index of a last entry
        for _ in range(600):
            cluster.stabilize()
            if asked and self._everyone_has(*asked):
                break
            leading = self._leader()
            if leading and (not asked or cluster[leading].term > asked[0]):
                with suppress(Refused):
                    asked = cluster.propose(leading, b"the end")
            for node in sorted(cluster.peers):
                cluster.tick(node)
        else:
            raise AssertionError("the group doesn't recover")
        cluster.laws.logs_match(cluster.peers.values())

    def _everyone_has(self, term: int, index: int) -> bool:
        leading = self._leader()
        if not leading or self.cluster[leading].term_at(index) != term:
            return False
        configuration = self.cluster[leading].configuration
        everyone = configuration.voters + configuration.learners
        reached = all(self.cluster[member.id].applied_index >= index for member in everyone)
        return reached and not configuration.outgoing

    def _node(self) -> int | None:
        return self.random.choice(sorted(self.cluster.peers)) if self.cluster.peers else None

    def _leader(self) -> int | None:
        leading = [node for node, peer in sorted(self.cluster.peers.items()) if peer.node.role is Role.LEADER]
        return self.random.choice(leading) if leading else None

    def _flow(self) -> None:
        """Everyone gets on with it for a moment."""
        for node in sorted(self.cluster.peers):
            self.cluster.work(node)
            self.cluster.persist(node, 2)
        for _ in range(min(12, len(self.cluster.network))):
            self._deliver()

    def _work(self) -> None:
        if node := self._node():
            self.cluster.work(node)

    def _persist(self) -> None:
        if node := self._node():
            self.cluster.persist(node, self.random.choice([1, 1, 2, 5]), together=self.random.random() < 0.5)

    def _deliver(self) -> None:
        network = self.cluster.network
        if not network:
            return
        wrong = self.random.random() < self.calm
        if not wrong:
            self.cluster.deliver(0)
            return
        position = self.random.randrange(len(network))
        what = self.random.random()
        if what < 0.4:
            self.cluster.drop(position)
        elif what < 0.6:
            network.append(network[position])
        else:
            self.cluster.deliver(position)

    def _tick(self) -> None:
        if node := self._node():
            self.cluster.tick(node, self.random.choice([1, 1, 1, 2, 5]))

    def _propose(self) -> None:
        node = self._leader() or self._node()
        if node:
            count = self.random.choice([1, 1, 3])
            payloads = [b"%d" % (self.proposed + place) * self.random.choice([1, 1, 20]) for place in range(count)]
            self.proposed += count
            try:
                self.cluster.propose(node, *payloads)
            except Refused:
                return

    def _read(self) -> None:
        if node := self._node():
            self.context += 1
            self.cluster.read(node, self.context)

    def _crash(self) -> None:
        if node := self._node():
            self.cluster.crash(node, keep=self.random.choice([0, 0, 1, 2]))

    def _restart(self) -> None:
        if self.cluster.down:
            self.cluster.restart(self.random.choice(sorted(self.cluster.down)))

    def _membership(self) -> None:
        leader = self._leader()
        if not leader:
            return
        raw = self.cluster[leader]
        voters = {member.id for member in raw.configuration.voters}
        learners = {member.id for member in raw.configuration.learners}
        if self.random.random() < 0.35 and len(voters | learners) < 6:
            learners.add(self.next_id)
        for member in sorted(voters | learners):
            chance = self.random.random()
            if chance < 0.1:
                voters.discard(member)
                learners.discard(member)
            elif chance < 0.5:
                promoted = member in learners
                (learners if promoted else voters).discard(member)
                (voters if promoted else learners).add(member)
        try:
            self.cluster.membership(leader, voters, learners)
        except Refused:
            return
        if self.next_id in voters | learners:
            self.cluster.add(self.next_id)
            self.next_id += 1

    def _transfer(self) -> None:
        if leader := self._leader():
            try:
                self.cluster.transfer(leader, self.random.choice(sorted(self.cluster.peers)))
            except Refused:
                return

    def _snapshot(self) -> None:
        node = self._node()
        if not node:
            return
        raw = self.cluster[node]
        peer = self.cluster.peers[node]
        floor = max(raw.first_index, (peer.disk.snapshot.index if peer.disk.snapshot else 0) + 1)
        if raw.applied_index >= floor and not any(write.snapshot for write in peer.disk.queue):
            index = self.random.randint(floor, raw.applied_index)
            self.cluster.snapshot(node, index, keep_from=self.random.choice([None, max(raw.first_index, index - 3)]))

    def _cut(self) -> None:
        if node := self._node():
            self.cluster.isolate(node)

    def _heal(self) -> None:
        self.cluster.heal()

    def _unreachable(self) -> None:
        node, other = self._node(), self._node()
        if node and other:
            self.cluster[node].report_unreachable(other)

    def _step_down(self) -> None:
        if leader := self._leader():
            self.cluster[leader].step_down()


@pytest.mark.parametrize("seed", range(40))
def test_the_laws_hold_on_every_walk_and_the_group_recovers(seed: int) -> None:
    walk = Walk(seed, nodes=[1, 3, 3, 5][seed % 4])
    walk.run(3000)
    walk.settle()
