"""The laws of a group, checked after every event: the Raft paper's figure 3, and what this design adds.

- at most one leader a term, and every leader's log holds all that earlier terms committed;
- an entry is known by (index, term): its content and the term before it are the same in every log (log matching);
- what is committed at an index never changes, on any member, ever; commit and applied never go back in one life;
- a leader commits, by an entry of its term, what a quorum has on disk, itself only after its own write;
- a member votes once a term, also across a restart, and comes back with all that it confirmed;
- configurations change one at a time, and by way of a joint one where majorities might not overlap;
- state hash, answer and what a reader sees are functions of the index; log time never goes back;
- a request that ended as Unavailable is in no log, neither before nor after;
- the machine's version is raised only when every member's program knows it;
- what a book holds is well formed, and its quantities add up, after every entry.

When a lost majority was recovered a new life begins: of the old one only what the survivor's log holds still counts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgpack

from orderbook.book import OrderBook
from orderbook.groups.errors import GroupError, Unavailable
from orderbook.groups.proposals import Done
from orderbook.groups.replica import Phase, Replica
from orderbook.groups.replicated import Applied
from orderbook.groups.sessions import digest_of
from orderbook.raft import Configuration, Entry, EntryKind, RawNode, Ready, Role, decode_configuration
from orderbook.raft.messages import AppendReply, Vote, VoteReply
from orderbook.wire.envelope import EntryType, Header
from simulation.machine import Observe
from unit.book.invariants import Ledger, check_structure


class LawBroken(AssertionError):
    """The code under test did what it must never do."""


class Content(NamedTuple):
    previous_term: int | None
    kind: int
    digest: bytes


class Life:
    """What is remembered of one member between the start and the end of its process."""

    def __init__(self, name: str, replica: Replica) -> None:
        self.name = name
        self.replica = replica
        self.term = replica.node.term
        self.commit = replica.node.commit
        self.applied = replica.state.index
        self.led = 0  # newest term in which it was seen to lead


class Promise(NamedTuple):
    """What a member told others in a term."""

    term: int = 0
    vote: int = 0
    index: int = 0


class Laws:
    def __init__(self, note: Callable[[str, str], None], version_of: Callable[[str], int]) -> None:
        """``version_of``: of the machine's rules, what the program of a member of this name knows."""
        self.note = note
        self.incarnation = b""
        self.kept = 0  # after a recovery: up to here the log is what was committed in the life before,
        self._recovered_at = 0  # and up to here what the survivor had, and the configuration that it began with
        self._version_of = version_of
        self._ledger: Ledger | None = Ledger()
        self.leaders: dict[int, int] = {}  # term -> member
        self.committed: dict[int, int] = {}  # index -> term of the entry
        self._committed_in: dict[int, int] = {}  # index -> term in which that was decided, at or after the entry's own
        self.last_committed = 0
        self.answers: dict[int, Applied] = {}  # index -> as first applied
        self.observations: dict[int, Any] = {}  # index -> what a reader sees there
        self.configurations: list[tuple[int, Configuration]] = []  # committed ones, in order
        self._contents: dict[tuple[int, int], Content] = {}
        self._hashes: dict[int, int] = {}
        self._newest: Applied | None = None
        self._promises: dict[int, Promise] = {}
        self._ran: set[tuple[int, int]] = set()  # (member, request) of entries that were applied
        self._denied: set[tuple[int, int]] = set()  # of requests that ended as Unavailable

    # --- a life -------------------------------------------------------------------------------------------------------

    def begin(self, name: str, replica: Replica) -> Life:
        """A member has just been made from what its disk holds. Watches it from now on."""
        node = replica.node
        log = node._state.log
        if self.incarnation not in (b"", replica.identity.incarnation):
            self._begin_anew(name, node)
        self.incarnation = replica.identity.incarnation
        self._entries_seen(log.entries(log.first_index, log.last_index), log.term_at(log.first_index - 1))
        promise = self._promises.get(node.id, Promise())
        if node.term < promise.term:
            raise LawBroken(f"{name} was in term {promise.term} and comes back in {node.term}")
        if node.term == promise.term:
            if promise.vote not in (0, node.vote):
                raise LawBroken(f"{name} voted for {promise.vote} in {node.term} and comes back with {node.vote}")
            if node.last_index < promise.index:
                raise LawBroken(f"{name} confirmed {promise.index} and comes back with {node.last_index}")
        life = Life(name, replica)
        make_ready = node.ready

        def ready() -> Ready:
            work = make_ready()
            self._handed_over(life, work)
            return work

        node.ready = ready  # type: ignore[method-assign]
        replica.on_applied.append(lambda applied: self._applied(life, applied))
        submit = replica.submit

        def submit_watched(kind: EntryType, header: Header, body: bytes, done: Done, timeout: float = 0.0) -> None:
            request = replica._proposals._next

            def answered(applied: Applied | None, error: GroupError | None) -> None:
                if isinstance(error, Unavailable):
                    self._said_unavailable(life, request, error)
                done(applied, error)

            submit(kind, header, body, answered, timeout)

        replica.submit = submit_watched  # type: ignore[method-assign]
        return life

    def _begin_anew(self, name: str, survivor: RawNode) -> None:
        """A lost majority was recovered. What the survivor does not have, or has otherwise, is lost."""
        first, last = survivor.first_index, survivor.last_index - 2  # the recovery itself appended two
        kept = min(last, self.last_committed)
        for index in range(first, kept + 1):
            if survivor.term_at(index) != self.committed[index]:
                kept = index - 1
                break
        self.note(name, f"is the survivor: {kept} of {self.last_committed} committed entries are kept")
        self.kept, self.last_committed, self._recovered_at = kept, kept, last + 1
        for by_index in (self.committed, self._committed_in, self.answers, self.observations, self._hashes):
            for index in [index for index in by_index if index > kept]:
                del by_index[index]  # type: ignore[attr-defined]
        self._contents = {place: content for place, content in self._contents.items() if place[0] <= kept}
        self._promises.clear()
        self._ran.clear()
        self._denied.clear()
        self.leaders.clear()
        self.configurations.clear()
        self._newest = None
        self._ledger = None

    def _said_unavailable(self, life: Life, request: int, error: Unavailable) -> None:
        place = (life.replica.node.id, request)
        self._denied.add(place)
        if place in self._ran:
            raise LawBroken(f"{life.name} says {error!r} for request {request}, which was run")

    def _handed_over(self, life: Life, work: Ready) -> None:
        if work.entries:
            first = work.entries[0].index
            self._entries_seen(work.entries, life.replica.node.term_at(first - 1))
        for _, message in work.messages:
            if isinstance(message, AppendReply) and not message.rejected:
                self._promised(life, Promise(message.term, 0, message.index))
            elif isinstance(message, Vote):
                self._promised(life, Promise(message.term, life.replica.node.id))
        for to, message in work.messages:
            if isinstance(message, VoteReply) and message.granted:
                self._promised(life, Promise(message.term, to))

    def _entries_seen(self, entries: tuple[Entry, ...], before: int | None) -> None:
        for entry in entries:
            content = Content(before, entry.kind, digest_of(entry.payload))
            known = self._contents.setdefault((entry.index, entry.term), content)
            if known[1:] != content[1:] or (None not in (before, known.previous_term) and known != content):
                raise LawBroken(f"two entries at {entry.index} of term {entry.term}: {known} and {content}")
            if known.previous_term is None:
                self._contents[entry.index, entry.term] = content
            before = entry.term

    def _promised(self, life: Life, new: Promise) -> None:
        member = life.replica.node.id
        old = self._promises.get(member, Promise())
        if new.term > old.term:
            self._promises[member] = new
        elif new.term == old.term:
            if new.vote and old.vote not in (0, new.vote):
                raise LawBroken(f"{life.name} votes for {old.vote} and {new.vote} in term {new.term}")
            self._promises[member] = Promise(new.term, new.vote or old.vote, max(new.index, old.index))

    # --- each event ---------------------------------------------------------------------------------------------------

    def check(self, life: Life) -> None:
        """After an event of this member."""
        replica = life.replica
        node = replica.node
        if replica.phase in (Phase.QUARANTINED, Phase.HALTED):
            raise LawBroken(f"{life.name} is {replica.phase}: states differ")
        if node.term < life.term:
            raise LawBroken(f"the term of {life.name} goes back from {life.term} to {node.term}")
        life.term = node.term
        if node.role is Role.LEADER and life.led != node.term:
            life.led = node.term
            self._leads(life)
        if node.commit != life.commit:
            self._commit_moved(life)
        if replica.state.index != life.applied:
            self._applied_moved(life)

    def _leads(self, life: Life) -> None:
        node = life.replica.node
        self.note(life.name, f"leads in term {node.term}, last {node.last_index}, committed {node.commit}")
        leader = self.leaders.setdefault(node.term, node.id)
        if leader != node.id:
            raise LawBroken(f"two leaders in term {node.term}: {leader} and {node.id}")
        for index in range(node.first_index, self.last_committed + 1):
            if self._committed_in[index] < node.term and node.term_at(index) != self.committed[index]:
                raise LawBroken(
                    f"{life.name} leads in {node.term} with term {node.term_at(index)} at {index}; "
                    f"{self.committed[index]} was committed there"
                )

    def _commit_moved(self, life: Life) -> None:
        node = life.replica.node
        if node.commit < life.commit:
            raise LawBroken(f"the commit index of {life.name} goes back from {life.commit} to {node.commit}")
        for index in range(max(life.commit + 1, node.first_index), node.commit + 1):
            term = node.term_at(index)
            assert term is not None
            known = self.committed.setdefault(index, term)
            if known != term:
                raise LawBroken(f"{life.name} commits {index} of term {term}; it was committed with {known}")
            if index > self.last_committed:
                self._first_committed(index, term, life)
        if node.role is Role.LEADER:
            self._counted(life)
        life.commit = node.commit

    def _counted(self, life: Life) -> None:
        """A leader moved its commit index."""
        node = life.replica.node
        if node.term_at(node.commit) != node.term:
            raise LawBroken(f"{life.name} commits {node.commit} of an earlier term by counting")
        configuration = node.configuration
        for voters in (configuration.voters, configuration.outgoing):
            have = sum(self._has(node, member.id) for member in voters)
            if voters and have <= len(voters) // 2:
                raise LawBroken(f"{life.name} commits {node.commit}, which {have} of {len(voters)} have on disk")

    def _has(self, leader: RawNode, member: int) -> bool:
        """Whether what the leader commits is durable at a member, by its own word."""
        if member == leader.id:
            return leader.stable_index >= leader.commit
        promise = self._promises.get(member, Promise())
        return promise.term > leader.term or (promise.term == leader.term and promise.index >= leader.commit)

    def _first_committed(self, index: int, term: int, life: Life) -> None:
        if index != self.last_committed + 1:
            raise LawBroken(f"{life.name} commits {index} when {self.last_committed} was the last")
        self.last_committed = index
        self._committed_in[index] = life.replica.node.term
        log = life.replica.node._state.log
        (entry,) = log.entries(index, index)
        if entry.kind == EntryKind.CONFIGURATION:
            self._configuration_committed(index, decode_configuration(entry.payload))

    def _configuration_committed(self, index: int, new: Configuration) -> None:
        self.note("group", f"configuration at {index}: {_in_words(new)}")
        if self.configurations and index > self._recovered_at:
            _, old = self.configurations[-1]
            if old.outgoing and (new.outgoing or new.voters != old.voters):
                raise LawBroken(f"the joint configuration is left for another one at {index}")
            if not old.outgoing and new.outgoing and new.outgoing != old.voters:
                raise LawBroken(f"the joint configuration at {index} isn't joint with the one before")
            if not old.outgoing and not new.outgoing and len(set(old.voters) ^ set(new.voters)) > 1:
                raise LawBroken(f"more than one voter changes at {index} without a joint configuration")
        self.configurations.append((index, new))

    def _applied_moved(self, life: Life) -> None:
        state = life.replica.state
        if state.index < life.applied:
            raise LawBroken(f"applied of {life.name} goes back from {life.applied} to {state.index}")
        if state.index > self.last_committed:
            raise LawBroken(f"{life.name} applied {state.index}; only {self.last_committed} is committed")
        life.applied = state.index
        self._same_hash(life, state.index, state.state_hash)

    def _applied(self, life: Life, applied: Applied) -> None:
        """One entry was applied by this member, right now."""
        state, index = life.replica.state, applied.log_index
        place = (applied.origin, applied.request)
        self._ran.add(place)
        if place in self._denied:
            raise LawBroken(f"{place} is run at {index}; its client was told that it surely wasn't")
        first = self.answers.setdefault(index, applied)
        if first is applied:
            self.observations[index] = state.machine.query(Observe())
            if self._newest is not None and self._newest.now_ms > applied.now_ms:
                raise LawBroken(f"log time goes back from {self._newest.now_ms} to {applied.now_ms} at {index}")
            self._newest = applied
            self._look_at_the_machine(life, applied)
        elif _answer_of(first) != _answer_of(applied):
            raise LawBroken(f"{life.name} answers {applied} at {index}; another answered {first}")
        self._same_hash(life, index, state.state_hash)

    def _look_at_the_machine(self, life: Life, applied: Applied) -> None:
        """Once an entry: the members' states are equal anyway."""
        if applied.type == EntryType.SET_MACHINE_VERSION:
            self._version_is_known(life.replica.state.machine_version, applied.log_index)
        machine = getattr(life.replica.state.machine, "inner", None)
        if isinstance(machine, OrderBook):
            check_structure(machine)
            if self._ledger is not None:
                self._ledger.follow([tuple(event) for event in applied.events])
                self._ledger.check(machine)

    def _version_is_known(self, version: int, index: int) -> None:
        _, configuration = max(row for row in [(0, Configuration(())), *self.configurations] if row[0] < index)
        for member in (*configuration.voters, *configuration.learners):
            if self._version_of(member.name) < version:
                raise LawBroken(f"version {version} is in force at {index}; the program of {member.name} is older")

    def _same_hash(self, life: Life, index: int, own: int) -> None:
        known = self._hashes.setdefault(index, own)
        if known != own:
            raise LawBroken(f"{life.name} has state hash {own:x} at {index}; another had {known:x}")

    # --- asked by the checks at the end -------------------------------------------------------------------------------

    def observed(self, index: int) -> Any:
        """What a reader sees of the state after ``index``. Raft's own entries change nothing that is seen."""
        while index not in self.observations:
            if index == 0:
                return None
            index -= 1
        return self.observations[index]


def _answer_of(applied: Applied) -> bytes:
    """What must be equal on all members; events of a snapshot are lists where they were tuples."""
    packed: bytes = msgpack.packb([int(applied.outcome), *applied[1:4], *applied[5:]])
    return packed


def _in_words(configuration: Configuration) -> str:
    parts = [f"{part} {','.join(member.name for member in members)}" for part, members in _parts(configuration)]
    return "; ".join(parts)


def _parts(configuration: Configuration) -> list[tuple[str, Any]]:
    return [(part, members) for part, members in configuration._asdict().items() if members]
