"""Sections 5.1 and 5.2 of the Raft paper (Ongaro and Ousterhout, extended version): terms and elections."""

from __future__ import annotations

import pytest

from orderbook.raft.errors import ConsensusViolated
from orderbook.raft.messages import (
    Append,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    Message,
    PreVote,
    PreVoteReply,
    Vote,
    VoteReply,
)
from orderbook.raft.node import RaftConfig, RawNode
from orderbook.raft.types import HardState, Role
from unit.raft.alone import FIVE, THREE, elect, finish, log, node, sent
from unit.raft.cluster import configuration

# Section 5.1: terms


@pytest.mark.parametrize(
    "message",
    [
        Heartbeat(2, 0, 0),
        Append(2, 0, 0, 0, ()),
        Vote(2, 0, 0, True),
        AppendReply(2, 0, True),
        PreVoteReply(2, False),
    ],
)
@pytest.mark.parametrize("role", [Role.FOLLOWER, Role.PRE_CANDIDATE, Role.CANDIDATE, Role.LEADER])
def test_5_1_a_message_of_a_later_term_makes_any_node_a_follower_of_that_term(role: Role, message: Message) -> None:
    raw = node()
    if role is Role.LEADER:
        elect(raw)
    elif role is not Role.FOLLOWER:
        raw.campaign()
        if role is Role.CANDIDATE:
            raw.step(2, PreVoteReply(1, True))
    assert raw.role is role

    raw.step(2, message)

    assert (raw.role, raw.term) == (Role.FOLLOWER, 2)
    assert raw.leader == (2 if isinstance(message, Heartbeat | Append) else 0)


def test_5_1_a_request_of_an_earlier_term_is_refused_and_changes_nothing() -> None:
    raw = node(term=5)
    for request, answer in [
        (Vote(4, 9, 4, False), VoteReply(5, False)),
        (PreVote(4, 9, 4), PreVoteReply(5, False)),
        (Append(4, 0, 0, 0, tuple(log(4))), AppendReply(5, 0, True)),
        (Heartbeat(4, 0, 0), AppendReply(5, 0, True)),
    ]:
        raw.step(2, request)
        assert sent(raw) == [(2, answer)]
    assert (raw.term, raw.vote, raw.last_index, raw.leader) == (5, 0, 0, 0)


def test_5_1_a_reply_of_an_earlier_term_is_ignored() -> None:
    raw = node(term=5)
    elect(raw)
    finish(raw)
    raw.step(2, AppendReply(5, 1))
    raw.step(3, HeartbeatReply(5, 0))
    assert raw.commit == 0


# Section 5.2: leader election


def test_5_2_a_node_begins_as_follower_and_stays_one_while_it_hears_its_leader() -> None:
    raw = node(term=1)
    for _ in range(100):
        raw.step(2, Heartbeat(1, 0, 0))
        raw.tick()
    assert raw.role is Role.FOLLOWER


def test_5_2_without_a_leader_it_campaigns_after_its_timeout() -> None:
    raw = node()
    for _ in range(9):
        raw.tick()
    assert raw.role is Role.FOLLOWER
    raw.tick()
    assert raw.role is Role.PRE_CANDIDATE


@pytest.mark.parametrize(
    ("voters", "votes", "role"),
    [
        ([1], {}, Role.LEADER),
        ([1, 2, 3], {2: True}, Role.LEADER),
        ([1, 2, 3], {2: False}, Role.CANDIDATE),
        ([1, 2, 3], {2: False, 3: False}, Role.FOLLOWER),
        ([1, 2, 3, 4], {2: True}, Role.CANDIDATE),
        ([1, 2, 3, 4], {2: True, 3: True}, Role.LEADER),
        ([1, 2, 3, 4], {2: False, 3: False}, Role.FOLLOWER),
        ([1, 2, 3, 4, 5], {2: True, 3: False}, Role.CANDIDATE),
        ([1, 2, 3, 4, 5], {2: True, 3: True}, Role.LEADER),
        ([1, 2, 3, 4, 5], {2: True, 9: True}, Role.CANDIDATE),
    ],
)
def test_5_2_it_takes_a_majority_of_all_voters_to_win(voters: list[int], votes: dict[int, bool], role: Role) -> None:
    raw = node(voters=configuration(voters))
    raw.campaign()
    for other in voters[1:]:
        raw.step(other, PreVoteReply(1, True))
    finish(raw)
    for other, granted in votes.items():
        raw.step(other, VoteReply(1, granted))
    assert raw.role is role


