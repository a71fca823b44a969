"""A client that stops half way, or never goes, keeps no connection: real sockets, with short deadlines."""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import aiohttp
import pytest
import pytest_asyncio

from orderbook.server import http_server
from orderbook.server.application import client_application
from orderbook.server.http_server import MIN_CONNECTIONS, RESERVED_DESCRIPTORS, HttpServer, room_for_connections
from orderbook.wire.order_frames import SUBPROTOCOL, ReplyKind, RequestKind, pack, unpack_reply
from unit.server.members import SECONDS, Members

MOST = 4


@pytest_asyncio.fixture
async def server(alone: Members) -> AsyncIterator[HttpServer]:
    application = client_application(alone.runtime, alone.groups["a"], body_seconds=0.2)
    refused: list[str] = []
    server = HttpServer(
        alone.runtime, application, None, lambda _, what: refused.append(what), MOST, request_seconds=0.4
    )
    await server.start("127.0.0.1", 0)
    yield server
    await server.close()


async def connect(server: HttpServer) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    url = urlsplit(server.url)
    return await asyncio.open_connection(url.hostname, url.port)


async def ends(reader: asyncio.StreamReader) -> bytes:
    """All that is said until the connection ends."""
    async with asyncio.timeout(SECONDS):
        with contextlib.suppress(ConnectionError):
            return await reader.read()
    return b""


@pytest.mark.parametrize(
    "said",
    [b"G", b"GET /v1/group HTTP/1.1\r\nHost: localhost\r\n", b"GET /v1/group HTTP/1.1\r\nHost: localhost\r\n\r\n"],
)
async def test_half_a_head_and_an_idle_connection_end(server: HttpServer, said: bytes) -> None:
    reader, writer = await connect(server)
    writer.write(said)
    answer = await ends(reader)
    assert answer.startswith(b"HTTP/1.1 200 ") == said.endswith(b"\r\n\r\n")
    writer.close()


async def test_half_a_body_is_answered_408_and_ends(server: HttpServer) -> None:
    reader, writer = await connect(server)
    writer.write(
        b"POST /v1/orders HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{"
    )
    head, _, body = (await ends(reader)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 ") and b"Connection: close" in head
    assert json.loads(body)["error"]["code"] == "request_timeout"
    writer.close()


async def test_who_is_silent_in_great_number_makes_room_again(server: HttpServer) -> None:
    """Nobody gets in while all places are taken by who says half a request; then those end by themselves."""
    silent = [await connect(server) for _ in range(MOST)]
    for _, writer in silent:
        writer.write(b"G")
    async with aiohttp.ClientSession() as session, asyncio.timeout(SECONDS):
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(server.url + "/v1/group") as answer:
                    assert answer.status == 200
                    break
            await asyncio.sleep(0)
    for _, writer in silent:
        writer.close()


async def test_a_websocket_may_be_idle_for_longer(server: HttpServer) -> None:
    async with aiohttp.ClientSession() as session:
        socket = await session.ws_connect(server.url + "/v1/streams/orders", protocols=(SUBPROTOCOL,))
        reader, writer = await connect(server)
        writer.write(b"G")
        await ends(reader)  # this one came later, and its time is over
        await socket.send_bytes(pack(RequestKind.OPEN, 1, 30_000, False))
        assert unpack_reply(await socket.receive_bytes())[0] == ReplyKind.OPENED
        writer.close()


@pytest.mark.parametrize(
    ("limits", "room", "raised"),
    [
        ((100_000, 100_000), 4096, None),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), 4096, None),
        ((1024, 100_000), 4096, (4096 + RESERVED_DESCRIPTORS, 100_000)),
        ((1024, resource.RLIM_INFINITY), 4096, (4096 + RESERVED_DESCRIPTORS, resource.RLIM_INFINITY)),
        ((1024, 2048), 2048 - RESERVED_DESCRIPTORS, (2048, 2048)),
        ((1024, 1024), 1024 - RESERVED_DESCRIPTORS, None),
        ((64, 64), MIN_CONNECTIONS, None),
    ],
)
def test_clients_leave_descriptors_for_everything_else(
    monkeypatch: pytest.MonkeyPatch, limits: tuple[int, int], room: int, raised: tuple[int, int] | None
) -> None:
    set_to: list[tuple[int, int]] = []
    monkeypatch.setattr(http_server.resource, "getrlimit", lambda _which: limits)
    monkeypatch.setattr(http_server.resource, "setrlimit", lambda _which, new: set_to.append(new))
    assert room_for_connections(4096) == room
    assert set_to == ([] if raised is None else [raised])
