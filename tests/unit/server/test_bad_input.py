"""Whatever a client sends, it gets a clear answer in the one shape, the book stays as it is, and others go on."""

from __future__ import annotations

import asyncio
import gc
import json
import re
from collections.abc import Callable, Coroutine
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orderbook.server.api_errors import errors_as_json
from orderbook.server.api_routes import ROUTES
from orderbook.server.application import MAX_BODY_BYTES, client_application
from unit.server.http_client import CheckedClient
from unit.server.members import PAIR, Members

GOOD = {"id": 1, "pair": PAIR, "side": "bid", "price": 100, "quantity": 10, "trader": "alice"}
JSON = {"Content-Type": "application/json"}
BIG = 1 << 53


async def served(http: CheckedClient) -> None:
    """Others go on: the member takes an order, and answers strongly."""
    [listed] = (await http.call("POST", "/v1/orders", [{**GOOD, "id": None}])).document["results"]
    await http.call("DELETE", f"/v1/orders/{listed['order_id']}")
    assert (await http.call("GET", f"/v1/book/{PAIR}")).document["bids"] == []


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("quantity", [0, -1, 10.0, 0.5, "10", True, None, BIG, 10**40, [], {}]),
        ("price", [0, -1, 10.0, 0.5, "10", True, BIG, 10**40, []]),
        ("id", [0, -1, 1.0, "1", True, 1 << 52, BIG, 10**40]),
        (
            "pair",
            [None, 5, "", "ETH", "ETH/", "/USDC", "ETH/USDC/X", "E TH/USDC", "E" * 33 + "/U", "ETH/USDC\n", "é/U"],
        ),
        ("side", [None, "BID", "buy", 1, ""]),
        ("trader", ["", 5, "x" * 257]),
        ("type", [None, "stop", 1]),
        ("time_in_force", [None, "day", 1]),
        ("expires", [0, -5, 1.5, "tomorrow", BIG]),
        ("post_only", [None, 1, "true"]),
        ("self_trade", [None, "both", 1]),
    ],
)
async def test_a_field_out_of_range_is_named(http: CheckedClient, field: str, values: list[Any]) -> None:
    for value in values:
        refused = await http.call("POST", "/v1/orders", {**GOOD, field: value}, 400)
        assert refused.error["code"] == "invalid_request"
        assert refused.error["problems"][0]["field"] == f"body.{field}"
        assert refused.error["problems"][0]["message"]
    await served(http)


async def test_a_missing_field_and_an_unknown_one_are_named(http: CheckedClient) -> None:
    for field in ("pair", "side", "quantity"):
        body = {key: value for key, value in GOOD.items() if key != field}
        refused = await http.call("POST", "/v1/orders", body, 400)
        assert refused.error["problems"] == [{"field": f"body.{field}", "message": "Field required"}]
    refused = await http.call("POST", "/v1/orders", {**GOOD, "postonly": True}, 400)
    assert refused.error["problems"][0]["field"] == "body.postonly"
    await served(http)


async def test_many_problems_are_told_but_not_all_of_thousands(http: CheckedClient) -> None:
    refused = await http.call("POST", "/v1/orders", [{"pair": PAIR}] * 1000, 400)
    assert 1 < len(refused.error["problems"]) <= 10


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{", b"[", b"]", b"null", b"5", b'"text"', b"\xff\xfe", b"\x00", b'{"quantity":NaN}', b"{'id':1}",
        b'{"pair":"A/B","side":"bid","quantity":1,"trader":"\\ud800"}',
        b'{"pair":"A/B","side":"bid","quantity":1,"trader":"\\udc00"}',
        b'{"pair":"A/B","side":"bid","quantity":1,"trader":"\xed\xa0\x80"}',
        b'{"a":' * 100_000, b"[" * 100_000, b'{"id":' + b"9" * 10_000 + b"}", b"[1,2,3]", b"[[]]", b"[null]",
    ],
)  # fmt: skip
async def test_what_is_no_json_object_or_list_of_them_is_refused(http: CheckedClient, data: bytes) -> None:
    refused = await http.call("POST", "/v1/orders", expect=400, data=data, headers=JSON)
    assert refused.error["problems"][0]["field"].startswith("body")
    await served(http)


