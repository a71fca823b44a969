"""A group under faults that hypothesis chooses, so that what breaks a law is shrunk to the few steps that matter.

test_walk.py goes further from the start, by chance; this one finds the shortest way.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from orderbook.raft.errors import Refused
from orderbook.raft.types import Role
from unit.raft.cluster import Cluster

nodes = st.integers(1, 4)
places = st.integers(0, 30)


class Group(RuleBasedStateMachine):
    """Three voters and a learner. ``Laws`` judges every step of a node; the logs are compared after every rule."""

    @initialize(leader=st.booleans())
    def start(self, leader: bool) -> None:
        self.context = 0
        self.cluster = Cluster(
            [1, 2, 3],
            [4],
            draw=lambda node, low, high: low + node,
            max_append_bytes=40,
            max_inflight_appends=2,
            promotion_lag=1,
        )
        if leader:
            self.cluster.campaign(1)
            self.cluster.stabilize()

    def up(self, node: int) -> bool:
        return node in self.cluster.peers

    @rule(node=nodes)
    def work(self, node: int) -> None:
        if self.up(node):
            self.cluster.work(node)

    @rule(node=nodes, writes=st.integers(1, 3), together=st.booleans())
    def persist(self, node: int, writes: int, together: bool) -> None:
        if self.up(node):
            self.cluster.persist(node, writes, together)

    @precondition(lambda self: self.cluster.network)
    @rule(place=places, what=st.sampled_from(["deliver", "deliver", "deliver", "drop", "repeat"]))
    def message(self, place: int, what: str) -> None:
        network = self.cluster.network
        place %= len(network)
        if what == "drop":
            self.cluster.drop(place)
        elif what == "repeat":
            network.append(network[place])
        else:
            self.cluster.deliver(place)

    @rule(count=st.integers(1, 8))
    def flow(self, count: int) -> None:
        for node in sorted(self.cluster.peers):
            self.cluster.work(node)
            self.cluster.persist(node, 2)
        for _ in range(min(count, len(self.cluster.network))):
            self.cluster.deliver()

    @rule(node=nodes, ticks=st.integers(1, 15))
    def tick(self, node: int, ticks: int) -> None:
        if self.up(node):
            self.cluster.tick(node, ticks)

    @rule(node=nodes, count=st.integers(1, 3))
    def propose(self, node: int, count: int) -> None:
        if self.up(node):
            try:
                self.cluster.propose(node, *[b"%d of %d" % (self.context, node)] * count)
            except Refused:
                return

    @rule(node=nodes)
    def read(self, node: int) -> None:
        if self.up(node):
            self.context += 1
            self.cluster.read(node, self.context)

    @rule(node=nodes, keep=st.integers(0, 2))
    def crash(self, node: int, keep: int) -> None:
        if self.up(node):
            self.cluster.crash(node, keep)

    @rule(node=nodes)
    def restart(self, node: int) -> None:
        if node in self.cluster.down:
            self.cluster.restart(node)

    @rule(node=nodes, voters=st.sets(nodes, min_size=1), learners=st.sets(nodes))
    def membership(self, node: int, voters: set[int], learners: set[int]) -> None:
        if self.up(node):
            try:
                self.cluster.membership(node, voters, learners - voters)
            except Refused:
                return

    @rule(node=nodes, to=nodes)
    def transfer(self, node: int, to: int) -> None:
        if self.up(node):
            try:
                self.cluster.transfer(node, to)
            except Refused:
                return

    @rule(node=nodes, tail=st.integers(0, 2))
    def snapshot(self, node: int, tail: int) -> None:
        if not self.up(node):
            return
        raw = self.cluster[node]
        disk = self.cluster.peers[node].disk
        index = raw.applied_index
        if index > (disk.snapshot.index if disk.snapshot else 0) and not any(write.snapshot for write in disk.queue):
            self.cluster.snapshot(node, index, keep_from=max(raw.first_index, index + 1 - tail))

    @rule(node=nodes)
    def isolate(self, node: int) -> None:
        self.cluster.isolate(node)

    @rule()
    def heal(self) -> None:
        self.cluster.heal()

    @invariant()
    def logs_match(self) -> None:
        if hasattr(self, "cluster"):
            self.cluster.laws.logs_match(self.cluster.peers.values())

    def teardown(self) -> None:
        """Without faults the group must get on, unless the members that it needs were never told of it."""
        cluster = self.cluster
        cluster.heal()
        for node in sorted(cluster.down):
            cluster.restart(node)
        for _ in range(60):
            cluster.stabilize()
            for node in sorted(cluster.peers):
                cluster.tick(node)
        leading = [peer.node for peer in cluster.peers.values() if peer.node.role is Role.LEADER]
        assert leading, "no leader was found"
        assert max(leading, key=lambda node: node.term).has_committed_in_term


TestGroup = Group.TestCase
TestGroup.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)
