"""The order stream against nodes that misbehave: it leaves them, and no request is left without an end."""

import asyncio

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from orderbook.client import order_stream
from orderbook.client.order_stream import OrderStream
from orderbook.groups.errors import Unavailable, Uncertain
from orderbook.server.runtime import AsyncioRuntime
from orderbook.wire.order_frames import SUBPROTOCOL, ReplyKind, pack, unpack_request


class Node:
    """Answers each request with what ``reply`` makes of its number; None: it never answers."""

    def __init__(self, reply):
        self.connections = 0
        self.requests = 0
        self.reply = reply
        application = web.Application()
        application.router.add_get("/v1/streams/orders", self._serve)
        self.server = TestServer(application)

    async def _serve(self, request):
        socket = web.WebSocketResponse(protocols=(SUBPROTOCOL,))
        await socket.prepare(request)
        self.connections += 1
        async for message in socket:
            self.requests += 1
            reply = self.reply(unpack_request(message.data)[1])
            if reply is not None:
                await socket.send_bytes(reply)
        return socket

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server.port}"


def answers(number):
    return pack(ReplyKind.DONE, number)


def refuses(number):
    return pack(ReplyKind.UNAVAILABLE, number, "quarantined")


def says_nothing(_number):
    return None


@pytest.fixture
async def start(monkeypatch):
    monkeypatch.setattr(order_stream, "WATCH_SECONDS", 0.01)
    monkeypatch.setattr(order_stream, "REFUSING_SECONDS", 0.02)
    monkeypatch.setattr(order_stream, "REPLY_TIMEOUT_SECONDS", 0.05)
    failures, started, http = [], [], aiohttp.ClientSession()
    runtime = AsyncioRuntime(failures.append)

    async def start(*nodes):
        for node in nodes:
            await node.server.start_server()
        stream = OrderStream(runtime, http, [node.address for node in nodes])
        connected = asyncio.Event()
        stream.on_connected = connected.set
        started.append((stream, nodes))
        async with asyncio.timeout(15):
            await connected.wait()
        return stream

    yield start
    for stream, nodes in started:
        await stream.close()
        for node in nodes:
            await node.server.close()
    await http.close()
    assert not failures


async def ask(stream):
    ended = asyncio.get_running_loop().create_future()
    stream.keep_alive(5, 0, lambda _answer, error: ended.set_result(error))
    async with asyncio.timeout(15):
        return await ended


async def ask_until_answered(stream):
    """The errors on the way to an answer."""
    errors = []
    while True:
        error = await ask(stream)
        if error is None:
            return errors
        errors.append(error)
        await asyncio.sleep(0.002)


async def test_a_node_that_answers_is_kept(start):
    node, other = Node(answers), Node(answers)
    stream = await start(node, other)
    assert await ask_until_answered(stream) == []
    assert (node.requests, other.connections) == (1, 0)


async def test_a_node_that_only_refuses_is_left_for_the_next(start):
    node, other = Node(refuses), Node(answers)
    stream = await start(node, other)
    errors = await ask_until_answered(stream)
    assert {type(error) for error in errors} <= {Unavailable, Uncertain}
    assert errors[0].reason == "quarantined"
    assert other.requests == 1


async def test_a_node_that_never_answers_is_left_and_its_request_is_uncertain(start):
    node, other = Node(says_nothing), Node(answers)
    stream = await start(node, other)
    errors = await ask_until_answered(stream)
    assert isinstance(errors[0], Uncertain)
    assert other.requests == 1


async def test_a_connection_that_breaks_ends_what_waits_uncertain(start):
    node = Node(says_nothing)
    stream = await start(node)
    ended = asyncio.get_running_loop().create_future()
    stream.keep_alive(5, 0, lambda _answer, error: ended.set_result(error))
    await stream.close()
    assert isinstance(await ended, Uncertain)
