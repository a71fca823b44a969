"""One member of a group: it drives raft, storage, the channel to its peers and the replicated state.

All of it runs on the loop, in turns. A turn takes what arrived (frames, requests, ticks, reports of the disk), and ends
in one ``_pump``, which hands raft's work on: entries and hard state to the log, messages to the channel, committed
entries to the state. Requests that arrive in the same turn become one append. Whoever waits is answered by callbacks;
``group.Group`` puts futures around them.

The duties that ``raft.node`` lays on its caller are fulfilled here: reports come when the log says that a write is
durable; messages leave at once, since raft itself holds back those that depend on a write.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import StrEnum
from typing import Any

from orderbook.groups import raft_frames
from orderbook.groups.commit_news import CommitNews
from orderbook.groups.errors import MalformedPeer, Unavailable
from orderbook.groups.leading import Leading
from orderbook.groups.options import ReplicaOptions
from orderbook.groups.proposals import Done, Pending, Proposals
from orderbook.groups.reads import ReadDone, Reads
from orderbook.groups.replicated import Applied, ReplicatedState
from orderbook.groups.snapshots import Snapshots
from orderbook.groups.statistics import Statistics
from orderbook.groups.ticker import Ticker
from orderbook.network.channel import Channel
from orderbook.raft import (
    Entry,
    EntryKind,
    Member,
    Outgoing,
    RawNode,
    Ready,
    Role,
)
from orderbook.runtime import Runtime
from orderbook.storage import Identity, Store
from orderbook.wire.envelope import EntryType, Header, MalformedEnvelope, UnknownFormat, check_sealed, seal
from orderbook.wire.frames import Frame, FrameKind, pack_frame


class Phase(StrEnum):
    MEMBER = "member"
    RESTORING = "restoring"  # a snapshot is being read into the state
    QUARANTINED = "quarantined"  # its state differs from the majority's
    HALTED = "halted"  # no majority agrees on the state
    STOPPED = "stopped"


class Replica:
    def __init__(
        self,
        runtime: Runtime,
        store: Store,
        channel: Channel,
        state: ReplicatedState,
        options: ReplicaOptions,
        identity: Identity,
        node: RawNode,
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self.runtime = runtime
        self.options = options
        self.identity = identity
        self.node = node
        self.state = state
        self.phase = Phase.MEMBER
        self.statistics = Statistics(runtime.monotonic())
        self.on_applied: list[Callable[[Applied], None]] = []
        self.on_change: list[Callable[[], None]] = []  # phase, leader or role changed
        self.on_turn: Callable[[], None] = lambda: None  # a turn ended: anything may have moved on
        self._store = store
        self._channel = channel
        self._on_failure = on_failure
        self._proposals = Proposals(options.max_pending_bytes)
        self._proposals.start_at(runtime.random.getrandbits(31) << 32)
        self._reads = Reads(self.node.read_index)
        self._leading = Leading(runtime, options, node, store, lambda: self.state)
        self._news = CommitNews(runtime, node, options.commit_hold, self.wake)
        self.snapshots = Snapshots(runtime, store, self)
        self._names: dict[int, str] = {}
        self._local: list[Pending] = []  # accepted in this turn, not yet handed to a leader
        self._committed: deque[Entry] = deque()
        self._pump_due = False
        self._leader = 0
        self._was_leading = False
        self._caught_up = False  # it was online since it started, or since a snapshot replaced its state
        self._ticker = Ticker(runtime, options.tick, self._tick)

    # --- life ---------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to tick. The state was restored from the newest snapshot, or is empty."""
        self._learn_names()
        self._ticker.start()
        self.wake()

    def stop(self) -> None:
        """Take part no longer. Whoever waits is told; the log stays as it is."""
        if self.phase is Phase.STOPPED:
            return
        self.phase = Phase.STOPPED
        self._ticker.stop()
        self._news.stop()
        self._proposals.stop()
        self._reads.stop("stopped")
        self.snapshots.stop()

    async def settled(self) -> None:
        """After ``stop``: returns when nothing that this member began touches the directory any more."""
        await self.snapshots.settled()

    def give_leadership_away(self) -> bool:
        """Begin to transfer the leadership to the voter that lags least; False if there is nobody to take it."""
        began = self._leading.give_away()
        self.wake()
        return began

    @property
    def id(self) -> int:
        return self.node.id

    @property
    def leader(self) -> int:
        """The member id of the leader that this member knows, 0 for none."""
        return self.node.leader

    @property
    def leads(self) -> bool:
        return self.node.role is Role.LEADER

    @property
    def _serves(self) -> bool:
        return self.phase is Phase.MEMBER

    @property
    def is_online(self) -> bool:
        """It knows a leader, follows its log, and has applied all that it knows to be committed."""
        return self._follows and self.state.index >= self.node.commit > 0

    @property
    def _follows(self) -> bool:
        return self._serves and self.leader != 0 and self.node.in_step and not self.snapshots.is_awaited

    def name_of(self, member: int) -> str | None:
        return self._names.get(member)

    def take_snapshot(self, done: Callable[[BaseException | None], None]) -> None:
        """Write a snapshot of the state as it is now, or of when the one under way is done; then ``done(error)``."""
        self.snapshots.take(done)

    @property
    def proposals(self) -> Proposals:
        """To read its statistics."""
        return self._proposals

    # --- requests -----------------------------------------------------------------------------------------------------

    def submit(self, entry_type: EntryType, header: Header, body: bytes, done: Done, timeout: float = 0.0) -> None:
        """Have an entry agreed on and applied; ``done`` gets the answer of this member's own apply, or an error.

        ``header.origin`` and ``header.request`` are filled in here. Raises ValueError for what no entry holds.
        """
        self.statistics.proposals += 1
        request = self._proposals.next_request()
        sealed = seal(entry_type, header._replace(origin=self.node.id, request=request), body)
        deadline = self.runtime.monotonic() + (timeout or self.options.proposal_timeout)
        pending = Pending(request, sealed, deadline, done)
        problem = self._cannot_accept()
        try:
            if problem is not None:
                raise Unavailable(problem)
            self._proposals.add(pending)
        except Unavailable as error:
            self._proposals.unavailable += 1
            done(None, error)
            return
        self._local.append(pending)
        self.wake()

    def read(self, done: ReadDone, timeout: float = 0.0) -> None:
        """Call ``done(None)`` when this member's state holds all that was answered anywhere before this call."""
        if self.phase is not Phase.MEMBER:
            done(Unavailable(self.phase.value))
            return
        self.statistics.reads += 1
        self._reads.add(self.runtime.monotonic() + (timeout or self.options.proposal_timeout), done)
        self.wake()

    def _cannot_accept(self) -> str | None:
        if self.phase is not Phase.MEMBER:
            return self.phase.value
        if not self.node.leader:
            return "no_leader"
        if self.leads and self._leading.disk == "full":
            return "disk_full"
        self._caught_up = self._caught_up or self.is_online
        if not self._caught_up or not (self.leads or self._follows):
            return "not_online"  # its own apply answers: late, or never
        return None

    # --- frames -------------------------------------------------------------------------------------------------------

    def on_frame(self, peer: str, frame: Frame) -> None:
        """A frame of this incarnation for this member. Malformed fields are dropped and counted."""
        if self.phase in (Phase.QUARANTINED, Phase.STOPPED, Phase.HALTED):
            return
        self._names[frame.sender] = peer
        try:
            _FRAMES[frame.kind](self, frame)
        except (ValueError, TypeError) as error:
            self.statistics.frames_dropped += 1
            raise MalformedPeer(f"{FrameKind(frame.kind).name} of {peer}: {error}") from error
        self.wake()

    def _on_raft(self, frame: Frame) -> None:
        received = raft_frames.unpack(frame)
        now = self.runtime.monotonic()
        self._leading.reports.heard(
            frame.sender, received.clock_ms, now, received.version, self.state.now_ms, received.check
        )
        for message in received.messages:
            self.node.step(frame.sender, message)

    def _on_propose(self, frame: Frame) -> None:
        (sealed,) = frame.fields[:1]
        try:
            requests = [check_sealed(one).header.request for one in sealed]
        except (MalformedEnvelope, UnknownFormat) as error:
            raise ValueError(str(error)) from error
        placed = self._leading.propose(sealed)
        if isinstance(placed, str):
            answers: list[list[Any]] = [[request, placed] for request in requests]
        else:
            answers = [[request, *place] for request, place in zip(requests, placed, strict=True)]
        self.send(frame.sender, FrameKind.PROPOSED, answers)

    def _on_proposed(self, frame: Frame) -> None:
        for request, *place in frame.fields[0]:
            if len(place) == 2:
                self._proposals.placed(request, int(place[0]), int(place[1]))
            else:
                reason = place[0] if place[0] in Unavailable.REASONS else "no_leader"
                self._proposals.refused(request, Unavailable(reason))

    def _on_chunk(self, frame: Frame) -> None:
        self.snapshots.on_chunk(frame.sender, *frame.fields[:3])

    def _on_progress(self, frame: Frame) -> None:
        self.snapshots.on_progress(frame.sender, *frame.fields[:3])

    def peer_lost(self, peer: str) -> None:
        """The connection to a peer broke."""
        self.peer_changed(peer)
        if self.leader and self._names.get(self.leader) == peer:
            self._proposals.leader_lost(self.leader)

    def peer_changed(self, peer: str) -> None:
        """A connection to a peer broke or began: what was sent may be lost, and the peer may have started again."""
        for member, name in self._names.items():
            if name == peer:
                self.node.report_unreachable(member)

    def tell_if_removed(self, peer: str, member: Member) -> None:
        """A member of this life announced itself: as the leader, tell one that a committed change removed."""
        node, configuration = self.node, self.node.configuration
        members = (*configuration.voters, *configuration.outgoing, *configuration.learners)
        settled = not configuration.outgoing and node.commit >= node.configuration_index
        if self.leads and settled and member.id not in [known.id for known in members]:
            self._names[member.id] = peer
            self._send_messages((Outgoing(member.id, node.removal()),))

    def send(self, to: int, kind: FrameKind, *fields: Any) -> bool:
        """Hand a frame to the channel; False if it surely does not leave."""
        name = self._names.get(to)
        if name is None:
            return False
        return self._channel.send(name, pack_frame(kind, self.identity.incarnation, self.node.id, to, *fields))

    # --- the turn -----------------------------------------------------------------------------------------------------

    def wake(self) -> None:
        if not self._pump_due:
            self._pump_due = True
            self.runtime.call_soon(self._pump)

    def _pump(self) -> None:
        self._pump_due = False
        if self.phase in (Phase.STOPPED, Phase.QUARANTINED, Phase.HALTED):
            return
        try:
            self._hand_over_requests()
            self._reads.start_round()
            while self.node.has_ready():
                self._handle(self.node.ready())
                self._leading.turn()
            self._apply_some()
            self._news.turn()
            self._notice_changes()
            self.on_turn()
        except Exception as error:
            self.fail(error)
            raise

    def fail(self, error: BaseException) -> None:
        """An unexpected error: this member stops before anything else is answered, and its process ends."""
        self.stop()
        self._on_failure(error)

    def _handle(self, ready: Ready) -> None:
        if ready.messages:
            self._send_messages(ready.messages)
            self._channel.flush()
        if ready.hard_state is not None or ready.entries:
            self._write(ready)
        if ready.committed:
            self._committed.extend(ready.committed)
        for read in ready.read_states:
            self._reads.confirmed(read.context, read.index, self.state.index)
        for context in ready.reads_failed:
            self._reads.failed(context)
        for wanted in ready.snapshots_to_send:
            self.snapshots.send_to(wanted.to, wanted.min_index)
        if ready.snapshot is not None:
            self.snapshots.install(ready.snapshot)

    def _write(self, ready: Ready) -> None:
        hard_state, entries, node = ready.hard_state, ready.entries, self.node
        began = self.runtime.monotonic()

        def durable() -> None:
            self.statistics.append_seconds.observe(self.runtime.monotonic() - began)
            if hard_state is not None:
                node.persisted_hard_state(hard_state)
            if entries:
                node.persisted(entries[-1].index, entries[-1].term)
            self.wake()

        self._store.write(hard_state, entries, durable)

    def _send_messages(self, messages: tuple[Outgoing, ...]) -> None:
        clock = self.runtime.wall_ms()
        check = self.state.newest_check()
        version = self.state.machine.version
        for to, packed in raft_frames.by_member(messages).items():
            self.send(to, FrameKind.RAFT, clock, version, check, packed)

    # --- proposals ----------------------------------------------------------------------------------------------------

    def _hand_over_requests(self) -> None:
        """To the leader, what came in this turn."""
        if not self._local:
            return
        waiting, self._local = self._local, []
        leader = self.node.leader
        if leader == self.node.id:
            self._proposals.append(waiting, leader, self._leading.propose)
        else:
            self._proposals.forward(waiting, leader, lambda sealed: self.send(leader, FrameKind.PROPOSE, sealed))

    # --- apply --------------------------------------------------------------------------------------------------------

    def _apply_some(self) -> None:
        """Apply committed entries for one slice; the rest in the next turn, after what arrived meanwhile."""
        committed = self._committed
        if not committed or not self._serves:
            return
        began = self.runtime.monotonic()
        until = began + self.options.apply_slice
        while committed and self._serves:
            self._apply(committed.popleft())
            now = self.runtime.monotonic()
            self.statistics.apply_seconds.observe(now - began)
            began = now
            if committed and now > until:
                self.wake()
                break
        self.node.applied(self.state.index)
        self._reads.applied(self.state.index)
        self.snapshots.consider()

    def _apply(self, entry: Entry) -> None:
        if entry.kind == EntryKind.CONFIGURATION or not entry.payload:
            self._news.applied(0)
            self.state.skip(entry.index)
            self._learn_names()
            self._proposals.committed(entry.index, entry.term)
            return
        applied = self.state.apply(entry.index, entry.term, entry.payload)
        self._news.applied(applied.origin)
        self._proposals.committed(entry.index, entry.term)
        for listener in self.on_applied:
            listener(applied)
        if applied.origin == self.node.id:
            self._proposals.applied(applied)
        self.snapshots.grew(len(entry.payload))
        if applied.type >= EntryType.TICK or applied.origin == 0:
            self._after_own(applied)

    def _after_own(self, applied: Applied) -> None:
        self._leading.applied(applied)
        if self.node.has_ready():
            self.wake()
        self.statistics.checks += applied.type == EntryType.CHECK
        if applied.type == EntryType.VERDICT and self.state.verdict is not None:
            index, hash = self.state.verdict
            own = self.state.checks.get(index)
            self.statistics.verdicts_equal += own is not None and own == hash
            self.statistics.verdicts_differing += own is not None and own != hash
            if hash is None:
                self._withdraw(Phase.HALTED)
            elif own is not None and own != hash:
                self._withdraw(Phase.QUARANTINED)

    def _withdraw(self, phase: Phase) -> None:
        """This member's state can't be trusted: no answers, no votes, no snapshots from it any more."""
        self.phase = phase
        if self.leads:
            self.node.step_down()
        self._committed.clear()
        self._proposals.stop()
        self._reads.stop(phase.value)
        self.snapshots.stop()
        self._changed()

    def begin_restoring(self) -> None:
        """A snapshot from the leader is about to take the place of the state."""
        self.phase = Phase.RESTORING
        self._caught_up = False
        self._committed.clear()
        self._reads.stop("restoring")
        self._changed()

    def restored(self, state: ReplicatedState) -> None:
        """It did: go on from there."""
        self.state = state
        self._leading.restored()
        self._proposals.skipped_to(state.index)
        self.phase = Phase.MEMBER
        self._learn_names()
        self._changed()

    # --- time and changes ---------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        now = self.runtime.monotonic()
        self.statistics.ticked_at = now
        if self.phase in (Phase.QUARANTINED, Phase.HALTED):
            return
        try:
            self.node.tick()
            self._reads.tick(now)
            self._proposals.expire(now)
            self.snapshots.tick()
            self._leading.tick(now)
        except Exception as error:
            self.fail(error)
            raise
        self.wake()

    def _notice_changes(self) -> None:
        leader, leads = self.node.leader, self.leads
        if leader == self._leader and leads == self._was_leading:
            return
        self.statistics.elections_won += leads and not self._was_leading
        if leader != self._leader:
            self.statistics.leader_changes += 1
            self._proposals.leader_changed(leader)
        if self._was_leading and not leads:
            self.snapshots.stop_sending()
        self._leader, self._was_leading = leader, leads
        self._changed()

    def _changed(self) -> None:
        for listener in self.on_change:
            listener()

    def _learn_names(self) -> None:
        configuration = self.node.configuration
        for member in (*configuration.voters, *configuration.outgoing, *configuration.learners):
            self._names[member.id] = member.name


_FRAMES: dict[int, Callable[[Replica, Frame], None]] = {
    FrameKind.RAFT: Replica._on_raft,
    FrameKind.PROPOSE: Replica._on_propose,
    FrameKind.PROPOSED: Replica._on_proposed,
    FrameKind.SNAPSHOT_CHUNK: Replica._on_chunk,
    FrameKind.SNAPSHOT_PROGRESS: Replica._on_progress,
}
