"""One simulated machine with its disk, and the lives of the process on it."""

from __future__ import annotations

import errno
from collections.abc import Callable
from enum import Enum
from random import Random
from typing import NamedTuple

from faults.disk import FaultyDisk, SimulatedCrash
from faults.network import FaultyChannel, FaultyNetwork
from orderbook.groups.group import Group, GroupSetup
from orderbook.groups.options import ReplicaOptions
from orderbook.groups.replica import Replica
from orderbook.storage import DiskFull, Identity, StorageError, StoreOptions
from orderbook.wire.envelope import UnknownFormat
from simulation.frontend import Frontend
from simulation.laws import Laws, Life
from simulation.machine import Kind
from simulation.runtime import Clock, Durations, SimulatedRuntime
from simulation.scheduler import Scheduler

DIRECTORY = "/data"
GROUP = b"simulated group."


class End(Enum):
    """How a process ends."""

    POWER = "power"  # the machine stops: unsynced bytes are lost, sector by sector
    KILL = "kill"  # the page cache stays


class Surroundings(NamedTuple):
    """What the machines of a world share."""

    scheduler: Scheduler
    laws: Laws
    peers: FaultyNetwork
    clients: FaultyNetwork
    kind: Kind
    options: ReplicaOptions
    store_options: StoreOptions
    disk_seconds: tuple[float, float]  # how long a job of a worker takes
    on_unexpected: Callable[[str, BaseException], None]
    on_refused: Callable[[Node], None]  # a damaged directory


class Node:
    def __init__(self, name: str, seed: str, around: Surroundings, clock: Clock) -> None:
        self.name = name
        self.clock = clock
        self.group: Group | None = None
        self.life: Life | None = None
        self.runtime: SimulatedRuntime | None = None
        self.restart_at: float | None = None  # None: up, or down until somebody starts it
        self.given = b""  # the incarnation that was recorded elsewhere
        self.lives = 0
        self.version = 1  # of the machine's rules: the highest that its program knows
        self.damaged: int | None = None  # the disk is, until a life after this one has opened it
        self.trap: Callable[[Replica], bool] | None = None  # power is lost soon after this comes true
        self.disk = FaultyDisk(Random(f"{seed} disk {name}"))
        self._random = Random(f"{seed} node {name}")
        self._around = around
        self._channel: FaultyChannel | None = None

    @property
    def up(self) -> bool:
        return self.runtime is not None

    @property
    def replica(self) -> Replica | None:
        return self.group.replica if self.group is not None else None

    @property
    def member_id(self) -> int:
        """0 while the process is down or has not drawn one."""
        return self.identity.member_id if self.identity is not None else 0

    @property
    def identity(self) -> Identity | None:
        return self.group.identity if self.group is not None else None

    @property
    def waits_to_be_added(self) -> bool:
        return self.up and self.group is not None and self.replica is None

    # --- lives --------------------------------------------------------------------------------------------------------

    def boot(self) -> None:
        if self.up:
            return
        around = self._around
        around.scheduler.note(self.name, "starts")
        self.lives += 1
        self.restart_at = None
        self.clock.start = self._random.random() * 1e6
        runtime = self.runtime = SimulatedRuntime(
            around.scheduler,
            self.name,
            Random(self._random.getrandbits(64)),
            self._failed,
            self._stopped,
            clock=self.clock,
            durations=Durations(Random(self._random.getrandbits(64)), *around.disk_seconds),
        )
        self.disk.before = runtime.before_operation
        channel = self._channel = around.peers.attach(self.name, runtime)
        Frontend(runtime, around.clients.attach(self.name, runtime), lambda: self.group)
        setup = GroupSetup(
            runtime,
            self.disk,
            DIRECTORY,
            channel,
            around.kind.machine(self.version),
            GROUP,
            self.name,
            around.options._replace(incarnation=self.given),
            around.store_options,
            self._failed,
        )
        runtime.spawn(self._open(setup), "open")

    async def _open(self, setup: GroupSetup) -> None:
        life = self.lives
        self.group = await Group.open(setup)
        if self.damaged is not None and life > self.damaged:
            self.damaged = None
            self._around.scheduler.note(self.name, "opened its damaged disk")

    def end(self, how: End, why: str = "") -> None:
        """The process is gone, at once."""
        runtime = self.runtime
        if runtime is None:
            return
        around = self._around
        around.scheduler.note(self.name, f"ends ({how.value}) {why}".rstrip())
        self.runtime = self.group = self.life = None
        around.peers.detach(self.name)
        around.clients.detach(self.name)
        disk = self.disk

        def cut_short() -> None:
            disk.crash_at = disk.operations + self._random.randrange(4)

        runtime.end(cut_short)
        self.disk = disk.crash() if how is End.POWER else disk.kill()

    def wipe(self) -> None:
        """Another machine takes the name: an empty disk."""
        assert not self.up
        self._around.scheduler.note(self.name, "has a new disk")
        self.damaged = None
        self.disk = FaultyDisk(Random(self._random.getrandbits(64)))

    def _stopped(self, crash: SimulatedCrash) -> None:
        """The machine stopped in the middle of an operation on its disk."""
        self.end(End.POWER, str(crash))
        self._restart_later(3.0)

    def _failed(self, error: BaseException) -> None:
        """The process ends itself. It may where the disk failed it; otherwise the world has its finding."""
        if self.damaged is not None and isinstance(error, StorageError) and not isinstance(error, DiskFull):
            if self.group is None:
                self._around.on_refused(self)
            else:  # it may be able to do without what it can't read
                self.end(End.KILL, f"by itself: {error}")
                self._restart_later(3.0)
            return
        if isinstance(error, UnknownFormat) and self.version == 1:
            self.end(End.KILL, f"by itself: {error}")
            self.version = 2
            self._restart_later(3.0)
            return
        injected = isinstance(error, DiskFull) or (
            isinstance(error, OSError) and error.errno in (errno.EIO, errno.ENOSPC)
        )
        if not injected:
            self._around.on_unexpected(self.name, error)
            return
        self.end(End.KILL, f"by itself: {error}")
        self._restart_later(3.0)

    def _restart_later(self, most: float) -> None:
        self.restart_at = self._around.scheduler.now + self._random.random() * most

    def upgrade(self, seconds: float) -> None:
        """A newer program takes the place of this one."""
        self.end_for(End.KILL, seconds)
        self.version = 2

    def end_for(self, how: End, seconds: float) -> None:
        if self.up:
            self.end(how)
            self.restart_at = self._around.scheduler.now + seconds

    # --- watched ------------------------------------------------------------------------------------------------------

    def after_event(self) -> None:
        replica = self.replica
        if replica is None or self.runtime is None:
            return
        if self.life is None or self.life.replica is not replica:
            self.life = self._around.laws.begin(self.name, replica)
        self._around.laws.check(self.life)
        if self.trap is not None and self.trap(replica):
            self.trap = None
            after = self._random.random() * self._around.disk_seconds[1]
            self.runtime.call_later(after, self.end_for, End.POWER, self._random.random() * 2)

    def act(self, action: Callable[[Replica], None]) -> None:
        """Do something to the member as if a request had come in."""
        runtime = self.runtime
        if runtime is None:
            return

        def do() -> None:
            replica = self.replica
            if replica is not None:
                action(replica)
                replica.wake()

        runtime.call_soon(do)
