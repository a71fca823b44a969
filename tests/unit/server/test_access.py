"""Who is let in by HTTP and WebSocket, and what happens to open sockets when their grant is over."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack
from unittest.mock import Mock

import pytest
import pytest_asyncio
from aiohttp import WSServerHandshakeError, web
from aiohttp.test_utils import TestClient, TestServer

from orderbook.server.access import KEY_DROPPED, Grant, OpenAccess, TokenAccess
from orderbook.server.application import client_application
from orderbook.server.client_sockets import ClientSockets
from orderbook.streams.feed import Feeds
from orderbook.streams.members import MemberStreams
from orderbook.tokens import Refusal, TokenKeys
from orderbook.wire.feed_frames import JSON_SUBPROTOCOL
from orderbook.wire.order_frames import SUBPROTOCOL
from orderbook.wire.roles import Role
from unit.server.http_client import CheckedClient
from unit.server.members import PAIR, SECONDS, LocalChannel, Members, until
from unit.server.tokens import Minter

MINTER = Minter()


class House:
    """A node's clients' side, with the doors in the hand of the test."""

    def __init__(self, members: Members, access: TokenAccess | OpenAccess) -> None:
        self.access = access
        self.sockets = ClientSockets(members.runtime, access)
        group = members.groups["a"]
        self.feeds = Feeds(members.runtime, group)
        self.application = client_application(members.runtime, group, self.feeds, access=access, sockets=self.sockets)

    async def open(self) -> CheckedClient:
        return await CheckedClient.open(self.application)


@pytest_asyncio.fixture
async def house(alone: Members) -> AsyncIterator[tuple[House, CheckedClient]]:
    house = House(alone, MINTER.access())
    client = await house.open()
    yield house, client
    await client.close()
    house.feeds.close()


async def closed(socket) -> tuple[int | None, str]:
    """Code and reason of a WebSocket's end."""
    async with asyncio.timeout(SECONDS):
        while True:
            message = await socket.receive()
            if message.type.name in ("CLOSE", "CLOSED", "CLOSING"):
                return socket.close_code, str(message.extra or "")


# --- HTTP -------------------------------------------------------------------------------------------------------------


async def test_without_a_token_it_is_401_with_a_bare_challenge(house: tuple[House, CheckedClient]) -> None:
    reply = await house[1].call("GET", "/v1/pairs", expect=401)
    assert reply.error["reason"] == "token_missing"
    assert reply.headers["WWW-Authenticate"] == 'Bearer realm="orderbook"'


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("Bearer x", "token_malformed"),
        ("Basic YWxpY2U6eA==", "token_malformed"),
        ("Bearer", "token_malformed"),
        (f"Bearer {MINTER.token('trader', 'alice', now=time.time() - 7200)}", "token_expired"),
        (f"Bearer {Minter().token('trader', 'alice')}", "token_key_unknown"),
    ],
)
async def test_a_bad_token_is_401_that_says_why(house: tuple[House, CheckedClient], header: str, reason: str) -> None:
    reply = await house[1].call("GET", "/v1/pairs", expect=401, headers={"Authorization": header})
    assert reply.error["reason"] == reason
    assert 'error="invalid_token"' in reply.headers["WWW-Authenticate"]
    assert isinstance(house[0].access, TokenAccess)
    assert house[0].access.refused[Refusal(reason)] == 1


async def test_a_role_that_is_not_enough_is_403(house: tuple[House, CheckedClient]) -> None:
    http = house[1]
    order = {"pair": PAIR, "side": "bid", "price": 5, "quantity": 9}
    reply = await http.call("POST", "/v1/orders", order, 403, headers=MINTER.header("observer", "eve"))
    assert 'error="insufficient_scope"' in reply.headers["WWW-Authenticate"]
    await http.call("POST", "/v1/halt", expect=403, headers=MINTER.header("trader", "alice"))
    await http.call("GET", "/v1/pairs", headers=MINTER.header("observer", "eve"))
    await http.call("GET", "/v1/pairs", headers={"Authorization": f"bearer  {MINTER.token('trader', 'alice')}"})


async def test_two_tokens_are_none(house: tuple[House, CheckedClient]) -> None:
    token = MINTER.token("trader", "alice")
    both = {"Authorization": f"Bearer {token}", "Sec-WebSocket-Protocol": f"{JSON_SUBPROTOCOL}, bearer.{token}"}
    await house[1].call("GET", "/v1/pairs", expect=400, headers=both)


