"""A member of a Raft group: messages, ticks and proposals in, ``Ready`` out. No I/O, no clock, no randomness.

The caller owns disk, network, timers and the state machine. Its duties:

1. Build a ``RawNode`` from what is durable. Everything given counts as synced.
2. Call ``tick`` at a steady pace (50 ms), and ``step`` for each message of a member. Drop messages of another
   incarnation, or addressed to another id, before. After a stall, step what has arrived before ticking, and tick once:
   missed ticks are not made up for, or a leader that was only late would be replaced.
3. After any call, while ``has_ready()``, take ``ready()`` once and carry out all of it. Calling it once for many inputs
   is better: what came together leaves together.
4. Send ``messages`` at once, in order. They wait for no write of this Ready: what must wait isn't in it yet. Losing,
   repeating or reordering them is allowed.
5. Write ``hard_state`` and ``entries`` behind all earlier ones, in this order. Entries replace those at the same places
   and everything after. When durable, report ``persisted_hard_state(hard_state)`` and ``persisted(index, term)`` of the
   last entry. One report may cover several Readies: their last. Go on meanwhile; never wait for the disk here.
6. If there is a ``snapshot``, put it (its file is complete: that was said by stepping InstallSnapshot) in the place of
   state machine and log, make that durable, report ``snapshot_persisted(meta)``. Forget writes of entries still under
   way; their reports no longer count.
7. Apply ``committed`` in order, to the state machine alone, then report ``applied(index)``. They are durable here.
   Configurations among them need nothing: they took effect when appended.
8. For each of ``snapshots_to_send`` transfer the newest snapshot to that member, which steps
   ``InstallSnapshot(term, meta)`` for its leader when it holds the whole file. Report ``report_snapshot`` either way.
9. Answer a read of ``read_states`` once its index is applied here. Ask again for those of ``reads_failed`` until their
   deadline. A ``context`` must not be used again while its read is open.
10. Take a snapshot at an applied index with ``snapshot_meta(index)``; when it is durable, ``compact`` the log.
11. With ``hold_commit`` a new commit index travels with the next entries, at the latest with a heartbeat. Where someone
    waits for it before that, call ``announce_commit``.

Everything here runs on one thread. ``Refused`` (see errors.py) is the answer to a request that can't be met now;
``ConsensusViolated`` means that the process must stop. The collaborators that do the work share one ``State``; this
class alone changes roles.

Safety rests on the Raft paper's section 5.4 with these additions from the dissertation: pre-vote (9.6), leases of
voters and check-quorum (4.2.3, 6.2), joint membership (4.3), transfer (3.10), reads (6.4), writing to disk in parallel
(10.2.1).
"""

from __future__ import annotations

from collections.abc import Sequence

from orderbook.raft.config import RaftConfig
from orderbook.raft.errors import NotLeader
from orderbook.raft.leader import Leader
from orderbook.raft.messages import Message, Removed
from orderbook.raft.progress import ProgressStatus
from orderbook.raft.recovery import recovered_state
from orderbook.raft.roles import Roles
from orderbook.raft.state import Outbox
from orderbook.raft.types import Configuration, Entry, HardState, Member, Ready, Role, SnapshotMeta

__all__ = ["RaftConfig", "RawNode"]


