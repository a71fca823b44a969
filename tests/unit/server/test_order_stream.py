"""The order stream on a node: what is no request ends its connection with a reason, and nobody else's."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import aiohttp
import msgpack
import pytest

from orderbook.book import Order, PlaceOrder, Side, encode_commands
from orderbook.server.application import client_application
from orderbook.wire.order_frames import MAX_REQUEST_BYTES, SUBPROTOCOL, ReplyKind, RequestKind, pack, unpack_reply
from unit.server.http_client import CheckedClient
from unit.server.members import PAIR, SECONDS, Members

PATH = "/v1/streams/orders"


async def connect(http: CheckedClient) -> aiohttp.ClientWebSocketResponse:
    return await http.client.ws_connect(PATH, protocols=(SUBPROTOCOL,))


async def ask(socket: aiohttp.ClientWebSocketResponse, kind: RequestKind, *fields: Any) -> list[Any]:
    await socket.send_bytes(pack(kind, 1, *fields))
    return list(unpack_reply(await socket.receive_bytes()))


async def trades(socket: aiohttp.ClientWebSocketResponse) -> None:
    """The connection places an order in a session of its own."""
    kind, _, session, _ = await ask(socket, RequestKind.OPEN, 30_000, False)
    assert kind == ReplyKind.OPENED
    body = encode_commands([PlaceOrder(Order(None, PAIR, Side.BID, 5, 1, "alice"))])
    kind, _, index, start, events = await ask(socket, RequestKind.BATCH, session, 1, 1, 0, body, None)
    assert (kind, start, events[0][0]) == (ReplyKind.ANSWER, 0, 1)
    assert index > session


async def test_a_session_over_the_socket(http: CheckedClient) -> None:
    socket = await connect(http)
    assert socket.protocol == SUBPROTOCOL
    await trades(socket)
    await socket.close()


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\xc1", b"text", msgpack.packb({}), msgpack.packb([]), msgpack.packb([1]), msgpack.packb([99, 1]),
        msgpack.packb([1, -1, 5, True]), msgpack.packb([1, 1, "5", True]), msgpack.packb([1, 1, 5, 1]),
        msgpack.packb([1, 1]), msgpack.packb([2, 1, 1, 1, 0, 0, b""]), msgpack.packb([2, 1, 1, 1, 4097, 0, b""]),
        msgpack.packb([2, 1, 1, 1, 1, 0, "text"]), msgpack.packb([True, 1, 5, True]), msgpack.packb([1.0, 1, 5, True]),
        msgpack.packb([2, 1, 1, 1, 1, 0, b"x" * ((1 << 20) + 1)]), b"\xdd\xff\xff\xff\xff", b"\x81" * 4000,
    ],
)  # fmt: skip
async def test_a_malformed_request_ends_its_connection_with_a_reason(http: CheckedClient, data: bytes) -> None:
    other, socket = await connect(http), await connect(http)
    await socket.send_bytes(data)
    message = await socket.receive()
    assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, aiohttp.WSCloseCode.POLICY_VIOLATION)
    assert message.extra.startswith("malformed request: ")
    await trades(other)
    await other.close()


async def test_text_is_refused(http: CheckedClient) -> None:
    socket = await connect(http)
    await socket.send_str('{"op": "place"}')
    message = await socket.receive()
    assert (message.type, message.extra) == (aiohttp.WSMsgType.CLOSE, "this order stream takes binary messages")


async def test_a_huge_message_ends_its_connection(http: CheckedClient) -> None:
    other, socket = await connect(http), await connect(http)
    await socket.send_bytes(b"x" * (MAX_REQUEST_BYTES + 1))
    message = await socket.receive()
    assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, aiohttp.WSCloseCode.MESSAGE_TOO_BIG)
    await trades(other)
    await other.close()


async def test_a_body_that_does_not_decode_is_rejected_by_the_book(http: CheckedClient) -> None:
    socket = await connect(http)
    _, _, session, _ = await ask(socket, RequestKind.OPEN, 30_000, False)
    for number, body in enumerate((b"", b"\xc1", b"text", msgpack.packb([[99]]), msgpack.packb({})), 1):
        kind, _, _, _, events = await ask(socket, RequestKind.BATCH, session, number, 1, 0, body, None)
        assert (kind, events[0][0]) == (ReplyKind.ANSWER, 2)
    await socket.close()


async def test_without_an_upgrade_it_is_refused(http: CheckedClient) -> None:
    assert (await http.call("GET", PATH, expect=426)).error["code"] == "upgrade_required"


async def test_a_client_that_sends_and_never_reads_is_disconnected(alone: Members) -> None:
    """Its replies fill the buffers of both kernels, then the bounded queue; then it is cut off, and nobody else."""
    http = await CheckedClient.open(client_application(alone.runtime, alone.groups["a"], max_queued_bytes=1 << 20))
    other = await connect(http)
    server = http.client.server
    reader, writer = await asyncio.open_connection(server.host, server.port, limit=1 << 10)
    await _upgrade(reader, writer)
    _, _, session, _ = await ask(other, RequestKind.OPEN, 30_000, False)
    orders = encode_commands([PlaceOrder(Order(n, PAIR, Side.BID, 5, 1, "alice" * 50)) for n in range(1, 501)])
    request = _masked(pack(RequestKind.BATCH, 1, session, 1, 500, 0, orders, None))
    sent = 0
    try:
        async with asyncio.timeout(SECONDS):
            while True:
                writer.write(request)  # each after the first is answered from the kept result, 150 kB
                await writer.drain()
                sent += 1
                await ask(other, RequestKind.KEEP_ALIVE, session, 0)  # by now that one is answered
    except ConnectionError:
        pass
    assert sent > 1
    await trades(other)
    await other.close()
    writer.close()
    await http.close()


async def _upgrade(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    key = base64.b64encode(b"0123456789abcdef").decode()
    lines = [
        f"GET {PATH} HTTP/1.1", "Host: x", "Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {key}",
        "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Protocol: {SUBPROTOCOL}", "", "",
    ]  # fmt: skip
    writer.write("\r\n".join(lines).encode())
    assert b" 101 " in await reader.readuntil(b"\r\n\r\n")


def _masked(payload: bytes) -> bytes:
    """A binary frame as a client sends it, under the mask of zeros."""
    return b"\x82" + bytes([0x80 | 127]) + len(payload).to_bytes(8, "big") + bytes(4) + payload
