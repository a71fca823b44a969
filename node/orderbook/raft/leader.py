"""Leading: replication, commit, heartbeats, changes of membership, transfer (paper, sections 5.3, 5.4 and 6).

What to send is decided when ``flush`` is called, once for everything that happened since: entries proposed one by one
leave in one append, which also carries the commit index. The leader writes its own log in parallel and counts itself
only for what its disk has confirmed (dissertation, section 10.2.1).
"""

from __future__ import annotations

from collections.abc import Sequence

from orderbook.raft import membership
from orderbook.raft.errors import (
    MembershipReason,
    MembershipRefused,
    ProposalsPaused,
    TooManyUncommitted,
    TransferReason,
    TransferRefused,
)
from orderbook.raft.log import ENTRY_OVERHEAD
from orderbook.raft.messages import Append, AppendReply, Heartbeat, HeartbeatReply, TimeoutNow
from orderbook.raft.progress import Inflight, Progress, ProgressState, ProgressStatus
from orderbook.raft.quorum import VoteResult
from orderbook.raft.reads import LeaderReads
from orderbook.raft.state import State
from orderbook.raft.types import Configuration, Entry, EntryKind, Member, SnapshotSend


class Leader:
    """One term's leadership. It begins with a no-op, which brings what earlier terms left to commitment (5.4.2)."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._progress: dict[int, Progress] = {}
        self._followers: list[tuple[int, Progress]] = []
        self._heartbeat_elapsed = 0
        self._removed: list[int] = []  # left the configuration in force; told so when it is committed
        self._transfer_elapsed = 0
        self._announced = 0  # the commit index that may leave in an append without entries
        self.transferee = 0
        self.reads = LeaderReads(state)
        self._follow_configuration()
        self._first_index = state.log.last_index + 1  # of this term
        state.append([Entry(self._first_index, state.term, EntryKind.NORMAL, b"")])

    @property
    def has_committed(self) -> bool:
        """Whether an entry of this term is committed: only then is the commit index known to be the latest."""
        return self._state.log.commit >= self._first_index

    def propose(self, payloads: Sequence[bytes]) -> int:
        """Append to the log; the index of the first. Raises ProposalsPaused, TooManyUncommitted."""
        log = self._state.log
        if self.transferee:
            raise ProposalsPaused(self.transferee)
        uncommitted = log.bytes_after(log.commit)
        size = sum(map(len, payloads)) + ENTRY_OVERHEAD * len(payloads)
        limit = self._state.config.max_uncommitted_bytes
        if uncommitted and uncommitted + size > limit:
            raise TooManyUncommitted(uncommitted, limit)
        first = log.last_index + 1
        term = self._state.term
        self._state.append([Entry(index, term, EntryKind.NORMAL, data) for index, data in enumerate(payloads, first)])
        return first

    # Sending

    def has_work(self) -> bool:
        """Whether ``flush`` would do anything."""
        last, news = self._state.log.last_index, self._news()
        return (self.reads.waiting and self.has_committed) or any(
            progress.may_send(last, news) for _, progress in self._followers
        )

    def _news(self) -> int:
        state = self._state
        return self._announced if state.config.hold_commit else state.log.commit

    def announce_commit(self) -> None:
        """Followers that don't know today's commit index are told by the next ``flush``."""
        self._announced = self._state.log.commit

    @property
    def holds_commit(self) -> bool:
        """Whether a follower would learn something from ``announce_commit``."""
        commit = self._state.log.commit
        return self._news() < commit and any(progress.sent_commit < commit for _, progress in self._followers)

    def flush(self) -> None:
        """Send what followers lack, as far as flow control allows, and begin a round for the reads that wait."""
        last, news = self._state.log.last_index, self._news()
        for follower, progress in self._followers:
            while progress.may_send(last, news):
                self._send_append(follower, progress)
        if self.reads.waiting and self.has_committed:
            self.reads.begin_round()
            self._broadcast_heartbeat()
            self._confirm_reads()

    def _send_append(self, follower: int, progress: Progress) -> None:
        state = self._state
        log = state.log
        previous = progress.next - 1
        term = log.term_at(previous)
        if term is None:
            self._send_snapshot(follower, progress)
            return
        entries: tuple[Entry, ...] = ()
        size = 0
        if progress.next <= log.last_index:
            probing = progress.state is ProgressState.PROBE
            entries, size = log.batch(progress.next, 1 if probing else state.config.max_append_bytes)
        progress.sent(len(entries), size)
        must_answer = progress.state is ProgressState.PROBE and not entries
        progress.sent_commit = min(progress.match, log.commit) if must_answer else log.commit
        state.send(follower, Append(state.term, previous, term, progress.sent_commit, entries))

    def _send_snapshot(self, follower: int, progress: Progress) -> None:
        progress.await_snapshot(self._state.log.offset)
        self._state.outbox.snapshots_to_send.append(SnapshotSend(follower, self._state.log.offset))

    def _broadcast_heartbeat(self) -> None:
        state = self._state
        self._heartbeat_elapsed = 0
        self._progress[state.id].acked_round = self.reads.round
        for follower, progress in self._followers:
            commit = min(progress.match, state.log.commit)
            state.send(follower, Heartbeat(state.term, commit, self.reads.round))

    # Hearing

    def heard(self, sender: int) -> None:
        """Any message of this term proves that its sender is alive."""
        progress = self._progress.get(sender)
        if progress:
            progress.silent_ticks = 0

    def append_reply(self, sender: int, reply: AppendReply) -> bool:
        """Note how far a follower is. True if the commit index moved."""
        log = self._state.log
        progress = self._progress.get(sender)
        if progress is None or reply.index > log.last_index:
            return False
        if reply.rejected:
            hint = min(reply.hint_index, reply.index)
            progress.rejected(reply.index, log.last_of_term(hint, reply.hint_term) + 1)
            return False
        if not progress.accepted(reply.index, log.first_index):
            return False
        if sender == self.transferee:
            self._hand_over()
        return self._count_commit()

    def heartbeat_reply(self, sender: int, reply: HeartbeatReply) -> None:
        """Confirm reads; look after what may have been lost."""
        state = self._state
        progress = self._progress.get(sender)
        if progress is None:
            return
        progress.acked_round = max(progress.acked_round, min(reply.round, self.reads.round))
        progress.waits = False
        if len(progress.inflight):
            # An append or its answer may be lost. One without entries at the end of all that was sent brings either an
            # answer for the whole or the rejection that leads to a probe, whatever the window says. Its commit index is
            # no news, or there would be no answer.
            term = state.log.term_at(progress.next - 1)
            if term is None:
                progress.probe()
            else:
                commit = min(progress.match, state.log.commit)
                state.send(sender, Append(state.term, progress.next - 1, term, commit, ()))
        if sender == self.transferee:
            self._hand_over()
        self._confirm_reads()

    def persisted(self) -> bool:
        """More of this node's own log is durable. True if the commit index moved."""
        self._progress[self._state.id].match = self._state.durability.stable
        return self._count_commit()

    def report_snapshot(self, follower: int, index: int, ok: bool) -> None:
        progress = self._progress.get(follower)
        if progress and progress.state is ProgressState.SNAPSHOT:
            progress.snapshot_done(index if ok else 0)

    def report_unreachable(self, follower: int) -> None:
        progress = self._progress.get(follower)
        if progress and progress.state is ProgressState.REPLICATE:
            progress.probe()
            progress.waits = True

    # Time

    def tick(self) -> bool:
        """One tick has passed. False if no quorum was heard from within an election timeout (dissertation, 6.2)."""
        state = self._state
        config = state.config
        for _, progress in self._followers:
            progress.silent_ticks += 1
            lag = state.log.last_index - progress.match
            keeps_up = lag <= config.promotion_lag and progress.silent_ticks < config.election_ticks
            progress.caught_up_ticks = progress.caught_up_ticks + 1 if keeps_up else 0
        if self.transferee:
            self._transfer_elapsed += 1
            if self._transfer_elapsed >= config.election_ticks:
                self.transferee = 0
        self._heartbeat_elapsed += 1
        if self._heartbeat_elapsed >= config.heartbeat_ticks:
            self._broadcast_heartbeat()
            if self.transferee:
                self._hand_over()
        return self._has_quorum()

    def _has_quorum(self) -> bool:
        active = {voter: self._is_active(voter) for voter in self._state.in_force.voters}
        return self._state.in_force.electorate.result(active) is VoteResult.WON

    def _is_active(self, member: int) -> bool:
        return self._progress[member].silent_ticks < self._state.config.election_ticks

    # Commitment

    def _count_commit(self) -> bool:
        """Commit what a quorum has on disk, if it is of this term: earlier terms' entries follow it (5.4.2)."""
        progress = self._progress
        index = self._state.in_force.electorate.agreed(lambda voter: progress[voter].match)
        return index >= self._first_index and self._state.log.commit_to(index)

    def committed(self) -> bool:
        """Do what waited for the commit index. True if it removed this node, which must then stop leading."""
        state = self._state
        in_force = state.in_force
        if state.log.commit < in_force.since:
            return False
        if in_force.configuration.outgoing:
            self._append_configuration(membership.leave(in_force.configuration))
            return False
        for member in self._removed:
            state.send(member, state.removal())
        self._removed = []
        return state.id not in in_force.voters

    def _confirm_reads(self) -> None:
        progress = self._progress
        self.reads.confirm(self._state.in_force.electorate.agreed(lambda voter: progress[voter].acked_round))

    # Membership

    def propose_membership(self, voters: Sequence[Member], learners: Sequence[Member], expected_index: int) -> int:
        """Append the first configuration on the way to these members. Raises MembershipRefused."""
        in_force = self._state.in_force
        if self.transferee:
            raise MembershipRefused(MembershipReason.TRANSFER_IN_PROGRESS, "the leadership is being given away")
        if not self.has_committed:
            raise MembershipRefused(MembershipReason.LEADER_NOT_READY, "no entry of this term is committed yet")
        if self._state.log.commit < in_force.since:  # so it is while joint: leaving follows the commit at once
            raise MembershipRefused(MembershipReason.CHANGE_IN_PROGRESS, f"the change at {in_force.since} isn't done")
        if expected_index != in_force.since:
            sentence = f"the configuration in force is of index {in_force.since}, not {expected_index}"
            raise MembershipRefused(MembershipReason.STALE_CONFIGURATION, sentence)
        return self._append_configuration(membership.plan(in_force.configuration, voters, learners, self._caught_up))

    def _caught_up(self, member: int) -> bool:
        return self._progress[member].caught_up_ticks >= self._state.config.election_ticks

    def _append_configuration(self, configuration: Configuration) -> int:
        state = self._state
        index = state.log.last_index + 1
        state.append([Entry(index, state.term, EntryKind.CONFIGURATION, membership.encode(configuration))])
        self._follow_configuration()
        return index

    def _follow_configuration(self) -> None:
        """Track exactly the members in force, and this node in any case."""
        state = self._state
        config = state.config
        members = state.in_force.members
        self._removed = [member for member in self._progress if member not in members and member != state.id]
        before = self._progress
        self._progress = {}
        for member in dict.fromkeys((state.id, *members)):
            fresh = Progress(state.log.last_index + 1, Inflight(config.max_inflight_appends, config.max_inflight_bytes))
            self._progress[member] = before.get(member, fresh)
        self._followers = [(member, known) for member, known in self._progress.items() if member != state.id]

    # Transfer (dissertation, section 3.10)

    def transfer(self, target: int) -> None:
        """Stop proposals, bring ``target`` up to date, tell it to campaign. Raises TransferRefused."""
        state = self._state
        if target == state.id:
            raise TransferRefused(TransferReason.ALREADY_LEADER, "this node leads already")
        if target not in state.in_force.electorate.incoming:
            raise TransferRefused(TransferReason.NOT_A_VOTER, f"{target} isn't a voter")
        if self.transferee and self.transferee != target:
            sentence = f"the leadership is being given to {self.transferee}"
            raise TransferRefused(TransferReason.TRANSFER_IN_PROGRESS, sentence)
        if not self._is_active(target):
            raise TransferRefused(TransferReason.UNREACHABLE, f"{target} hasn't been heard from")
        if not self.transferee:
            self.transferee = target
            self._transfer_elapsed = 0
            self._hand_over()

    def _hand_over(self) -> None:
        if self._progress[self.transferee].match == self._state.log.last_index:
            self._state.send(self.transferee, TimeoutNow(self._state.term))

    def resign(self) -> None:
        """Last words of a leader that its own change removed: the commit index, and who should lead next."""
        self.flush()
        voters = self._state.in_force.electorate.incoming
        successor = max(voters, key=lambda voter: self._progress[voter].match)
        self._state.send(successor, TimeoutNow(self._state.term))

    # Status

    def status(self) -> tuple[ProgressStatus, ...]:
        return tuple(
            ProgressStatus(
                member,
                progress.match,
                progress.next,
                progress.state,
                self._is_active(member),
                self._caught_up(member),
                len(progress.inflight),
                progress.inflight.bytes,
            )
            for member, progress in self._followers
        )
