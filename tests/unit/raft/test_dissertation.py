"""What the dissertation (and sections 6 and 8 of the paper) demand: membership, reads, transfer, pre-vote."""

from __future__ import annotations

import pytest

from orderbook.raft.errors import MembershipRefused, NotLeader, ProposalsPaused
from orderbook.raft.membership import encode
from orderbook.raft.messages import (
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    PreVote,
    PreVoteReply,
    ReadIndexReply,
    Removed,
    TimeoutNow,
    Vote,
    VoteReply,
)
from orderbook.raft.node import RaftConfig, RawNode
from orderbook.raft.types import Entry, EntryKind, HardState, Role
from unit.raft.alone import FIVE, THREE, confirm, elect, finish, log, node, sent
from unit.raft.cluster import Cluster, configuration, members

# Section 6 and dissertation chapter 4: membership


def test_6_a_configuration_takes_effect_when_it_is_appended() -> None:
    cluster = Cluster([1, 2, 3])
    cluster.campaign(1)
    cluster.stabilize()
    cluster.membership(1, [1, 2])
    assert cluster[1].configuration == configuration([1, 2])
    assert cluster[1].commit == 1


def test_4_2_1_a_newcomer_is_a_learner_until_it_has_caught_up() -> None:
    cluster = Cluster([1])
    cluster.campaign(1)
    cluster.stabilize()
    cluster.add(2)
    with pytest.raises(MembershipRefused, match="not_caught_up"):
        cluster.membership(1, [1, 2])
    cluster.membership(1, [1], [2])
    cluster.stabilize()
    assert cluster[2].role is Role.LEARNER
    for _ in range(10):
        cluster.tick(1)
        cluster.stabilize()
    cluster.membership(1, [1, 2])
    cluster.stabilize()
    assert (cluster[2].role, cluster[2].is_voter) == (Role.FOLLOWER, True)


def test_4_2_2_a_leader_without_a_vote_is_not_counted() -> None:
    cluster = Cluster([1, 2, 3])
    cluster.campaign(1)
    cluster.stabilize()
    index = cluster.membership(1, [2, 3])
    cluster.crash(3)
    cluster.stabilize()
    assert cluster[1].commit < index, "1 and 2 have it, but only 2 counts"
    assert cluster[1].role is Role.LEADER
    cluster.restart(3)
    for _ in range(2):
        cluster.tick(1)
        cluster.stabilize()
    assert cluster[2].commit >= index
    assert cluster[1].removed


def test_4_2_2_a_leader_leads_until_its_removal_itself_is_committed() -> None:
    raw = node()
    elect(raw)
    sent(raw)
    confirm(raw, 2, 3)
    _, index = raw.propose([b"a"])
    assert raw.propose_membership(members([2, 3]), (), 0) == index + 1
    sent(raw)
    for other in (2, 3):
        raw.step(other, AppendReply(1, index))
    assert (raw.commit, raw.role) == (index, Role.LEADER)
    confirm(raw, 2, 3)
    assert (raw.commit, raw.role) == (index + 1, Role.LEARNER)


def test_4_2_3_a_removed_server_cannot_disturb_the_group() -> None:
    cluster = Cluster([1, 2, 3])
    cluster.campaign(1)
    cluster.stabilize()
    cluster.isolate(3)
    cluster.membership(1, [1, 2])
    cluster.stabilize()
    cluster.heal()
    cluster.tick(3, 30)
    cluster.stabilize()
    assert (cluster[1].role, cluster[1].term) == (Role.LEADER, 1)
    assert cluster[3].removed


def test_4_2_3_nobody_is_called_removed_by_a_change_that_may_not_come_to_pass() -> None:
    change = Entry(2, 1, EntryKind.CONFIGURATION, encode(configuration([1, 2])))
    raw = node([*log(1), change], commit=1)
    raw.step(3, PreVote(2, 1, 1))
    assert sent(raw) == [(3, PreVoteReply(1, False))]
    raw.step(2, Heartbeat(1, 2, 0))
    raw.step(3, PreVote(2, 1, 1))
    assert (3, Removed(1, 2, 1)) in sent(raw)


def test_4_2_3_a_candidate_with_a_longer_log_may_know_a_later_configuration() -> None:
    raw = node(log(1), commit=1)
    raw.step(9, PreVote(2, 5, 1))
    assert sent(raw) == [(9, PreVoteReply(2, True))]


def test_4_2_3_a_voter_within_its_lease_answers_no_candidate_unless_its_leader_asked_for_it() -> None:
    raw = node(term=1)
    raw.step(2, Heartbeat(1, 0, 0))
    sent(raw)
    raw.step(3, PreVote(2, 5, 1))
    raw.step(3, Vote(2, 5, 1, False))
    assert (sent(raw), raw.term) == ([], 1)
    raw.step(3, Vote(2, 5, 1, True))
    assert sent(raw) == [(3, VoteReply(2, True))]


