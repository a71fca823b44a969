"""What the parts of a node share: term, vote, role, log, configurations, timer, and what waits to leave.

Nothing here decides. ``Election``, ``Leader``, ``Follower`` and the reads each hold the state and do one job on it;
``RawNode`` alone moves a node from one role to another.
"""

from __future__ import annotations

from collections.abc import Sequence

from orderbook.raft.config import RaftConfig
from orderbook.raft.durability import Durability
from orderbook.raft.log import Log
from orderbook.raft.membership import History, InForce
from orderbook.raft.messages import Message, Removed
from orderbook.raft.types import Entry, HardState, Outgoing, ReadState, Role, SnapshotMeta, SnapshotSend


class Outbox:
    """What the next ``ready()`` hands over besides writes and committed entries."""

    def __init__(self) -> None:
        self.messages: list[Outgoing] = []
        self.snapshots_to_send: list[SnapshotSend] = []
        self.read_states: list[ReadState] = []
        self.reads_failed: list[int] = []

    def __bool__(self) -> bool:
        return bool(self.messages or self.snapshots_to_send or self.read_states or self.reads_failed)


class State:
    """The state of one node."""

    def __init__(self, config: RaftConfig, hard_state: HardState, log: Log, configurations: History) -> None:
        self.config = config
        self.id = config.id
        self.term = hard_state.term
        self.vote = hard_state.vote
        self.role = Role.FOLLOWER  # FOLLOWER for learners too
        self.leader = 0
        self.log = log
        self.configurations = configurations
        self.durability = Durability(log, hard_state)
        self.outbox = Outbox()
        self.was_member = configurations.ever_had(self.id)
        self.told_removed = False
        self.abstains = False
        self.elapsed = 0
        self.timeout = 0
        self.reset_timer()

    @property
    def in_force(self) -> InForce:
        return self.configurations.current

    @property
    def promotable(self) -> bool:
        """Whether this node may campaign: a voter that doesn't abstain, wasn't told to be removed, and has its log.

        A change that took its vote counts only when it is committed. Until then the others may need this node's log to
        elect anyone at all; it then leads, without a vote of its own, to commit the change (dissertation, 4.2.2).
        """
        if self.abstains or self.told_removed or self.durability.snapshot:
            return False
        in_force = self.in_force
        undecided = in_force.since > self.log.commit and self.id in self.configurations.before.voters
        return self.id in in_force.voters or undecided

    @property
    def in_lease(self) -> bool:
        """Whether a leader is known and was heard too recently to be replaced (dissertation, section 4.2.3)."""
        return self.leader != 0 and (self.role is Role.LEADER or self.elapsed < self.config.election_ticks)

    def send(self, to: int, message: Message) -> None:
        self.outbox.messages.append(Outgoing(to, message))

    def reset_timer(self) -> None:
        """Begin a new election timeout of random length, so that two nodes seldom campaign at once."""
        self.elapsed = 0
        self.timeout = self.config.draw(self.config.election_ticks, 2 * self.config.election_ticks)

    def enter_term(self, term: int) -> None:
        self.term = term
        self.vote = 0

    def append(self, entries: Sequence[Entry]) -> None:
        """Add entries to the log; a configuration among them takes effect now."""
        self.log.append(entries)
        if self.configurations.appended(entries):
            self.was_member = self.was_member or self.id in self.in_force.members

    def truncate(self, index: int) -> None:
        """Remove ``index`` and all after it; a configuration among them is undone."""
        self.log.truncate(index)
        self.configurations.truncated(index)
        self.durability.truncated(index)

    def restart_after(self, meta: SnapshotMeta) -> None:
        """Put a snapshot in the place of the log."""
        self.durability.install(meta)
        self.log.restart_after(meta.index, meta.term)
        self.configurations.restarted(meta.configuration_index, meta.configuration)
        self.was_member = self.was_member or self.id in self.in_force.members

    def removal(self) -> Removed:
        """What to tell a member that isn't in the configuration in force, when that is committed."""
        return Removed(max(self.term, 1), self.in_force.since, self.log.term_at(self.log.commit) or 0)

    def snapshot_meta(self, index: int) -> SnapshotMeta:
        """What a snapshot of everything applied up to ``index`` must carry."""
        term = self.log.term_at(index)
        if term is None or index > self.log.commit:
            raise ValueError(f"no snapshot at {index}: the log has {self.log.offset} .. {self.log.commit} committed")
        known = self.configurations.at(index)
        return SnapshotMeta(index, term, known.configuration, known.since)
