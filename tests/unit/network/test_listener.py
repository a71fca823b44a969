"""The listener by itself: who is handed over, who is told of, and what is left when it closes."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path
from typing import Any

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
        self.is_open = self.is_lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.is_open = True

    def data_received(self, data: bytes) -> None:
        self.data += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open, self.is_lost = False, True


class Door:
    def __init__(self, tls: Path | None = None, **bounds: Any) -> None:
        self.failures: list[BaseException] = []
        self.refused: list[tuple[str, str]] = []
        self.heard: list[Heard] = []
        context = None if tls is None else peer_server_context(*Authority(tls).peer())
        runtime = AsyncioRuntime(self.failures.append)
        self.listener = Listener(
            runtime,
            self._made,
            context,
            lambda address, what: self.refused.append((address, what)),
            open_now=lambda: sum(heard.is_open for heard in self.heard),
            **bounds,
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


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01\x02\x00\x01\x00"])
@pytest.mark.parametrize("over_tls", [False, True])
async def test_whoever_does_not_go_on_in_time_is_let_go(tmp_path: Path, over_tls: bool, said: bytes) -> None:
    """Nothing at all, or the first bytes of a TLS handshake: which without TLS is an end at once."""
    door = Door(tmp_path if over_tls else None, handshake_seconds=0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", await door.open())
    writer.write(said)
    async with asyncio.timeout(30):
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
    assert len(door.refused) == 1 and not any(heard.is_open or heard.is_lost for heard in door.heard)
    assert door.listener._silent == {} and door.listener._shaking == {}
    writer.close()
    await door.listener.close()
    assert door.failures == []


async def test_who_said_something_in_time_may_be_silent_from_then_on() -> None:
    door = Door(handshake_seconds=0.2)
    port = await door.open()
    _, talker = await asyncio.open_connection("127.0.0.1", port)
    talker.write(b"x")
    await until(lambda: door.heard and door.heard[0].data, "the first byte arrives")
    reader, silent = await asyncio.open_connection("127.0.0.1", port)
    async with asyncio.timeout(30):
        with contextlib.suppress(ConnectionError):
            await reader.read()  # this one came later, and its time is over
    assert not door.heard[0].is_lost
    talker.close()
    silent.close()
    await door.listener.close()


async def test_connections_are_bounded_in_number_and_make_room_when_they_end() -> None:
    door = Door(most=3)
    port = await door.open()
    writers = []
    for spoken in range(2):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"x")
        writers.append(writer)
        await until(lambda spoken=spoken: len(door.heard) == spoken + 1, "it is handed over")
    _, silent = await asyncio.open_connection("127.0.0.1", port)
    await until(lambda: door.listener._silent, "one that has said nothing counts as well")
    reader, refused = await asyncio.open_connection("127.0.0.1", port)
    async with asyncio.timeout(30):
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
    assert [what for _, what in door.refused] == ["3 connections are open"]
    writers[0].close()
    await until(lambda: door.heard[0].is_lost, "one ends")
    _, last = await asyncio.open_connection("127.0.0.1", port)
    last.write(b"y")
    await until(lambda: len(door.heard) == 3, "there is room for one more")
    for writer in (writers[1], silent, refused, last):
        writer.close()
    await door.listener.close()
    assert door.failures == []


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="Linux ends connections that take nothing")
async def test_who_takes_nothing_of_what_is_written_is_let_go() -> None:
    door = Door(untaken_seconds=0.2)
    client = socket.create_connection(("127.0.0.1", await door.open()))
    client.sendall(b"x")
    await until(lambda: door.heard, "it is handed over")
    door.heard[0].transport.write(bytes(64 << 20))
    await until(lambda: door.heard[0].is_lost, "the kernel gives up")
    client.close()
    await door.listener.close()
