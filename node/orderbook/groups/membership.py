"""One membership: a directory, the member id drawn with it, and what that member does until it is closed or removed.

An empty directory announces itself until it begins, adopts or is added to a group (``joining``); from then on a replica
takes part. When a committed change has removed the member, or a lost majority is recovered, this membership ends and
``group.Group`` enters the next one over the same channel.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

from orderbook.groups.errors import MalformedPeer
from orderbook.groups.forming import View, view_from_wire
from orderbook.groups.identity import MAX_MEMBER_ID
from orderbook.groups.joining import Joining, pack_announcement
from orderbook.groups.options import ReplicaOptions
from orderbook.groups.recovery import LogEnds, recovered_entries
from orderbook.groups.replica import Replica
from orderbook.groups.replicated import ReplicatedState
from orderbook.groups.snapshots import meta_of
from orderbook.groups.statemachine import StateMachine
from orderbook.groups.waiting import in_slices, run_on
from orderbook.network.channel import Channel
from orderbook.packing import check_decoder
from orderbook.raft import (
    Configuration,
    Entry,
    HardState,
    Member,
    RaftConfig,
    RawNode,
    decode_configuration,
    encode_configuration,
)
from orderbook.runtime import Runtime, Timer, Worker
from orderbook.storage import FileSystem, Identity, Recovered, Store, StoreOptions, ancestors, left_incarnation
from orderbook.wire.frames import Frame, FrameKind, MalformedFrame, unpack_frame


class GroupSetup(NamedTuple):
    """What a member is made of; see ``Group.open``."""

    runtime: Runtime
    filesystem: FileSystem
    directory: str
    channel: Channel
    machine: StateMachine
    group_id: bytes
    name: str
    options: ReplicaOptions
    store_options: StoreOptions
    on_failure: Callable[[BaseException], None]


class Membership:
    """Made by ``enter``. ``on_entered`` is called when the replica takes part."""

    def __init__(self, setup: GroupSetup, store: Store, log_worker: Worker, identity: Identity) -> None:
        self.identity = identity
        self.store = store
        self.replica: Replica | None = None
        self.strangers: dict[str, Member] = {}  # who is connected, has no group yet, and may be added
        self.frames_refused = 0
        self.log_ends = LogEnds()
        self.on_entered: Callable[[Replica], None] = lambda replica: None
        self.on_succeeded: Callable[[], None] = lambda: None
        self.succeeded_by = b""  # the life that was given instead of the directory's own: then this member holds still
        self._setup = setup
        self._runtime = setup.runtime
        self._log_worker = log_worker
        self._worker = setup.runtime.worker("group")
        self._joining: Joining | None = None
        self._asking: Timer | None = None
        self._closed = False

    @classmethod
    async def enter(
        cls, setup: GroupSetup, on_entered: Callable[[Replica], None], on_succeeded: Callable[[], None]
    ) -> Membership:
        """Recover the directory, or prepare an empty one, and take part.

        A directory of another life than the one that was given, and that doesn't descend from that, takes no part: its
        group was recovered without it, and it may be one of a majority of the old life. It holds still until a member
        of the given life is connected. ``on_succeeded`` is called then: the directory is to be set aside.

        Raises what ``Store.open`` raises: a directory in use, or damaged where nothing may be damaged; DecoderDiffers.
        """
        check_decoder()
        worker = setup.runtime.worker("log")
        store = await run_on(
            worker,
            lambda: Store.open(
                setup.filesystem,
                setup.directory,
                worker,
                setup.store_options,
                monotonic=setup.runtime.monotonic,
                on_failure=setup.on_failure,
            ),
        )
        recovered = store.take_recovered()
        identity = recovered.identity
        if identity is None:
            identity = Identity(setup.name, setup.runtime.random.randrange(1, MAX_MEMBER_ID), b"", b"")
            await run_on(worker, lambda: store.identify(identity))
        membership = cls(setup, store, worker, identity)
        membership.on_entered, membership.on_succeeded = on_entered, on_succeeded
        if await membership._is_succeeded():
            membership.succeeded_by = setup.options.incarnation
            membership._look_for_successor()
        elif identity.incarnation:
            await membership._start(recovered)
        else:
            left = await run_on(worker, lambda: left_incarnation(setup.filesystem, setup.directory))
            membership._join(setup.options.incarnation or left)
        channel = setup.channel
        channel.on_frame = membership._on_frame
        channel.on_connected = membership._on_connected
        channel.on_disconnected = membership._on_disconnected
        for peer in channel.peers():
            membership._on_connected(peer)
        return membership

    @property
    def waits_for(self) -> str:
        """Whom a member without a group sees, and what it waits for. Empty once it has one."""
        if self.replica is not None:
            return ""
        if self.succeeded_by:
            return (
                f"its directory is of the incarnation {self.identity.incarnation.hex()}; waits for one who knows the "
                f"incarnation {self.succeeded_by.hex()} that it was given, to set the directory aside"
            )
        return self._joining.waits_for if self._joining is not None else "the group is being opened"

    async def close(self) -> None:
        """Nothing is sent or answered any more; then the directory can be opened again."""
        if self._closed:
            return
        self._closed = True
        if self._joining is not None:
            self._joining.stop()
        if self._asking is not None:
            self._asking.cancel()
        if self.replica is not None:
            self.replica.stop()
        self._worker.close()
        closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.store.close(lambda: closed.set_result(None))
        await closed
        self._log_worker.close()

    # --- entering -----------------------------------------------------------------------------------------------------

    def _join(self, given: bytes) -> None:
        """Find a group: that of the incarnation ``given``, if any was recorded elsewhere or left here before."""
        options = self._setup.options
        self._joining = Joining(
            self._runtime,
            self._setup.channel,
            self._setup.group_id,
            Member(self.identity.name, self.identity.member_id),
            options.initial_size,
            given,
            options.announce_every,
            self._joined,
        )
        self._joining.start()

    def _joined(self, incarnation: bytes, voters: tuple[Member, ...]) -> None:
        self._runtime.spawn(self._begin(incarnation, voters), "begin the group")

    async def _begin(self, incarnation: bytes, voters: tuple[Member, ...]) -> None:
        configuration = encode_configuration(Configuration(voters))
        identity = self.identity._replace(incarnation=incarnation, configuration=configuration)
        await run_on(self._worker, lambda: self.store.identify(identity))
        if self._closed:
            return
        self.identity = identity
        await self._start(Recovered(identity, (0, 0, 0), None, [], None, (0, 0)))
        for peer in self._setup.channel.peers():
            self._on_connected(peer)

    async def _start(self, recovered: Recovered) -> None:
        state = ReplicatedState(self._setup.machine.fresh())
        configuration, configuration_index = decode_configuration(self.identity.configuration), 0
        snapshot = recovered.snapshot
        if snapshot is not None:
            chunks = await run_on(self._worker, lambda: list(self.store.read_snapshot(snapshot)))
            await in_slices(self._runtime, state.restore(chunks))
            configuration = decode_configuration(snapshot.configuration)
            configuration_index = snapshot.configuration_index
        entries = [Entry(*entry) for entry in recovered.entries]
        hard_state = HardState(*recovered.hard_state)
        missing = recovered_entries(self._setup.group_id, self.identity, hard_state, entries, snapshot)
        if missing:
            await self._append(missing)
            entries += missing
        node = RawNode(
            self._raft_config(),
            hard_state=hard_state,
            configuration=configuration,
            configuration_index=configuration_index,
            snapshot=meta_of(snapshot) if snapshot is not None else None,
            entries=entries,
            applied=state.index,
        )
        if self._closed:
            return
        self.replica = Replica(
            self._runtime,
            self.store,
            self._setup.channel,
            state,
            self._setup.options,
            self.identity,
            node,
            self._setup.on_failure,
        )
        self._joining = None
        self.on_entered(self.replica)
        self.replica.start()
        self._ask_whether_removed()

    def _raft_config(self) -> RaftConfig:
        options = self._setup.options
        return RaftConfig(
            id=self.identity.member_id,
            election_ticks=options.election_ticks,
            heartbeat_ticks=options.heartbeat_ticks,
            max_append_bytes=options.max_append_bytes,
            max_inflight_bytes=options.max_inflight_bytes,
            hold_commit=options.commit_hold > 0,
            draw=self._runtime.random.randrange,
        )

    async def _append(self, entries: list[Entry]) -> None:
        durable: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.store.write(None, entries, lambda: durable.set_result(None))
        await durable

    # --- frames -------------------------------------------------------------------------------------------------------

    def _on_frame(self, peer: str, data: bytes) -> None:
        try:
            frame = unpack_frame(data)
            if frame is None or self._closed:
                return
            if self.succeeded_by:
                self._on_successor(frame)
            elif self._joining is not None:
                self._joining.on_frame(peer, frame)
            elif frame.kind == FrameKind.ANNOUNCE:
                self._on_announce(peer, frame.fields[0])
            elif (
                self.replica is None
                or frame.incarnation != self.identity.incarnation
                or frame.receiver != self.identity.member_id
            ):
                self.frames_refused += 1
            elif frame.kind == FrameKind.LOG_END_WANTED:
                node = self.replica.node
                self.replica.send(frame.sender, FrameKind.LOG_END, node.last_term, node.last_index)
            elif frame.kind == FrameKind.LOG_END:
                self.log_ends.heard(peer, frame.fields[0], frame.fields[1])
            else:
                self.replica.on_frame(peer, frame)
        except (MalformedFrame, MalformedPeer, ValueError):
            self.frames_refused += 1

    def _concerns_us(self, frame: Frame) -> bool:
        return frame.incarnation == self.identity.incarnation and frame.receiver == self.identity.member_id

    async def _is_succeeded(self) -> bool:
        """The directory is of another life than the given one, and doesn't descend from that."""
        setup, given = self._setup, self._setup.options.incarnation
        if not self.identity.incarnation or given in (b"", self.identity.incarnation):
            return False
        return given not in await run_on(self._log_worker, lambda: ancestors(setup.filesystem, setup.directory))

    def _look_for_successor(self) -> None:
        """Ask everybody in which life they are: an announcement that sees nobody, not even itself, is that question."""
        self._asking = self._runtime.call_later(self._setup.options.announce_every, self._look_for_successor)
        for peer in self._setup.channel.peers():
            self._setup.channel.send(peer, pack_announcement(self._own_view()._replace(sees=())))

    def _on_successor(self, frame: Frame) -> None:
        if frame.kind == FrameKind.ANNOUNCE and view_from_wire(frame.fields[0]).incarnation == self.succeeded_by:
            self.on_succeeded()
        else:
            self.frames_refused += 1

    def _on_announce(self, peer: str, fields: list[Any]) -> None:
        view = view_from_wire(fields)
        if not view.incarnation:
            self.strangers[peer] = view.member
            self._setup.channel.send(peer, pack_announcement(self._own_view()))
            return
        self.strangers.pop(peer, None)
        if not view.sees:
            self._setup.channel.send(peer, pack_announcement(self._own_view()))
        elif self.replica is not None and view.incarnation == self.identity.incarnation:
            self.replica.tell_if_removed(peer, view.member)

    def _ask_whether_removed(self) -> None:
        """A member that hears no leader may have been removed, and those who did it may know nothing of it any more."""
        self._asking = self._runtime.call_later(self._setup.options.unheard_every, self._ask_whether_removed)
        if self.replica is not None and not self.replica.leader:
            for peer in self._setup.channel.peers():
                self._setup.channel.send(peer, pack_announcement(self._own_view()))

    def _own_view(self) -> View:
        member = Member(self.identity.name, self.identity.member_id)
        first = decode_configuration(self.identity.configuration).voters if self.identity.configuration else ()
        return View(member, self._setup.options.initial_size, self.identity.incarnation, first, (member,))

    def _on_connected(self, peer: str) -> None:
        if self._joining is not None:
            self._joining.on_connected(peer)
        elif self.replica is not None:
            self.replica.peer_changed(peer)
            self._setup.channel.send(peer, pack_announcement(self._own_view()))

    def _on_disconnected(self, peer: str) -> None:
        self.strangers.pop(peer, None)
        if self.replica is not None:
            self.replica.peer_lost(peer)
        if self._joining is not None:
            self._joining.on_disconnected(peer)
