"""When a member writes, sends and installs snapshots of its state.

Writing happens in a forked child, which sees one moment of the state while this process goes on; the log is cut only
after the snapshot is durable, and a tail of it stays for followers that lag a little. A member that was sent a snapshot
goes on from there by the log: it stays for that one, too, until it keeps up, but not for more than two snapshots.
Installing reads the whole file on a worker and then builds a new state beside the old one, in slices, so that
heartbeats are answered meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from orderbook.groups.errors import Unavailable
from orderbook.groups.options import ReplicaOptions
from orderbook.groups.replicated import ReplicatedState
from orderbook.groups.transfers import SnapshotSender
from orderbook.groups.waiting import in_slices, run_on
from orderbook.raft import (
    InstallSnapshot,
    RawNode,
    SnapshotMeta,
    decode_configuration,
    encode_configuration,
)
from orderbook.runtime import Runtime
from orderbook.storage import SnapshotInfo, Store
from orderbook.wire.frames import FrameKind

HELD_SNAPSHOTS = 2


class SnapshotOwner(Protocol):
    """What the snapshots of a member need of it."""

    node: RawNode
    state: ReplicatedState
    options: ReplicaOptions

    def send(self, to: int, kind: FrameKind, *fields: object) -> bool: ...

    def begin_restoring(self) -> None: ...

    def restored(self, state: ReplicatedState) -> None: ...

    def wake(self) -> None: ...

    def fail(self, error: BaseException) -> None: ...


def meta_of(info: SnapshotInfo) -> SnapshotMeta:
    return SnapshotMeta(info.index, info.term, decode_configuration(info.configuration), info.configuration_index)


class Snapshots:
    def __init__(self, runtime: Runtime, store: Store, owner: SnapshotOwner) -> None:
        self.taken = 0  # statistics
        self.failed = 0
        self._runtime = runtime
        self._store = store
        self._owner = owner
        self._worker = runtime.worker("snapshots")
        self._sender = SnapshotSender(
            runtime,
            store,
            self._worker,
            owner.options.snapshot_chunk_bytes,
            self._send_chunk,
            self._sent,
            self._sending_failed,
        )
        self._writing = False
        self._wanted: dict[int, int] = {}  # who waits for a snapshot of at least which index
        self._served: dict[int, tuple[int, int]] = {}  # who was sent which one, and how many were taken by then
        self._bytes = 0  # of log since the last snapshot
        self._installing: SnapshotMeta | None = None
        self._offered = 0  # index of the newest snapshot that a leader began to send here
        self._receiving = False
        self._stopped = False
        self._settled: asyncio.Future[None] | None = None
        self._waiters: list[Callable[[BaseException | None], None]] = []

    # --- writing ------------------------------------------------------------------------------------------------------

    def grew(self, size: int) -> None:
        self._bytes += size

    def consider(self) -> None:
        """Take a snapshot if enough was applied since the last one.

        Not while one is on its way to another member and a newer one exists already: the next would take its place on
        the disk, and a member that is slower than that would begin again for ever.
        """
        if self._sender.under_way and len(self._store.snapshots()) > 1:
            return
        options = self._owner.options
        since = self._owner.state.index - self._newest_index()
        if since > 0 and (since >= options.snapshot_entries or self._bytes >= options.snapshot_bytes):
            self.take()

    def take(self, done: Callable[[BaseException | None], None] | None = None) -> None:
        """Write a snapshot of this moment; one at a time, later calls wait for the one under way."""
        if done is not None:
            self._waiters.append(done)
        if self._stopped:
            self._tell(Unavailable("stopped"))
            return
        if self._writing or self._installing is not None:
            return
        owner = self._owner
        index = owner.state.index
        if index == self._newest_index():
            self._tell(None)
            return
        meta = owner.node.snapshot_meta(index)
        configuration = encode_configuration(meta.configuration)
        writer = self._store.snapshot_writer(index, meta.term, configuration, meta.configuration_index)
        state = owner.state
        self._writing = True
        self._bytes = 0

        def write() -> None:
            for chunk in state.snapshot():
                writer.write(chunk)
            writer.commit()

        def written(error: BaseException | None) -> None:
            if error is None and not self._stopped:
                self._worker.submit(lambda: self._store.snapshot_committed(index), self._committed)
            elif error is None or self._stopped:  # the next opening of the directory removes what is unfinished
                self._not_written(error)
            else:
                self._worker.submit(writer.abort, lambda _none, problem: self._not_written(error, problem))

        self._runtime.fork(write, written)

    def _not_written(self, error: BaseException | None, problem: BaseException | None = None) -> None:
        """The child failed, or nobody wants its work any more. ``problem``: its file could not be removed either."""
        self._writing = False
        self.failed += error is not None
        if error is not None and problem is not None:
            error.add_note(f"and what it had written of the snapshot could not be removed: {problem!r}")
        self._tell(error)
        self._may_be_settled()

    def _committed(self, info: SnapshotInfo | None, error: BaseException | None) -> None:
        self._writing = False
        if self._stopped:
            self._may_be_settled()
            return
        if info is None:
            self.failed += 1
            self._tell(error)
            return
        self.taken += 1
        node = self._owner.node
        keep_from = max(min(info.index - self._owner.options.tail_entries, self._needed_from(info.index)), 0)
        if keep_from >= node.first_index and not self._sender.under_way:  # who receives one goes on from there
            node.compact(keep_from, meta_of(info))
            self._store.cut(keep_from)
        self._tell(None)
        for to, min_index in list(self._wanted.items()):
            del self._wanted[to]
            self.send_to(to, min_index)

    def _needed_from(self, newest: int) -> int:
        """The oldest snapshot behind which somebody still goes on by the log; ``newest`` if nobody does."""
        progress = {peer.id: peer for peer in self._owner.node.progress() if peer.recent_active}

        def goes_on(to: int, index: int, taken: int) -> bool:
            peer = progress.get(to)
            behind = peer is not None and (peer.match <= index or not peer.caught_up)
            return behind and self.taken - taken <= HELD_SNAPSHOTS

        self._served = {to: served for to, served in self._served.items() if goes_on(to, *served)}
        return min((index for index, _ in self._served.values()), default=newest)

    def _tell(self, error: BaseException | None) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter(error)

    def _newest_index(self) -> int:
        newest = self._store.snapshots()
        return newest[-1].index if newest else 0

    # --- sending ------------------------------------------------------------------------------------------------------

    def send_to(self, to: int, min_index: int) -> None:
        """The follower ``to`` needs what the log no longer holds."""
        newest = self._store.snapshots()
        if newest and newest[-1].index >= min_index:
            self._sender.start(to, newest[-1])
        else:
            self._wanted[to] = min_index
            self.take()

    def on_progress(self, sender: int, index: int, held: int, problem: str | None) -> None:
        self._sender.progress(sender, index, held, problem)

    def tick(self) -> None:
        self._sender.tick()

    def stop_sending(self) -> None:
        self._sender.stop()
        self._wanted.clear()
        self._served.clear()

    def stop(self) -> None:
        """Begin nothing more. What is under way in the directory is not cut short: see ``settled``."""
        self._stopped = True
        self.stop_sending()
        self._tell(Unavailable("stopped"))
        self._may_be_settled()

    async def settled(self) -> None:
        """After ``stop``: returns when nothing touches the directory any more, a forked child neither."""
        if self._writing or self._receiving:
            self._settled = asyncio.get_running_loop().create_future()
            await self._settled

    def _has_stopped(self) -> bool:
        return self._stopped

    def _may_be_settled(self) -> None:
        if self._stopped and not self._writing and not self._receiving:
            self._worker.close()
            if self._settled is not None and not self._settled.done():
                self._settled.set_result(None)

    def _send_chunk(self, to: int, offer: SnapshotInfo, offset: int, data: bytes) -> None:
        self._owner.send(to, FrameKind.SNAPSHOT_CHUNK, list(offer), offset, data)

    def _sent(self, to: int, index: int, ok: bool) -> None:
        if ok:
            self._served[to] = (index, self.taken)
        self._owner.node.report_snapshot(to, index, ok)
        self._owner.wake()

    def _sending_failed(self, error: BaseException) -> None:
        self.failed += 1

    @property
    def is_awaited(self) -> bool:
        """A leader sends this member what its log no longer holds, and it is not installed yet."""
        return self._offered > self._owner.state.index

    # --- receiving ----------------------------------------------------------------------------------------------------

    def on_chunk(self, sender: int, fields: list[object], offset: int, data: bytes) -> None:
        """A piece of the leader's snapshot. Raises ValueError for fields that mean nothing."""
        offer = _checked_offer(fields)
        if sender != self._owner.node.leader or self._receiving or self._installing is not None:
            return
        if offer.index <= self._owner.state.index:
            self._owner.send(sender, FrameKind.SNAPSHOT_PROGRESS, offer.index, offer.size, None)
            return
        self._offered = offer.index
        self._receiving = True
        self._runtime.spawn(self._receive(sender, offer, offset, data), "receive snapshot")

    async def _receive(self, sender: int, offer: SnapshotInfo, offset: int, data: bytes) -> None:
        problem: str | None = None
        held = 0
        try:
            held = await run_on(self._worker, lambda: self._store.receive_snapshot(offer, offset, data))
            if held >= offer.size:
                await run_on(self._worker, lambda: self._store.finish_receive(offer))
        except (OSError, ValueError) as error:
            problem = str(error)
            self.failed += 1
        finally:
            self._receiving = False
        if self._stopped:
            self._may_be_settled()
            return
        owner = self._owner
        owner.send(sender, FrameKind.SNAPSHOT_PROGRESS, offer.index, held, problem)
        if problem is None and held >= offer.size and owner.node.leader == sender:
            owner.node.step(sender, InstallSnapshot(owner.node.term, meta_of(offer)))
            owner.wake()

    def install(self, meta: SnapshotMeta) -> None:
        """Raft wants the received snapshot ``meta`` to take the place of state and log."""
        self._installing = meta
        self._owner.begin_restoring()
        self._runtime.spawn(self._install(meta), "install snapshot")

    async def _install(self, meta: SnapshotMeta) -> None:
        owner, store = self._owner, self._store
        if self._has_stopped():
            return
        info = next(info for info in store.snapshots() if info.index == meta.index)
        state = ReplicatedState(owner.state.machine.fresh())
        chunks = await run_on(self._worker, lambda: list(store.read_snapshot(info)))
        await in_slices(self._runtime, state.restore(chunks))
        if self._has_stopped():
            return
        node = owner.node

        def durable() -> None:
            if self._stopped:
                return
            self._installing = None
            self._bytes = 0
            node.snapshot_persisted(meta)
            owner.restored(state)
            owner.wake()

        store.reset_to_snapshot(info, (node.term, node.vote, meta.index), durable)


def _checked_offer(fields: list[object]) -> SnapshotInfo:
    if [type(field) for field in fields] != [int, int, bytes, int, int]:
        raise ValueError("a snapshot is [index, term, configuration, configuration index, size]")
    offer = SnapshotInfo(*fields)  # type: ignore[arg-type]  # each was checked above
    decode_configuration(offer.configuration)
    return offer