class RawNode:
    """One member. See the top of the module for what it asks of its caller."""

    def __init__(
        self,
        config: RaftConfig,
        *,
        hard_state: HardState,
        configuration: Configuration,
        configuration_index: int,
        snapshot: SnapshotMeta | None,
        entries: Sequence[Entry],
        applied: int,
    ) -> None:
        """A follower with the log and promises that are durable.

        ``configuration`` was in force at ``configuration_index``, where the log begins: the snapshot's, or the
        group's first one; later ones among the entries follow it. ``entries`` may begin before the snapshot's place
        (the tail for slow followers). Entries that the snapshot contradicts or that end before it are dropped.
        ``applied`` is what the restored state machine holds. Raises ValueError for a log that can't be.
        """
        state = recovered_state(config, hard_state, configuration, configuration_index, snapshot, entries, applied)
        self._state = state
        self._roles = Roles(state)
        self._applied = max(applied, state.log.offset)
        self._handed_committed = self._applied
        self._snapshot_handed: SnapshotMeta | None = None

    # Inputs

    def tick(self) -> None:
        """One tick of time has passed."""
        self._roles.tick()

    def campaign(self) -> None:
        """Begin an election now (with a pre-vote). A leader, learner or removed member does nothing."""
        self._roles.campaign()

    def step(self, sender: int, message: Message) -> None:
        """Take a message of the member ``sender``. Raises ConsensusViolated."""
        self._roles.step(sender, message)

    def propose(self, payloads: Sequence[bytes]) -> tuple[int, int]:
        """Append entries to the log of the leader: (term, index of the first). They are not committed by this.

        Raises NotLeader, ProposalsPaused (a transfer is under way), TooManyUncommitted; ValueError for no payload or
        an empty one, which stands for an election's no-op.
        """
        if not payloads or not all(payloads):
            raise ValueError("a proposal needs payloads, and none may be empty")
        return self._state.term, self._led().propose(payloads)

    def read_index(self, context: int) -> None:
        """Ask for the index that a linearizable read must wait for. ``context`` comes back in a Ready, either way."""
        if self._roles.leader:
            self._roles.leader.reads.add(self._state.id, context)
        else:
            self._roles.forwarded.add(context)

    def propose_membership(self, voters: Sequence[Member], learners: Sequence[Member], expected_index: int) -> int:
        """Begin a change to these members; the index of its first entry. Done when ``configuration`` isn't joint and
        its index is committed. ``expected_index`` is the ``configuration_index`` that the caller saw.

        Raises NotLeader, MembershipRefused.
        """
        return self._led().propose_membership(voters, learners, expected_index)

    @property
    def holds_commit(self) -> bool:
        """Whether this leader's commit index is news to a follower that no append is on its way to."""
        return self._roles.leader is not None and self._roles.leader.holds_commit

    def announce_commit(self) -> None:
        """Tell the followers of the commit index now. It is only needed with ``hold_commit``."""
        if self._roles.leader:
            self._roles.leader.announce_commit()

    def transfer_leadership(self, target: int) -> None:
        """Give the leadership to ``target``, a voter. Proposals pause until it leads, or an election timeout passes.

        Raises NotLeader, TransferRefused.
        """
        self._led().transfer(target)

    def step_down(self) -> None:
        """Stop leading, without a successor, for example because the disk is full. It may be elected again."""
        if self._roles.leader:
            self._roles.become_follower(self._state.term, 0)

    def abstain(self, abstains: bool) -> None:
        """While true neither lead, campaign nor vote, but follow: this node's state can't be trusted."""
        self._state.abstains = abstains
        if abstains:
            self.step_down()

    # Reports

    def persisted(self, index: int, term: int) -> None:
        """The log is durable up to the entry handed out at ``index`` with ``term``."""
        if not self._state.durability.persisted(index, term):
            return
        if self._roles.leader:
            if self._roles.leader.persisted():
                self._roles.commit_moved()
        else:
            self._roles.follower.release()

    def persisted_hard_state(self, hard_state: HardState) -> None:
        """This hard state, as handed out, is durable."""
        self._state.durability.persisted_hard_state(hard_state)
        self._roles.settle(self._roles.election.hard_state_persisted())
        self._roles.follower.release()

    def snapshot_persisted(self, meta: SnapshotMeta) -> None:
        """The snapshot of ``Ready.snapshot`` is in the place of state machine and log, durably."""
        if self._state.durability.installed(meta):
            self._snapshot_handed = None
            self._applied = self._handed_committed = meta.index
            self._roles.follower.release()

    def applied(self, index: int) -> None:
        """The state machine holds everything up to ``index``."""
        if index > self._handed_committed:
            raise ValueError(f"applied {index}, but only {self._handed_committed} was handed over")
        self._applied = max(self._applied, index)

    def compact(self, index: int, meta: SnapshotMeta) -> None:
        """Forget entries up to ``index``; the snapshot ``meta``, at or after it, is durable.

        Raises ValueError if ``index`` isn't covered by the snapshot or not applied.
        """
        if index > min(meta.index, self._applied):
            raise ValueError(f"can't forget up to {index}: the snapshot is at {meta.index}, applied is {self._applied}")
        self._state.log.compact(index)
        self._state.configurations.compacted(index)

    def report_snapshot(self, to: int, index: int, ok: bool) -> None:
        """The transfer of a snapshot at ``index`` to ``to`` ended: complete, or given up."""
        if self._roles.leader:
            self._roles.leader.report_snapshot(to, index, ok)

    def report_unreachable(self, to: int) -> None:
        """The connection to ``to`` broke: what was sent may be lost."""
        if self._roles.leader:
            self._roles.leader.report_unreachable(to)

    # Outputs

    def has_ready(self) -> bool:
        """Whether ``ready`` would hand over anything."""
        state = self._state
        return bool(
            state.outbox
            or state.durability.hard_state_changed(state.term, state.vote)
            or state.durability.has_entries()
            or self._handed_committed < self._may_apply()
            or state.durability.snapshot is not self._snapshot_handed
            or (self._roles.leader.has_work() if self._roles.leader else self._roles.forwarded.waiting)
        )

    def ready(self) -> Ready:
        """Hand over the work there is, once."""
        state = self._state
        if self._roles.leader:
            self._roles.leader.flush()
        else:
            self._roles.forwarded.flush()
        outbox, state.outbox = state.outbox, Outbox()
        snapshot = None if state.durability.snapshot is self._snapshot_handed else state.durability.snapshot
        self._snapshot_handed = state.durability.snapshot
        return Ready(
            hard_state=state.durability.take_hard_state(state.term, state.vote),
            entries=state.durability.take_entries(),
            messages=tuple(outbox.messages),
            committed=self._take_committed(),
            snapshot=snapshot,
            snapshots_to_send=tuple(outbox.snapshots_to_send),
            read_states=tuple(outbox.read_states),
            reads_failed=tuple(outbox.reads_failed),
        )

    def _take_committed(self) -> tuple[Entry, ...]:
        last = self._may_apply()
        if self._handed_committed >= last:
            return ()
        entries, _ = self._state.log.batch(self._handed_committed + 1, self._state.config.max_committed_bytes)
        entries = entries[: last - self._handed_committed]
        self._handed_committed += len(entries)
        return entries

    def _may_apply(self) -> int:
        """Committed and durable here, so that a snapshot of the state machine is never ahead of the log on disk."""
        durability = self._state.durability
        return 0 if durability.snapshot else min(self._state.log.commit, durability.stable)

    # What can be asked

    @property
    def id(self) -> int:
        return self._state.id

    @property
    def role(self) -> Role:
        state = self._state
        if state.role is Role.FOLLOWER and state.id not in state.in_force.voters:
            return Role.LEARNER
        return state.role

    @property
    def term(self) -> int:
        return self._state.term

    @property
    def vote(self) -> int:
        """Whom this node voted for in its term, 0 for nobody."""
        return self._state.vote

    @property
    def leader(self) -> int:
        """The id of the leader of this term, 0 if unknown."""
        return self._state.leader

    @property
    def commit(self) -> int:
        return self._state.log.commit

    @property
    def applied_index(self) -> int:
        return self._applied

    @property
    def first_index(self) -> int:
        """The first entry that the log still has, or would have."""
        return self._state.log.first_index

    @property
    def last_index(self) -> int:
        return self._state.log.last_index

    @property
    def last_term(self) -> int:
        return self._state.log.last_term

    @property
    def stable_index(self) -> int:
        """The log is durable up to here."""
        return self._state.durability.stable

    def term_at(self, index: int) -> int | None:
        """The term of the entry at ``index``, None if the log doesn't hold it."""
        return self._state.log.term_at(index)

    @property
    def configuration(self) -> Configuration:
        """The configuration in force, committed or not."""
        return self._state.in_force.configuration

    @property
    def configuration_index(self) -> int:
        return self._state.in_force.since

    @property
    def is_voter(self) -> bool:
        return self._state.id in self._state.in_force.voters

    @property
    def removed(self) -> bool:
        """Whether this member was in the group and a committed change has removed it."""
        state = self._state
        gone = state.was_member and state.id not in state.in_force.members and state.log.commit >= state.in_force.since
        return gone or state.told_removed

    @property
    def has_committed_in_term(self) -> bool:
        """Whether this node leads and an entry of its term is committed."""
        return self._roles.leader is not None and self._roles.leader.has_committed

    @property
    def campaigns(self) -> int:
        """How many elections this node began since it was made, pre-votes included."""
        return self._roles.campaigns

    @property
    def in_step(self) -> bool:
        """Whether what this node's leader appends finds its place here. A leader's own log does once it is ready.

        False for a node that has yet to learn where its log and its leader's part, or that waits for a snapshot.
        """
        return self.has_committed_in_term if self._roles.leader else self._roles.follower.in_step

    @property
    def transferee(self) -> int:
        """Whom this leader is giving its leadership to, 0 for nobody."""
        return self._roles.leader.transferee if self._roles.leader else 0

    def progress(self) -> tuple[ProgressStatus, ...]:
        """How far each other member is, as this leader sees it; empty on any other node."""
        return self._roles.leader.status() if self._roles.leader else ()

    def snapshot_meta(self, index: int) -> SnapshotMeta:
        """What a snapshot of the state machine at ``index`` (applied, not compacted) must carry. Raises ValueError."""
        if index > self._applied:
            raise ValueError(f"no snapshot at {index}: only {self._applied} is applied")
        return self._state.snapshot_meta(index)

    def removal(self) -> Removed:
        """The message for a member that isn't in ``configuration``, which must be committed."""
        return self._state.removal()

    def _led(self) -> Leader:
        if not self._roles.leader:
            raise NotLeader(self._state.leader)
        return self._roles.leader
