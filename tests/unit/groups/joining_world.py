"""Members of one name each that try to begin a group, over channels that a test breaks, and disks that it wipes.

The channels keep what ``network.channel.Channel`` promises and nothing more: what one peer sends arrives in order,
connections come and go, each side learns of it in its own time, and what was under way is lost with a connection.
"""

from __future__ import annotations

from collections import deque
from random import Random
from typing import Any

from orderbook.groups.forming import View, view_from_wire
from orderbook.groups.joining import Joining, pack_announcement
from orderbook.raft.types import Member
from orderbook.wire.frames import FrameKind, unpack_frame
from unit.groups.virtual_runtime import VirtualRuntime

GROUP = b"g" * 16
ANNOUNCE_EVERY = 0.25


class Process:
    """One run of a member: from its directory, until it is killed. It does what ``Group`` does with announcements."""

    def __init__(self, world: World, name: str, directory: dict[str, Any]) -> None:
        self.world = world
        self.directory = directory
        self.member = Member(name, directory["id"])
        self.runtime = VirtualRuntime()
        self.connected: set[str] = set()
        self.writing: tuple[bytes, tuple[Member, ...]] | None = None  # decided, not yet durable
        self.decisions = 0
        self.joining: Joining | None = None
        if "group" not in directory:
            self.joining = Joining(
                *(self.runtime, self, GROUP, self.member, world.initial_size, b"", ANNOUNCE_EVERY, self._decided)
            )
            self.joining.start()

    def _decided(self, incarnation: bytes, voters: tuple[Member, ...]) -> None:
        self.decisions += 1
        self.writing = (incarnation, voters)

    def persist(self) -> None:
        """The decision is on disk: from now on others are told of it."""
        if self.writing is not None:
            self.directory["group"] = self.writing
            self.writing = None
            self.joining = None
            for peer in self.peers():
                self.send(peer, pack_announcement(self.view()))

    def view(self) -> View:
        incarnation, first = self.directory["group"]
        return View(self.member, self.world.initial_size, incarnation, first, (self.member,))

    def flush(self) -> None:
        """What is sent leaves by itself."""

    def peers(self) -> tuple[str, ...]:
        return tuple(sorted(self.connected))

    def send(self, peer: str, frame: bytes) -> bool:
        if peer not in self.connected:
            return False
        self.world.under_way[self.member.name, peer].append(("frame", frame))
        return True

    def receive(self, peer: str, what: str, frame: bytes | None) -> None:
        if what == "connected":
            self.connected.add(peer)
            if self.joining is not None:
                self.joining.on_connected(peer)
            else:
                self.send(peer, pack_announcement(self.view()))
        elif what == "disconnected":
            self.connected.discard(peer)
            if self.joining is not None:
                self.joining.on_disconnected(peer)
        else:
            assert frame is not None
            unpacked = unpack_frame(frame)
            assert unpacked is not None
            if self.joining is not None:
                self.joining.on_frame(peer, unpacked)
            elif unpacked.kind == FrameKind.ANNOUNCE and not view_from_wire(unpacked.fields[0]).incarnation:
                self.send(peer, pack_announcement(self.view()))


class World:
    def __init__(self, size: int, seed: int) -> None:
        self.initial_size = size
        self.random = Random(seed)
        self.names = [chr(ord("a") + number) for number in range(size)]
        self.under_way: dict[tuple[str, str], deque[tuple[str, bytes | None]]] = {}
        self.linked: set[tuple[str, str]] = set()
        self.processes: dict[str, Process] = {}
        self.wiped = 0
        for sender in self.names:
            for receiver in self.names:
                self.under_way[sender, receiver] = deque()
        for name in self.names:
            self.wipe(name)

    def groups(self) -> dict[str, bytes]:
        """The incarnation of each name whose process has one, on disk or about to be."""
        groups = {}
        for name, process in self.processes.items():
            group = process.directory.get("group") or process.writing
            if group is not None:
                groups[name] = group[0]
        return groups

    def pairs(self) -> list[tuple[str, str]]:
        return [(a, b) for a in self.names for b in self.names if a < b]

    def link(self, a: str, b: str) -> None:
        if (a, b) not in self.linked:
            self.linked.add((a, b))
            self.under_way[a, b].append(("connected", None))
            self.under_way[b, a].append(("connected", None))

    def unlink(self, a: str, b: str) -> None:
        if (a, b) in self.linked:
            self.linked.discard((a, b))
            for queue in (self.under_way[a, b], self.under_way[b, a]):
                lost = self.random.randrange(len(queue) + 1)  # the newest that many frames never arrive
                kept = [
                    item for position, item in enumerate(queue) if item[0] != "frame" or position < len(queue) - lost
                ]
                queue.clear()
                queue.extend([*kept, ("disconnected", None)])

    def deliver(self, sender: str, receiver: str) -> None:
        if self.under_way[sender, receiver]:
            what, frame = self.under_way[sender, receiver].popleft()
            self.processes[receiver].receive(sender, what, frame)

    def restart(self, name: str) -> None:
        """The process ends, and begins again with its directory. What it had not received is lost."""
        for a, b in self.pairs():
            if name in (a, b):
                self.unlink(a, b)
                self.under_way[b if a == name else a, name].clear()
        self.processes[name] = Process(self, name, self.processes[name].directory)

    def wipe(self, name: str) -> None:
        """The process begins with an empty directory: another member of the same name."""
        self.wiped += 1
        directory = {"id": self.random.randrange(1, 1 << 62)}
        if name in self.processes:
            self.processes[name].directory = directory
            self.restart(name)
        else:
            self.processes[name] = Process(self, name, directory)

    def step(self, faults: float) -> None:
        """One thing happens."""
        random = self.random
        if random.random() < faults:
            fault = random.choice([self.unlink, self.unlink, self.link, self.restart, self.wipe])
            fault(*(random.choice(self.pairs()) if fault in (self.link, self.unlink) else (random.choice(self.names),)))
            return
        what = random.randrange(10)
        process = self.processes[random.choice(self.names)]
        if what == 0:
            process.persist()
        elif what == 1:
            process.runtime.advance(ANNOUNCE_EVERY)
        elif what == 2:
            self.link(*random.choice(self.pairs()))
        else:
            busy = [pair for pair, queue in self.under_way.items() if queue]
            if busy:
                self.deliver(*random.choice(busy))

    def settle(self) -> None:
        """No more faults: everything that is under way arrives, again and again."""
        for _ in range(6):
            for a, b in self.pairs():
                self.link(a, b)
            while any(self.under_way.values()):
                for pair, queue in self.under_way.items():
                    if queue:
                        self.deliver(*pair)
            for process in self.processes.values():
                process.persist()
                process.runtime.advance(ANNOUNCE_EVERY)
