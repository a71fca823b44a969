"""The order stream as a browser uses it: text, its token as a subprotocol, every reply as /openapi.json says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from orderbook.book.constants import FIRST_ASSIGNED_ID
from orderbook.server.application import client_application
from orderbook.streams.feed import Feeds
from orderbook.wire.feed_frames import JSON_SUBPROTOCOL
from orderbook.wire.order_frames import SUBPROTOCOL
from unit.server.http_client import CheckedClient
from unit.server.json_schema import Schema
from unit.server.members import PAIR, Members
from unit.server.tokens import Minter

PATH = "/v1/streams/orders"
MINTER = Minter()
BID = {"op": "place", "pair": PAIR, "side": "bid", "price": 5, "quantity": 3}


class Page:
    """A page of a browser: it can send no header, and holds what it sends and gets against the description."""

    def __init__(self, http: CheckedClient, socket: aiohttp.ClientWebSocketResponse) -> None:
        described = http.described["paths"][PATH]["get"]["x-websocket"]
        self.socket = socket
        self.client = Schema(http.described, described["client"])
        self.node = Schema(http.described, described["node"])

    @classmethod
    async def open(cls, http: CheckedClient, name: str, role: str = "trader") -> Page:
        socket = await http.client.ws_connect(PATH, protocols=(JSON_SUBPROTOCOL, f"bearer.{MINTER.token(role, name)}"))
        assert socket.protocol == JSON_SUBPROTOCOL
        return cls(http, socket)

    async def ask(self, type: str, **fields: Any) -> Any:
        request = {"type": type, "request": 7, **fields}
        self.client.check(request)
        await self.socket.send_json(request)
        reply = await self.socket.receive_json()
        self.node.check(reply)
        assert reply["request"] == 7
        return reply

    async def session(self, **terms: Any) -> int:
        opened = await self.ask("open", **{"timeout_ms": 30_000} | terms)
        assert (opened["type"], opened["timeout_ms"]) == ("opened", 30_000)
        return int(opened["session"])

    async def batch(self, session: int, first: int, *commands: Any) -> Any:
        return await self.ask("batch", session=session, first=first, commands=list(commands))


@pytest_asyncio.fixture
async def http(alone: Members) -> AsyncIterator[CheckedClient]:
    group = alone.groups["a"]
    feeds = Feeds(alone.runtime, group)
    client = await CheckedClient.open(client_application(alone.runtime, group, feeds, access=MINTER.access()))
    yield client
    await client.close()
    feeds.close()


async def test_a_page_places_orders_and_gets_outcomes_and_fills(http: CheckedClient) -> None:
    alice, bob = await Page.open(http, "alice"), await Page.open(http, "bob")
    fills = await http.client.ws_connect(
        "/v1/streams/fills", protocols=(JSON_SUBPROTOCOL, f"bearer.{MINTER.token('trader', 'alice')}")
    )
    assert (await fills.receive_json())["type"] == "subscribed"
    buying, selling = await alice.session(), await bob.session()
    placed = await alice.batch(buying, 1, BID | {"id": 1}, BID | {"quantity": 9, "price": 4})
    (accepted,), (assigned,) = placed["results"]
    assert (placed["type"], accepted["event"], accepted["order_id"], accepted["resting"]) == (
        "answer",
        "accepted",
        1,
        3,
    )
    assert accepted["sequence"] == [placed["index"], 0] and assigned["sequence"] == [placed["index"], 1]
    assert assigned["order_id"] >= FIRST_ASSIGNED_ID
    sold = await bob.batch(selling, 1, BID | {"side": "ask", "quantity": 2, "id": 2})
    assert [event["event"] for event in sold["results"][0]] == ["accepted", "fill"]
    while (frame := await fills.receive_json())["type"] != "events":
        assert frame["type"] == "mark"
    (fill,) = frame["events"]
    assert (fill["price"], fill["quantity"], fill["bid_trader"]) == (5, 2, "alice")
    assert fill["sequence"] == sold["results"][0][1]["sequence"]
    for socket in (alice.socket, bob.socket, fills):
        await socket.close()


async def test_all_commands_and_a_refusal_beside_them(http: CheckedClient) -> None:
    page = await Page.open(http, "alice")
    session = await page.session(cancel_on_close=True)
    answer = await page.batch(
        session,
        1,
        BID | {"id": 1},
        {"op": "amend", "id": 1, "quantity": 2},
        {"op": "cancel", "id": 1, "quantity": 1},
        {"op": "cancel", "id": 99},
        BID | {"time_in_force": "gtd"},
        {"op": "cancel_all", "pair": PAIR},
    )
    told = [[event["event"] for event in events] for events in answer["results"]]
    assert told == [
        ["accepted"],
        ["amended"],
        ["cancelled"],
        ["rejected"],
        ["rejected"],
        ["cancelled", "cancelled_all"],
    ]
    assert [answer["results"][n][0]["reason"] for n in (3, 4)] == ["unknown_order", "invalid_expiry"]
    again = await page.batch(session, 1, BID | {"id": 1})
    assert (again["type"], again["reason"], again["detail"]) == ("refused", "repeat_differs", 1)
    assert (await page.ask("keep_alive", session=session, acked=6))["type"] == "done"
    assert (await page.ask("close", session=session))["type"] == "done"
    assert (await page.ask("keep_alive", session=session))["reason"] == "session_unknown"
    await page.socket.close()


async def test_an_observer_is_refused_and_may_stay(http: CheckedClient) -> None:
    page = await Page.open(http, "eve", "observer")
    refused = await page.ask("open", timeout_ms=30_000)
    assert (refused["type"], refused["reason"]) == ("refused", "not_permitted")
    await page.socket.close()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "message: "),
        ("[]", "message: "),
        ("{}", "message: "),
        ('{"type": "buy"}', "message: "),
        ('{"type": "open", "request": 1}', "message.open.timeout_ms: "),
        ('{"type": "open", "request": -1, "timeout_ms": 5}', "message.open.request: "),
        ('{"type": "open", "request": 1, "timeout_ms": 5.5}', "message.open.timeout_ms: "),
        ('{"type": "open", "request": 1, "timeout_ms": 5, "x": 1}', "message.open.x: "),
        ('{"type": "close", "request": 1, "session": 9223372036854775808}', "message.close.session: "),
        ('{"type": "batch", "request": 1, "session": 1, "first": 1, "commands": []}', "message.batch.commands: "),
        (
            '{"type": "batch", "request": 1, "session": 1, "first": 1, "commands": [{"op": "amend", "id": 1}]}',
            "message.batch.commands[0].amend: ",
        ),
        (
            '{"type": "batch", "request": 1, "session": 1, "first": 1, "commands": [{"op": "place", "pair": "AB"}]}',
            "message.batch.commands[0].place.pair: ",
        ),
    ],
)
async def test_text_that_is_no_request_ends_its_connection_with_a_reason(
    http: CheckedClient, text: str, told: str
) -> None:
    page, other = await Page.open(http, "alice"), await Page.open(http, "bob")
    await page.socket.send_str(text)
    message = await page.socket.receive()
    assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, aiohttp.WSCloseCode.POLICY_VIOLATION)
    assert message.extra.startswith(f"malformed request: {told}")
    await other.session()
    await other.socket.close()


async def test_bytes_on_a_stream_of_text_are_refused(http: CheckedClient) -> None:
    page = await Page.open(http, "alice")
    await page.socket.send_bytes(b"{}")
    assert (await page.socket.receive()).extra == "this order stream takes text messages"


async def test_without_a_subprotocol_it_is_text_and_the_first_known_one_counts(http: CheckedClient) -> None:
    header = MINTER.header("trader", "alice")
    plain = await http.client.ws_connect(PATH, headers=header)
    await Page(http, plain).session()
    both = await http.client.ws_connect(PATH, headers=header, protocols=(SUBPROTOCOL, JSON_SUBPROTOCOL))
    assert both.protocol == SUBPROTOCOL
    await plain.close()
    await both.close()
