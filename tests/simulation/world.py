"""A world: machines, clients, two networks, faults, and the checks over all of it. One seed, one run.

Faults happen for a while; then everything is healed and the group has a bounded time to be whole again: every client
has its answers, every member holds the same. What the clients saw is then compared with what the group did.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, NamedTuple

from faults.network import Conditions, FaultyNetwork
from orderbook.groups.options import ReplicaOptions
from orderbook.groups.settings import encode_changes
from orderbook.raft import Role
from orderbook.storage import StoreOptions
from orderbook.wire.envelope import EntryType, Header
from orderbook.wire.frames import FrameKind, unpack_frame
from orderbook.wire.roles import Role as PrincipalRole
from simulation.black_box import check_black_box
from simulation.client import Client, Habits
from simulation.history import check_histories
from simulation.laws import LawBroken, Laws
from simulation.machine import BOOK, PLAIN_BOOK, PLAIN_REGISTERS, REGISTERS, Kind
from simulation.membership import Membership
from simulation.node import Node, Surroundings
from simulation.observer import Audience
from simulation.recovery import Recovery
from simulation.runtime import Clock, SimulatedRuntime
from simulation.schedule import KINDS, Fault, draw_schedule
from simulation.scheduler import Event, Host, Scheduler

HEALED_WITHIN = 60.0  # virtual seconds from the last fault until everything is as it should be
LOOK_EVERY = 0.25
MAX_STEPS = 3_000_000
SOAK_MS = 1_000


class NotHealed(AssertionError):
    """The faults are over, and the group is still not whole."""


class Shape(NamedTuple):
    """What a seed chooses besides the faults."""

    machines: int
    initial_size: int
    sizes: list[int]
    clients: int
    kind: Kind
    seconds: float
    options: ReplicaOptions
    store_options: StoreOptions
    disk_seconds: tuple[float, float]
    conditions: Conditions
    chunk_bytes: int  # of a snapshot on its way to another member
    observers: int
    ring: int  # how many log indexes a node keeps for them
    versions: bool  # there is a newer program, whose machine knows more
    recovers: bool  # a majority may be lost


class Report(NamedTuple):
    """What a run was."""

    seed: int
    digest: str
    virtual_seconds: float
    steps: int
    faults: Counter[str]
    healed_after: float
    counts: Counter[str]


def draw_shape(seed: int) -> Shape:
    random = Random(f"{seed} shape")
    initial_size = random.choice((1, 3, 3, 3, 3, 5))
    spares = random.choice((0, 0, 1, 2)) if initial_size < 5 else random.choice((0, 2))
    machines = initial_size + spares
    options = ReplicaOptions(
        initial_size=initial_size,
        snapshot_entries=random.choice((15, 50, 150, 100_000)),
        tail_entries=random.choice((0, 5, 40)),
        check_every=random.choice((10, 50)),
        apply_slice=random.choice((0.01, -1.0)),
        proposal_timeout=random.choice((1.0, 4.0)),
        max_append_bytes=random.choice((300, 1 << 20)),
    )
    store_options = StoreOptions(
        segment_bytes=random.choice((4096, 16384, 65536)),
        write_bytes=random.choice((4096, 65536)),
        slice_bytes=4096,
        tail_entries=random.choice((0, 20)),
        tail_bytes=8192,
        watermark_bytes=20_000,
        ballast_snapshot_bytes=20_000,
    )
    kind = random.choices((REGISTERS, BOOK, PLAIN_REGISTERS, PLAIN_BOOK), (4, 3, 2, 2))[0]
    return Shape(
        machines,
        initial_size,
        [size for size in (1, 3, 5, 7) if size <= machines],
        random.randrange(2, 7),
        kind,
        random.uniform(6, 20),
        options,
        store_options,
        random.choice(((20e-6, 1e-3), (100e-6, 10e-3), (1e-3, 60e-3))),
        Conditions(delay=random.choice(((0.0001, 0.001), (0.001, 0.02), (0.0001, 0.1)))),
        random.choice((700, 4000, ReplicaOptions().snapshot_chunk_bytes)),
        random.choice((0, 0, 1, 2)),
        random.choice((15, 100, 100_000)),
        kind is REGISTERS and random.random() < 0.5,
        initial_size > 1 and random.random() < 0.25,
    )


class World:
    """``faults`` and ``shape`` take the place of what the seed would draw."""

    def __init__(self, seed: int, faults: Sequence[Fault] | None = None, shape: Shape | None = None) -> None:
        self.seed = seed
        self.shape = shape or draw_shape(seed)
        self.schedule = draw_schedule(seed, self.shape.seconds) if faults is None else list(faults)
        self.random = Random(f"{seed} world")
        self.scheduler = Scheduler()
        self.scheduler.after_event = self._after_event
        self.options = self.shape.options
        self.incarnation = b""
        self.laws = Laws(self.scheduler.note, lambda name: self.nodes[name].version)
        self.happened: Counter[str] = Counter()
        self.clients: list[Client] = []
        self.judged: Counter[str] = Counter()  # what was looked at in the end
        self._processes: list[SimulatedRuntime] = []  # all but the nodes'
        self._problem: BaseException | None = None
        self._healing = False
        self._runtime = self.process("world")
        self.peers = self._network("peers", lambda first, second: True)
        self.peers.spared = _is_not_rafts
        self.client_network = self._network("clients", lambda first, second: first[0] != second[0])
        self.nodes = self._machines()
        self.membership = Membership(self, list(self.nodes)[: self.shape.initial_size], self.shape.sizes)
        self.recovery = Recovery(self)
        self.audience = Audience(self, self.shape.observers, self.shape.ring)

    def process(self, name: str) -> SimulatedRuntime:
        random = Random(f"{self.seed} process {name}")
        process = SimulatedRuntime(self.scheduler, name, random, self._world_failed, self._world_failed)
        self._processes.append(process)
        return process

    def _network(self, name: str, wanted: Callable[[str, str], bool]) -> FaultyNetwork:
        random = Random(f"{self.seed} network {name}")
        network = FaultyNetwork(self.process(name), random, self.shape.conditions, wanted)
        network.on_arrival = lambda sender, receiver, frame: self.scheduler.mix(frame)
        return network

    def _machines(self) -> dict[str, Node]:
        shape = self.shape
        around = Surroundings(
            self.scheduler,
            self.laws,
            self.peers,
            self.client_network,
            shape.kind,
            shape.options._replace(snapshot_chunk_bytes=shape.chunk_bytes),
            shape.store_options,
            shape.disk_seconds,
            self._unexpected,
            self._refused,
        )
        drift = self.random.choice((0.0, 0.01, 0.1))
        slow = self.random.randrange(2 * shape.machines)  # the machine with the slow disk; often none
        nodes = {}
        for number in range(1, shape.machines + 1):
            if number == slow:
                fastest, slowest = shape.disk_seconds
                around = around._replace(disk_seconds=(fastest * 10, slowest * 10))
            clock = Clock(1 + self.random.uniform(-drift, drift), int(self.random.gauss(0, 200)))
            node = nodes[f"n{number}"] = Node(f"n{number}", str(self.seed), around, clock)
            if shape.versions:
                node.version = self.random.choice((1, 2))
                self.later(self.random.random() * shape.seconds * 1.5, self._roll, node)
            around = around._replace(disk_seconds=shape.disk_seconds)
        return nodes

    def _roll(self, node: Node) -> None:
        """A newer program on every machine, sooner or later; on some not before all is over."""
        if not self._healing and node.version == 1:
            node.upgrade(self.random.random())

    # --- asked by faults ----------------------------------------------------------------------------------------------

    def later(self, seconds: float, call: Callable[..., object], *args: Any) -> Event:
        return self._runtime.call_later(seconds, call, *args)

    def leader(self) -> Node | None:
        """Who leads in the newest term, of those whose process runs."""
        leading = [node for node in self.nodes.values() if node.replica is not None and node.replica.leads]
        return max(leading, key=lambda node: node.replica.node.term if node.replica else 0, default=None)

    # --- the run ------------------------------------------------------------------------------------------------------

    def run(self) -> Report:
        """Raises what is wrong: LawBroken, NotHealed, or the error that a process ended with."""
        try:
            return self._run()
        finally:
            for process in [*self._processes, *(node.runtime for node in self.nodes.values())]:
                if process is not None:
                    process.end()

    def _run(self) -> Report:
        shape = self.shape
        for number, node in enumerate(self.nodes.values()):
            if number < shape.initial_size:
                self.later(self.random.random() * 0.5, node.boot)
        for number in range(1, shape.clients + 1):
            self.later(self.random.random() * 3, self._add_client, number)
        for fault in self.schedule:
            self._runtime.call_later(fault.at, self._inject, fault)
        self.later(LOOK_EVERY, self._look)
        self._advance(lambda: self.scheduler.now >= shape.seconds, shape.seconds)
        self._heal()
        healed = self._advance(self._is_whole, self.scheduler.now + HEALED_WITHIN)
        healed_after = self.scheduler.now - shape.seconds
        if not healed:
            raise NotHealed(f"not whole {HEALED_WITHIN} s after the last fault: {self._in_words()}")
        self._last_words()
        self._consumers_catch_up()
        check_histories(self)
        if shape.kind.sight is not None and not self.recovery.at:
            self.judged.update(check_black_box(self.clients, shape.kind.sight))
        return self._report(healed_after)

    def _advance(self, condition: Callable[[], bool], until: float) -> bool:
        def over() -> bool:
            return self._problem is not None or condition()

        reached = self.scheduler.run_until(over, until=until, max_steps=MAX_STEPS)
        if self._problem is not None:
            raise self._problem
        return reached

    def _add_client(self, number: int) -> None:
        random = Random(f"{self.seed} client {number}")
        name = f"c{number}"
        runtime = self.process(name)
        judged = self.shape.kind.sight is not None  # by a search: what overlaps must be little
        habits = Habits(
            pause=random.choice((0.2, 0.5) if judged else (0.02, 0.05, 0.2)),
            window=random.choice((1, 2) if judged else (1, 4, 16)),
            reads=random.choice((0.0, 0.3, 0.7)),
            session_ms=random.choice((1_500, 5_000, 30_000)),
            leaves=random.choice((0.0, 0.01, 0.05)),
            cancels=0.0 if judged else 0.5,
            request_timeout=random.choice((0.5, 2.0, 6.0)),
        )
        channel = self.client_network.attach(name, runtime)
        self.clients.append(Client(name, number, runtime, channel, self.shape.kind, random, habits))

    def _inject(self, fault: Fault) -> None:
        self.scheduler.note("fault", fault.kind)
        self.happened[fault.kind] += 1
        KINDS[fault.kind](self, Random(fault.seed))

    def _look(self) -> None:
        """Start what is due to start; see whether everything is well."""
        self.later(LOOK_EVERY * self.random.uniform(0.1, 1.0), self._look)
        if not self.incarnation:
            self._begun()
        for node in self.nodes.values():
            if node.restart_at is not None and node.restart_at <= self.scheduler.now:
                self._give_incarnation(node)
                node.boot()
        if self.shape.versions:
            self._raise_versions_soon()
        self._whole = self._healing and self._look_whole()

    def _begun(self) -> None:
        """The group exists: spare machines are given its incarnation, and start."""
        for node in self.nodes.values():
            if node.identity is not None and node.identity.incarnation:
                self.incarnation = node.identity.incarnation
        if self.incarnation:
            for spare in list(self.nodes.values())[self.shape.initial_size :]:
                spare.restart_at = self.scheduler.now + self.random.random()

    def _raise_versions_soon(self) -> None:
        """The members need to know a version for a second of log time only, and not for an hour."""
        leader = self.leader()
        if leader is not None and leader.replica is not None:
            replica = leader.replica
            if replica.state.settings.version_soak_ms != SOAK_MS:
                header = Header(0, 0, 0, 0, 0, 0, "", PrincipalRole.ADMIN)
                body = encode_changes({"version_soak_ms": SOAK_MS})
                leader.act(lambda here: here.submit(EntryType.CONFIGURE, header, body, lambda answer, error: None))

    def _give_incarnation(self, node: Node) -> None:
        """The operator does, once it has read it. Without spare machines the members can do without."""
        if self.shape.machines > self.shape.initial_size or self.random.random() < 0.5:
            node.given = self.incarnation

    def _heal(self) -> None:
        self.scheduler.note("world", "healed")
        self._healing = True
        self._whole = False
        for network in (self.peers, self.client_network):
            network.heal()
        for client in self.clients:
            client.stop()
        for number, node in enumerate(self.nodes.values()):
            node.trap = None
            disk = node.disk
            disk.capacity = disk.crash_at = disk.fail_sync_at = None
            if node.runtime is not None:
                node.runtime.stalled_until = 0.0
                node.runtime.fork_fails = False
                if node.runtime.paused:
                    self.scheduler.resume(node.runtime)
            elif node.restart_at is None and number < self.shape.initial_size and not self.recovery.under_way:
                node.restart_at = self.scheduler.now

    # --- what must be in the end --------------------------------------------------------------------------------------

    def _is_whole(self) -> bool:
        return self._whole

    def _look_whole(self) -> bool:
        if self.recovery.under_way or any(client.waits for client in self.clients) or not self.membership.settled:
            return False
        members = self._members()
        if members is None or not all(node.group is not None and node.group.is_online for node in members):
            return False
        if any(node.up and node not in members and not node.waits_to_be_added for node in self.nodes.values()):
            return False
        states = {(node.replica.state.index, node.replica.state.state_hash) for node in members if node.replica}
        return len(states) == 1

    def _members(self) -> list[Node] | None:
        """The nodes of the configuration in force; None while one of them is not there."""
        leader = self.leader()
        if leader is None or leader.replica is None:
            return None
        configuration = leader.replica.node.configuration
        members = [(self.nodes[member.name], member) for member in (*configuration.voters, *configuration.learners)]
        present = [node for node, member in members if node.replica is not None and node.member_id == member.id]
        return present if len(present) == len(members) else None

    def _last_words(self) -> None:
        """A write and a strong read of each client end soon, now that all is well."""
        for client in self.clients:
            client.write()
            client.read_at_last()

        def answered() -> bool:
            return all(client.reads[-1].index >= 0 and not client.waits for client in self.clients)

        if not self._advance(answered, self.scheduler.now + 15):
            raise NotHealed(f"the last requests have no answer: {self._in_words()}")
        self._whole = False
        if not self._advance(self._is_whole, self.scheduler.now + 15):
            raise NotHealed(f"not whole after the last requests: {self._in_words()}")

    def _consumers_catch_up(self) -> None:
        leader = self.leader()
        assert leader is not None and leader.identity is not None
        life = leader.identity.incarnation
        self.audience.hurry()
        if not self._advance(lambda: self.audience.caught_up(life), self.scheduler.now + 30):
            tokens = [observer.feed and observer.feed.token for observer in self.audience.observers]
            raise NotHealed(f"consumers did not catch up: {tokens}; {self._in_words()}")
        self.judged["events seen"] += self.audience.check()

    # --- watched ------------------------------------------------------------------------------------------------------

    def _after_event(self, host: Host) -> None:
        node = self.nodes.get(host.name)
        if node is not None and self._problem is None:
            try:
                node.after_event()
                self.audience.after_event(node)
            except LawBroken as problem:
                self._problem = problem

    def _unexpected(self, name: str, error: BaseException) -> None:
        if self._problem is None:
            self.scheduler.note(name, f"failed: {error!r}")
            self._problem = error

    def _refused(self, node: Node) -> None:
        self.membership.refused(node)

    def _world_failed(self, error: BaseException) -> None:
        self._unexpected("world", error)

    def _in_words(self) -> str:
        words = []
        for node in self.nodes.values():
            replica = node.replica
            if replica is None:
                words.append(f"{node.name} {'up, no member' if node.up else 'down'}")
            else:
                raft = replica.node
                place = f"commit {raft.commit} applied {replica.state.index} last {raft.last_index}"
                words.append(f"{node.name} {Role(raft.role).name} term {raft.term} {place} {replica.phase}")
        waiting = [client.name for client in self.clients if client.waits]
        return "; ".join([*words, f"waiting clients: {', '.join(waiting) or 'none'}"])

    def _report(self, healed_after: float) -> Report:
        writes = [write for client in self.clients for write in client.writes]
        counts = Counter(write.fate.value for write in writes)
        counts.update(self.judged)
        counts["reads"] = sum(read.index >= 0 for client in self.clients for read in client.reads)
        leader = self.leader()
        counts["versions raised"] = int(leader is not None and _version_in_force(leader) > 1)
        counts["lives"] = sum(node.lives for node in self.nodes.values())
        counts["terms"] = len(self.laws.leaders)
        counts["entries"] = self.laws.last_committed
        counts["configurations"] = len(self.laws.configurations)
        counts["frames"] = self.peers.frames
        return Report(
            self.seed,
            self.scheduler.digest(),
            self.scheduler.now,
            self.scheduler.steps,
            self.happened,
            healed_after,
            counts,
        )


def _version_in_force(node: Node) -> int:
    return node.replica.state.machine_version if node.replica is not None else 0


def _is_not_rafts(frame: bytes) -> bool:
    """Raft must bear loss, repetition and reordering. Beginning a group, and handing proposals on, rest on connections
    that keep order and repeat nothing."""
    unpacked = unpack_frame(frame)
    return unpacked is not None and unpacked.kind not in (FrameKind.RAFT, FrameKind.SNAPSHOT_CHUNK)
