"""What an admin does over HTTP: pairs, limits, halts, settings, snapshots."""

from __future__ import annotations

from typing import Any

import pytest

from orderbook.groups.settings import Settings
from unit.server.http_client import CheckedClient
from unit.server.members import PAIR, Members


def order(id: int, pair: str = PAIR, price: int = 100, quantity: int = 1) -> Any:
    return {"id": id, "pair": pair, "side": "bid", "price": price, "quantity": quantity, "trader": "alice"}


async def test_a_pair_is_defined_once(http: CheckedClient) -> None:
    defined = (await http.call("POST", "/v1/pairs", {"pair": "A/B", "tick": "0.10", "fills_kept": 5}, 201)).document
    assert (defined["events"][0]["tick"], defined["events"][0]["fills_kept"]) == ("0.1", 5)
    again = (await http.call("POST", "/v1/pairs", {"pair": "A/B", "tick": "0.1"}, 200)).document
    assert again["events"][0]["is_new"] is False
    refused = await http.call("POST", "/v1/pairs", {"pair": "A/B", "tick": "0.2"}, 422)
    assert refused.error["reason"] == "pair_exists"
    assert (await http.call("POST", "/v1/pairs", {"pair": "C/D", "tick": "0"}, 422)).error["reason"] == (
        "invalid_increment"
    )


async def test_limits_of_a_pair_are_changed_one_by_one(http: CheckedClient) -> None:
    await http.call("PATCH", f"/v1/pairs/{PAIR}", {"max_quantity": 5})
    await http.call("PATCH", f"/v1/pairs/{PAIR}", {"min_price": 10, "max_price": 20})
    pair = (await http.call("GET", "/v1/pairs")).document["pairs"][0]
    assert (pair["max_quantity"], pair["min_price"], pair["max_price"]) == (5, 10, 20)
    for body, reason in ((order(1, price=15, quantity=6), "quantity_above_limit"), (order(1), "price_out_of_band")):
        assert (await http.call("POST", "/v1/orders", body, 422)).error["reason"] == reason
    assert (await http.call("PATCH", f"/v1/pairs/{PAIR}", {"min_price": 30}, 422)).error["reason"] == "invalid_limit"
    assert (await http.call("PATCH", "/v1/pairs/NO/PAIR", {"min_price": 3}, 422)).error["reason"] == "unknown_pair"
    await http.call("PATCH", f"/v1/pairs/{PAIR}", {}, 400)


async def test_a_halted_pair_takes_no_orders_until_it_is_resumed(http: CheckedClient) -> None:
    await http.call("POST", "/v1/pairs", {"pair": "A/B"}, 201)
    await http.call("POST", "/v1/orders", [order(1), order(2, "A/B")])
    halted = (await http.call("POST", f"/v1/pairs/{PAIR}/halt", {"cancel": True})).document
    assert [event["event"] for event in halted["events"]] == ["halted", "cancelled"]
    assert (await http.call("POST", "/v1/orders", order(3), 422)).error["reason"] == "pair_halted"
    await http.call("POST", "/v1/orders", order(3, "A/B"), 201)
    await http.call("POST", f"/v1/pairs/{PAIR}/resume")
    await http.call("POST", "/v1/orders", order(4), 201)
    for path in ("/v1/pairs/NO/PAIR/halt", "/v1/pairs/NO/PAIR/resume"):
        assert (await http.call("POST", path, expect=422)).error["reason"] == "unknown_pair"


async def test_the_kill_switch_stops_every_pair(http: CheckedClient) -> None:
    await http.call("POST", "/v1/orders", order(1), 201)
    killed = (await http.call("POST", "/v1/halt")).document
    assert [event["event"] for event in killed["events"]] == ["killed"]
    assert (await http.call("GET", "/v1/pairs")).document["halted"] is True
    assert (await http.call("POST", "/v1/orders", order(2), 422)).error["reason"] == "halted"
    await http.call("DELETE", "/v1/orders/1")
    assert (await http.call("POST", "/v1/resume")).document["events"][0]["event"] == "resumed"
    await http.call("POST", "/v1/orders", order(2), 201)
    killed = (await http.call("POST", "/v1/halt", {"cancel": True})).document
    assert [event["event"] for event in killed["events"]] == ["killed", "cancelled"]