async def test_a_body_is_at_most_1_mib(http: CheckedClient) -> None:
    just = b'{"pad":"' + b"x" * (MAX_BODY_BYTES - 10) + b'"}'
    assert len(just) == MAX_BODY_BYTES
    await http.call("POST", "/v1/orders", expect=400, data=BytesIO(just), headers=JSON)
    refused = await http.call("POST", "/v1/orders", expect=413, data=BytesIO(just + b" "), headers=JSON)
    assert refused.error["code"] == "body_too_large"
    await served(http)


async def test_a_body_says_that_it_is_json(http: CheckedClient) -> None:
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        refused = await http.call(
            "POST", "/v1/orders", expect=415, data=json.dumps(GOOD), headers={"Content-Type": content_type}
        )
        assert refused.error["code"] == "unsupported_media_type"
    with_charset = {"Content-Type": "application/json; charset=utf-8"}
    await http.call("POST", "/v1/orders", expect=201, data=json.dumps(GOOD), headers=with_charset)
    await http.call("POST", "/v1/halt", expect=415, data=b"{}", headers={"Content-Type": "text/plain"})


async def test_a_body_where_none_is_taken_is_refused(http: CheckedClient) -> None:
    for method, path in (("GET", "/v1/pairs"), ("DELETE", "/v1/orders/1"), ("POST", "/v1/resume")):
        refused = await http.call(method, path, {"cancel": True}, 400)
        assert refused.error["problems"][0]["field"] == "body"


@pytest.mark.parametrize(
    ("method", "path", "field"),
    [
        ("GET", "/v1/orders/0", "path.id"),
        ("GET", "/v1/orders/-1", "path.id"),
        ("GET", "/v1/orders/1.0", "path.id"),
        ("GET", "/v1/orders/abc", "path.id"),
        ("GET", "/v1/orders/%20%31", "path.id"),
        ("GET", "/v1/orders/1_0", "path.id"),
        ("GET", "/v1/orders/%D9%A3", "path.id"),
        ("GET", f"/v1/orders/{BIG}", "path.id"),
        ("DELETE", "/v1/orders/99999999999999999999999999", "path.id"),
        ("DELETE", "/v1/orders/1?quantity=0", "query.quantity"),
        ("DELETE", "/v1/orders/1?quantity=-5", "query.quantity"),
        ("DELETE", "/v1/orders/1?quantity=0.5", "query.quantity"),
        ("DELETE", "/v1/orders/1?quantity=", "query.quantity"),
        ("DELETE", "/v1/orders/1?amount=5", "query.amount"),
        ("DELETE", "/v1/orders/1?quantity=5&quantity=6", "query.quantity"),
        ("DELETE", "/v1/orders?pair=ETHUSDC", "query.pair"),
        ("DELETE", "/v1/orders?trader=", "query.trader"),
        ("GET", "/v1/orders?trader=%ED%A0%80" + "x" * 256, "query.trader"),
        ("GET", "/v1/orders?limit=10001", "query.limit"),
        ("GET", "/v1/book/E%20TH/USDC", "path.base"),
        ("GET", "/v1/book/ETH/U%2FSDC", "path.quote"),
        ("GET", f"/v1/book/{PAIR}?depth=0", "query.depth"),
        ("GET", f"/v1/book/{PAIR}?depth=1001", "query.depth"),
        ("GET", f"/v1/book/{PAIR}?consistency=eventual", "query.consistency"),
        ("GET", f"/v1/book/{PAIR}?consistency=weak&min_index=-1", "query.min_index"),
        ("GET", f"/v1/book/{PAIR}?consistency=weak&min_index=99999999999999999999", "query.min_index"),
        ("GET", "/v1/fills?since=5", "query.since"),
        ("GET", "/v1/fills?since=5,-1", "query.since"),
        ("GET", "/v1/fills?since=5,1,2", "query.since"),
    ],
)  # fmt: skip
async def test_a_parameter_out_of_range_is_named(http: CheckedClient, method: str, path: str, field: str) -> None:
    refused = await http.call(method, path, expect=400)
    assert refused.error["problems"][0]["field"] == field


