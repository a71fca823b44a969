"""Elections: pre-vote, vote, and the answers to both (paper, section 5.2; dissertation, section 9.6).

A pre-vote asks whether a real one could be won, and changes nothing anywhere: a node that comes back from behind a
partition can't raise the term of a group that works. Voters that heard their leader within an election timeout don't
answer at all, unless the leader itself asked for the election.

Both sides of a real vote wait for their disk: the candidate asks nobody before its own vote is durable (else a crash
could let it count old answers for a shorter log), and a voter answers only when its vote is.
"""

from __future__ import annotations

from orderbook.raft.messages import PreVote, PreVoteReply, Vote, VoteReply
from orderbook.raft.quorum import VoteResult
from orderbook.raft.state import State
from orderbook.raft.types import Role


class Election:
    """One node's part in elections. What follows from a result is the caller's to do."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._votes: dict[int, bool] = {}
        self._asked = False
        self._transfer = False
        self._granted_to = 0  # a vote given whose answer waits for the disk

    def start_pre_vote(self) -> VoteResult:
        """Ask whether this node could win the next term. A single voter needs to ask nobody."""
        state = self._state
        state.role = Role.PRE_CANDIDATE
        state.leader = 0
        state.reset_timer()
        self._votes = {state.id: True}
        request = PreVote(state.term + 1, state.log.last_index, state.log.last_term)
        for voter in state.in_force.voters:
            if voter != state.id:
                state.send(voter, request)
        return self._result()

    def start_vote(self, transfer: bool) -> None:
        """Enter the next term as its candidate. The requests leave when this node's own vote is durable."""
        state = self._state
        self.reset()
        state.enter_term(state.term + 1)
        state.vote = state.id
        state.role = Role.CANDIDATE
        state.leader = 0
        state.reset_timer()
        self._transfer = transfer

    def reset(self) -> None:
        """Forget votes and promises of the term before."""
        self._votes = {}
        self._asked = False
        self._granted_to = 0

    def hard_state_persisted(self) -> VoteResult:
        """More of term and vote is durable: let what waited for it go."""
        state = self._state
        if not state.durability.knows_vote(state.term, state.vote):
            return VoteResult.PENDING
        if self._granted_to:
            state.send(self._granted_to, VoteReply(state.term, True))
            self._granted_to = 0
        if state.role is not Role.CANDIDATE or self._asked:
            return VoteResult.PENDING
        self._asked = True
        self._votes[state.id] = True
        request = Vote(state.term, state.log.last_index, state.log.last_term, self._transfer)
        for voter in state.in_force.voters:
            if voter != state.id:
                state.send(voter, request)
        return self._result()

    def answer_pre_vote(self, sender: int, request: PreVote) -> None:
        """Would this node vote for ``sender``? Saying so binds it to nothing."""
        state = self._state
        free = state.leader == 0 and state.vote in (0, sender)
        if (request.term > state.term or free) and self._may_support(request):
            state.send(sender, PreVoteReply(request.term, True))
        else:
            state.send(sender, PreVoteReply(state.term, False))

    def answer_vote(self, sender: int, request: Vote) -> None:
        """One vote a term, first come first served, and only for a log at least as up to date (section 5.4.1)."""
        state = self._state
        free = state.vote == sender or (state.vote == 0 and state.leader == 0)
        if not free or not self._may_support(request):
            state.send(sender, VoteReply(state.term, False))
            return
        state.vote = sender
        state.reset_timer()
        self._granted_to = sender
        self.hard_state_persisted()

    def count_pre_vote(self, sender: int, reply: PreVoteReply) -> VoteResult:
        state = self._state
        if state.role is not Role.PRE_CANDIDATE or reply.term != state.term + (1 if reply.granted else 0):
            return VoteResult.PENDING
        self._votes.setdefault(sender, reply.granted)
        return self._result()

    def count_vote(self, sender: int, reply: VoteReply) -> VoteResult:
        if self._state.role is not Role.CANDIDATE:
            return VoteResult.PENDING
        self._votes.setdefault(sender, reply.granted)
        return self._result()

    def tell_if_removed(self, sender: int, request: PreVote | Vote) -> None:
        """A candidate outside the committed configuration was removed and may not have heard of it.

        One with a longer log may belong to a configuration that this node hasn't seen yet.
        """
        state = self._state
        in_force = state.in_force
        if sender in in_force.members or in_force.configuration.outgoing or in_force.since > state.log.commit:
            return
        if not state.log.is_up_to_date(request.last_index, request.last_term):
            state.send(sender, state.removal())

    def _may_support(self, request: PreVote | Vote) -> bool:
        state = self._state
        return not state.abstains and state.log.is_up_to_date(request.last_index, request.last_term)

    def _result(self) -> VoteResult:
        return self._state.in_force.electorate.result(self._votes)
