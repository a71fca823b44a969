"""Three members of a network in this process, over real sockets and directories, in a group of the order book."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from orderbook import Group, Network, OrderBook, ReplicaOptions
from orderbook.client.network import ClientNetwork
from orderbook.groups.statemachine import StateMachine
from orderbook.storage import StoreOptions

PAIR = "ETH/USDC"
NAMES = ("ada", "bea", "cyd")
KEY = b"the key of the tests"
OPTIONS = ReplicaOptions(tick=0.02, announce_every=0.02, snapshot_entries=200, tail_entries=20)
STORE = StoreOptions(segment_bytes=1 << 20, watermark_bytes=1 << 20, ballast_snapshot_bytes=1 << 20)
SECONDS = 30.0


class Exchange:
    """``async with Exchange(tmp_path) as exchange``: all members are online. Nothing may have failed at the end."""

    def __init__(self, root: Path, machine: type[StateMachine] | None = None) -> None:
        self.networks: dict[str, Network] = {}
        self.groups: dict[str, Group] = {}
        self.urls: dict[str, str] = {}
        self._root = root
        self._machine = machine
        self._clients: list[ClientNetwork] = []

    async def __aenter__(self) -> Self:
        for name in NAMES:
            await self.start(name)
        for name in NAMES:
            await self.groups[name].when(SECONDS).online()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        everyone = [*self._clients, *self.networks.values()]
        for network in everyone:
            await network.close()
        assert error is not None or [network.failure for network in everyone] == [None] * len(everyone)

    async def start(self, name: str) -> None:
        network = await Network.start("exchange", self._root / name)
        for other in self.networks.values():
            await network.discovery.sync_with(other.local.address, SECONDS)
            break
        machine = self._machine() if self._machine is not None else OrderBook([PAIR])
        joining = network.groups.with_key(KEY).with_state_machine(machine).with_options(OPTIONS).with_storage(STORE)
        self.networks[name] = network
        self.groups[name] = await joining.join()
        if self._machine is None:
            self.urls[name] = await network.serve_clients(self.groups[name])

    async def stop(self, name: str) -> None:
        await self.networks.pop(name).close()
        del self.groups[name]

    async def client(self, *names: str) -> ClientNetwork:
        client = await Network.connect([self.urls[name] for name in names or NAMES])
        self._clients.append(client)
        return client

    async def leader(self) -> str:
        return await next(iter(self.groups.values())).when(SECONDS).leader()

    async def caught_up(self) -> None:
        """Every member has applied what any of them has."""
        last = max(group.replica.state.index for group in self.groups.values() if group.replica is not None)
        for group in self.groups.values():
            await group.when(SECONDS).committed().reaches(last)


async def take(stream: Any, count: int) -> list[Any]:
    async with asyncio.timeout(SECONDS):
        return [await anext(stream) for _ in range(count)]