async def test_unknown_routes_and_methods_are_told_in_json(http: CheckedClient) -> None:
    for path in ("/", "/v1", "/v2/orders", "/v1/orders/1/2", "/v1/book/ETH", "/v1/pairs/", "/%00", "/v1/streams/x"):
        assert (await http.call("GET", path, expect=404)).error["code"] == "not_found"
    refused = await http.call("PUT", "/v1/orders", GOOD, 405)
    assert (refused.error["code"], refused.headers["Allow"]) == ("method_not_allowed", "DELETE,GET,POST")


async def test_a_request_that_is_no_http_ends_its_connection_only(http: CheckedClient) -> None:
    server = http.client.server
    for sent in (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x00" * 20_000):
        reader, writer = await asyncio.open_connection(server.host, server.port)
        writer.write(sent)
        writer.write_eof()
        answer = await reader.read()
        assert answer == b"" or b" 400 " in answer.split(b"\r\n", 1)[0]
        writer.close()
    await served(http)


async def test_a_request_that_never_ends_holds_nobody_up(http: CheckedClient) -> None:
    server = http.client.server
    _, writer = await asyncio.open_connection(server.host, server.port)
    writer.write(
        b"POST /v1/orders HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{"
    )
    await writer.drain()
    await served(http)
    writer.close()


async def test_a_client_that_goes_away_in_the_middle_is_no_fault_of_ours(caplog: pytest.LogCaptureFixture) -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def read(request: web.Request) -> web.Response:
        began.set()
        try:
            return web.Response(body=await request.read())
        finally:
            ended.set()

    application = web.Application(middlewares=[errors_as_json])
    application.router.add_post("/", read)
    runner = web.AppRunner(application)  # as in a node; aiohttp's test server would cancel the handler
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with asyncio.timeout(60):
        _, writer = await asyncio.open_connection(*runner.addresses[0][:2])
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{")
        await began.wait()
        writer.close()
        await ended.wait()
        await runner.cleanup()
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


async def test_a_refusal_leaves_nothing_behind_that_must_be_searched_for(alone: Members) -> None:
    runner = web.AppRunner(client_application(alone.runtime, alone.groups["a"]))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    reader, writer = await asyncio.open_connection(*runner.addresses[0][:2])

    async def ask(body: bytes, status: bytes) -> None:
        head = b"POST /v1/orders HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        writer.write(head % len(body) + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        assert b" %s " % status in answer
        await reader.readexactly(int(re.findall(rb"(?i)content-length: ([0-9]+)", answer)[0]))

    invalid, rejected = b"{}", b'{"pair":"NO/PAIR","side":"bid","price":1,"quantity":1}'
    try:
        for turn in range(2):  # what is made once only is made in the first
            gc.collect()
            gc.disable()
            for _ in range(100 * turn + 1):
                await ask(invalid, b"400")
                await ask(rejected, b"422")
        assert gc.collect() < 100
    finally:
        gc.enable()
    writer.close()
    await runner.cleanup()


# --- anything at all --------------------------------------------------------------------------------------------------

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
ALMOST = {
    "id": st.integers(-2, 1 << 54),
    "pair": st.sampled_from([PAIR, "NO/PAIR", "x", ""]),
    "side": st.sampled_from(["bid", "ask", "BID"]),
    "price": st.integers(-2, 120) | st.integers(),
    "quantity": st.integers(-2, 50) | st.integers() | st.floats(),
    "trader": st.text(max_size=5),
    "type": st.sampled_from(["limit", "market", "stop"]),
    "time_in_force": st.sampled_from(["gtc", "ioc", "fok", "gtd"]),
    "expires": st.integers(-2, 1 << 54),
    "post_only": st.booleans(),
    "self_trade": st.sampled_from(["allow", "cancel_newest", "cancel_oldest", "cancel_both"]),
}
ORDER = st.fixed_dictionaries({}, optional={name: kind | ANYTHING for name, kind in ALMOST.items()})
FEWER = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def against_a_member(
    tmp_path: Path, examples: Callable[[Callable[[Coroutine[Any, Any, None]], None], CheckedClient], None]
) -> None:
    """Run the examples of a property one by one against one member; at the end it must still serve."""
    with asyncio.Runner() as runner:

        async def begin() -> tuple[Members, CheckedClient]:
            members = Members(tmp_path, tick=0.01)
            await members.begin("a")
            return members, await CheckedClient.open(client_application(members.runtime, members.groups["a"]))

        async def end() -> None:
            await http.call("POST", "/v1/halt", {"cancel": True})
            await http.call("POST", "/v1/resume")
            await http.call("POST", f"/v1/pairs/{PAIR}/resume")
            await served(http)
            await http.close()
            await members.close()

        members, http = runner.run(begin())
        examples(runner.run, http)
        runner.run(end())


async def send(http: CheckedClient, method: str, path: str, data: bytes) -> int:
    answer = await http.client.request(method, path, data=data, headers=JSON)
    http.check(method, path, answer.status, answer.headers, await answer.json())
    return answer.status


def test_any_order_is_taken_rejected_or_refused_as_described(tmp_path: Path) -> None:
    statuses: set[int] = set()

    def examples(run: Any, http: CheckedClient) -> None:
        @FEWER
        @given(st.one_of(ORDER, st.lists(ORDER, max_size=5), ANYTHING))
        def any_order(body: Any) -> None:
            statuses.add(run(send(http, "POST", "/v1/orders", json.dumps(body).encode())))

        any_order()

    against_a_member(tmp_path, examples)
    assert statuses <= {200, 201, 400, 422}
    assert 400 in statuses


def test_any_bytes_are_refused_as_described(tmp_path: Path) -> None:
    with_body = [(route.method, route.path) for route in ROUTES if route.body is not None]

    def examples(run: Any, http: CheckedClient) -> None:
        @FEWER
        @given(
            st.sampled_from(with_body),
            st.binary(max_size=200) | ANYTHING.map(lambda value: json.dumps(value).encode()),
        )
        def any_bytes(route: tuple[str, str], data: bytes) -> None:
            method, template = route
            path = template.replace("{base}/{quote}", PAIR).replace("{id}", "1")
            assert run(send(http, method, path, data)) < 500

        any_bytes()

    against_a_member(tmp_path, examples)


def test_any_path_and_query_are_answered_as_described(tmp_path: Path) -> None:
    reading = [route for route in ROUTES if route.method == "GET" and route.path != "/v1/group"]
    names = st.sampled_from(["consistency", "depth", "pair", "since", "limit", "trader", "x"])
    values = st.text(max_size=8) | st.sampled_from(["weak", "strong", "5", "0,0", PAIR, "-1", "99999999999999999999"])

    def examples(run: Any, http: CheckedClient) -> None:
        async def ask(template: str, parts: list[str], query: dict[str, str]) -> None:
            path = template
            for name, part in zip(("{base}", "{quote}", "{id}"), parts, strict=True):
                path = path.replace(name, part)
            answer = await http.client.get(path, params=query)
            assert answer.status in (200, 400, 404), await answer.text()
            if answer.status == 404:
                assert (await answer.json())["error"]["code"] in ("unknown_pair", "unknown_order", "not_found")

        @FEWER
        @given(
            st.sampled_from([route.path for route in reading]),
            st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=6), min_size=3, max_size=3),
            st.dictionaries(names, values, max_size=3),
        )
        def any_query(template: str, parts: list[str], query: dict[str, str]) -> None:
            run(ask(template, [part.replace("?", "x").replace("#", "x") for part in parts], query))

        any_query()

    against_a_member(tmp_path, examples)
