"""Deliberate bugs: each a small patch to the code under test, which the simulator must find.

They show that the checks can fail. Each is a mistake that an implementation of this kind could make.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from faults.disk import FaultyFile
from orderbook.groups import membership as group_membership
from orderbook.groups.errors import Unavailable
from orderbook.groups.proposals import Proposals
from orderbook.groups.reads import Reads
from orderbook.groups.replicated import Applied, ReplicatedState
from orderbook.groups.sessions import Sessions
from orderbook.raft import Configuration, Entry, membership
from orderbook.raft.durability import Durability
from orderbook.raft.election import Election
from orderbook.raft.leader import Leader
from orderbook.storage import Identity, Recovered, Store, wal
from orderbook.storage.segment import Header

Patch = pytest.MonkeyPatch


def count_the_leaders_own_unwritten_entry(patch: Patch) -> None:
    count = Leader._count_commit

    def count_commit(self: Leader) -> bool:
        self._progress[self._state.id].match = self._state.log.last_index
        return count(self)

    patch.setattr(Leader, "_count_commit", count_commit)


def vote_before_the_vote_is_written(patch: Patch) -> None:
    patch.setattr(Durability, "knows_vote", lambda self, term, vote: True)


def confirm_entries_before_they_are_written(patch: Patch) -> None:
    take = Durability.take_entries

    def take_entries(self: Durability) -> tuple[Entry, ...]:
        entries = take(self)
        self.stable = max(self.stable, self.handed)
        return entries

    patch.setattr(Durability, "take_entries", take_entries)


def lose_hard_state_at_a_restart(patch: Patch) -> None:
    take = Store.take_recovered

    def take_recovered(self: Store) -> Recovered:
        recovered = take(self)
        last = recovered.entries[-1][1] if recovered.entries else recovered.base[1]
        return recovered._replace(hard_state=(last, 0, 0))

    patch.setattr(Store, "take_recovered", take_recovered)


def forget_the_vote_when_a_segment_begins(patch: Patch) -> None:
    def header(identity: Identity, hard_state: tuple[int, int, int], *rest: Any) -> Header:
        return Header(identity, (hard_state[0], 0, hard_state[2]), *rest)

    patch.setattr(wal, "Header", header)


def come_back_under_the_old_id_without_a_disk(patch: Patch) -> None:
    def identity(name: str, member_id: int, *rest: Any) -> Identity:
        return Identity(name, int.from_bytes(name.encode(), "big"), *rest)

    patch.setattr(group_membership, "Identity", identity)


def let_log_time_go_back(patch: Patch) -> None:
    apply = ReplicatedState.apply

    def apply_at_its_stamp(self: ReplicatedState, *entry: Any) -> Applied:
        self.now_ms = 0
        return apply(self, *entry)

    patch.setattr(ReplicatedState, "apply", apply_at_its_stamp)


def vote_for_a_shorter_log(patch: Patch) -> None:
    patch.setattr(Election, "_may_support", lambda self, request: True)


def commit_an_old_term_by_counting(patch: Patch) -> None:
    def count_commit(self: Leader) -> bool:
        index = self._state.in_force.electorate.agreed(lambda voter: self._progress[voter].match)
        return self._state.log.commit_to(index)

    patch.setattr(Leader, "_count_commit", count_commit)


def answer_a_strong_read_without_a_quorum(patch: Patch) -> None:
    patch.setattr(Leader, "_confirm_reads", lambda self: self.reads.confirm(self.reads.round))


def answer_a_strong_read_from_what_is_here(patch: Patch) -> None:
    def start_round(self: Reads) -> None:
        reads, self._gathering = self._gathering, []
        for read in reads:
            read.done(None)

    patch.setattr(Reads, "start_round", start_round)


def change_members_without_a_joint_state(patch: Patch) -> None:
    plan = membership.plan

    def directly(*arguments: Any) -> Configuration:
        joint = plan(*arguments)
        return membership.leave(joint) if joint.outgoing else joint

    patch.setattr(membership, "plan", directly)


def skip_the_sync(patch: Patch) -> None:
    patch.setattr(FaultyFile, "write_durable", lambda self, offset, data: self.write(offset, data))


def run_a_repeat_twice(patch: Patch) -> None:
    judge = Sessions.judge

    def run_again(self: Sessions, session: Any, first: int, *rest: Any) -> Any:
        return None if 1 <= first <= session.last else judge(self, session, first, *rest)

    patch.setattr(Sessions, "judge", run_again)


def forget_a_session_in_a_snapshot(patch: Patch) -> None:
    dump = Sessions.dump

    def dump_but_one(self: Sessions) -> Any:
        for number, row in enumerate(dump(self)):
            if number != 1:
                yield row

    patch.setattr(Sessions, "dump", dump_but_one)


def forget_results_in_a_snapshot(patch: Patch) -> None:
    patch.setattr(Sessions, "dump_kept", lambda self: iter(()))


def say_unavailable_for_what_may_be_in_a_log(patch: Patch) -> None:
    def leader_changed(self: Proposals, leader: int) -> None:
        for pending in list(self._pending.values()):
            if pending.leader not in (0, leader):
                self._finish(pending, None, Unavailable("no_leader"))

    patch.setattr(Proposals, "leader_changed", leader_changed)


BUGS: dict[Callable[[Patch], None], int] = {
    count_the_leaders_own_unwritten_entry: 50,
    vote_before_the_vote_is_written: 200,
    confirm_entries_before_they_are_written: 50,
    lose_hard_state_at_a_restart: 50,
    forget_the_vote_when_a_segment_begins: 50,
    come_back_under_the_old_id_without_a_disk: 50,
    let_log_time_go_back: 50,
    vote_for_a_shorter_log: 50,
    commit_an_old_term_by_counting: 50,
    answer_a_strong_read_without_a_quorum: 200,
    answer_a_strong_read_from_what_is_here: 50,
    change_members_without_a_joint_state: 50,
    skip_the_sync: 50,
    run_a_repeat_twice: 50,
    forget_a_session_in_a_snapshot: 50,
    forget_results_in_a_snapshot: 50,
    say_unavailable_for_what_may_be_in_a_log: 50,
}
"""Each bug, and within how many seeds it is found at the latest."""