def test_4_2_3_a_leader_is_in_its_lease_from_its_first_moment() -> None:
    raw = RawNode(
        RaftConfig(id=1, draw=lambda low, high: high - 1),
        hard_state=HardState(),
        configuration=THREE,
        configuration_index=0,
        snapshot=None,
        entries=(),
        applied=0,
    )
    raw.campaign()
    raw.step(2, PreVoteReply(1, True))
    finish(raw)
    for _ in range(15):
        raw.tick()
    raw.step(2, VoteReply(1, True))
    assert raw.role is Role.LEADER
    raw.step(3, Vote(2, 9, 1, False))
    assert (raw.role, raw.term) == (Role.LEADER, 1)


def test_4_3_the_joint_state_needs_both_majorities_and_is_left_by_itself() -> None:
    cluster = Cluster([1, 2, 3], [4, 5])
    cluster.campaign(1)
    cluster.stabilize()
    for _ in range(10):
        cluster.tick(1)
        cluster.stabilize()
    cluster.isolate(4)
    cluster.isolate(5)
    index = cluster.membership(1, [1, 4, 5])
    cluster.stabilize()
    assert cluster[1].configuration.outgoing == members([1, 2, 3])
    assert cluster[1].commit < index
    cluster.heal()
    for _ in range(2):
        cluster.tick(1)
        cluster.stabilize()
    assert cluster[1].configuration == configuration([1, 4, 5])
    assert cluster[1].commit == index + 1


def test_4_3_the_joint_state_is_left_only_when_it_is_committed() -> None:
    raw = node()
    elect(raw)
    sent(raw)
    confirm(raw, 2, 3)
    _, index = raw.propose([b"a"])
    raw.propose_membership(members([1]), members([2, 3]), 0)
    sent(raw)
    raw.step(2, AppendReply(1, index))
    assert (raw.commit, raw.configuration.outgoing) == (index, members([1, 2, 3]))
    with pytest.raises(MembershipRefused, match="change_in_progress"):
        raw.propose_membership(members([1, 2, 3]), (), index + 1)
    confirm(raw, 2)
    assert (raw.commit, raw.configuration.outgoing) == (index + 1, ())
    with pytest.raises(MembershipRefused, match="change_in_progress"):
        raw.propose_membership(members([1, 2, 3]), (), index + 2)


def test_4_3_a_new_leader_leaves_the_joint_state_that_it_inherits() -> None:
    cluster = Cluster([1, 2, 3])
    cluster.campaign(1)
    cluster.stabilize()
    cluster.membership(1, [1], [2, 3])
    cluster.work(1)
    while cluster.network:
        cluster.deliver()
    for follower in (2, 3):
        cluster.work(follower)
        cluster.persist(follower)
    cluster.crash(1)
    cluster.tick(2, 12)
    cluster.tick(3, 10)
    cluster.stabilize()
    assert cluster[2].configuration.outgoing, "it can't even be elected without 1, the only new voter"
    cluster.restart(1)
    cluster.tick(2, 10)
    cluster.tick(1, 1)
    for _ in range(3):
        cluster.stabilize()
        cluster.tick(2, 10)
    cluster.stabilize()
    assert cluster[1].configuration == configuration([1], [2, 3])


def test_4_4_a_change_waits_for_an_entry_of_the_leaders_term() -> None:
    """The bug of single-server changes that was found after the dissertation appeared."""
    raw = node(log(1), commit=1)
    elect(raw)
    with pytest.raises(MembershipRefused, match="leader_not_ready"):
        raw.propose_membership(members([1, 2]), (), 0)
    sent(raw)
    confirm(raw, 2)
    assert raw.propose_membership(members([1, 2]), (), 0) == 3


# Section 8 and dissertation 6.4: reads


def test_6_4_a_read_waits_for_the_no_op_and_for_a_round_that_began_after_it() -> None:
    raw = node(log(1), commit=1)
    elect(raw)
    raw.read_index(7)
    rounds = [message.round for _, message in sent(raw) if isinstance(message, Heartbeat)]
    assert rounds == [], "the commit index isn't known yet"
    confirm(raw, 2)
    ready = finish(raw)
    assert ready is not None
    rounds = [message.round for _, message in ready.messages if isinstance(message, Heartbeat)]
    assert rounds == [1, 1]
    raw.step(2, HeartbeatReply(2, 0))
    assert all(not ready.read_states for ready in [finish(raw)] if ready)
    raw.step(2, HeartbeatReply(2, 1))
    ready = finish(raw)
    assert ready is not None
    assert ready.read_states == ((7, 2),)


