"""What a client proves itself with: a token that stays, one that is renewed, and none that a node takes."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from orderbook.book import Order, Side
from orderbook.client.api import ApiClient, ApiRefused
from orderbook.client.credentials import ClientCredentials, NotAuthorized
from orderbook.client.network import Network
from orderbook.network.certificates import new_authority
from orderbook.server.application import client_application
from orderbook.server.client_sockets import ClientSockets
from orderbook.streams.feed import Feeds
from orderbook.tokens import TokenKeys
from unit.server.members import PAIR, SECONDS, Members, until
from unit.server.tokens import Minter

MINTER = Minter()


class Guarded:
    """A group of one member on a real port, that wants tokens."""

    def __init__(self, members: Members) -> None:
        self.members = members
        self.access = MINTER.access()
        self.sockets = ClientSockets(members.runtime, self.access)
        self.feeds = Feeds(members.runtime, members.groups["a"])
        application = client_application(
            members.runtime, members.groups["a"], self.feeds, access=self.access, sockets=self.sockets
        )
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.5)
        self.url = ""

    async def start(self) -> None:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def close(self) -> None:
        self.feeds.close()
        await self._runner.cleanup()


@pytest_asyncio.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Guarded]:
    members = Members(tmp_path, tick=0.01)
    await members.begin("a")
    guarded = Guarded(members)
    await guarded.start()
    yield guarded
    await guarded.close()
    await members.close()


def bid(id: int) -> Order:
    return Order(id, PAIR, Side.BID, 5, 1, "alice")


async def test_orders_of_whom_no_node_lets_in_end_at_once(guarded: Guarded) -> None:
    client = await Network.connect([guarded.url], MINTER.token("trader", "alice", now=time.time() - 7200))
    orders = client.streams.produce(Order)
    with pytest.raises(NotAuthorized, match="the token has expired"):
        await orders.when(SECONDS).subscribed()
    with pytest.raises(NotAuthorized, match="the token has expired"):
        await orders.send(bid(1))
    await client.close()


async def test_a_token_file_that_is_renewed_goes_on_in_its_session(guarded: Guarded, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(MINTER.token("trader", "alice"))
    client = await Network.connect([guarded.url], token_file=file)
    orders = client.streams.produce(Order, cancel_on_disconnect=True)
    await orders.send(bid(1))
    newer = Minter()
    guarded.access.keys = TokenKeys.parse(newer.jwks)
    guarded.sockets.recheck()
    await until(lambda: len(guarded.sockets) == 0, "the socket of the dropped key ended")
    waiting = orders.send(bid(2))
    file.write_text(newer.token("trader", "alice"))
    assert (await waiting).rejected is None
    document = await ApiClient(
        guarded.members.runtime, client._http, [guarded.url], ClientCredentials(token_file=file)
    ).orders()
    assert [order["id"] for order in document["orders"]] == [1, 2], "the session went on: nothing was cancelled"
    await client.close()


async def test_calls_wait_for_the_file_and_not_for_a_token_that_stays(guarded: Guarded, tmp_path: Path) -> None:
    file = tmp_path / "token"
    expired = MINTER.token("trader", "alice", now=time.time() - 7200)
    file.write_text(expired)
    runtime = guarded.members.runtime
    async with aiohttp.ClientSession() as http:
        fixed = ApiClient(runtime, http, [guarded.url], ClientCredentials(expired), patience=SECONDS)
        with pytest.raises(ApiRefused, match="the token has expired"):
            await fixed.pairs()
        renewed = ApiClient(runtime, http, [guarded.url], ClientCredentials(token_file=file), patience=SECONDS)
        runtime.call_later(0.2, file.write_text, MINTER.token("trader", "alice"))
        assert (await renewed.pairs())["pairs"]
        file.write_text(expired)
        impatient = ApiClient(runtime, http, [guarded.url], ClientCredentials(token_file=file), patience=0.0)
        with pytest.raises(ApiRefused, match="the token has expired"):
            await impatient.pairs()


def test_a_file_that_is_gone_for_a_moment_leaves_the_last_token(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("one\n")
    credentials = ClientCredentials(token_file=file)
    file.unlink()
    assert credentials.request_options()["headers"] == {"Authorization": "Bearer one"}
    file.write_text("two")
    assert credentials.request_options({"A": "b"})["headers"] == {"Authorization": "Bearer two", "A": "b"}


def test_authorities_are_read_again_when_they_change(tmp_path: Path) -> None:
    file = tmp_path / "ca.crt"
    file.write_text(new_authority("one", time.time(), 60).certificate)
    credentials = ClientCredentials(ca=file)
    first = credentials.request_options()["ssl"]
    assert credentials.request_options()["ssl"] is first, "connections are kept by context"
    file.write_text("no certificate")
    assert credentials.request_options()["ssl"] is first
    file.write_text(new_authority("two", time.time(), 60).certificate)
    assert credentials.request_options()["ssl"] is not first


def test_who_makes_tokens_is_asked_at_each_call() -> None:
    made = iter(("one", "two", "three"))
    credentials = ClientCredentials(lambda: next(made))
    assert credentials.has_token and credentials.renewable
    told = [credentials.request_options()["headers"]["Authorization"] for _ in range(2)]
    assert told == ["Bearer two", "Bearer three"]
    with pytest.raises(ValueError, match="token"):
        ClientCredentials(lambda: "a b")


def test_what_is_no_credential(tmp_path: Path) -> None:
    for arguments in ({"token": "a b"}, {"token": ""}, {"token": "a\nX: y"}, {"token": "a", "token_file": tmp_path}):
        with pytest.raises(ValueError, match="token"):
            ClientCredentials(**arguments)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="No such file"):
        ClientCredentials(token_file=tmp_path / "none")
    with pytest.raises(ValueError, match="No such file"):
        ClientCredentials(ca=tmp_path / "none")
