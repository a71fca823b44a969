"""The roles of a member, and what moves it from one to another: time, votes, and the terms of messages.

                     timeout               pre-vote won              vote won
    FOLLOWER ───────────────► PRE_CANDIDATE ─────────► CANDIDATE ─────────────► LEADER
        ▲                            │                      │                      │
        └────────────────────────────┴──────────────────────┴──────────────────────┘
          a later term, a leader of this term, an election lost; leaders also: no quorum heard, removed

Each role's work is done by a part that knows nothing of the others; here alone they meet.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from orderbook.raft.election import Election
from orderbook.raft.errors import ConsensusViolated
from orderbook.raft.follower import Follower
from orderbook.raft.leader import Leader
from orderbook.raft.messages import (
    Append,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    Message,
    PreVote,
    PreVoteReply,
    ReadIndex,
    ReadIndexReply,
    Removed,
    TimeoutNow,
    Vote,
    VoteReply,
)
from orderbook.raft.quorum import VoteResult
from orderbook.raft.reads import ForwardedReads
from orderbook.raft.state import State
from orderbook.raft.types import Role

_FROM_LEADER = (Append, Heartbeat, InstallSnapshot)
_CANDIDACY = (PreVote, Vote)


class Roles:
    """One member's parts. ``leader`` exists exactly while it leads."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.election = Election(state)
        self.follower = Follower(state)
        self.forwarded = ForwardedReads(state, state.config.draw)
        self.leader: Leader | None = None
        self.campaigns = 0  # begun since this process started, by a pre-vote or at a leader's word; a statistic
        self._handlers: dict[type[Any], Callable[[int, Any], None]] = {
            PreVote: self.election.answer_pre_vote,
            PreVoteReply: self._on_pre_vote_reply,
            Vote: self.election.answer_vote,
            VoteReply: self._on_vote_reply,
            Append: self._on_append,
            AppendReply: self._on_append_reply,
            Heartbeat: self._on_heartbeat,
            HeartbeatReply: self._on_heartbeat_reply,
            InstallSnapshot: self._on_install_snapshot,
            TimeoutNow: self._on_timeout_now,
            ReadIndex: self._on_read_index,
            ReadIndexReply: self._on_read_index_reply,
        }

    def tick(self) -> None:
        """One tick of time has passed."""
        state = self._state
        if self.leader:
            if not self.leader.tick():
                self.become_follower(state.term, 0)
            return
        state.elapsed += 1
        self.forwarded.tick()
        if state.elapsed >= state.timeout:
            if state.promotable:
                self.campaign()
            else:
                self.become_follower(state.term, 0)

    def campaign(self) -> None:
        """Begin an election with a pre-vote, if this node may and doesn't lead."""
        if self.leader or not self._state.promotable:
            return
        self._leave_leader()
        self.campaigns += 1
        self.settle(self.election.start_pre_vote())

    def step(self, sender: int, message: Message) -> None:
        """Take a message of the member ``sender``."""
        if isinstance(message, Removed):
            self._on_removed(message)
        elif self._admit(sender, message):
            if self.leader:
                self.leader.heard(sender)
            self._handlers[type(message)](sender, message)

    def _admit(self, sender: int, message: Message) -> bool:
        """Compare terms, before anything else (paper, section 5.1). False if the message is answered or void."""
        state = self._state
        if isinstance(message, _CANDIDACY):
            self.election.tell_if_removed(sender, message)
        if message.term > state.term:
            if isinstance(message, _CANDIDACY) and state.in_lease and not getattr(message, "transfer", False):
                return False
            if isinstance(message, PreVote) or (isinstance(message, PreVoteReply) and message.granted):
                return True
            self.become_follower(message.term, sender if isinstance(message, _FROM_LEADER) else 0)
            return True
        if message.term == state.term:
            return True
        self._answer_lower_term(sender, message)
        return False

    def _answer_lower_term(self, sender: int, message: Message) -> None:
        """Whoever leads or campaigns in an old term must learn of this one, or a node that is ahead of its group (it
        campaigned behind a partition) would ignore the leader for ever: the answer makes that leader step down."""
        state = self._state
        if isinstance(message, _FROM_LEADER):
            state.send(sender, AppendReply(state.term, 0, True))
        elif isinstance(message, PreVote):
            state.send(sender, PreVoteReply(state.term, False))
        elif isinstance(message, Vote):
            state.send(sender, VoteReply(state.term, False))

    def become_follower(self, term: int, leader: int) -> None:
        state = self._state
        if term > state.term:
            state.enter_term(term)
            self.election.reset()
        self._leave_leader()
        state.role = Role.FOLLOWER
        state.leader = leader
        state.reset_timer()

    def _leave_leader(self) -> None:
        """End this node's leadership, or its following of another."""
        if self.leader:
            self.leader.reads.fail()
            self.leader = None
        self.forwarded.fail()
        self.follower.reset()
        self._state.leader = 0

    def _become_leader(self) -> None:
        state = self._state
        self._leave_leader()
        state.role = Role.LEADER
        state.leader = state.id
        self.leader = Leader(state)

    def settle(self, result: VoteResult) -> None:
        """Do what the result of a pre-vote or vote demands."""
        if result is VoteResult.LOST:
            self.become_follower(self._state.term, 0)
        elif result is VoteResult.WON:
            if self._state.role is Role.PRE_CANDIDATE:
                self.election.start_vote(transfer=False)
            else:
                self._become_leader()

    def commit_moved(self) -> None:
        """A leader's commit index rose."""
        if self.leader and self.leader.committed():
            self.leader.resign()
            self.become_follower(self._state.term, 0)

    def _heard_leader(self, sender: int) -> None:
        state = self._state
        if state.leader not in (0, sender):
            raise ConsensusViolated(f"both {state.leader} and {sender} lead in term {state.term}")
        state.told_removed = False
        if state.role is not Role.FOLLOWER or state.leader != sender:
            self.become_follower(state.term, sender)
        state.elapsed = 0

    # Messages of this term

    def _on_pre_vote_reply(self, sender: int, message: PreVoteReply) -> None:
        self.settle(self.election.count_pre_vote(sender, message))

    def _on_vote_reply(self, sender: int, message: VoteReply) -> None:
        self.settle(self.election.count_vote(sender, message))

    def _on_append(self, sender: int, message: Append) -> None:
        self._heard_leader(sender)
        self.follower.append(message)

    def _on_heartbeat(self, sender: int, message: Heartbeat) -> None:
        self._heard_leader(sender)
        self.follower.heartbeat(message)

    def _on_install_snapshot(self, sender: int, message: InstallSnapshot) -> None:
        self._heard_leader(sender)
        self.follower.install(message)

    def _on_append_reply(self, sender: int, message: AppendReply) -> None:
        if self.leader and self.leader.append_reply(sender, message):
            self.commit_moved()

    def _on_heartbeat_reply(self, sender: int, message: HeartbeatReply) -> None:
        if self.leader:
            self.leader.heartbeat_reply(sender, message)

    def _on_timeout_now(self, sender: int, message: TimeoutNow) -> None:
        """The leader chose this node: campaign at once, without asking first whether that would succeed."""
        if self.leader or not self._state.promotable:
            return
        self._leave_leader()
        self.campaigns += 1
        self.election.start_vote(transfer=True)

    def _on_read_index(self, sender: int, message: ReadIndex) -> None:
        if self.leader:
            self.leader.reads.add(sender, message.request)
        else:
            self._state.send(sender, ReadIndexReply(self._state.term, message.request, 0))

    def _on_read_index_reply(self, sender: int, message: ReadIndexReply) -> None:
        self.forwarded.answer(message)

    def _on_removed(self, message: Removed) -> None:
        """Believe it unless this node knows a later configuration. The message's term doesn't matter, nor its sender.

        Nobody sends it any more of the log. So it may hold the configuration that removed it without knowing that it is
        committed, or later ones that never will be: they are of an earlier term than what is committed elsewhere.
        """
        state = self._state
        in_force = state.in_force
        confirmed = message.configuration_index == in_force.since and state.id not in in_force.members
        dead = in_force.since > state.log.commit and (state.log.term_at(in_force.since) or 0) < message.committed_term
        if message.configuration_index > in_force.since or confirmed or dead:
            state.told_removed = True