def test_6_4_a_read_asked_of_a_leader_fails_with_its_leadership() -> None:
    raw = node(term=1)
    raw.step(2, Heartbeat(1, 0, 0))
    raw.read_index(7)
    sent(raw)
    raw.read_index(8)
    raw.step(3, Heartbeat(2, 0, 0))
    ready = raw.ready()
    assert ready.reads_failed == (7, 8)
    raw.step(3, ReadIndexReply(2, 0, 5))
    assert all(not ready.read_states for ready in [finish(raw)] if ready)


def test_6_4_a_deposed_leader_confirms_no_read() -> None:
    cluster = Cluster([1, 2, 3], draw=lambda node, low, high: low + node)
    cluster.campaign(1)
    cluster.stabilize()
    cluster.isolate(1)
    cluster.tick(3, 12)
    cluster.tick(2, 12)
    cluster.stabilize()
    cluster.propose(2, b"new")
    cluster.stabilize()
    cluster.read(1, 9)
    cluster.stabilize()
    cluster.heal()
    cluster.tick(1, 2)
    cluster.stabilize()
    assert cluster.peers[1].answered == {}
    assert cluster.peers[1].failed == [9]


def test_6_4_a_read_on_a_follower_sees_what_was_committed_before_it() -> None:
    cluster = Cluster([1, 2, 3])
    cluster.campaign(1)
    cluster.stabilize()
    cluster.isolate(3)
    _, index = cluster.propose(1, b"a")
    cluster.stabilize()
    cluster.heal()
    assert cluster[3].last_index < index
    cluster.read(3, 1)
    cluster.stabilize()
    assert cluster.peers[3].answered == {1: index}


# Dissertation 3.10: transfer of leadership


def test_3_10_the_target_catches_up_first_and_then_campaigns_without_pre_vote() -> None:
    cluster = Cluster([1, 2, 3])
    cluster.campaign(1)
    cluster.stabilize()
    cluster.isolate(2)
    cluster.propose(1, b"a")
    cluster.stabilize()
    cluster.heal()
    cluster.transfer(1, 2)
    with pytest.raises(ProposalsPaused):
        cluster.propose(1, b"b")
    cluster.stabilize()
    assert cluster[1].role is Role.LEADER, "2 lacks an entry"
    cluster.tick(1, 2)
    cluster.stabilize()
    assert (cluster.leader().id, cluster.leader().term_at(2)) == (2, 1)


def test_3_10_a_transfer_ends_after_an_election_timeout() -> None:
    cluster = Cluster([1, 2, 3])
    cluster.campaign(1)
    cluster.stabilize()
    cluster.isolate(2)
    cluster.transfer(1, 2)
    for _ in range(9):
        cluster.tick(1)
        cluster.stabilize()
    assert cluster[1].transferee == 2
    cluster.tick(1)
    assert cluster[1].transferee == 0
    cluster.propose(1, b"a")


def test_3_10_a_learner_that_is_told_to_campaign_does_not() -> None:
    raw = node(voters=configuration([2], [1]), term=1)
    raw.step(2, TimeoutNow(1))
    assert (raw.role, raw.term) == (Role.LEARNER, 1)


# Dissertation 6.2 and 9.6: check-quorum and pre-vote


def test_6_2_a_leader_that_hears_no_majority_steps_down() -> None:
    raw = node(voters=FIVE)
    elect(raw)
    for _ in range(30):
        raw.tick()
        raw.step(2, HeartbeatReply(1, 0))
        if raw.role is not Role.LEADER:
            break
    assert raw.role is Role.FOLLOWER
    with pytest.raises(NotLeader):
        raw.propose([b"a"])

    elect(raw)
    for _ in range(30):
        raw.tick()
        raw.step(2, HeartbeatReply(raw.term, 0))
        raw.step(3, HeartbeatReply(raw.term, 0))
    assert raw.role is Role.LEADER


def test_9_6_a_pre_vote_changes_neither_term_nor_vote_of_anyone() -> None:
    candidate, voter = node(), node(node_id=2)
    candidate.campaign()
    requests = sent(candidate)
    assert requests == [(2, PreVote(1, 0, 0)), (3, PreVote(1, 0, 0))]
    voter.step(1, PreVote(1, 0, 0))
    assert sent(voter) == [(1, PreVoteReply(1, True))]
    assert (candidate.term, candidate.vote, voter.term, voter.vote) == (0, 0, 0, 0)


def test_9_6_a_lost_pre_vote_leaves_the_term_alone() -> None:
    raw = node(term=3)
    raw.campaign()
    raw.step(2, PreVoteReply(3, False))
    raw.step(3, PreVoteReply(3, False))
    assert (raw.role, raw.term) == (Role.FOLLOWER, 3)


def test_9_6_a_pre_vote_answered_for_another_term_does_not_count() -> None:
    raw = node(term=3)
    raw.campaign()
    raw.step(2, PreVoteReply(9, True))
    assert (raw.role, raw.term) == (Role.PRE_CANDIDATE, 3)
