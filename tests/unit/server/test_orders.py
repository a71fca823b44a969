"""Orders over HTTP: what is answered, and what it did."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from orderbook.book.constants import FIRST_ASSIGNED_ID
from orderbook.groups.errors import Uncertain
from orderbook.server import api_calls
from orderbook.server.application import client_application
from unit.server.http_client import CheckedClient
from unit.server.members import PAIR, SECONDS, Members
from unit.server.tokens import Minter


def order(id: int | None = None, side: str = "bid", price: int | None = 100, quantity: int = 10, **more: Any) -> Any:
    named = {"id": id, "price": price, "trader": "alice"} | more
    return {"pair": PAIR, "side": side, "quantity": quantity, **{k: v for k, v in named.items() if v is not None}}


async def test_an_order_rests_and_is_found(http: CheckedClient) -> None:
    placed = await http.call("POST", "/v1/orders", order(1), 201)
    assert placed.document["order_id"] == 1
    [event] = placed.document["events"]
    assert event["event"] == "accepted"
    assert event["sequence"] == [placed.document["index"], 0]
    assert (event["price"], event["quantity"], event["resting"], event["trader"]) == (100, 10, 10, "alice")
    found = (await http.call("GET", "/v1/orders/1")).document["order"]
    assert (found["id"], found["open"], found["side"], found["expires"]) == (1, 10, "bid", None)


async def test_an_order_that_crosses_says_its_fills(http: CheckedClient) -> None:
    await http.call("POST", "/v1/orders", order(1, "ask", 100, 4), 201)
    await http.call("POST", "/v1/orders", order(2, "ask", 101, 4), 201)
    taken = (await http.call("POST", "/v1/orders", order(3, "bid", 101, 10, trader="bob"), 201)).document
    assert [event["event"] for event in taken["events"]] == ["accepted", "fill", "fill"]
    assert [event["sequence"] for event in taken["events"]] == [[taken["index"], n] for n in range(3)]
    assert [(event["price"], event["quantity"]) for event in taken["events"][1:]] == [(100, 4), (101, 4)]
    assert taken["events"][0]["resting"] == 2


async def test_without_id_one_is_assigned(http: CheckedClient) -> None:
    placed = await http.call("POST", "/v1/orders", order(), 201)
    assert placed.document["order_id"] == FIRST_ASSIGNED_ID
    await http.call("GET", f"/v1/orders/{FIRST_ASSIGNED_ID}")


async def test_every_field_reaches_the_book(http: CheckedClient) -> None:
    await http.call("POST", "/v1/orders", order(1, time_in_force="gtd", expires=9_000_000_000_000, post_only=True), 201)
    found = (await http.call("GET", "/v1/orders/1")).document["order"]
    assert (found["time_in_force"], found["expires"], found["post_only"]) == ("gtd", 9_000_000_000_000, True)
    await http.call("POST", "/v1/orders", order(2, "ask", 200), 201)
    market = order(3, "bid", None, 4, type="market", self_trade="cancel_newest")
    events = (await http.call("POST", "/v1/orders", market, 201)).document["events"]
    assert [(event["event"], event["price"]) for event in events] == [("accepted", None), ("cancelled", None)]
    assert events[1]["reason"] == "self_trade_taker"
    ioc = order(4, "bid", 100, 4, time_in_force="ioc")
    events = (await http.call("POST", "/v1/orders", ioc, 201)).document["events"]
    assert events[-1]["reason"] == "ioc_remainder"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"pair": "NO/PAIR"}, "unknown_pair"),
        ({"type": "market"}, "invalid_price"),
        ({"price": None}, "invalid_price"),
        ({"post_only": True, "price": 500}, "would_cross"),
        ({"time_in_force": "fok", "quantity": 1000}, "would_not_fill"),
        ({"time_in_force": "gtd"}, "invalid_expiry"),
        ({"time_in_force": "gtd", "expires": 1}, "expiry_passed"),
        ({"id": 7}, "duplicate_order_id"),
    ],
)
async def test_a_rejected_order_changes_nothing(http: CheckedClient, change: dict[str, Any], reason: str) -> None:
    await http.call("POST", "/v1/orders", order(7, "ask", 400), 201)
    before = (await http.call("GET", f"/v1/book/{PAIR}")).document
    body = {key: value for key, value in (order(8, price=500) | change).items() if value is not None}
    refused = await http.call("POST", "/v1/orders", body, 422)
    assert (refused.error["code"], refused.error["reason"]) == ("rejected", reason)
    assert refused.error["events"][0]["event"] == "rejected"
    assert int(refused.headers["Orderbook-Index"]) == refused.error["index"]
    after = (await http.call("GET", f"/v1/book/{PAIR}")).document
    assert (after["bids"], after["asks"]) == (before["bids"], before["asks"])


async def test_a_list_is_one_batch_with_a_result_each(http: CheckedClient) -> None:
    batch = [order(1, "ask"), order(2, pair="NO/PAIR"), order(3, "bid", quantity=4, trader="bob"), order()]
    answered = (await http.call("POST", "/v1/orders", batch)).document
    assert [result["outcome"] for result in answered["results"]] == ["accepted", "rejected", "accepted", "accepted"]
    assert [result["order_id"] for result in answered["results"]] == [1, 2, 3, FIRST_ASSIGNED_ID]
    assert [result["reason"] for result in answered["results"]] == [None, "unknown_pair", None, None]
    sequences = [event["sequence"] for result in answered["results"] for event in result["events"]]
    assert sequences == [[answered["index"], ordinal] for ordinal in range(len(sequences))]


async def test_a_list_has_1_to_4096_orders(http: CheckedClient) -> None:
    batch = [{"pair": PAIR, "side": "bid", "price": 1 + n, "quantity": 1} for n in range(4096)]
    answered = (await http.call("POST", "/v1/orders", batch)).document
    assert {result["outcome"] for result in answered["results"]} == {"accepted"}
    assert len(answered["results"]) == 4096
    await http.call("POST", "/v1/orders", [*batch, batch[0]], 400)
    await http.call("POST", "/v1/orders", [], 400)


async def test_one_bad_order_refuses_the_list_whole(http: CheckedClient) -> None:
    refused = await http.call("POST", "/v1/orders", [order(1), order(2, quantity=0)], 400)
    assert refused.error["problems"][0]["field"] == "body[1].quantity"
    await http.call("GET", "/v1/orders/1", expect=404)


async def test_amend_changes_price_total_or_both(http: CheckedClient) -> None:
    await http.call("POST", "/v1/orders", order(1, quantity=10), 201)
    amended = (await http.call("PATCH", "/v1/orders/1", {"quantity": 6})).document
    assert (amended["order_id"], amended["events"][0]["event"]) == (1, "amended")
    assert amended["events"][0]["kept_place"] is True
    await http.call("PATCH", "/v1/orders/1", {"price": 90, "quantity": 20, "trader": "alice"})
    found = (await http.call("GET", "/v1/orders/1")).document["order"]
    assert (found["price"], found["quantity"], found["open"]) == (90, 20, 20)
    refused = await http.call("PATCH", "/v1/orders/2", {"quantity": 6}, 422)
    assert refused.error["reason"] == "unknown_order"
    refused = await http.call("PATCH", "/v1/orders/1", {}, 400)
    assert "price, quantity or both" in refused.error["message"]


async def test_cancel_takes_all_or_a_part(http: CheckedClient) -> None:
    await http.call("POST", "/v1/orders", order(1, quantity=10), 201)
    part = (await http.call("DELETE", "/v1/orders/1?quantity=4")).document
    assert (part["events"][0]["quantity"], part["events"][0]["open"]) == (4, 6)
    rest = (await http.call("DELETE", "/v1/orders/1?trader=alice")).document
    assert (rest["events"][0]["quantity"], rest["events"][0]["open"]) == (6, 0)
    assert (await http.call("DELETE", "/v1/orders/1", expect=422)).error["reason"] == "unknown_order"


async def test_cancel_all_of_a_trader_or_in_one_pair(http: CheckedClient) -> None:
    await http.call("POST", "/v1/pairs", {"pair": "A/B"}, 201)
    orders = [order(1), order(2, pair="A/B"), order(3, trader="bob"), order(4)]
    await http.call("POST", "/v1/orders", orders)
    assert (await http.call("DELETE", "/v1/orders?trader=alice&pair=A/B")).document["orders"] == 1
    gone = (await http.call("DELETE", "/v1/orders?trader=alice")).document
    assert gone["orders"] == 2
    assert [event["event"] for event in gone["events"]] == ["cancelled", "cancelled", "cancelled_all"]
    assert (await http.call("GET", "/v1/orders?trader=bob")).document["orders"][0]["id"] == 3


async def test_orders_are_listed_in_order_of_arrival_up_to_a_limit(http: CheckedClient) -> None:
    await http.call("POST", "/v1/orders", [order(id) for id in (3, 1, 2)])
    await http.call("POST", "/v1/orders", order(9, trader=None), 201)  # the principal's own
    listed = (await http.call("GET", "/v1/orders?trader=alice&limit=2")).document
    assert ([found["id"] for found in listed["orders"]], listed["more"]) == ([3, 1], True)
    listed = (await http.call("GET", f"/v1/orders?trader=alice&pair={PAIR}")).document
    assert ([found["id"] for found in listed["orders"]], listed["more"]) == ([3, 1, 2], False)
    assert [found["id"] for found in (await http.call("GET", "/v1/orders")).document["orders"]] == [9]
    assert (await http.call("GET", "/v1/orders?trader=nobody")).document["orders"] == []


async def test_orders_are_read_page_by_page_whatever_leaves_meanwhile(http: CheckedClient) -> None:
    await http.call("POST", "/v1/orders", [order(id) for id in (5, 3, 1, 2)])
    page = (await http.call("GET", "/v1/orders?trader=alice&limit=2")).document
    last = page["orders"][-1]
    await http.call("DELETE", f"/v1/orders/{last['id']}")
    rest = (await http.call("GET", f"/v1/orders?trader=alice&limit=2&after={last['id']},{last['arrival']}")).document
    assert ([found["id"] for found in rest["orders"]], rest["more"]) == ([1, 2], False)


@pytest.mark.parametrize("after", ["", "1", "0,1", "1,0", "1,-2", "1,2,3", "9007199254740992,1", "a,b"])
async def test_a_page_begins_behind_an_id_and_an_arrival(http: CheckedClient, after: str) -> None:
    refused = await http.call("GET", f"/v1/orders?after={after}", expect=400)
    assert [problem["field"] for problem in refused.document["error"]["problems"]] == ["query.after"]


async def test_an_answer_holds_a_bounded_number_of_events(http: CheckedClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_calls, "MAX_EVENTS", 3)
    await http.call("POST", "/v1/orders", [order(id, "ask", quantity=1) for id in range(1, 9)])
    swept = (await http.call("POST", "/v1/orders", order(9, quantity=6, trader="bob"), 201)).document
    assert [event["event"] for event in swept["events"]] == ["accepted", "fill", "fill"]
    assert swept["events_omitted"] == 4
    gone = (await http.call("DELETE", "/v1/orders?trader=alice")).document
    assert (gone["orders"], gone["events_omitted"]) == (2, 0)
    listed = [order(20, "ask", quantity=1), order(21, quantity=1, trader="bob"), order(22), order(23, pair="NO/PAIR")]
    results = (await http.call("POST", "/v1/orders", listed)).document
    assert [result["outcome"] for result in results["results"]] == ["accepted", "accepted", "accepted", "rejected"]


# --- idempotency ------------------------------------------------------------------------------------------------------


async def test_a_repeat_under_a_key_is_answered_alike_and_runs_once(http: CheckedClient) -> None:
    headers = {"Idempotency-Key": "monday 1"}
    first = await http.call("POST", "/v1/orders", order(), 201, headers=headers)
    again = await http.call("POST", "/v1/orders", order(), 201, headers=headers)
    assert again.document == first.document
    assert ("Idempotent-Replayed" in first.headers, again.headers["Idempotent-Replayed"]) == (False, "true")
    assert len((await http.call("GET", "/v1/orders?trader=alice")).document["orders"]) == 1


async def test_a_refusal_is_repeated_too(http: CheckedClient) -> None:
    headers = {"Idempotency-Key": "k"}
    first = await http.call("POST", "/v1/orders", order(1, pair="A/B"), 422, headers=headers)
    await http.call("POST", "/v1/pairs", {"pair": "A/B"}, 201)
    again = await http.call("POST", "/v1/orders", order(1, pair="A/B"), 422, headers=headers)
    assert again.document == first.document


async def test_another_request_under_the_same_key_is_refused(http: CheckedClient) -> None:
    headers = {"Idempotency-Key": "k"}
    placed = await http.call("POST", "/v1/orders", order(1), 201, headers=headers)
    for method, path, body in (
        ("POST", "/v1/orders", order(2)),
        ("POST", "/v1/orders", [order(1)] * 2),
        ("DELETE", "/v1/orders/1", None),
    ):
        refused = await http.call(method, path, body, 422, headers=headers)
        assert refused.error["code"] == "key_reused"
        assert str(placed.document["index"]) in refused.error["message"]
    await http.call("GET", "/v1/orders/2", expect=404)


@pytest.mark.parametrize("key", ["", "a" * 257, "tab\there", "é"])
async def test_a_key_is_1_to_256_printable_characters(http: CheckedClient, key: str) -> None:
    refused = await http.call("POST", "/v1/orders", order(1), 400, headers={"Idempotency-Key": key})
    assert refused.error["problems"][0]["field"] == "header.Idempotency-Key"


async def test_a_key_is_given_once(http: CheckedClient) -> None:
    headers = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    await http.call("POST", "/v1/orders", order(1), 400, headers=headers)


# --- outcomes that are no answer --------------------------------------------------------------------------------------


async def test_uncertain_is_504_and_says_so(http: CheckedClient, alone: Members) -> None:
    replica = alone.groups["a"].replica
    assert replica is not None
    replica.submit = lambda *arguments: arguments[3](None, Uncertain("the leader changed"))  # type: ignore[method-assign]
    refused = await http.call("POST", "/v1/orders", order(1), 504)
    assert (refused.error["code"], "the leader changed" in refused.error["message"]) == ("uncertain", True)


async def test_a_full_disk_is_503_with_its_reason(
    http: CheckedClient, alone: Members, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orderbook.storage.store.Store.health", "full")
    async with asyncio.timeout(SECONDS):
        while (await http.client.post("/v1/orders", json=order())).status != 503:
            pass  # until the member has looked at its disk
    refused = await http.call("POST", "/v1/orders", order(), 503)
    assert (refused.error["code"], refused.error["reason"]) == ("unavailable", "disk_full")


async def test_a_fault_of_ours_is_500_and_the_next_request_is_served(
    http: CheckedClient, alone: Members, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("orderbook.groups.group.Group.query", None)
        refused = await http.call("GET", "/v1/pairs", expect=500)
    assert refused.error["code"] == "internal"
    assert "TypeError" not in str(refused.document)
    assert "TypeError" in caplog.text
    await http.call("GET", "/v1/pairs")


# --- who asks ---------------------------------------------------------------------------------------------------------


@pytest_asyncio.fixture
async def guarded(alone: Members) -> AsyncIterator[CheckedClient]:
    application = client_application(alone.runtime, alone.groups["a"], access=MINTER.access())
    client = await CheckedClient.open(application)
    yield client
    await client.close()


MINTER = Minter()
ALICE, BOB = MINTER.header("trader", "alice"), MINTER.header("trader", "bob")
OBSERVER, ADMIN = MINTER.header("observer", "eve"), MINTER.header("admin", "root")


async def test_without_a_principal_it_is_401(guarded: CheckedClient) -> None:
    assert (await guarded.call("GET", "/v1/pairs", expect=401)).error["code"] == "unauthorized"


async def test_a_trader_acts_for_itself_only(guarded: CheckedClient) -> None:
    own = order(1, trader=None)
    placed = await guarded.call("POST", "/v1/orders", own, 201, headers=ALICE)
    assert placed.document["events"][0]["trader"] == "alice"
    refused = await guarded.call("POST", "/v1/orders", order(2, trader="alice"), 422, headers=BOB)
    assert refused.error["reason"] == "not_owner"
    assert (await guarded.call("DELETE", "/v1/orders/1", expect=422, headers=BOB)).error["reason"] == "not_owner"
    await guarded.call("GET", "/v1/orders/1", expect=404, headers=BOB)
    await guarded.call("GET", "/v1/orders?trader=alice", expect=403, headers=BOB)
    await guarded.call("GET", "/v1/orders?trader=alice", headers=ADMIN)
    await guarded.call("DELETE", "/v1/orders/1", headers=ADMIN)


async def test_a_trader_does_not_see_the_name_of_the_other_side(guarded: CheckedClient) -> None:
    await guarded.call("POST", "/v1/orders", order(1, "ask", trader=None), 201, headers=ALICE)
    taken = await guarded.call("POST", "/v1/orders", order(2, trader=None), 201, headers=BOB)
    fill = taken.document["events"][1]
    assert (fill["bid_trader"], fill["ask_trader"]) == ("bob", "")


async def test_roles_are_held_against_each_route(guarded: CheckedClient) -> None:
    for method, path, body in (
        ("POST", "/v1/orders", order(1)),
        ("GET", "/v1/orders", None),
        ("DELETE", "/v1/orders/1", None),
        ("GET", "/v1/configuration", None),
        ("POST", "/v1/halt", None),
    ):
        assert (await guarded.call(method, path, body, 403, headers=OBSERVER)).error["code"] == "forbidden"
    for method, path, body in (
        ("POST", "/v1/pairs", {"pair": "A/B"}),
        ("POST", "/v1/halt", None),
        ("PUT", "/v1/configuration", {"limits": {"max_open_orders": 0}}),
        ("PUT", "/v1/members", {"voters": [{"name": "a", "id": 1}], "expected_configuration_index": 0}),
        ("POST", "/v1/leadership", {"to": "a"}),
        ("POST", "/v1/snapshot", None),
        ("GET", "/v1/configuration?trader=bob", None),
    ):
        assert (await guarded.call(method, path, body, 403, headers=ALICE)).error["code"] == "forbidden"
    for path in (f"/v1/book/{PAIR}", "/v1/fills", "/v1/pairs", "/v1/group"):
        await guarded.call("GET", path, headers=OBSERVER)
