"""The face of a node: what it accepts, what it refuses, and how it comes back from a disk."""

from __future__ import annotations

from typing import Any

import pytest

from orderbook.raft.errors import NotLeader, Refused
from orderbook.raft.membership import encode
from orderbook.raft.messages import Append, AppendReply, InstallSnapshot, Removed, Vote
from orderbook.raft.node import RaftConfig, RawNode
from orderbook.raft.types import Entry, EntryKind, HardState, Role, SnapshotMeta
from unit.raft.alone import finish, log, sent
from unit.raft.cluster import Cluster, configuration

THREE = configuration([1, 2, 3])


def restart(
    entries: list[Entry], snapshot: SnapshotMeta | None = None, term: int = 9, commit: int = 0, applied: int = 0
) -> RawNode:
    return RawNode(
        RaftConfig(id=1, draw=lambda low, high: low),
        hard_state=HardState(term, 0, commit),
        configuration=snapshot.configuration if snapshot else THREE,
        configuration_index=snapshot.configuration_index if snapshot else 0,
        snapshot=snapshot,
        entries=entries,
        applied=applied,
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": 0},
        {"id": 2**63},
        {"heartbeat_ticks": 0},
        {"heartbeat_ticks": 10},
        {"max_append_bytes": 0},
        {"max_inflight_bytes": 0},
        {"max_inflight_appends": 0},
        {"max_uncommitted_bytes": 0},
        {"max_committed_bytes": 0},
        {"promotion_lag": -1},
    ],
)
def test_settings_that_cannot_work_are_refused(wrong: dict[str, Any]) -> None:
    settings: dict[str, Any] = {"id": 1, "draw": lambda low, high: low}
    with pytest.raises(ValueError, match=next(iter(wrong))):
        RaftConfig(**(settings | wrong))


@pytest.mark.parametrize("payloads", [[], [b""], [b"a", b""]])
def test_an_empty_proposal_is_an_error_of_the_caller(payloads: list[bytes]) -> None:
    cluster = Cluster([1])
    cluster.campaign(1)
    cluster.stabilize()
    with pytest.raises(ValueError, match="empty"):
        cluster.propose(1, *payloads)


def test_who_does_not_lead_says_who_does() -> None:
    cluster = Cluster([1, 2, 3])
    with pytest.raises(NotLeader, match="unknown"):
        cluster.propose(2, b"a")
    cluster.campaign(1)
    cluster.stabilize()
    for request in (
        lambda: cluster.propose(2, b"a"),
        lambda: cluster.membership(2, [1, 2]),
        lambda: cluster.transfer(2, 3),
    ):
        with pytest.raises(NotLeader) as refusal:
            request()
        assert refusal.value.leader == 1
        assert isinstance(refusal.value, Refused)


def test_ready_is_handed_over_once() -> None:
    cluster = Cluster([1, 2, 3])
    cluster.campaign(1)
    raw = cluster[1]
    assert raw.has_ready()
    raw.ready()
    assert not raw.has_ready()
    assert not any(raw.ready())


def test_committed_entries_come_in_pieces_of_bounded_size() -> None:
    cluster = Cluster([1], max_committed_bytes=100)
    cluster.campaign(1)
    cluster.stabilize()
    cluster.propose(1, *[b"x" * 34] * 5)
    cluster.work(1)
    cluster.persist(1)
    pieces = []
    while ready := cluster.work(1):
        pieces.append([entry.index for entry in ready.committed])
    assert pieces == [[2, 3], [4, 5], [6]]


def test_nothing_can_be_applied_that_was_not_handed_over() -> None:
    cluster = Cluster([1])
    cluster.campaign(1)
    cluster.stabilize()
    with pytest.raises(ValueError, match="applied 2"):
        cluster[1].applied(2)


# Coming back from disk


