"""A member's view of its group: join it, execute through its quorum, query it, wait for what happens to it.

``Group.open`` recovers a directory, or prepares an empty one, and takes part from then on. It composes: any
``StateMachine`` replicates, the order book being one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import Enum
from typing import Any, NamedTuple

from orderbook.groups.errors import GroupError, MalformedPeer, NotBootstrapped, Unavailable
from orderbook.groups.forming import View, view_from_wire
from orderbook.groups.identity import MAX_MEMBER_ID
from orderbook.groups.joining import Joining, pack_announcement
from orderbook.groups.local import LocalTransport
from orderbook.groups.options import ReplicaOptions
from orderbook.groups.replica import Phase, Replica
from orderbook.groups.replicated import Applied, ReplicatedState
from orderbook.groups.session_client import SessionClient
from orderbook.groups.snapshots import meta_of
from orderbook.groups.statemachine import Event, StateMachine
from orderbook.groups.waiting import Conditions, in_slices, run_on
from orderbook.network.channel import Channel
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
from orderbook.runtime import Runtime, Worker
from orderbook.storage import FileSystem, Identity, Recovered, Store, StoreOptions
from orderbook.storage.statistics import Statistics as StorageStatistics
from orderbook.wire.envelope import MAX_COMMANDS
from orderbook.wire.frames import FrameKind, MalformedFrame, unpack_frame

BATCH_COMMANDS = 1000


class Consistency(Enum):
    STRONG = "strong"  # linearizable: sees all that was answered anywhere before the query
    WEAK = "weak"  # this member's state as it is


class Answer(NamedTuple):
    """What a query found, and ``at``, the index of the log that the state stood at then."""

    value: Any
    at: int


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


class Group:
    """One member. Made by ``Group.open``; all methods are called on its loop."""

    def __init__(self, setup: GroupSetup, store: Store, log_worker: Worker, identity: Identity) -> None:
        self.setup = setup
        self.identity = identity
        self.replica: Replica | None = None
        self.on_applied: list[Callable[[Applied], None]] = []
        self.on_change: list[Callable[[], None]] = []
        self.strangers: dict[str, Member] = {}  # who is connected, has no group yet, and may be added
        self.frames_refused = 0
        self._runtime = setup.runtime
        self._store = store
        self._log_worker = log_worker
        self._worker = setup.runtime.worker("group")
        self._joining: Joining | None = None
        self._conditions = Conditions(setup.runtime)
        self._session: SessionClient | None = None
        self._closed = False

    # --- life ---------------------------------------------------------------------------------------------------------

    @classmethod
    async def open(cls, setup: GroupSetup) -> Group:
        """Recover ``setup.directory`` and take part. Returns before the group is online: see ``when``.

        Raises what ``Store.open`` raises: a directory in use, or damaged where nothing may be damaged.
        """
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
        group = cls(setup, store, worker, identity)
        if identity.incarnation:
            await group._start(recovered)
        else:
            group._join()
        channel = setup.channel
        channel.on_frame = group._on_frame
        channel.on_connected = group._on_connected
        channel.on_disconnected = group._on_disconnected
        for peer in channel.peers():
            group._on_connected(peer)
        return group

    async def close(self) -> None:
        """Leave the stage: nothing is sent or answered any more; the directory can be opened again."""
        if self._closed:
            return
        self._closed = True
        if self._session is not None:
            self._session.close()
        if self._joining is not None:
            self._joining.stop()
        if self.replica is not None:
            self.replica.stop()
        self._conditions.fail(Unavailable("stopped"))
        self._worker.close()
        closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._store.close(lambda: closed.set_result(None))
        await closed
        self._log_worker.close()

    async def hand_over(self, seconds: float) -> None:
        """Give a leadership to another voter that has caught up, and wait for it for at most ``seconds``."""
        replica = self.replica
        if replica is None or not replica.leads or not replica.give_leadership_away():
            return
        with suppress(TimeoutError):
            await self._conditions.until(lambda: not replica.leads, seconds, "another leader")

    def _join(self) -> None:
        options = self.setup.options
        member = Member(self.identity.name, self.identity.member_id)
        self._joining = Joining(
            self._runtime,
            self.setup.channel,
            self.setup.group_id,
            member,
            options.initial_size,
            options.incarnation,
            options.announce_every,
            self._spawn_begin,
        )
        self._joining.start()

    def _spawn_begin(self, incarnation: bytes, voters: tuple[Member, ...]) -> None:
        self._runtime.spawn(self._begin(incarnation, voters), "begin the group")

    async def _begin(self, incarnation: bytes, voters: tuple[Member, ...]) -> None:
        configuration = encode_configuration(Configuration(voters))
        identity = self.identity._replace(incarnation=incarnation, configuration=configuration)
        await run_on(self._worker, lambda: self._store.identify(identity))
        self.identity = identity
        await self._start(Recovered(identity, (0, 0, 0), None, [], None, (0, 0)))
        for peer in self.setup.channel.peers():
            self._on_connected(peer)

    async def _start(self, recovered: Recovered) -> None:
        state = ReplicatedState(self.setup.machine)
        configuration, configuration_index = decode_configuration(self.identity.configuration), 0
        snapshot = recovered.snapshot
        if snapshot is not None:
            chunks = await run_on(self._worker, lambda: list(self._store.read_snapshot(snapshot)))
            await in_slices(self._runtime, state.restore(chunks))
            configuration = decode_configuration(snapshot.configuration)
            configuration_index = snapshot.configuration_index
        options = self.setup.options
        node = RawNode(
            RaftConfig(
                id=self.identity.member_id,
                election_ticks=options.election_ticks,
                heartbeat_ticks=options.heartbeat_ticks,
                max_append_bytes=options.max_append_bytes,
                max_inflight_bytes=options.max_inflight_bytes,
                draw=self._runtime.random.randrange,
            ),
            hard_state=HardState(*recovered.hard_state),
            configuration=configuration,
            configuration_index=configuration_index,
            snapshot=meta_of(snapshot) if snapshot is not None else None,
            entries=[Entry(*entry) for entry in recovered.entries],
            applied=state.index,
        )
        self.replica = Replica(
            self._runtime,
            self._store,
            self.setup.channel,
            state,
            options,
            self.identity,
            node,
            self.setup.on_failure,
        )
        self.replica.on_applied.append(self._applied)
        self.replica.on_change.append(self._changed)
        self.replica.on_turn = self._conditions.check
        self._joining = None
        self.replica.start()
        self._changed()

    # --- frames -------------------------------------------------------------------------------------------------------

    def _on_frame(self, peer: str, data: bytes) -> None:
        try:
            frame = unpack_frame(data)
            if frame is None or self._closed:
                return
            if self._joining is not None:
                self._joining.on_frame(peer, frame)
            elif frame.kind == FrameKind.ANNOUNCE:
                self._on_announce(peer, frame.fields[0])
            elif self.replica is None or frame.incarnation != self.identity.incarnation:
                self.frames_refused += 1
            elif frame.receiver == self.identity.member_id:
                self.replica.on_frame(peer, frame)
            else:
                self.frames_refused += 1
        except (MalformedFrame, MalformedPeer, ValueError):
            self.frames_refused += 1

    def _on_announce(self, peer: str, fields: list[Any]) -> None:
        view = view_from_wire(fields)
        if not view.incarnation:
            self.strangers[peer] = view.member
            self.setup.channel.send(peer, pack_announcement(self._own_view()))

    def _own_view(self) -> View:
        member = Member(self.identity.name, self.identity.member_id)
        first = decode_configuration(self.identity.configuration).voters if self.identity.configuration else ()
        return View(member, self.setup.options.initial_size, self.identity.incarnation, first, (member,))

    def _on_connected(self, peer: str) -> None:
        if self._joining is not None:
            self._joining.on_connected(peer)
        elif self.replica is not None:
            self.setup.channel.send(peer, pack_announcement(self._own_view()))

    def _on_disconnected(self, peer: str) -> None:
        self.strangers.pop(peer, None)
        if self._joining is not None:
            self._joining.on_disconnected(peer)

    # --- what users do ------------------------------------------------------------------------------------------------

    async def execute(self, command: Any) -> list[Event]:
        """Have one command agreed on by a quorum and applied; its events. Raises Refused, Unavailable, Uncertain."""
        return (await self.execute_many([command]))[0]

    async def execute_many(self, commands: Sequence[Any]) -> list[list[Event]]:
        """The events of each command, in order; batched and pipelined, each command run exactly once."""
        machine = self._member().state.machine
        if self._session is None:
            self._session = SessionClient(self._runtime, LocalTransport(self._member()))
        futures = []
        size = min(BATCH_COMMANDS, MAX_COMMANDS)
        for start in range(0, len(commands), size):
            batch = commands[start : start + size]
            futures.append(self._submit(self._session, len(batch), machine.encode(batch)))
        results: list[list[Event]] = []
        for future in futures:
            results += await future
        return results

    def _submit(self, session: SessionClient, count: int, body: bytes) -> asyncio.Future[list[list[Event]]]:
        future: asyncio.Future[list[list[Event]]] = asyncio.get_running_loop().create_future()

        def done(answer: Applied | None, error: GroupError | None) -> None:
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            elif answer is not None:
                future.set_result(by_command(answer, count))

        session.submit(count, body, done)
        return future

    async def query(
        self, query: Any, consistency: Consistency = Consistency.STRONG, *, min_index: int = 0, timeout: float = 10.0
    ) -> Answer:
        """Ask the state machine. STRONG goes through the leader's read index; WEAK answers at once.

        ``min_index`` makes a WEAK query wait until this member has applied that index, so that one reads what one
        wrote. Raises Unavailable after ``timeout`` seconds, ValueError for a query that the machine does not know.
        """
        replica = self._member()
        if consistency is Consistency.STRONG:
            await self._strong_read(replica, timeout)
        elif replica.state.index < min_index:
            try:
                await self._conditions.until(
                    lambda: replica.state.index >= min_index, timeout, f"index {min_index} to be applied"
                )
            except TimeoutError as error:
                raise Unavailable("deadline") from error
        if replica.phase is Phase.RESTORING:
            raise Unavailable("restoring")
        return Answer(replica.state.machine.query(query), replica.state.index)

    async def _strong_read(self, replica: Replica, timeout: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def done(error: GroupError | None) -> None:
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(None)

        replica.read(done, timeout)
        await future

    @property
    def machine(self) -> StateMachine:
        """The state machine as it is now; another object after a snapshot was installed."""
        return self.replica.state.machine if self.replica is not None else self.setup.machine

    @property
    def waits_for(self) -> str:
        """Why this member belongs to no group yet: whom it sees, and what it waits for. Empty once it does."""
        if self.replica is not None:
            return ""
        return self._joining.waits_for if self._joining is not None else "the group is being opened"

    @property
    def storage(self) -> StorageStatistics:
        return self._store.statistics

    def _member(self) -> Replica:
        if self.replica is None:
            raise NotBootstrapped(self.waits_for)
        return self.replica

    # --- waiting ------------------------------------------------------------------------------------------------------

    async def until(self, predicate: Callable[[], bool], timeout: float | None, what: str) -> None:
        """Wait until something of this member holds; it is looked at after each turn. TimeoutError names ``what``."""
        await self._conditions.until(predicate, timeout, what)

    def when(self, timeout: float | None = None) -> When:
        """``await group.when().online()`` and so on; TimeoutError after ``timeout`` seconds, if one is given."""
        return When(self, self._conditions, timeout)

    @property
    def is_online(self) -> bool:
        """This member knows a leader and has applied all that it knows to be committed."""
        replica = self.replica
        if replica is None or replica.phase is not Phase.MEMBER or not replica.leader:
            return False
        node = replica.node
        heard = node.has_committed_in_term if replica.leads else node.commit > 0
        return heard and replica.state.index >= node.commit

    def _applied(self, applied: Applied) -> None:
        for listener in self.on_applied:
            listener(applied)

    def _changed(self) -> None:
        for listener in self.on_change:
            listener()
        self._conditions.check()


class When:
    """Conditions of a group that can be waited for."""

    def __init__(self, group: Group, conditions: Conditions, timeout: float | None) -> None:
        self._group = group
        self._conditions = conditions
        self._timeout = timeout

    async def online(self) -> None:
        """This member serves: it knows a leader and has caught up."""
        group = self._group
        await self._conditions.until(lambda: group.is_online, self._timeout, "the group to be online")

    async def leader(self) -> str:
        """Somebody leads; the name."""
        group = self._group
        await self._conditions.until(lambda: _leader_name(group) is not None, self._timeout, "a leader")
        return _leader_name(group) or ""

    def committed(self) -> Committed:
        return Committed(self._group, self._conditions, self._timeout)


class Committed:
    def __init__(self, group: Group, conditions: Conditions, timeout: float | None) -> None:
        self._group = group
        self._conditions = conditions
        self._timeout = timeout

    async def reaches(self, index: int) -> None:
        """This member has applied the entry at ``index``."""
        group = self._group
        await self._conditions.until(
            lambda: group.replica is not None and group.replica.state.index >= index,
            self._timeout,
            f"index {index} to be applied",
        )


def by_command(applied: Applied, count: int) -> list[list[Event]]:
    """The events that answer a batch, command by command."""
    results: list[list[Event]] = [[] for _ in range(count)]
    for event in applied.answer[applied.answer_start :]:
        if event[1] >= 0:
            results[event[1]].append(event)
    return results


def _leader_name(group: Group) -> str | None:
    replica = group.replica
    return replica.name_of(replica.leader) if replica is not None and replica.leader else None
