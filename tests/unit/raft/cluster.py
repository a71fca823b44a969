"""A group of RawNodes in one process: lagging, crashing disks, a lossy network, and laws that are checked.

Nothing happens by itself. A test decides which node works off its Ready, which writes reach its disk, which message
arrives; ``Laws`` looks at every step. The same class serves the transcripts, the tests named after paper and
dissertation, and the random walks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from orderbook.raft.messages import Append, AppendReply, InstallSnapshot, Message, Vote, VoteReply, from_wire, to_wire
from orderbook.raft.node import RaftConfig, RawNode
from orderbook.raft.types import (
    Configuration,
    Entry,
    HardState,
    Member,
    Outgoing,
    Ready,
    Role,
    SnapshotMeta,
)


def members(ids: Iterable[int]) -> tuple[Member, ...]:
    return tuple(Member(f"n{member}", member) for member in sorted(ids))


def configuration(voters: Iterable[int], learners: Iterable[int] = ()) -> Configuration:
    return Configuration(voters=members(voters), learners=members(learners))


@dataclass
class Write:
    """One write on its way to the disk."""

    hard_state: HardState | None = None
    entries: tuple[Entry, ...] = ()
    snapshot: SnapshotMeta | None = None


@dataclass
class Disk:
    """What survives a crash, and the writes that may not have reached it yet."""

    hard_state: HardState = field(default_factory=HardState)
    snapshot: SnapshotMeta | None = None
    entries: list[Entry] = field(default_factory=list)
    queue: deque[Write] = field(default_factory=deque)

    def finish(self) -> Write:
        """The oldest write becomes durable."""
        write = self.queue.popleft()
        if write.hard_state:
            self.hard_state = write.hard_state
        if write.entries:
            first = write.entries[0].index
            self.entries = [entry for entry in self.entries if entry.index < first] + list(write.entries)
        if write.snapshot:
            self.snapshot = write.snapshot
            self.entries = []
        return write

    def holds(self, entry: Entry) -> bool:
        return entry in self.entries or (self.snapshot is not None and entry.index <= self.snapshot.index)

    @property
    def last_index(self) -> int:
        floor = self.snapshot.index if self.snapshot else 0
        return max(self.entries[-1].index if self.entries else 0, floor)


@dataclass
class Peer:
    config: RaftConfig
    first: Configuration
    disk: Disk
    node: RawNode
    reads: dict[int, int] = field(default_factory=dict)  # context -> index that it must see at least
    answered: dict[int, int] = field(default_factory=dict)
    failed: list[int] = field(default_factory=list)


@dataclass
class Letter:
    sender: int
    to: int
    message: Message


class Laws:
    """The properties of figure 3 of the paper, and a few that the dissertation adds, over the whole history."""

    def __init__(self) -> None:
        self.leaders: dict[int, int] = {}
        self.votes: dict[tuple[int, int], int] = {}
        self.applied: dict[int, Entry] = {}
        self.commits: dict[int, int] = {}
        self.terms: dict[int, int] = {}

    @property
    def last_applied(self) -> int:
        return max(self.applied, default=0)

    def sent(self, peer: Peer, letter: Letter) -> None:
        """Promises are on disk before they leave."""
        message, node, disk = letter.message, letter.sender, peer.disk
        if isinstance(message, VoteReply) and message.granted:
            self._voted(node, message.term, letter.to, disk)
        elif isinstance(message, Vote):
            self._voted(node, message.term, node, disk)
        elif isinstance(message, AppendReply) and not message.rejected:
            assert disk.hard_state.term >= message.term, f"{node} answers in a term that it would forget"
            assert disk.last_index >= message.index, f"{node} confirms {message.index}, on disk is {disk.last_index}"
            # An answer made in an earlier term may leave now; this term's leader may have replaced what it was about.
            for entry in self._log(peer, disk) if message.term == peer.node.term else ():
                assert entry.index > message.index or disk.holds(entry), f"{node} confirms {entry}, not on disk"
        elif isinstance(message, Append):
            assert self.leaders.get(message.term) == node

    def _voted(self, node: int, term: int, candidate: int, disk: Disk) -> None:
        assert disk.hard_state[:2] == (term, candidate), f"{node} votes for {candidate} in {term}, not on disk"
        assert self.votes.setdefault((node, term), candidate) == candidate, f"{node} votes twice in {term}"

    def apply(self, node: int, entries: Sequence[Entry], disk: Disk) -> None:
        """State machine safety: at one index, one entry, everywhere and for ever."""
        for entry in entries:
            assert self.applied.setdefault(entry.index, entry) == entry, f"{node} applies another entry: {entry}"
            assert disk.holds(entry), f"{node} applies {entry} before its own disk has it"

    def look(self, peer: Peer) -> None:
        """After every step of a node: election safety, leader completeness, monotonic term and commit index."""
        node = peer.node
        if node.role is Role.LEADER:
            known = self.leaders.get(node.term)
            assert known in (None, node.id), f"{known} and {node.id} both lead in term {node.term}"
            if known is None:
                self.leaders[node.term] = node.id
                for entry in self.applied.values():
                    if entry.index >= node.first_index:
                        assert node.term_at(entry.index) == entry.term, f"the new leader {node.id} lacks {entry}"
        assert node.term >= self.terms.get(node.id, 0), f"{node.id} goes back to term {node.term}"
        assert node.commit >= self.commits.get(node.id, 0), f"{node.id} takes {node.commit} back"
        self.terms[node.id] = node.term
        self.commits[node.id] = node.commit
        state = node._state
        assert state.durability.stable <= max(state.durability.handed, state.log.offset) <= node.last_index
        assert node.applied_index <= node.commit <= node.last_index

    def logs_match(self, peers: Iterable[Peer]) -> None:
        """Log matching: where two logs have the same term at an index, they are equal up to it."""
        logs = [{entry.index: entry for entry in self._log(peer, peer.disk)} for peer in peers]
        for position, one in enumerate(logs):
            for other in logs[:position]:
                shared = sorted(one.keys() & other.keys())
                agree = [index for index in shared if one[index].term == other[index].term]
                last = agree[-1] if agree else 0
                assert all(one[index] == other[index] for index in shared if index <= last), "logs differ in the past"

    @staticmethod
    def _log(peer: Peer, disk: Disk) -> tuple[Entry, ...]:
        return peer.node._state.log.entries(peer.node.first_index, peer.node.last_index)

    def crashed(self, peer: Peer) -> None:
        """What wasn't on disk is gone; commit and term begin again from there."""
        self.commits[peer.node.id] = 0
        self.terms[peer.node.id] = peer.disk.hard_state.term


