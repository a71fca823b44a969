"""What the Raft paper (Ongaro and Ousterhout, extended version) and the dissertation demand, section by section."""

from __future__ import annotations

import pytest

from orderbook.raft.errors import ConsensusViolated, MembershipRefused, NotLeader, ProposalsPaused
from orderbook.raft.membership import encode
from orderbook.raft.messages import (
    Append,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    Message,
    PreVote,
    PreVoteReply,
    ReadIndexReply,
    Removed,
    TimeoutNow,
    Vote,
    VoteReply,
)
from orderbook.raft.node import RaftConfig, RawNode
from orderbook.raft.types import Configuration, Entry, EntryKind, HardState, Ready, Role
from unit.raft.cluster import Cluster, configuration, members

THREE = configuration([1, 2, 3])
FIVE = configuration([1, 2, 3, 4, 5])


def log(*terms: int) -> list[Entry]:
    """Entries 1, 2, ... of these terms."""
    return [Entry(index, term, EntryKind.NORMAL, b"%d/%d" % (index, term)) for index, term in enumerate(terms, 1)]


def node(
    entries: list[Entry] | None = None,
    term: int | None = None,
    vote: int = 0,
    commit: int = 0,
    voters: Configuration = THREE,
    node_id: int = 1,
) -> RawNode:
    """A member as it is after a restart."""
    entries = entries or []
    term = term if term is not None else (entries[-1].term if entries else 0)
    return RawNode(
        RaftConfig(id=node_id, draw=lambda low, high: low),
        hard_state=HardState(term, vote, commit),
        configuration=voters,
        configuration_index=0,
        snapshot=None,
        entries=entries,
        applied=0,
    )


def finish(raw: RawNode) -> Ready | None:
    """Take one Ready and let all its writes reach the disk."""
    if not raw.has_ready():
        return None
    ready = raw.ready()
    if ready.hard_state:
        raw.persisted_hard_state(ready.hard_state)
    if ready.entries:
        raw.persisted(ready.entries[-1].index, ready.entries[-1].term)
    if ready.committed:
        raw.applied(ready.committed[-1].index)
    return ready


def sent(raw: RawNode) -> list[tuple[int, Message]]:
    """Everything it sends, its disk being fast."""
    messages: list[tuple[int, Message]] = []
    while ready := finish(raw):
        messages += ready.messages
    return messages


def elect(raw: RawNode) -> None:
    """Let it campaign and get every vote."""
    raw.campaign()
    others = [member.id for member in raw.configuration.voters if member.id != raw.id]
    finish(raw)
    for other in others:
        raw.step(other, PreVoteReply(raw.term + 1, True))
    finish(raw)
    for other in others:
        raw.step(other, VoteReply(raw.term, True))
    assert raw.role is Role.LEADER


def confirm(raw: RawNode, *others: int) -> None:
    """Let these followers have everything."""
    for other in others:
        raw.step(other, AppendReply(raw.term, raw.last_index))


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


# Section 5.3: log replication


def test_5_3_a_proposal_is_appended_and_sent_in_parallel_to_the_own_write() -> None:
    raw = node()
    elect(raw)
    sent(raw)
    confirm(raw, 2, 3)
    sent(raw)
    assert raw.propose([b"a"]) == (1, 2)
    ready = raw.ready()
    entry = Entry(2, 1, EntryKind.NORMAL, b"a")
    assert ready.entries == (entry,)
    assert ready.messages == ((2, Append(1, 1, 1, 1, (entry,))), (3, Append(1, 1, 1, 1, (entry,))))


def test_5_3_an_entry_is_committed_when_a_majority_has_it_on_disk_and_the_commit_index_is_passed_on() -> None:
    raw = node(voters=FIVE)
    elect(raw)
    sent(raw)
    confirm(raw, 2)
    assert raw.commit == 0
    confirm(raw, 3)
    assert raw.commit == 1
    commits = {to: message.commit for to, message in sent(raw) if isinstance(message, Append)}
    assert commits == {2: 1, 3: 1}