def test_a_restart_takes_the_last_configuration_of_the_log() -> None:
    change = configuration([1, 2, 3], [4])
    appended = Entry(3, 1, EntryKind.CONFIGURATION, encode(change))
    raw = restart([*log(1, 1), appended, Entry(4, 2, EntryKind.NORMAL, b"")])
    assert (raw.configuration, raw.configuration_index) == (change, 3)
    raw.step(2, Append(9, 2, 1, 0, (Entry(3, 9, EntryKind.NORMAL, b""),)))
    assert (raw.configuration, raw.configuration_index) == (THREE, 0)


def test_what_is_on_disk_counts_as_durable() -> None:
    raw = restart(log(1, 1, 1), commit=2)
    assert (raw.stable_index, raw.commit, raw.applied_index) == (3, 2, 0)
    ready = finish(raw)
    assert ready is not None
    assert [entry.index for entry in ready.committed] == [1, 2]
    assert ready.entries == ()
    assert ready.hard_state is None


def test_a_commit_index_beyond_the_log_counts_as_far_as_the_log_goes() -> None:
    assert restart(log(1, 1), commit=7).commit == 2


META = SnapshotMeta(3, 1, THREE, 0)


@pytest.mark.parametrize(
    ("entries", "first", "last"),
    [
        ([], 4, 3),
        (log(1, 1, 1, 2, 2)[3:], 4, 5),
        (log(1, 1, 1, 2, 2)[1:], 3, 5),
        (log(1, 1, 1), 2, 3),
        (log(1, 1), 4, 3),
        (log(1, 1, 2, 2, 2), 4, 3),
    ],
    ids=["empty", "after it", "with a tail", "ends at it", "ends before it", "contradicts it"],
)
def test_the_log_is_what_the_snapshot_leaves_of_it(entries: list[Entry], first: int, last: int) -> None:
    raw = restart(entries, META, applied=3)
    assert (raw.first_index, raw.last_index, raw.commit, raw.applied_index) == (first, last, 3, 3)
    assert raw.term_at(3) == 1
    assert raw.snapshot_meta(3) == META