class Cluster:
    """Nodes, their disks, and the messages between them. ``trace`` sees a line for whatever happens."""

    def __init__(
        self,
        voters: Sequence[int],
        learners: Sequence[int] = (),
        draw: Callable[[int, int, int], int] | None = None,
        trace: Callable[[str], None] | None = None,
        **settings: Any,
    ) -> None:
        self.settings = settings
        self.first = configuration(voters, learners)
        self.peers: dict[int, Peer] = {}
        self.down: dict[int, Peer] = {}
        self.network: list[Letter] = []
        self.cut: set[tuple[int, int]] = set()
        self.laws = Laws()
        self.trace = trace or (lambda line: None)
        self._draw = draw or (lambda node, low, high: low)
        self._roles: dict[int, tuple[Role, int]] = {}
        for node in (*voters, *learners):
            self.add(node)

    # Nodes

    def add(self, node: int) -> RawNode:
        """A member with an empty disk; it knows the group's first configuration."""
        config = RaftConfig(id=node, draw=lambda low, high: self._draw(node, low, high), **self.settings)
        return self._start(node, config, Disk(), self.first)

    def _start(self, node: int, config: RaftConfig, disk: Disk, first: Configuration) -> RawNode:
        snapshot = disk.snapshot
        raw = RawNode(
            config,
            hard_state=disk.hard_state,
            configuration=snapshot.configuration if snapshot else first,
            configuration_index=snapshot.configuration_index if snapshot else 0,
            snapshot=snapshot,
            entries=list(disk.entries),
            applied=snapshot.index if snapshot else 0,
        )
        self.peers[node] = Peer(config, first, disk, raw)
        self._roles[node] = (raw.role, raw.term)
        self.look(node)
        return raw

    def crash(self, node: int, keep: int = 0) -> None:
        """Stop without warning: only the first ``keep`` of the pending writes reach the disk."""
        peer = self.peers.pop(node)
        for _ in range(min(keep, len(peer.disk.queue))):
            peer.disk.finish()
        peer.disk.queue.clear()
        self.down[node] = peer
        self.laws.crashed(peer)

    def restart(self, node: int) -> RawNode:
        peer = self.down.pop(node)
        return self._start(node, peer.config, peer.disk, peer.first)

    def __getitem__(self, node: int) -> RawNode:
        return self.peers[node].node

    def leader(self) -> RawNode:
        """The leader of the latest term."""
        leading = [peer.node for peer in self.peers.values() if peer.node.role is Role.LEADER]
        return max(leading, key=lambda node: node.term)

    # Inputs

    def campaign(self, node: int) -> None:
        self[node].campaign()
        self.look(node)

    def tick(self, node: int, ticks: int = 1) -> None:
        for _ in range(ticks):
            self[node].tick()
            self.look(node)

    def propose(self, node: int, *payloads: bytes) -> tuple[int, int]:
        place = self[node].propose(payloads)
        self.look(node)
        return place

    def read(self, node: int, context: int) -> None:
        self.peers[node].reads[context] = self.laws.last_applied
        self[node].read_index(context)
        self.look(node)

    def membership(self, node: int, voters: Iterable[int], learners: Iterable[int] = (), expected: int = -1) -> int:
        raw = self[node]
        expected = raw.configuration_index if expected < 0 else expected
        index = raw.propose_membership(members(voters), members(learners), expected)
        self.look(node)
        return index

    def transfer(self, node: int, target: int) -> None:
        self[node].transfer_leadership(target)
        self.look(node)

    def step(self, to: int, sender: int, message: Message) -> None:
        self[to].step(sender, message)
        self.look(to)

    def snapshot(self, node: int, index: int, keep_from: int | None = None) -> SnapshotMeta:
        """Take a durable snapshot at ``index`` and forget the log up to it, or before ``keep_from``."""
        peer = self.peers[node]
        meta = peer.node.snapshot_meta(index)
        compact_to = index if keep_from is None else keep_from - 1
        peer.disk.snapshot = meta
        peer.disk.entries = [entry for entry in peer.disk.entries if entry.index > compact_to]
        peer.node.compact(compact_to, meta)
        self.look(node)
        return meta

    # Work

    def work(self, node: int) -> Ready | None:
        """Take one Ready: queue its writes, post its messages, apply what is committed. None if there is none."""
        peer = self.peers[node]
        if not peer.node.has_ready():
            return None
        ready = peer.node.ready()
        assert any(ready), "has_ready() promised something"
        self._queue(node, ready)
        for to, message in ready.messages:
            self._post(node, to, message)
        for send in ready.snapshots_to_send:
            self.trace(f"{node} owes {send.to} a snapshot of at least {send.min_index}")
            self._post_snapshot(peer, send.to)
        if ready.committed:
            self.laws.apply(node, ready.committed, peer.disk)
            self.trace(f"{node} applies {show(ready.committed)}")
            peer.node.applied(ready.committed[-1].index)
        for context, index in ready.read_states:
            self.trace(f"{node} may answer read {context} at {index}")
            wanted = peer.reads.pop(context)
            assert index >= wanted, f"read {context} at {index} misses {wanted}, applied before it began"
            peer.answered[context] = index
        for context in ready.reads_failed:
            self.trace(f"{node} couldn't confirm read {context}")
            del peer.reads[context]
            peer.failed.append(context)
        self.look(node)
        return ready

    def _queue(self, node: int, ready: Ready) -> None:
        queue = self.peers[node].disk.queue
        if ready.hard_state:
            self.trace(f"{node} writes term {ready.hard_state.term} vote {ready.hard_state.vote}")
            queue.append(Write(hard_state=ready.hard_state))
        if ready.entries:
            self.trace(f"{node} writes {show(ready.entries)}")
            queue.append(Write(entries=ready.entries))
        if ready.snapshot:
            self.trace(f"{node} installs the snapshot {ready.snapshot.index}/{ready.snapshot.term}")
            queue.append(Write(snapshot=ready.snapshot))

    def persist(self, node: int, writes: int = 1, together: bool = False) -> int:
        """Let up to so many writes finish. ``together``: only the last of each kind is reported."""
        peer = self.peers[node]
        done = [peer.disk.finish() for _ in range(min(writes, len(peer.disk.queue)))]
        entries = [write.entries for write in done if write.entries]
        hard_states = [write.hard_state for write in done if write.hard_state]
        if together:
            entries, hard_states = entries[-1:], hard_states[-1:]
        for hard_state in hard_states:
            self.trace(f"{node} has term {hard_state.term} vote {hard_state.vote} on disk")
            peer.node.persisted_hard_state(hard_state)
        for written in entries:
            self.trace(f"{node} has {written[-1].index}/{written[-1].term} on disk")
            peer.node.persisted(written[-1].index, written[-1].term)
        for write in done:
            if write.snapshot:
                self.trace(f"{node} has the snapshot {write.snapshot.index}/{write.snapshot.term} on disk")
                peer.node.snapshot_persisted(write.snapshot)
        self.look(node)
        return len(done)

    # Network

    def _post(self, sender: int, to: int, message: Message) -> None:
        letter = Letter(sender, to, message)
        self.laws.sent(self.peers[sender], letter)
        lost = to not in self.peers or (sender, to) in self.cut
        self.trace(f"{sender} -> {to} {show_message(message)}" + (" (lost)" if lost else ""))
        if not lost:
            assert from_wire(to_wire(message)) == message
            self.network.append(letter)

    def _post_snapshot(self, peer: Peer, to: int) -> None:
        meta = peer.disk.snapshot
        assert meta is not None
        if to in self.peers and (peer.node.id, to) not in self.cut:
            self.network.append(Letter(peer.node.id, to, InstallSnapshot(peer.node.term, meta)))
        else:
            peer.node.report_snapshot(to, meta.index, False)

    def deliver(self, position: int = 0) -> None:
        """Let the message at ``position`` arrive."""
        letter = self.network.pop(position)
        if letter.to not in self.peers or (letter.sender, letter.to) in self.cut:
            self._lose(letter)
            return
        self[letter.to].step(letter.sender, letter.message)
        self.look(letter.to)
        if isinstance(letter.message, InstallSnapshot) and letter.sender in self.peers:
            self[letter.sender].report_snapshot(letter.to, letter.message.meta.index, True)

    def drop(self, position: int = 0) -> None:
        self._lose(self.network.pop(position))

    def _lose(self, letter: Letter) -> None:
        if isinstance(letter.message, InstallSnapshot) and letter.sender in self.peers:
            self[letter.sender].report_snapshot(letter.to, letter.message.meta.index, False)

    def isolate(self, node: int) -> None:
        """Cut ``node`` off from everyone, both ways."""
        everyone = {*self.peers, *self.down}
        self.cut |= {pair for other in everyone for pair in ((node, other), (other, node))}

    def heal(self) -> None:
        self.cut.clear()

    def stabilize(self, nodes: Iterable[int] | None = None) -> None:
        """Work, write and deliver until nothing is left to do (of ``nodes``, and between them)."""
        chosen = sorted(self.peers) if nodes is None else sorted(nodes)
        for _ in range(1000):
            busy = False
            for node in chosen:
                if node in self.peers:
                    busy |= self.work(node) is not None
            for node in chosen:
                if node in self.peers:
                    busy |= self.persist(node, len(self.peers[node].disk.queue)) > 0
            for letter in [letter for letter in self.network if letter.to in chosen and letter.sender in chosen]:
                busy = True
                self.deliver(self.network.index(letter))
            if not busy:
                return
        raise AssertionError("the group doesn't come to rest")

    def look(self, node: int) -> None:
        """Notice a change of role, and check the laws."""
        peer = self.peers[node]
        role = (peer.node.role, peer.node.term)
        if role != self._roles[node]:
            self._roles[node] = role
            self.trace(f"{node} is {role[0].name} in term {role[1]}")
        self.laws.look(peer)