async def test_admin_commands_take_an_idempotency_key(http: CheckedClient) -> None:
    headers = {"Idempotency-Key": "define"}
    first = await http.call("POST", "/v1/pairs", {"pair": "A/B"}, 201, headers=headers)
    again = await http.call("POST", "/v1/pairs", {"pair": "A/B"}, 201, headers=headers)
    assert again.document == first.document
    await http.call("POST", "/v1/pairs", {"pair": "C/D"}, 422, headers=headers)


async def test_settings_of_the_group_are_changed_and_read(http: CheckedClient) -> None:
    before = (await http.call("GET", "/v1/configuration")).document
    assert before["settings"] == Settings()._asdict()
    assert before["limits"] == {"max_open_orders": 0, "rate_commands": 0, "rate_window_ms": 1000}
    answer = (await http.call("PUT", "/v1/configuration", {"settings": {"max_sessions": 7}})).document
    assert answer["settings"] == {**before["settings"], "max_sessions": 7}
    assert (await http.call("GET", "/v1/configuration")).document["settings"] == answer["settings"]


async def test_settings_that_contradict_each_other_are_refused(http: CheckedClient) -> None:
    body = {"settings": {"min_session_timeout_ms": 60_000, "max_session_timeout_ms": 1_000}}
    refused = await http.call("PUT", "/v1/configuration", body, 422)
    assert refused.error["reason"] == "contradicting_settings"
    assert (await http.call("GET", "/v1/configuration")).document["settings"] == Settings()._asdict()


async def test_limits_of_all_traders_and_of_one(http: CheckedClient) -> None:
    await http.call("PUT", "/v1/configuration", {"limits": {"max_open_orders": 1}})
    await http.call("POST", "/v1/orders", order(1), 201)
    assert (await http.call("POST", "/v1/orders", order(2), 422)).error["reason"] == "too_many_open_orders"
    answer = await http.call("PUT", "/v1/configuration", {"limits": {"trader": "alice", "max_open_orders": 2}})
    assert (answer.document["trader"], answer.document["limits"]["max_open_orders"]) == ("alice", 2)
    await http.call("POST", "/v1/orders", order(2), 201)
    own = (await http.call("GET", "/v1/configuration?trader=alice")).document["limits"]["max_open_orders"]
    common = (await http.call("GET", "/v1/configuration?trader=bob")).document["limits"]["max_open_orders"]
    assert (own, common) == (2, 1)


@pytest.mark.parametrize(
    "body", [{}, {"settings": {"max_sessions": 5}, "limits": {"max_open_orders": 1}}, {"settings": {"max_keys": 0}}]
)
async def test_configuration_is_either_settings_or_limits(http: CheckedClient, body: Any) -> None:
    await http.call("PUT", "/v1/configuration", body, 400)


async def test_a_snapshot_is_written_at_what_is_applied(http: CheckedClient, alone: Members) -> None:
    placed = (await http.call("POST", "/v1/orders", order(1), 201)).document["index"]
    taken = (await http.call("POST", "/v1/snapshot")).document["index"]
    assert taken >= placed
    assert alone.groups["a"].storage.snapshot_index == taken
    again = (await http.call("POST", "/v1/snapshot")).document["index"]
    assert again >= taken


async def test_a_snapshot_that_fails_is_500_and_says_why(http: CheckedClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: Any) -> None:
        raise OSError("no such device")

    monkeypatch.setattr("orderbook.storage.store.Store.snapshot_committed", fail)
    refused = await http.call("POST", "/v1/snapshot", expect=500)
    assert (refused.error["code"], "no such device" in refused.error["message"]) == ("snapshot_failed", True)
