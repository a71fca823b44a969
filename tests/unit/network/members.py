"""Members on loopback: real sockets, short times, and a record of all that their channels were told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from orderbook.network.options import NetworkOptions
from orderbook.network.peers import Peers
from orderbook.server.runtime import AsyncioRuntime

QUICK = NetworkOptions(
    ping_every=0.5, silent_pings=3, stalled_pings=4, dial_timeout=2.0, linger=0.2, first_backoff=0.01, most_backoff=0.1
)
NETWORK = "a network"
GROUP = b"the group"
KEY = b"the key of the group"


async def until(condition: Callable[[], Any], what: str = "") -> None:
    """Turn the loop until the condition holds."""
    try:
        async with asyncio.timeout(15):
            while not condition():  # noqa: ASYNC110 - any condition
                await asyncio.sleep(0.002)
    except TimeoutError:
        raise AssertionError(f"never came true: {what}") from None


class Member:
    """``told``: ("connected", peer), ("frame", peer, bytes) and ("disconnected", peer), in order."""

    def __init__(self, peers: Peers) -> None:
        self.peers = peers
        self.told: list[tuple[Any, ...]] = []
        self.logged: list[logging.LogRecord] = []

    def open(self, group: bytes = GROUP, key: bytes = KEY) -> None:
        self.channel = self.peers.channel(group, key)
        self.channel.on_frame = lambda peer, frame: self.told.append(("frame", peer, frame))
        self.channel.on_connected = lambda peer: self.told.append(("connected", peer))
        self.channel.on_disconnected = lambda peer: self.told.append(("disconnected", peer))

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.peers.port}"

    def frames(self, peer: str) -> list[bytes]:
        return [entry[2] for entry in self.told if entry[:2] == ("frame", peer)]

    def ended(self, reason: str) -> int:
        return next(count for known, count in self.peers.counts.ended.items() if known == reason)


class Members:
    """All that a test starts; none may have failed in the background at its end."""

    def __init__(self) -> None:
        self.failures: list[BaseException] = []
        self.runtime = AsyncioRuntime(self.failures.append)
        self.all: list[Member] = []

    async def start(
        self,
        name: str,
        *,
        network: str = NETWORK,
        group: bytes | None = GROUP,
        key: bytes = KEY,
        port: int = 0,
        versions: tuple[int, int] = (1, 1),
        advertise: str | None = None,
        **changed: Any,
    ) -> Member:
        member = Member(Peers(self.runtime, name, network, replace(QUICK, **changed), versions))
        if group is not None:
            member.open(group, key)
        self.all.append(member)
        await member.peers.start("127.0.0.1", port, advertise)
        return member

    async def stop(self, member: Member) -> None:
        self.all.remove(member)
        await member.peers.close()

    async def connect(self, *members: Member) -> None:
        """Let all know the first, and wait until all are connected with all."""
        for other in members[1:]:
            await other.peers.discovery.sync_with(members[0].address)
        names = {member.peers.name for member in members}
        for member in members:
            wanted = names - {member.peers.name}
            await until(lambda wanted=wanted, member=member: wanted <= set(member.channel.peers()), "all connected")

    async def close(self) -> None:
        for member in list(self.all):
            await self.stop(member)
        assert self.failures == []
