"""Feeds over real WebSockets: the routes of a node, and the client's source of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from orderbook.client.credentials import ClientCredentials
from orderbook.client.feed_socket import WebSocketFeedSource
from orderbook.client.feeds import Feed
from orderbook.groups.replica import Phase
from orderbook.server.access import Grant, OpenAccess
from orderbook.server.client_sockets import ClientSockets
from orderbook.server.runtime import AsyncioRuntime
from orderbook.server.stream_routes import add_stream_routes
from orderbook.streams.audience import FeedKind
from orderbook.streams.feed import FeedOptions
from orderbook.streams.market import FeedRefused, Token
from orderbook.wire.feed_frames import JSON_SUBPROTOCOL, MSGPACK_SUBPROTOCOL, unpack_feed_frame
from orderbook.wire.roles import Role
from unit.client.test_feeds import take, until
from unit.streams.log_node import INCARNATION, OTHER, PAIR, LogNode, ask, bid


class NamedInTheHeader(OpenAccess):
    def grant(self, request: web.Request) -> Grant:
        name = request.headers.get("Authorization", "Bearer root").removeprefix("Bearer ")
        if name == "nobody":
            raise web.HTTPUnauthorized
        return Grant(name, {"root": Role.ADMIN, "eve": Role.OBSERVER}.get(name, Role.TRADER))


class Site:
    """A node with its routes on a real port. The principal is named in the ``Authorization`` header of a test."""

    def __init__(self, runtime: AsyncioRuntime, node: LogNode) -> None:
        self.runtime = runtime
        self.node = node
        self.url = ""
        application = web.Application()
        add_stream_routes(application, runtime, node.feeds, ClientSockets(runtime, NamedInTheHeader()))
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)

    async def start(self) -> None:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        await self._runner.cleanup()
        self.node.feeds.close()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def site(http: aiohttp.ClientSession) -> AsyncIterator[Site]:
    failures: list[BaseException] = []
    runtime = AsyncioRuntime(failures.append)
    node = LogNode(options=FeedOptions(mark_every=0.02), runtime=runtime)
    node.define(PAIR, OTHER)
    made = Site(runtime, node)
    await made.start()
    yield made
    await made.stop()
    assert failures == []


async def text_frames(socket: aiohttp.ClientWebSocketResponse, count: int) -> list[dict]:
    return [json.loads(await asyncio.wait_for(socket.receive_str(), 5)) for _ in range(count)]


async def test_a_feed_over_a_socket_resumes_with_its_token(site, http):
    source = WebSocketFeedSource(http, [site.url])
    feed: Feed = Feed(site.runtime, source, FeedKind.EVENTS, start=(0, 0))
    assert [event.sequence for event in await take(feed, 2)] == [(1, 0), (1, 1)]
    token = feed.token
    assert token in (Token(INCARNATION, (1, 2)), Token(INCARNATION, (2, 0)))
    await feed.close()
    site.node.do(ask(1, 300), bid(2, 300, 4))
    again: Feed = Feed(site.runtime, source, FeedKind.EVENTS, start=token)
    assert [event.sequence for event in await take(again, 3)] == [(2, 0), (2, 1), (2, 2)]
    await again.close()
    await until(lambda: site.node.feeds.consumers() == [])


async def test_a_trader_gets_its_own_view(site, http):
    feed: Feed = Feed(site.runtime, WebSocketFeedSource(http, [site.url], ClientCredentials("alice")), FeedKind.EVENTS)
    await feed.when(5).subscribed()
    site.node.do(bid(1, 300), ask(2, 300, 4), bid(3, 200))
    seen = await take(feed, 2)
    assert [event.view.kind for event in seen] == [1, 3]
    assert seen[1].view.bid_trader == ""
    await feed.close()


@pytest.mark.parametrize("protocols", [(), (JSON_SUBPROTOCOL,), ("something else", JSON_SUBPROTOCOL)])
async def test_json_is_what_a_browser_gets(site, http, protocols):
    async with http.ws_connect(f"{site.url}/v1/streams/fills?pair={PAIR}", protocols=protocols) as socket:
        (first,) = await text_frames(socket, 1)
        assert first == {"type": "subscribed", "incarnation": INCARNATION.hex(), "next": [2, 0]}
        site.node.do(ask(1, 300), bid(2, 300, 4))
        frames = await text_frames(socket, 2)
        fills = next(frame for frame in frames if frame["type"] == "events")["events"]
        assert fills[0] | {"time_ms": 0} == {
            "event": "fill", "sequence": [2, 2], "bid_order_id": 2, "ask_order_id": 1, "pair": PAIR, "price": 300,
            "quantity": 4, "taker_side": "bid", "bid_open": 0, "ask_open": 6, "time_ms": 0, "bid_trader": "bob",
            "ask_trader": "alice",
        }  # fmt: skip


async def test_msgpack_is_what_a_program_gets(site, http):
    async with http.ws_connect(
        f"{site.url}/v1/streams/book?pair={PAIR}", protocols=(MSGPACK_SUBPROTOCOL, JSON_SUBPROTOCOL)
    ) as socket:
        assert socket.protocol == MSGPACK_SUBPROTOCOL
        frames = [unpack_feed_frame(await socket.receive_bytes()) for _ in range(2)]
        assert [frame[0] for frame in frames] == [1, 3]


async def test_a_gap_is_the_last_frame_and_the_reason_of_the_close(site, http):
    site.node.feeds.ring.restart(10)
    async with http.ws_connect(f"{site.url}/v1/streams/events?from=5,0") as socket:
        assert await text_frames(socket, 1) == [{"type": "gap", "first": [10, 0]}]
        closing = await socket.receive(5)
        assert closing.type is aiohttp.WSMsgType.CLOSE
        assert closing.extra == "gap"


async def test_oldest_is_all_that_the_node_has(site, http):
    site.node.do(ask(1, 300))
    site.node.feeds.ring.restart(3)
    site.node.do(ask(2, 300))
    async with http.ws_connect(f"{site.url}/v1/streams/events?from=oldest") as socket:
        first, second = await text_frames(socket, 2)
        assert (first["next"], second["index"]) == ([3, 0], 3)


async def test_a_client_that_talks_back_is_told_why_it_is_closed(site, http):
    async with http.ws_connect(f"{site.url}/v1/streams/events") as socket:
        await text_frames(socket, 1)
        await socket.send_str("hello")
        while (message := await socket.receive(5)).type is aiohttp.WSMsgType.TEXT:
            pass
        assert message.extra == "a feed takes no messages"
    await until(lambda: site.node.feeds.consumers() == [])


@pytest.mark.parametrize(
    ("path", "status", "code", "says"),
    [
        ("events?from=5", 400, "invalid_query", "from is a sequence"),
        ("events?from=-1,0", 400, "invalid_query", "from is a sequence"),
        ("events?from=9999999999999999999,0", 400, "invalid_query", "from is a sequence"),
        ("fills?incarnation=xyz", 400, "invalid_query", "incarnation is 32 hexadecimal digits"),
        ("fills?pair=ETHUSDC", 400, "invalid_query", "pair is BASE/QUOTE"),
        ("fills?since=1,0", 400, "invalid_query", "'since' is no parameter"),
        ("book?pair=XRP/USDC", 404, "unknown_pair", "XRP/USDC is no pair"),
        ("book", 426, "upgrade_required", "WebSocket"),
    ],
)
async def test_a_bad_request_is_refused_before_the_socket_opens(site, http, path, status, code, says):
    async with http.get(f"{site.url}/v1/streams/{path}") as response:
        assert response.status == status
        error = (await response.json())["error"]
        assert error["code"] == code
        assert says in error["message"]


async def test_a_node_that_serves_nobody_says_503_and_why(site, http):
    site.node.group.replica.phase = Phase.QUARANTINED
    async with http.get(f"{site.url}/v1/streams/fills") as response:
        assert (response.status, (await response.json())["error"]["code"]) == (503, "quarantined")


async def test_a_refused_feed_says_what_the_node_said(site, http):
    feed: Feed = Feed(site.runtime, WebSocketFeedSource(http, [site.url]), FeedKind.BOOK, pair="XRP/USDC", patience=0)
    with pytest.raises(FeedRefused, match="XRP/USDC is no pair of this group"):
        await take(feed, 1)
    stranger: Feed = Feed(
        site.runtime, WebSocketFeedSource(http, [site.url], ClientCredentials("nobody")), FeedKind.FILLS
    )
    with pytest.raises(FeedRefused, match="401"):
        await take(stranger, 1)


async def test_a_socket_that_dies_sends_the_feed_to_the_next_node(site, http):
    other = LogNode(site.node.log, FeedOptions(mark_every=0.02), runtime=site.runtime)
    other.follow()
    second = Site(site.runtime, other)
    await second.start()
    feed: Feed = Feed(site.runtime, WebSocketFeedSource(http, [site.url, second.url]), FeedKind.EVENTS)
    await feed.when(5).subscribed()
    site.node.do(ask(1, 300))
    await take(feed, 1)
    await site.stop()
    other.follow()
    other.do(ask(2, 300))
    assert [event.sequence for event in await take(feed, 1)] == [(3, 0)]
    assert feed.address == second.url
    await feed.close()
    await second.stop()


async def test_a_refusal_that_is_over_when_its_reason_is_asked_for_is_none(http):
    async def changes_its_mind(request: web.Request) -> web.Response:
        status = 404 if "Upgrade" in request.headers else 426  # a pair was defined between the two
        return web.json_response(
            {"error": {"code": "upgrade_required", "message": "this is a WebSocket"}}, status=status
        )

    application = web.Application()
    application.router.add_get("/v1/streams/fills", changes_its_mind)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    with pytest.raises(ConnectionError, match="a moment later did not"):
        await WebSocketFeedSource(http, [url]).open_path(url, "/v1/streams/fills", {})
    await runner.cleanup()
