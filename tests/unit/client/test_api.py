"""The JSON client: which node it asks next, what it repeats, and what each ending means."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from orderbook.client.api import KEY_HEADER, ApiClient, ApiRefused, Unreachable
from orderbook.client.credentials import ClientCredentials
from orderbook.groups.errors import Unavailable, Uncertain
from orderbook.server.runtime import AsyncioRuntime


def failed(error: BaseException) -> None:
    raise error


class FakeNode:
    """Answers every request with what ``answers`` says next; the last one is repeated. Remembers what it got."""

    def __init__(self, name: str, *answers: tuple[int, object] | str) -> None:
        self.name = name
        self.answers = list(answers)
        self.got: list[tuple[str, str, str | None]] = []
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._answer)
        self._server = TestServer(application)

    async def start(self) -> None:
        await self._server.start_server()

    async def stop(self) -> None:
        await self._server.close()

    @property
    def url(self) -> str:
        return str(self._server.make_url("")).rstrip("/")

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/v1/group":
            return web.json_response({"name": self.name})
        self.got.append((request.method, request.path_qs, request.headers.get(KEY_HEADER)))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer == "breaks":
            assert request.transport is not None
            request.transport.abort()
            await asyncio.sleep(0)
            return web.Response()
        if answer == "hangs":
            await asyncio.sleep(30)
        status, document = answer  # type: ignore[misc]
        return web.json_response(document, status=int(status))


def error(code: str, **more: object) -> dict[str, object]:
    return {"error": {"code": code, "message": f"said {code}", **more}}


OK = (200, {"index": 7})
NOT_READY = (503, error("unavailable", reason="no_leader"))

Connect = Callable[..., ApiClient]


@pytest.fixture
async def nodes() -> AsyncIterator[Callable[..., object]]:
    started: list[FakeNode] = []
    session = aiohttp.ClientSession()

    async def start(*nodes: FakeNode, down: int = 0, patience: float = 5.0, attempt_timeout: float = 5.0) -> ApiClient:
        for node in nodes:
            await node.start()
            started.append(node)
        addresses = [f"http://127.0.0.1:{unused_port()}" for _ in range(down)] + [node.url for node in nodes]
        runtime = AsyncioRuntime(failed)
        return ApiClient(runtime, session, addresses, patience=patience, attempt_timeout=attempt_timeout)

    yield start
    await session.close()
    for node in started:
        await node.stop()


async def test_a_node_that_is_down_is_passed_over(nodes) -> None:
    node = FakeNode("a", OK)
    client = await nodes(node, down=2)
    assert await client.place({"pair": "A/B"}) == {"index": 7}
    assert client.address == node.url  # and asked first the next time


async def test_without_patience_every_node_is_asked_once(nodes) -> None:
    node = FakeNode("a", OK)
    client = await nodes(node, down=3, patience=0.0)
    assert await client.pairs() == {"index": 7}


async def test_a_node_that_is_not_ready_is_passed_over(nodes) -> None:
    first, second = FakeNode("a", NOT_READY), FakeNode("b", OK)
    client = await nodes(first, second)
    assert await client.transfer("b") == {"index": 7}
    assert len(first.got) == len(second.got) == 1


async def test_what_the_group_rejects_is_final(nodes) -> None:
    first, second = FakeNode("a", (422, error("rejected", reason="unknown_pair"))), FakeNode("b", OK)
    client = await nodes(first, second)
    with pytest.raises(ApiRefused) as raised:
        await client.place({"pair": "A/B"})
    assert (raised.value.status, raised.value.code, raised.value.reason) == (422, "rejected", "unknown_pair")
    assert second.got == []


async def test_a_keyed_call_is_repeated_under_its_key_when_an_answer_is_lost(nodes) -> None:
    first, second = FakeNode("a", "breaks"), FakeNode("b", (504, error("uncertain")), OK)
    client = await nodes(first, second)
    assert await client.place({"pair": "A/B"}) == {"index": 7}
    keys = [key for _, _, key in first.got + second.got]
    assert len(first.got) == len(second.got) == 2
    assert keys[0] is not None and len(set(keys)) == 1


async def test_a_call_without_a_key_is_not_repeated_when_an_answer_is_lost(nodes) -> None:
    first, second = FakeNode("a", "breaks"), FakeNode("b", OK)
    client = await nodes(first, second)
    with pytest.raises(Uncertain):
        await client.transfer("b")
    assert len(first.got) == 1 and second.got == []


async def test_a_read_is_repeated_when_an_answer_is_lost(nodes) -> None:
    first, second = FakeNode("a", "hangs"), FakeNode("b", OK)
    client = await nodes(first, second, attempt_timeout=0.05)
    assert await client.pairs() == {"index": 7}


async def test_the_leader_is_found_by_its_name(nodes) -> None:
    other = (421, error("not_leader", leader="c"))
    first, second, leader = FakeNode("a", other), FakeNode("b", other), FakeNode("c", OK)
    client = await nodes(first, second, leader)
    assert await client.transfer("b") == {"index": 7}
    assert len(first.got) == 1 and second.got == [] and len(leader.got) == 1


async def test_a_leader_that_is_not_among_the_nodes_is_named(nodes) -> None:
    first = FakeNode("a", (421, error("not_leader", leader="elsewhere")))
    client = await nodes(first, patience=0.1)
    with pytest.raises(Unavailable) as raised:
        await client.transfer("b")
    assert raised.value.reason == "no_leader"
    assert "not_leader" in str(raised.value)


async def test_nobody_reached_names_every_address(nodes) -> None:
    client = await nodes(down=2, patience=0.1)
    with pytest.raises(Unreachable) as raised:
        await client.place({"pair": "A/B"})
    assert all(address in str(raised.value) for address in client.addresses)


async def test_why_nobody_was_reached_is_the_same_for_every_client() -> None:
    """It becomes an Event and a status: an address in memory would make it another one in each process."""
    async with aiohttp.ClientSession() as session:
        credentials = ClientCredentials(tls=ssl.create_default_context())
        address = f"https://127.0.0.1:{unused_port()}"
        client = ApiClient(AsyncioRuntime(failed), session, [address], credentials, patience=0.0)
        with pytest.raises(Unreachable) as raised:
            await client.group()
    assert "Cannot connect" in str(raised.value)
    assert "0x" not in str(raised.value)


async def test_doubt_remains_doubt_when_patience_is_over(nodes) -> None:
    first = FakeNode("a", "breaks", NOT_READY)
    client = await nodes(first, patience=0.2)
    with pytest.raises(Uncertain):
        await client.place({"pair": "A/B"})


async def test_a_read_is_never_uncertain(nodes) -> None:
    client = await nodes(FakeNode("a", "breaks"), patience=0.1)
    with pytest.raises(Unavailable):
        await client.pairs()


async def test_an_address_that_is_asked_for_is_the_only_one(nodes) -> None:
    first, second = FakeNode("a", NOT_READY, OK), FakeNode("b", OK)
    client = await nodes(first, second)
    assert await client.snapshot(first.url) == {"index": 7}
    assert len(first.got) == 2 and second.got == []


async def test_what_is_no_node_is_refused(nodes) -> None:
    client = await nodes(FakeNode("a", (404, "a web server")))
    with pytest.raises(ApiRefused) as raised:
        await client.pairs()
    assert raised.value.code == "no_api"


async def test_paths_and_queries(nodes) -> None:
    node = FakeNode("a", OK)
    client = await nodes(node)
    await client.book("ETH/USDC", depth=3, consistency="weak")
    await client.fills(since=(5, 1))
    await client.halt("ETH/USDC", cancel=True)
    await client.cancel_all(trader="bob")
    assert [(method, path) for method, path, _ in node.got] == [
        ("GET", "/v1/book/ETH/USDC?depth=3&consistency=weak"),
        ("GET", "/v1/fills?since=5,1"),
        ("POST", "/v1/pairs/ETH/USDC/halt"),
        ("DELETE", "/v1/orders?trader=bob"),
    ]