def test_5_3_the_leader_counts_itself_only_for_what_its_own_disk_has() -> None:
    raw = node()
    elect(raw)
    ready = raw.ready()
    confirm(raw, 2)
    assert raw.commit == 0
    raw.persisted(ready.entries[-1].index, ready.entries[-1].term)
    assert raw.commit == 1


def test_5_3_the_leader_counts_itself_up_to_the_write_that_was_reported() -> None:
    raw = node()
    elect(raw)
    first = raw.ready()
    raw.propose([b"a"])
    raw.ready()
    raw.persisted(first.entries[-1].index, first.entries[-1].term)
    confirm(raw, 2)
    assert raw.commit == 1, "only 2 is known to have the second on disk"


def test_5_3_a_new_leader_does_not_count_itself_for_what_it_received_and_has_not_written() -> None:
    raw = node()
    raw.step(3, Append(1, 0, 0, 0, tuple(log(1))))
    received = raw.ready()
    assert received.hard_state
    raw.persisted_hard_state(received.hard_state)
    raw.campaign()
    raw.step(2, PreVoteReply(2, True))
    hard_state = raw.ready().hard_state
    assert hard_state
    raw.persisted_hard_state(hard_state)
    raw.step(2, VoteReply(2, True))
    assert raw.role is Role.LEADER
    raw.ready()
    confirm(raw, 2)
    assert raw.commit == 0
    raw.persisted(1, 1)
    assert raw.commit == 0
    raw.persisted(2, 2)
    assert raw.commit == 2


def test_5_3_an_answer_for_more_than_the_log_holds_is_ignored() -> None:
    raw = node()
    elect(raw)
    sent(raw)
    raw.step(2, AppendReply(1, 9))
    assert raw.commit == 0
    raw.step(2, AppendReply(1, 1))
    assert raw.commit == 1


def test_5_3_a_new_leader_gets_no_confirmation_of_what_its_predecessor_sent() -> None:
    raw = node()
    raw.step(2, Append(1, 0, 0, 0, tuple(log(1, 1, 1))))
    raw.ready()
    raw.step(3, Heartbeat(2, 0, 0))
    hard_state = raw.ready().hard_state
    assert hard_state
    raw.persisted_hard_state(hard_state)
    raw.persisted(3, 1)
    assert not raw.has_ready()


def test_5_3_a_commit_index_alone_is_answered_only_to_a_leader_that_has_no_answer_yet() -> None:
    raw = node()
    raw.step(2, Append(1, 0, 0, 0, tuple(log(1, 1))))
    assert sent(raw) == [(2, AppendReply(1, 2))]
    raw.step(2, Append(1, 2, 1, 1, ()))
    assert (sent(raw), raw.commit) == ([], 1)
    raw.step(2, Append(1, 2, 1, 1, ()))
    assert sent(raw) == [(2, AppendReply(1, 2))], "it asks whether an answer was lost"
    raw.step(3, Append(2, 2, 1, 2, ()))
    assert sent(raw) == [(3, AppendReply(2, 2))]


def test_5_3_a_follower_confirms_each_write_once() -> None:
    raw = node()
    raw.step(2, Append(1, 0, 0, 0, tuple(log(1))))
    assert sent(raw) == [(2, AppendReply(1, 1))]
    raw.persisted_hard_state(HardState(1, 0, 0))
    assert not raw.has_ready()


def test_5_3_a_probe_below_what_is_being_written_is_answered_at_once() -> None:
    raw = node(log(1))
    raw.step(2, Append(1, 1, 1, 0, tuple(log(1, 1, 1)[1:])))
    assert raw.ready().messages == ()
    raw.step(2, Append(1, 0, 0, 0, tuple(log(1))))
    assert raw.ready().messages == ((2, AppendReply(1, 1)),)
    raw.persisted(3, 1)
    assert sent(raw) == [(2, AppendReply(1, 3))]


def test_5_3_followers_suffice_when_the_leaders_own_disk_is_slow() -> None:
    raw = node()
    elect(raw)
    raw.ready()
    confirm(raw, 2, 3)
    assert raw.commit == 1
    assert raw.ready().committed == ()


