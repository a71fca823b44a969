"""Market data over HTTP: the book, fills, pairs, and how fresh an answer is."""

from __future__ import annotations

from typing import Any

import pytest

from unit.server.http_client import CheckedClient
from unit.server.members import PAIR, Members


async def trade(http: CheckedClient, count: int, pair: str = PAIR) -> None:
    """``count`` fills of 1 lot at 100, 101, ..."""
    asks = [{"pair": pair, "side": "ask", "price": 100 + n, "quantity": 1, "trader": "alice"} for n in range(count)]
    await http.call("POST", "/v1/orders", asks)
    bid = {"pair": pair, "side": "bid", "price": 100 + count, "quantity": count, "trader": "bob"}
    await http.call("POST", "/v1/orders", bid, 201)


def prices(answer: Any) -> list[int]:
    return [fill["price"] for fill in answer.document["fills"]]


async def test_the_book_shows_levels_best_first_up_to_a_depth(http: CheckedClient) -> None:
    orders = [(1, "bid", 99, 5), (2, "bid", 98, 3), (3, "bid", 99, 2), (4, "ask", 101, 7), (5, "ask", 102, 1)]
    for id, side, price, quantity in orders:
        body = {"id": id, "pair": PAIR, "side": side, "price": price, "quantity": quantity, "trader": "alice"}
        await http.call("POST", "/v1/orders", body, 201)
    book = (await http.call("GET", f"/v1/book/{PAIR}")).document
    assert (book["pair"], book["bids"]) == (PAIR, [[99, 7, 2], [98, 3, 1]])
    assert book["asks"] == [[101, 7, 1], [102, 1, 1]]
    book = (await http.call("GET", f"/v1/book/{PAIR}?depth=1")).document
    assert (book["bids"], book["asks"]) == ([[99, 7, 2]], [[101, 7, 1]])


async def test_a_pair_that_is_not_defined_is_not_found(http: CheckedClient) -> None:
    for path in ("/v1/book/NO/PAIR", "/v1/fills?pair=NO/PAIR"):
        assert (await http.call("GET", path, expect=404)).error["code"] == "unknown_pair"


async def test_fills_after_a_sequence_are_the_first_ones(http: CheckedClient) -> None:
    await trade(http, 4)
    everything = await http.call("GET", f"/v1/fills?pair={PAIR}&since=0,0")
    assert (prices(everything), everything.document["more"]) == ([100, 101, 102, 103], False)
    page = await http.call("GET", "/v1/fills?since=0,0&limit=3")
    assert (prices(page), page.document["more"]) == ([100, 101, 102], True)
    index, ordinal = page.document["fills"][-1]["sequence"]
    rest = await http.call("GET", f"/v1/fills?since={index},{ordinal}&limit=3")
    assert (prices(rest), rest.document["more"]) == ([103], False)
    assert rest.document["fills"][0]["taker_side"] == "bid"


async def test_fills_without_a_sequence_are_the_newest(http: CheckedClient) -> None:
    await trade(http, 4)
    newest = await http.call("GET", "/v1/fills?limit=2")
    assert (prices(newest), newest.document["more"]) == ([102, 103], True)
    assert prices(await http.call("GET", "/v1/fills")) == [100, 101, 102, 103]


async def test_market_data_names_no_trader(http: CheckedClient) -> None:
    await trade(http, 1)
    for path in ("/v1/fills", f"/v1/book/{PAIR}", "/v1/pairs"):
        assert "alice" not in str((await http.call("GET", path)).document)


async def test_pairs_are_listed_with_their_limits_and_halts(http: CheckedClient) -> None:
    await http.call("POST", "/v1/pairs", {"pair": "BTC/USD", "tick": "0.010", "lot": "0.5", "max_price": 500}, 201)
    await http.call("POST", "/v1/pairs/BTC/USD/halt")
    answer = (await http.call("GET", "/v1/pairs")).document
    assert [pair["pair"] for pair in answer["pairs"]] == [PAIR, "BTC/USD"]
    pair = answer["pairs"][1]
    assert (pair["tick"], pair["lot"], pair["max_price"], pair["halted"]) == ("0.01", "0.5", 500, True)
    assert answer["halted"] is False


async def test_a_weak_answer_waits_for_an_index(http: CheckedClient, alone: Members) -> None:
    at = (await http.call("GET", "/v1/pairs?consistency=weak")).document["index"]
    assert (await http.call("GET", f"/v1/pairs?consistency=weak&min_index={at}")).document["index"] == at
    placed = await http.call("POST", "/v1/pairs", {"pair": "A/B"}, 201)
    written = placed.document["index"]
    assert written > at
    answer = (await http.call("GET", f"/v1/pairs?consistency=weak&min_index={written}")).document
    assert [pair["pair"] for pair in answer["pairs"]] == [PAIR, "A/B"]


async def test_an_index_that_does_not_come_is_unavailable(http: CheckedClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orderbook.groups.group.Group.query.__kwdefaults__", {"min_index": 0, "timeout": 0.05})
    refused = await http.call("GET", "/v1/pairs?consistency=weak&min_index=1000000", expect=503)
    assert (refused.error["code"], refused.error["reason"]) == ("unavailable", "deadline")


async def test_min_index_goes_with_weak(http: CheckedClient) -> None:
    refused = await http.call("GET", "/v1/pairs?min_index=1", expect=400)
    assert "consistency=weak" in refused.error["message"]