def show(entries: Sequence[Entry]) -> str:
    return " ".join(_show_entry(entry) for entry in entries)


def _show_entry(entry: Entry) -> str:
    from orderbook.raft.membership import decode

    if entry.kind:
        return f"{entry.index}/{entry.term}({show_configuration(decode(entry.payload))})"
    text = entry.payload.decode(errors="replace")
    text = text if len(text) <= 16 else f"{len(text)} bytes"
    return f"{entry.index}/{entry.term}({text})" if text else f"{entry.index}/{entry.term}"


def show_configuration(value: Configuration) -> str:
    parts = [f"{name} {','.join(str(member.id) for member in part)}" for name, part in value._asdict().items() if part]
    return "; ".join(parts)


def show_message(message: Message) -> str:
    fields = message._asdict()
    name = type(message).__name__
    if isinstance(message, Append):
        head = f"term={message.term} prev={message.prev_index}/{message.prev_term} commit={message.commit}"
        return f"{name} {head} [{show(message.entries)}]"
    if isinstance(message, AppendReply):
        hint = f" rejected hint={message.hint_index}/{message.hint_term}" if message.rejected else ""
        return f"{name} term={message.term} index={message.index}{hint}"
    return f"{name} " + " ".join(f"{key}={int(value)}" for key, value in fields.items())


__all__ = ["Cluster", "Letter", "Outgoing", "configuration", "members", "show", "show_configuration", "show_message"]
