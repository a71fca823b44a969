"""The listener by itself: who is handed over, who is told of, and what is left when it closes."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path

import pytest

from orderbook.network.listener import Listener
from orderbook.network.tls import peer_server_context
from orderbook.server.runtime import AsyncioRuntime
from unit.network.certificate_files import Authority
from unit.network.members import until


class Heard(asyncio.Protocol):
    """A protocol that keeps what it is given."""

    def __init__(self) -> None:
        self.data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.data += data


class Door:
    def __init__(self, tls: Path | None = None) -> None:
        self.failures: list[BaseException] = []
        self.refused: list[tuple[str, str]] = []
        self.heard: list[Heard] = []
        context = None if tls is None else peer_server_context(*Authority(tls).peer())
        runtime = AsyncioRuntime(self.failures.append)
        self.listener = Listener(
            runtime, self._made, context, lambda address, what: self.refused.append((address, what))
        )

    def _made(self) -> Heard:
        self.heard.append(Heard())
        return self.heard[-1]

    async def open(self) -> int:
        await self.listener.start("127.0.0.1", 0)
        return self.listener.port


async def test_the_first_bytes_reach_the_protocol() -> None:
    door = Door()
    port = await door.open()
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET ")
    await until(lambda: door.heard and door.heard[0].data == b"GET ", "what was sent arrives")
    writer.write(b"/")
    await until(lambda: door.heard[0].data == b"GET /", "and what comes behind it")
    await door.listener.close()
    writer.write(b"x")
    await until(lambda: door.heard[0].data == b"GET /x", "a connection that was handed over stays")
    door.heard[0].transport.close()
    writer.close()
    assert door.failures == []


async def test_whoever_says_nothing_is_let_go_when_it_closes() -> None:
    door = Door()
    reader, writer = await asyncio.open_connection("127.0.0.1", await door.open())
    await until(lambda: door.listener._silent, "it is accepted")
    await door.listener.close()
    with pytest.raises(ConnectionError):
        assert await reader.read() == b""
        raise ConnectionResetError  # either end will do
    writer.close()
    assert door.heard == [] and door.failures == []


async def test_it_closes_in_the_middle_of_handshakes(tmp_path: Path) -> None:
    """Also in those that were accepted in this very turn, whose tasks have not begun."""
    for turns in range(12):
        door = Door(tmp_path)
        port = await door.open()
        clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(4)]  # the kernel takes them
        for _ in range(turns):
            await asyncio.sleep(0)
        async with asyncio.timeout(30):
            await door.listener.close()
        for client in clients:
            client.settimeout(30)
            with contextlib.suppress(ConnectionError):
                assert client.recv(1) == b"", "nobody holds the connection any more"
            client.close()
        assert door.failures == [] and door.listener._shaking == {}


async def test_a_port_that_is_taken_and_a_name_that_is_none() -> None:
    door = Door()
    port = await door.open()
    second = Door()
    with pytest.raises(OSError, match="in use"):
        await second.listener.start("127.0.0.1", port)
    with pytest.raises(OSError):
        await second.listener.start("no-such-host.invalid", 0)
    await door.listener.close()