def test_5_3_a_follower_confirms_only_what_its_disk_has() -> None:
    raw = node()
    raw.step(2, Append(1, 0, 0, 0, tuple(log(1, 1, 1))))
    ready = raw.ready()
    assert ready.messages == ()
    raw.persisted(3, 1)
    assert not raw.has_ready(), "the term isn't on disk yet"
    assert ready.hard_state
    raw.persisted_hard_state(ready.hard_state)
    assert sent(raw) == [(2, AppendReply(1, 3))]


@pytest.mark.parametrize(
    ("theirs", "prev", "accepted", "hint"),
    [
        ((1, 1), (2, 1), True, None),
        ((1, 1), (0, 0), True, None),
        ((1, 1), (3, 1), False, (2, 1)),
        ((1, 1), (2, 2), False, (2, 1)),
        ((1, 2, 2, 2), (4, 1), False, (1, 1)),
        ((1, 1, 1, 4, 4), (5, 3), False, (3, 1)),
        ((), (4, 1), False, (0, 0)),
    ],
)
def test_5_3_a_follower_takes_entries_only_behind_a_place_that_both_logs_have(
    theirs: tuple[int, ...], prev: tuple[int, int], accepted: bool, hint: tuple[int, int] | None
) -> None:
    raw = node(log(*theirs), term=5)
    raw.step(2, Append(5, *prev, 0, (Entry(prev[0] + 1, 5, EntryKind.NORMAL, b"new"),)))
    replies = [message for _, message in sent(raw) if isinstance(message, AppendReply)]
    if accepted:
        assert replies == [AppendReply(5, prev[0] + 1)]
    else:
        assert hint is not None
        assert replies == [AppendReply(5, prev[0], True, *hint)]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        # Figure 7 of the paper: the leader of term 8, and logs that are behind it, ahead of it, and both.
        ((1, 1, 1, 4, 4, 5, 5, 6, 6, 6), (1, 1, 1, 4, 4, 5, 5, 6, 6)),
        ((1, 1, 1, 4, 4, 5, 5, 6, 6, 6), (1, 1, 1, 4)),
        ((1, 1, 1, 4, 4, 5, 5, 6, 6, 6), (1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6)),
        ((1, 1, 1, 4, 4, 5, 5, 6, 6, 6), (1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7)),
        ((1, 1, 1, 4, 4, 5, 5, 6, 6, 6), (1, 1, 1, 4, 4, 4, 4)),
        ((1, 1, 1, 4, 4, 5, 5, 6, 6, 6), (1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3)),
    ],
    ids=list("abcdef"),
)
def test_5_3_figure_7_the_leader_makes_every_log_equal_to_its_own(
    ours: tuple[int, ...], theirs: tuple[int, ...]
) -> None:
    leader, follower = node(log(*ours), term=7), node(log(*theirs), term=7, node_id=2)
    elect(leader)
    rejections = 0
    for _ in range(50):
        to_follower = [message for to, message in sent(leader) if to == 2]
        for message in to_follower:
            follower.step(1, message)
        to_leader = [message for _, message in sent(follower)]
        rejections += sum(isinstance(message, AppendReply) and message.rejected for message in to_leader)
        for message in to_leader:
            leader.step(2, message)
    terms = [leader.term_at(index) for index in range(1, leader.last_index + 1)]
    assert [follower.term_at(index) for index in range(1, follower.last_index + 1)] == terms
    assert follower.commit == leader.commit == len(ours) + 1
    assert rejections <= 3, "whole terms are skipped, not single entries"


def test_5_3_an_append_that_arrives_late_removes_nothing() -> None:
    raw = node()
    raw.step(2, Append(1, 0, 0, 0, tuple(log(1, 1, 1))))
    raw.step(2, Append(1, 0, 0, 0, tuple(log(1))))
    assert raw.last_index == 3
    assert sent(raw) == [(2, AppendReply(1, 3))]


