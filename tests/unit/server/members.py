"""Members of one group in this process, on real directories, over a channel that is only a dictionary."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from orderbook.book import OrderBook, TopOfBook
from orderbook.groups.group import Group, GroupSetup
from orderbook.groups.identity import group_id
from orderbook.groups.options import ReplicaOptions
from orderbook.server.runtime import AsyncioRuntime
from orderbook.storage import Disk, StoreOptions

PAIR = "ETH/USDC"
SECONDS = 60.0  # how long a test waits for what should take a moment
STORE = StoreOptions(segment_bytes=1 << 20, watermark_bytes=1 << 20, ballast_snapshot_bytes=1 << 20)


class LocalChannel:
    """See ``network.Channel``. ``cut`` takes a member off the net without telling it to close."""

    def __init__(self, net: dict[str, LocalChannel], name: str) -> None:
        self.on_frame: Callable[[str, bytes], object] = lambda _peer, _frame: None
        self.on_connected: Callable[[str], object] = lambda _peer: None
        self.on_disconnected: Callable[[str], object] = lambda _peer: None
        self._net = net
        self._name = name

    def connect(self) -> None:
        others = dict(self._net)
        self._net[self._name] = self
        for name, other in others.items():
            other.on_connected(self._name)
            self.on_connected(name)

    def cut(self) -> None:
        self._net.pop(self._name, None)
        for name, other in self._net.items():
            other.on_disconnected(self._name)
            self.on_disconnected(name)

    def send(self, peer: str, frame: bytes | tuple[bytes, ...]) -> bool:
        other = self._net.get(peer)
        if other is None or self._name not in self._net:
            return False
        data = frame if isinstance(frame, bytes) else b"".join(frame)
        asyncio.get_running_loop().call_soon(lambda: other.on_frame(self._name, data))
        return True

    def flush(self) -> None:
        """What is sent leaves by itself."""

    def peers(self) -> tuple[str, ...]:
        return tuple(sorted(name for name in self._net if name != self._name)) if self._name in self._net else ()

    def close(self) -> None:
        self._net.pop(self._name, None)


class Members:
    """Opened by name. ``close`` fails the test if anything failed."""

    def __init__(self, root: Path, pairs: tuple[str, ...] = (PAIR,), tick: float = 0.02) -> None:
        self.groups: dict[str, Group] = {}
        self.channels: dict[str, LocalChannel] = {}
        self.failures: list[BaseException] = []
        self.runtime = AsyncioRuntime(self.failures.append)
        self._net: dict[str, LocalChannel] = {}
        self._root = root
        self._pairs = pairs
        self._options = ReplicaOptions(
            tick=tick, announce_every=0.02, snapshot_entries=200, tail_entries=20, check_every=25
        )

    async def open(self, name: str, size: int) -> Group:
        channel = self.channels[name] = LocalChannel(self._net, name)
        channel.connect()
        machine = OrderBook(self._pairs)
        setup = GroupSetup(
            runtime=self.runtime,
            filesystem=Disk(),
            directory=str(self._root / name),
            channel=channel,
            machine=machine,
            group_id=group_id(b"the key of the tests", machine.signature),
            name=name,
            options=self._options._replace(initial_size=size),
            store_options=STORE,
            on_failure=self.failures.append,
        )
        group = self.groups[name] = await Group.open(setup)
        return group

    async def begin(self, *names: str) -> None:
        """A group of these members, each of which serves and knows the pairs."""
        for name in names:
            await self.open(name, len(names))
        for group in self.groups.values():
            await group.when(SECONDS).online()
            await group.until(lambda group=group: self._knows_pairs(group), SECONDS, "the pairs to be defined")

    def _knows_pairs(self, group: Group) -> bool:
        return all(group.machine.query(TopOfBook(pair)) is not None for pair in self._pairs)

    def leader(self) -> str:
        """Who leads, by its own word."""
        return next(name for name, group in self.groups.items() if group.replica is not None and group.replica.leads)

    async def close(self) -> None:
        for group in self.groups.values():
            await group.close()
        assert self.failures == []


async def until(condition: Callable[[], Any], what: str) -> None:
    """Let the loop turn until the condition holds."""
    try:
        async with asyncio.timeout(SECONDS):
            while not condition():  # noqa: ASYNC110 - any condition
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"never came true: {what}") from None