def test_5_2_a_vote_counts_once() -> None:
    raw = node(voters=FIVE)
    raw.campaign()
    for other in (2, 3, 4):
        raw.step(other, PreVoteReply(1, True))
    finish(raw)
    for _ in range(3):
        raw.step(2, VoteReply(1, True))
    assert raw.role is Role.CANDIDATE


def test_5_2_one_vote_a_term_first_come_first_served() -> None:
    raw = node()
    raw.step(2, Vote(1, 0, 0, False))
    raw.step(3, Vote(1, 0, 0, False))
    assert sorted(sent(raw)) == [(2, VoteReply(1, True)), (3, VoteReply(1, False))]
    assert raw.vote == 2


def test_5_2_the_vote_is_remembered_over_a_restart() -> None:
    raw = node(term=4, vote=3)
    raw.step(2, Vote(4, 0, 0, False))
    raw.step(3, Vote(4, 0, 0, False))
    assert sent(raw) == [(2, VoteReply(4, False)), (3, VoteReply(4, True))]


def test_5_2_a_vote_leaves_only_when_it_is_on_disk() -> None:
    raw = node()
    raw.step(2, Vote(1, 0, 0, False))
    ready = raw.ready()
    assert (ready.hard_state, ready.messages) == (HardState(1, 2, 0), ())
    raw.persisted_hard_state(HardState(1, 0, 0))
    assert not raw.has_ready()
    raw.persisted_hard_state(HardState(1, 2, 0))
    assert sent(raw) == [(2, VoteReply(1, True))]


def test_5_2_a_vote_that_no_later_term_waits_for_is_never_answered() -> None:
    raw = node()
    raw.step(2, Vote(1, 0, 0, False))
    raw.ready()
    raw.step(3, Heartbeat(2, 0, 0))
    granted = [message for _, message in sent(raw) if isinstance(message, VoteReply)]
    assert granted == [], "it would be a vote of term 2"


def test_5_2_who_gave_its_vote_waits_a_whole_timeout_for_the_outcome() -> None:
    raw = node(term=1)
    for _ in range(9):
        raw.tick()
    raw.step(2, Vote(1, 0, 0, False))
    for _ in range(9):
        raw.tick()
    assert raw.role is Role.FOLLOWER
    raw.tick()
    assert raw.role is Role.PRE_CANDIDATE


def test_5_2_a_candidate_asks_once_a_term() -> None:
    raw = node()
    raw.campaign()
    raw.step(2, PreVoteReply(1, True))
    sent(raw)
    raw.persisted_hard_state(HardState(1, 1, 0))
    assert not raw.has_ready()


def test_5_2_a_candidate_counts_its_own_vote_and_asks_for_others_only_when_that_is_on_disk() -> None:
    raw = node(voters=configuration([1]))
    raw.campaign()
    ready = raw.ready()
    assert (raw.role, ready.hard_state) == (Role.CANDIDATE, HardState(1, 1, 0))
    raw.persisted_hard_state(HardState(1, 1, 0))
    assert raw.role is Role.LEADER

    raw = node()
    raw.campaign()
    raw.step(2, PreVoteReply(1, True))
    assert not [message for _, message in raw.ready().messages if isinstance(message, Vote)]
    raw.persisted_hard_state(HardState(1, 1, 0))
    assert sent(raw) == [(2, Vote(1, 0, 0, False)), (3, Vote(1, 0, 0, False))]


def test_5_2_a_candidate_follows_the_leader_of_its_term() -> None:
    raw = node()
    raw.campaign()
    raw.step(2, PreVoteReply(1, True))
    raw.step(3, Append(1, 0, 0, 0, tuple(log(1))))
    assert (raw.role, raw.leader, raw.last_index) == (Role.FOLLOWER, 3, 1)
    raw.step(2, VoteReply(1, True))
    assert raw.role is Role.FOLLOWER


def test_5_2_election_timeouts_are_random_and_drawn_anew() -> None:
    asked: list[tuple[int, int]] = []

    def draw(low: int, high: int) -> int:
        asked.append((low, high))
        return low + len(asked) % (high - low)

    raw = RawNode(
        RaftConfig(id=1, draw=draw),
        hard_state=HardState(),
        configuration=THREE,
        configuration_index=0,
        snapshot=None,
        entries=(),
        applied=0,
    )
    before = len(asked)
    for _ in range(80):
        raw.tick()
    assert asked.count((10, 20)) >= before + 4


def test_5_2_two_leaders_of_one_term_stop_the_process() -> None:
    raw = node(term=1)
    raw.step(2, Heartbeat(1, 0, 0))
    with pytest.raises(ConsensusViolated):
        raw.step(3, Heartbeat(1, 0, 0))
