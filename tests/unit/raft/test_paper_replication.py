"""Sections 5.3 and 5.4 of the Raft paper: replication and safety, with the parallel writes of dissertation 10.2.1."""

from __future__ import annotations

import pytest

from orderbook.raft.errors import ConsensusViolated
from orderbook.raft.messages import (
    Append,
    AppendReply,
    Heartbeat,
    PreVote,
    PreVoteReply,
    Vote,
    VoteReply,
)
from orderbook.raft.types import Entry, EntryKind, HardState, Role
from unit.raft.alone import FIVE, confirm, elect, log, node, sent
from unit.raft.cluster import Cluster

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
