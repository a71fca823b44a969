"""Members of one group in this process, over real sockets and real directories."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from orderbook.book import OrderBook
from orderbook.groups.group import Group, GroupSetup
from orderbook.groups.identity import group_id
from orderbook.groups.options import ReplicaOptions
from orderbook.network.peers import Peers
from orderbook.server.runtime import AsyncioRuntime
from orderbook.storage import Disk, StoreOptions
from unit.network.members import QUICK

KEY = b"the key of the tests"
OPTIONS = ReplicaOptions(
    tick=0.02, announce_every=0.02, unheard_every=0.1, snapshot_entries=200, tail_entries=20, check_every=25
)
STORE = StoreOptions(segment_bytes=1 << 20, watermark_bytes=1 << 20, ballast_snapshot_bytes=1 << 20)
SECONDS = 30.0  # how long a test waits for what should take a moment


async def until(condition: Callable[[], Any], what: str) -> None:
    """Turn the loop until the condition holds."""
    try:
        async with asyncio.timeout(SECONDS):
            while not condition():  # noqa: ASYNC110 - any condition
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"never came true: {what}") from None


class RealMembers:
    """Opened by name; ``failures`` must be empty at the end of a test."""

    def __init__(self, root: Path, pairs: tuple[str, ...] = ("ETH/USDC",), options: ReplicaOptions = OPTIONS) -> None:
        self.root = root
        self.groups: dict[str, Group] = {}
        self.failures: list[BaseException] = []
        self.runtime = AsyncioRuntime(self.failures.append)
        self._pairs = pairs
        self._options = options
        self._peers: dict[str, Peers] = {}

    async def start(self, *names: str, size: int = 3, incarnation: bytes = b"") -> None:
        for name in names:
            await self.open(name, size, incarnation)

    async def open(self, name: str, size: int = 3, incarnation: bytes = b"") -> Group:
        peers = Peers(self.runtime, name, "network of the tests", QUICK)
        await peers.start()
        for other in self._peers.values():
            peers.discovery.add(f"127.0.0.1:{other.port}")
        machine = OrderBook(self._pairs)
        group = group_id(KEY, machine.signature)
        self._peers[name] = peers
        self.groups[name] = await Group.open(
            GroupSetup(
                self.runtime,
                Disk(),
                str(self.root / name),
                peers.channel(group, KEY),
                machine,
                group,
                name,
                self._options._replace(initial_size=size, incarnation=incarnation),
                STORE,
                self.failures.append,
            )
        )
        return self.groups[name]

    async def close(self, name: str) -> None:
        group, peers = self.groups.pop(name), self._peers.pop(name)
        await group.close()
        await peers.close()

    async def close_all(self) -> None:
        for name in list(self.groups):
            await self.close(name)
        assert not self.failures

    async def online(self) -> None:
        for group in self.groups.values():
            await group.when(SECONDS).online()

    def leader(self) -> Group:
        return next(group for group in self.groups.values() if group.replica is not None and group.replica.leads)

    def a_follower(self) -> Group:
        return next(group for group in self.groups.values() if group.replica is not None and not group.replica.leads)

    async def equal(self) -> None:
        """All have applied the same and agree on the state's hash."""
        states = [group.replica.state for group in self.groups.values() if group.replica is not None]
        await until(lambda: len({state.index for state in states}) == 1, "all have applied the same")
        assert len({state.state_hash for state in states}) == 1