async def test_anonymous_observers_where_they_are_wanted(alone: Members) -> None:
    client = await CheckedClient.open(
        client_application(alone.runtime, alone.groups["a"], access=MINTER.access("observer"))
    )
    await client.call("GET", f"/v1/book/{PAIR}")
    await client.call("GET", "/v1/orders", expect=403)
    await client.call("GET", f"/v1/book/{PAIR}", expect=401, headers={"Authorization": "Bearer x"})
    await client.close()


async def test_the_status_says_how_clients_are_known(house: tuple[House, CheckedClient], http: CheckedClient) -> None:
    reply = await house[1].call("GET", "/v1/group", headers=MINTER.header("observer", "eve"))
    assert reply.document["auth"] == "tokens"
    document = (await http.call("GET", "/v1/group")).document
    assert document["auth"] == "none" and document["credentials"]["token_keys"] is None


# --- WebSockets -------------------------------------------------------------------------------------------------------


async def test_a_browser_sends_its_token_as_a_subprotocol(house: tuple[House, CheckedClient], caplog) -> None:
    token = MINTER.token("observer", "eve")
    client = house[1].client
    async with client.ws_connect("/v1/streams/fills", protocols=(JSON_SUBPROTOCOL, f"bearer.{token}")) as socket:
        assert socket.protocol == JSON_SUBPROTOCOL
    with pytest.raises(WSServerHandshakeError) as raised:
        await client.ws_connect("/v1/streams/fills", protocols=(f"bearer.{token}",))
    assert raised.value.status == 400
    with pytest.raises(WSServerHandshakeError) as raised:
        await client.ws_connect("/v1/streams/fills", protocols=(JSON_SUBPROTOCOL, "bearer.x"))
    assert raised.value.status == 401
    assert token not in caplog.text


@pytest.mark.parametrize("path", ["orders", "fills"])
async def test_expiry_ends_an_open_socket(house: tuple[House, CheckedClient], path: str) -> None:
    header = {"Authorization": f"Bearer {MINTER.token('trader', 'alice', 4.0)}"}
    protocols = (SUBPROTOCOL,)
    async with house[1].client.ws_connect(f"/v1/streams/{path}", headers=header, protocols=protocols) as socket:
        assert await closed(socket) == (1008, "token_expired")
    await until(lambda: len(house[0].sockets) == 0, "it is forgotten")


async def test_a_key_that_is_dropped_ends_the_sockets_that_it_opened(house: tuple[House, CheckedClient]) -> None:
    doors, http = house
    newer = Minter()
    assert isinstance(doors.access, TokenAccess)
    doors.access.keys = TokenKeys.parse(newer.jwks.replace('"keys": [', '"keys": [' + MINTER.jwks[13:-5] + ","))
    old = await http.client.ws_connect("/v1/streams/fills", headers=MINTER.header("observer", "eve"))
    new = await http.client.ws_connect("/v1/streams/fills", headers=newer.header("observer", "eve"))
    doors.access.keys = TokenKeys.parse(newer.jwks)
    doors.sockets.recheck()
    assert await closed(old) == (1008, KEY_DROPPED)
    await http.call("GET", "/v1/pairs", expect=401, headers=MINTER.header("observer", "eve"))
    await http.call("GET", "/v1/pairs", headers=newer.header("observer", "eve"))
    assert not new.closed and len(doors.sockets) == 1
    await new.close()


@pytest.mark.parametrize("path", ["orders", "fills"])
async def test_a_node_that_leaves_sends_its_clients_on(house: tuple[House, CheckedClient], path: str) -> None:
    doors, http = house
    header = MINTER.header("trader", "alice")
    socket = await http.client.ws_connect(f"/v1/streams/{path}", headers=header, protocols=(SUBPROTOCOL,))
    doors.sockets.leave()
    assert await closed(socket) == (1001, "going_away")
    with pytest.raises(WSServerHandshakeError) as raised:
        await http.client.ws_connect(f"/v1/streams/{path}", headers=header, protocols=(SUBPROTOCOL,))
    assert raised.value.status == 503


# --- without tokens ---------------------------------------------------------------------------------------------------