@pytest.mark.parametrize(
    ("entries", "snapshot", "term", "applied", "message"),
    [
        (log(1, 1), None, 0, 0, "hard state"),
        (log(1, 1), None, 1, 3, "applied"),
        (log(1, 1)[1:], None, 1, 0, "can't follow"),
        (log(1, 1, 1, 1, 1)[4:], META, 1, 3, "can't follow"),
    ],
    ids=["term lost", "applied beyond the log", "log without its beginning", "gap behind the snapshot"],
)
def test_a_disk_that_cannot_be_is_refused(
    entries: list[Entry], snapshot: SnapshotMeta | None, term: int, applied: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        restart(entries, snapshot, term, applied=applied)


# Snapshots and compaction


def test_a_snapshot_carries_the_configuration_of_its_place() -> None:
    cluster = Cluster([1, 2, 3])
    cluster.campaign(1)
    cluster.stabilize()
    index = cluster.membership(1, [1, 2, 3], [4])
    cluster.stabilize()
    cluster.propose(1, b"a")
    cluster.stabilize()
    before, after = cluster[1].snapshot_meta(index - 1), cluster[1].snapshot_meta(index + 1)
    assert (before.configuration, before.configuration_index) == (THREE, 0)
    assert (after.configuration, after.configuration_index) == (configuration([1, 2, 3], [4]), index)


def test_only_what_is_applied_and_covered_can_be_forgotten() -> None:
    cluster = Cluster([1])
    cluster.campaign(1)
    cluster.stabilize()
    cluster.propose(1, b"a", b"b")
    cluster.stabilize()
    raw = cluster[1]
    with pytest.raises(ValueError, match="only 3 is applied"):
        raw.snapshot_meta(4)
    meta = raw.snapshot_meta(2)
    with pytest.raises(ValueError, match="can't forget"):
        raw.compact(3, meta)
    raw.compact(2, meta)
    assert (raw.first_index, raw.term_at(2), raw.term_at(1)) == (3, 1, None)
    with pytest.raises(ValueError, match="no snapshot at 1"):
        raw.snapshot_meta(1)


def test_entries_wait_for_the_snapshot_that_they_stand_on() -> None:
    raw = restart(log(1, 1), term=1, commit=1)
    meta = SnapshotMeta(5, 1, THREE, 0)
    raw.step(2, InstallSnapshot(2, meta))
    raw.step(2, Append(2, 5, 1, 6, (Entry(6, 2, EntryKind.NORMAL, b"a"),)))
    ready = raw.ready()
    assert (ready.snapshot, ready.entries, ready.committed) == (meta, (), ())
    assert ready.hard_state == HardState(2, 0, 1), "on disk is still the old log"
    raw.persisted_hard_state(ready.hard_state)
    assert sent(raw) == [(2, AppendReply(2, 1))], "of the old log, the committed part"
    raw.campaign()
    assert raw.role is Role.FOLLOWER, "its log isn't in place"

    raw.snapshot_persisted(meta)
    assert (raw.applied_index, raw.stable_index) == (5, 5)
    ready = raw.ready()
    assert [entry.index for entry in ready.entries] == [6]
    raw.persisted(6, 2)
    ready = raw.ready()
    assert [entry.index for entry in ready.committed] == [6]


def test_a_snapshot_of_a_place_that_the_log_has_keeps_the_entries_behind_it() -> None:
    raw = restart(log(1, 1, 1, 1), term=1)
    raw.step(2, InstallSnapshot(1, SnapshotMeta(3, 1, THREE, 0)))
    assert (raw.commit, raw.last_index) == (3, 4)
    ready = raw.ready()
    assert ready.snapshot is None
    assert [entry.index for entry in ready.committed] == [1, 2, 3]
    assert ready.messages == ((2, AppendReply(1, 3)),)


def test_a_snapshot_that_the_log_contradicts_replaces_it() -> None:
    raw = restart(log(1, 1, 1, 1), term=2)
    raw.step(2, InstallSnapshot(2, SnapshotMeta(3, 2, THREE, 0)))
    assert (raw.commit, raw.last_index, raw.last_term) == (3, 3, 2)
    assert raw.ready().snapshot == SnapshotMeta(3, 2, THREE, 0)


def test_an_old_snapshot_is_no_news() -> None:
    raw = restart(log(1, 1, 1, 1, 1)[3:], META, term=1, applied=3)
    raw.step(2, InstallSnapshot(1, SnapshotMeta(2, 1, THREE, 0)))
    assert (raw.first_index, raw.last_index) == (4, 5)
    ready = raw.ready()
    assert (ready.snapshot, ready.messages) == (None, ((2, AppendReply(1, 3)),))


def test_an_installed_snapshot_leaves_nothing_to_do_without_a_leader() -> None:
    raw = restart([], term=1)
    raw.step(2, InstallSnapshot(1, META))
    raw.step(3, Vote(2, 0, 0, True))
    sent(raw)
    raw.snapshot_persisted(META)
    assert not raw.has_ready()


def test_compaction_forgets_configurations_too() -> None:
    cluster = Cluster([1], [2])
    cluster.campaign(1)
    cluster.stabilize()
    for learners in ([], [2], []):
        cluster.membership(1, [1], learners)
        cluster.stabilize()
    cluster.snapshot(1, cluster[1].applied_index)
    assert cluster[1]._state.configurations.before == cluster[1]._state.in_force


def test_a_newer_snapshot_takes_the_place_of_one_under_way() -> None:
    raw = restart([], term=1)
    old, new = SnapshotMeta(5, 1, THREE, 0), SnapshotMeta(8, 1, THREE, 0)
    raw.step(2, InstallSnapshot(1, old))
    assert raw.ready().snapshot == old
    raw.step(2, InstallSnapshot(1, new))
    assert raw.ready().snapshot == new
    raw.snapshot_persisted(old)
    assert raw.applied_index == 0
    raw.snapshot_persisted(new)
    assert raw.applied_index == 8


# Being removed


def test_a_removed_member_believes_only_a_later_configuration_and_a_leader_again() -> None:
    raw = restart(log(1, 1), term=1)
    raw.step(3, Removed(1, 0, 0))
    assert not raw.removed
    raw.step(3, Removed(1, 2, 1))
    assert raw.removed
    raw.campaign()
    assert raw.role is Role.FOLLOWER
    raw.step(2, Append(1, 2, 1, 0, ()))
    assert not raw.removed
    assert len(sent(raw)) == 1


def test_a_newcomer_that_was_added_and_removed_again_knows_it() -> None:
    waiting, added = configuration([2, 3]), configuration([2, 3], [1])
    for start in ("log", "snapshot"):
        raw = RawNode(
            RaftConfig(id=1, draw=lambda low, high: low),
            hard_state=HardState(),
            configuration=waiting,
            configuration_index=0,
            snapshot=None,
            entries=(),
            applied=0,
        )
        if start == "log":
            raw.step(2, Append(1, 0, 0, 0, (Entry(1, 1, EntryKind.CONFIGURATION, encode(added)),)))
        else:
            raw.step(2, InstallSnapshot(1, SnapshotMeta(1, 1, added, 1)))
        assert (raw.role, raw.removed) == (Role.LEARNER, False)
        change = Entry(2, 1, EntryKind.CONFIGURATION, encode(waiting))
        raw.step(2, Append(1, 1, 1, 1, (change,)))
        assert not raw.removed, "the change isn't committed"
        raw.step(2, Append(1, 2, 1, 2, ()))
        assert raw.removed


def test_a_newcomer_that_waits_to_be_added_is_not_removed() -> None:
    cluster = Cluster([1])
    raw = cluster.add(2)
    assert (raw.role, raw.removed, raw.is_voter) == (Role.LEARNER, False, False)


def test_a_member_that_holds_the_configuration_without_it_learns_that_it_is_committed() -> None:
    """Nobody sends it any more of the log, so this message is all that it will ever hear."""
    raw = restart([*log(1), Entry(2, 1, EntryKind.CONFIGURATION, encode(configuration([2, 3])))], term=1)
    assert not raw.removed
    raw.step(3, Removed(1, 2, 1))
    assert raw.removed


def test_a_removed_member_holds_on_to_a_later_configuration_only_while_it_may_be_committed_yet() -> None:
    """It led, appended a change, and lost its place; the group then went on without it, from before that change."""
    change = Entry(3, 2, EntryKind.CONFIGURATION, encode(configuration([1, 2])))
    raw = restart([*log(1, 1), change], term=2, commit=2)
    raw.step(3, Removed(3, 2, 2))
    assert not raw.removed
    raw.step(3, Removed(3, 2, 3))
    assert raw.removed


def test_a_follower_is_in_step_once_an_append_found_its_place() -> None:
    follower = restart(log(1, 1, 2), term=3)
    assert not follower.in_step
    follower.step(2, Append(3, 5, 3, 5, ()))
    assert not follower.in_step, "its log ends before that"
    follower.step(2, Append(3, 2, 1, 2, ()))
    assert follower.in_step
    follower.step(2, Append(3, 9, 3, 9, ()))
    assert not follower.in_step, "what lies between was lost, or the leader has cut it"
    follower.step(2, InstallSnapshot(3, SnapshotMeta(8, 3, THREE, 0)))
    assert follower.in_step
    follower.step(3, Append(4, 20, 4, 20, ()))
    assert not follower.in_step, "another leader"


def test_a_leader_is_in_step_once_an_entry_of_its_term_is_committed() -> None:
    cluster = Cluster([1, 2, 3])
    cluster.campaign(1)
    cluster.stabilize()
    assert all(peer.node.in_step for peer in cluster.peers.values())