def test_5_3_a_committed_entry_is_never_overwritten() -> None:
    raw = node(log(1, 1), commit=2)
    with pytest.raises(ConsensusViolated):
        raw._state.truncate(2)
    raw.step(2, Append(2, 0, 0, 0, tuple(log(2, 2, 2))))
    assert [raw.term_at(index) for index in (1, 2, 3)] == [1, 1, 2]


def test_5_3_a_follower_commits_no_further_than_the_append_reaches() -> None:
    raw = node(log(1, 1, 1), term=2)
    raw.step(2, Append(2, 1, 1, 9, ()))
    assert raw.commit == 1
    raw.step(2, Append(2, 1, 1, 9, (Entry(2, 2, EntryKind.NORMAL, b""),)))
    assert raw.commit == 2


# Section 5.4: safety


@pytest.mark.parametrize(
    ("own", "candidate", "granted"),
    [
        ((1,), (1, 1), True),
        ((1,), (2, 1), True),
        ((1, 1), (1, 1), False),
        ((1, 1), (1, 2), True),
        ((1, 2), (5, 1), False),
        ((), (0, 0), True),
    ],
)
def test_5_4_1_votes_go_only_to_logs_at_least_as_up_to_date(
    own: tuple[int, ...], candidate: tuple[int, int], granted: bool
) -> None:
    raw = node(log(*own))
    raw.step(2, PreVote(3, *candidate))
    term = 3 if granted else raw.term
    assert sent(raw) == [(2, PreVoteReply(term, granted))]
    raw.step(2, Vote(3, *candidate, False))
    assert sent(raw) == [(2, VoteReply(3, granted))]


@pytest.mark.parametrize(("match", "commit"), [(1, 0), (2, 0), (3, 3)])
def test_5_4_2_only_entries_of_the_current_term_are_committed_by_counting(match: int, commit: int) -> None:
    raw = node(log(1, 2))
    elect(raw)
    sent(raw)
    raw.step(2, AppendReply(3, match))
    assert raw.commit == commit


def test_5_4_2_a_leader_begins_with_an_empty_entry_of_its_term() -> None:
    raw = node(log(1, 2))
    elect(raw)
    assert raw.ready().entries == (Entry(3, 3, EntryKind.NORMAL, b""),)
    assert not raw.has_committed_in_term
    confirm(raw, 2, 3)
    assert raw.has_committed_in_term


def test_5_4_3_what_was_applied_once_is_in_every_later_leaders_log() -> None:
    cluster = Cluster([1, 2, 3])
    cluster.campaign(1)
    cluster.stabilize()
    cluster.isolate(3)
    cluster.propose(1, b"a")
    cluster.stabilize()
    cluster.heal()
    cluster.crash(1)
    cluster.tick(2, 10)
    cluster.tick(3, 10)
    cluster.stabilize()
    assert cluster.leader().id == 2, "3 lacks the entry"
    assert cluster.leader().term_at(2) == 1


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
    assert (3, Removed(1, 2)) in sent(raw)


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


def test_10_2_1_a_report_for_an_entry_that_was_replaced_vouches_for_nothing() -> None:
    """An entry is written, replaced, and comes back, while the first write is still reported."""
    raw = node(log(1, 2), term=5)
    two = Entry(3, 2, EntryKind.NORMAL, b"two")
    raw.step(2, Append(5, 2, 2, 0, (two,)))
    first = raw.ready()
    raw.step(3, Append(6, 2, 2, 0, (Entry(3, 3, EntryKind.NORMAL, b"three"),)))
    second = raw.ready()
    raw.step(2, Append(7, 2, 2, 0, (two,)))
    third = raw.ready()
    assert [ready.entries[0].term for ready in (first, second, third)] == [2, 3, 2]
    assert third.hard_state
    raw.persisted_hard_state(third.hard_state)
    raw.persisted(3, 2)
    assert raw.stable_index == 2, "a crash now could leave the entry of term 3 on disk"
    raw.persisted(3, 3)
    assert raw.stable_index == 2
    raw.persisted(3, 2)
    assert raw.stable_index == 3
    assert sent(raw)[-1] == (2, AppendReply(7, 3))
