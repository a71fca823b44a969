"""Deliberate bugs: each a small patch to the code under test, which the simulator must find.

They show that the checks can fail. Each is a mistake that an implementation of this kind could make.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgpack
import pytest

from faults.disk import FaultyFile
from orderbook.book import OrderBook
from orderbook.client.feeds import Feed
from orderbook.groups import membership as group_membership
from orderbook.groups import replicated
from orderbook.groups.errors import Unavailable
from orderbook.groups.proposals import Proposals
from orderbook.groups.reads import Reads
from orderbook.groups.replicated import Applied, ReplicatedState
from orderbook.groups.reports import Reports
from orderbook.groups.sessions import Sessions
from orderbook.groups.statemachine import ApplyContext
from orderbook.raft import Configuration, Entry, membership
from orderbook.raft.durability import Durability
from orderbook.raft.election import Election
from orderbook.raft.leader import Leader
from orderbook.raft.quorum import Electorate
from orderbook.storage import Identity, Recovered, Store, records, snapshot_file, wal
from orderbook.storage.segment import Header
from orderbook.streams.feed import FeedRequest, Feeds, Subscription
from orderbook.wire.envelope import EntryType
from simulation.machine import REGISTERS, RegisterMachine
from simulation.schedule import Fault, draw_schedule
from simulation.world import World, draw_shape

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


def skip_the_sync_of_whole_files(patch: Patch) -> None:
    patch.setattr(FaultyFile, "sync", lambda self: None)


def accept_a_torn_record(patch: Patch) -> None:
    def crc_of_nothing(data: Any, crc: int = 0) -> int:
        return 0

    patch.setattr(records, "crc32", crc_of_nothing)


def accept_a_damaged_snapshot(patch: Patch) -> None:
    def crc_of_nothing(data: Any, crc: int = 0) -> int:
        return 0

    patch.setattr(snapshot_file, "crc32", crc_of_nothing)


def let_a_learner_vote(patch: Patch) -> None:
    in_force = membership.in_force

    def with_learners(index: int, configuration: Configuration) -> Any:
        found = in_force(index, configuration)
        everyone = found.electorate.incoming + tuple(member.id for member in configuration.learners)
        electorate = Electorate(everyone, found.electorate.outgoing)
        return found._replace(electorate=electorate, voters=tuple(dict.fromkeys(everyone + electorate.outgoing)))

    patch.setattr(membership, "in_force", with_learners)


def lose_a_queue_place_in_a_snapshot(patch: Patch) -> None:
    dump = OrderBook.snapshot

    def dump_shuffled(self: OrderBook) -> Iterator[bytes]:
        for chunk in dump(self):
            letter, *rows = msgpack.unpackb(chunk)
            if letter == "o":
                places = [row[8] for row in rows]
                rows.reverse()
                rows = [[*row[:8], place, *row[9:]] for row, place in zip(rows, places, strict=True)]
            yield msgpack.packb([letter, *rows])

    patch.setattr(OrderBook, "snapshot", dump_shuffled)


def resume_one_event_late(patch: Patch) -> None:
    subscribe = Feeds.subscribe

    def subscribe_late(self: Feeds, connection: Any, request: FeedRequest) -> Subscription:
        subscription = subscribe(self, connection, request)
        index, ordinal = subscription.position
        if request.start is not None and index > 1:
            subscription.position = (index, ordinal + 1)
        return subscription

    patch.setattr(Feeds, "subscribe", subscribe_late)


def resume_one_entry_early(patch: Patch) -> None:
    subscribe = Feeds.subscribe

    def subscribe_early(self: Feeds, connection: Any, request: FeedRequest) -> Subscription:
        subscription = subscribe(self, connection, request)
        index, _ = subscription.position
        if request.start is not None and index > self.ring.first:
            subscription.position = (index - 1, 0)
        return subscription

    patch.setattr(Feeds, "subscribe", subscribe_early)
    patch.setattr(Feed, "_is_new", lambda self, sequence: True)


def raise_the_machines_version_before_all_know_it(patch: Patch) -> None:
    patch.setattr(Reports, "supported_version", lambda self, members, own, *rest: own)


def apply_by_the_rules_that_this_member_knows(patch: Patch) -> None:
    apply = RegisterMachine.apply

    def apply_newest(self: RegisterMachine, context: ApplyContext, body: bytes, count: int) -> Any:
        agreed, context.machine_version = context.machine_version, self.version
        try:
            return apply(self, context, body, count)
        finally:
            context.machine_version = agreed

    patch.setattr(RegisterMachine, "apply", apply_newest)


def keep_sessions_over_a_recovery(patch: Patch) -> None:
    def reborn(self: ReplicatedState, envelope: Any, context: Any, before: Any) -> Applied:
        return self._only_time(envelope, context, before)

    patch.setitem(replicated._HANDLERS, EntryType.REBORN, reborn)


class Hunt(NamedTuple):
    """In how many seeds a bug is found at the latest; in worlds of which shape, and with which faults more often."""

    seeds: int
    shape: dict[str, Any] = {}  # noqa: RUF012 - never changed
    often: tuple[str, ...] = ()

    def worlds(self) -> Iterator[World]:
        for seed in range(self.seeds):
            shape = draw_shape(seed)._replace(**self.shape)
            faults = draw_schedule(seed, shape.seconds)
            for kind in self.often:
                faults += [Fault(at, kind, f"{seed} {kind} {at}") for at in range(2, int(shape.seconds), 2)]
            yield World(seed, faults, shape)


USUAL = Hunt(50)
VERSIONS = Hunt(50, {"kind": REGISTERS, "versions": True})
RECOVERY = Hunt(60, {"recovers": True}, ("cut_a_pair", "lose_a_majority"))

BUGS: dict[Callable[[Patch], None], Hunt] = {
    count_the_leaders_own_unwritten_entry: USUAL,
    vote_before_the_vote_is_written: Hunt(60, {}, ("lose_power_in_an_election",)),
    confirm_entries_before_they_are_written: USUAL,
    lose_hard_state_at_a_restart: USUAL,
    forget_the_vote_when_a_segment_begins: USUAL,
    come_back_under_the_old_id_without_a_disk: USUAL,
    let_log_time_go_back: USUAL,
    vote_for_a_shorter_log: USUAL,
    commit_an_old_term_by_counting: USUAL,
    answer_a_strong_read_without_a_quorum: Hunt(60, {}, ("pause_the_leader",)),
    answer_a_strong_read_from_what_is_here: USUAL,
    change_members_without_a_joint_state: USUAL,
    skip_the_sync: USUAL,
    run_a_repeat_twice: USUAL,
    forget_a_session_in_a_snapshot: USUAL,
    forget_results_in_a_snapshot: USUAL,
    say_unavailable_for_what_may_be_in_a_log: USUAL,
    skip_the_sync_of_whole_files: USUAL,
    accept_a_torn_record: USUAL,
    accept_a_damaged_snapshot: Hunt(60, {}, ("damage_a_snapshot",)),
    let_a_learner_vote: USUAL,
    lose_a_queue_place_in_a_snapshot: USUAL,
    resume_one_event_late: USUAL,
    resume_one_entry_early: USUAL,
    raise_the_machines_version_before_all_know_it: VERSIONS,
    apply_by_the_rules_that_this_member_knows: VERSIONS,
    keep_sessions_over_a_recovery: RECOVERY,
}


def row_of(bug: Callable[[Patch], None]) -> str:
    """Its row in docs/reliability.md."""
    hunt = BUGS[bug]
    worlds = []
    if hunt.shape.get("versions"):
        worlds.append("programs of two versions")
    if hunt.shape.get("recovers"):
        worlds.append("a majority that is lost")
    if hunt.often:
        worlds.append("more of " + ", ".join(kind.replace("_", " ") for kind in hunt.often))
    return f"| {bug.__name__.replace('_', ' ')} | {hunt.seeds} | {'; '.join(worlds)} |"