@pytest_asyncio.fixture
async def open_house(alone: Members) -> AsyncIterator[CheckedClient]:
    house = House(alone, OpenAccess(loopback=True))
    client = await house.open()
    yield client
    await client.close()
    house.feeds.close()


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://elsewhere.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://127.0.0.1:1"},
        {"Host": "rebound.example:8443"},
    ],
)
async def test_a_page_of_another_site_is_refused(open_house: CheckedClient, headers: dict[str, str]) -> None:
    await open_house.call("POST", "/v1/resume", expect=403, headers=headers)
    for path in ("orders", "fills"):
        with pytest.raises(WSServerHandshakeError) as raised:
            await open_house.client.ws_connect(f"/v1/streams/{path}", headers=headers)
        assert raised.value.status == 403


async def test_a_page_of_its_own_and_programs_are_not(open_house: CheckedClient) -> None:
    own = f"127.0.0.1:{open_house.client.port}"
    await open_house.call("POST", "/v1/resume")
    await open_house.call("POST", "/v1/resume", headers={"Origin": f"http://{own}", "Sec-Fetch-Site": "same-origin"})
    await open_house.call("GET", "/v1/pairs", headers={"Sec-Fetch-Site": "cross-site"})  # a link; nobody reads it
    await open_house.call("GET", "/v1/pairs", headers={"Host": "localhost:1"})
    await open_house.call("GET", "/v1/pairs", expect=403, headers={"Host": "rebound.example"})


async def test_elsewhere_than_on_loopback_any_name_will_do(alone: Members) -> None:
    application = client_application(alone.runtime, alone.groups["a"], access=OpenAccess())
    client: TestClient[web.Request, web.Application] = TestClient(TestServer(application))
    await client.start_server()
    async with client.get("/v1/pairs", headers={"Host": "eth.trading.svc:8443"}) as answer:
        assert answer.status == 200
    await client.close()


# --- how many --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["orders", "fills", "members"])
async def test_streams_are_bounded_in_number_and_by_principal(alone: Members, path: str) -> None:
    house = House(alone, MINTER.access())
    house.sockets = ClientSockets(alone.runtime, house.access, most=3, most_of_one=2)
    streams = MemberStreams(alone.runtime, LocalChannel({}, "a"), "a")
    application = client_application(
        alone.runtime, alone.groups["a"], house.feeds, access=house.access, sockets=house.sockets, streams=streams
    )
    client = await CheckedClient.open(application)

    async def connect(name: str):
        url = f"/v1/streams/{path}"
        return await client.client.ws_connect(url, headers=MINTER.header("admin", name), protocols=(SUBPROTOCOL,))

    async def refused(name: str) -> str:
        url = f"/v1/streams/{path}"
        answer = await client.client.get(url, headers=MINTER.header("admin", name))
        assert answer.status == 503 and "Retry-After" in answer.headers
        error = (await answer.json())["error"]
        with pytest.raises(WSServerHandshakeError) as raised:
            await connect(name)
        assert raised.value.status == 503
        return str(error.get("reason") or error["code"])

    first, second = await connect("alice"), await connect("alice")
    await until(lambda: len(house.sockets) == 2, "both are open")
    assert await refused("alice") == "too_many_streams_of_one"
    third = await connect("bob")
    await until(lambda: len(house.sockets) == 3, "another's is open")
    assert await refused("carol") == "too_many_streams"
    await first.close()
    await until(lambda: len(house.sockets) == 2, "one ends")
    fourth = await connect("alice")
    for socket in (second, third, fourth):
        assert not socket.closed
        await socket.close()
    await client.close()
    house.feeds.close()


async def test_of_streams_that_come_at_once_the_last_are_told_to_try_later(alone: Members) -> None:
    house = House(alone, OpenAccess())
    house.sockets = ClientSockets(alone.runtime, house.access, most=2, most_of_one=1)  # without tokens nobody is one
    grant = Grant("admin", Role.ADMIN)
    closed = []
    with ExitStack() as stack:
        for _ in range(3):
            connection = Mock(close=closed.append)
            stack.enter_context(house.sockets.opened(connection, grant))
    assert closed == ["too_many_streams"]
    assert len(house.sockets) == 0 and house.sockets._of_one == {}
    house.feeds.close()
