"""``orderbook match``: a file of commands through the engine alone."""

import json
from pathlib import Path
from typing import Any

import pytest

from unit.cli.run import json_lines, run

TUTORIAL = """\
{"op":"place","id":1,"pair":"ETH/USDC","side":"ask","price":300000,"quantity":10,"trader":"alice"}
{"op":"place","id":2,"pair":"ETH/USDC","side":"ask","price":301000,"quantity":5,"trader":"alice"}
{"op":"place","id":3,"pair":"ETH/USDC","side":"bid","price":299000,"quantity":8,"trader":"bob"}
{"op":"place","id":4,"pair":"ETH/USDC","side":"bid","price":300500,"quantity":15,"trader":"bob"}
"""


def match(tmp_path: Path, text: str, *options: object) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Events and book of a file that is right."""
    file, events, book = tmp_path / "in.jsonl", tmp_path / "events.jsonl", tmp_path / "book.json"
    file.write_text(text)
    result = run("match", file, "--events", events, "--book", book, *options)
    assert result.exit_code == 0, result.output
    return json_lines(events), json.loads(book.read_text())


def rejections(events: list[dict[str, Any]]) -> list[tuple[int, str]]:
    return [(event["line"], event["reason"]) for event in events if event["event"] == "rejected"]


def test_the_tutorials_orders(tmp_path: Path) -> None:
    events, book = match(tmp_path, TUTORIAL)
    assert [event["event"] for event in events] == ["accepted"] * 4 + ["fill"]
    fill = events[-1]
    assert fill | {
        "event": "fill", "line": 4, "sequence": [4, 1], "bid_order_id": 4, "ask_order_id": 1, "pair": "ETH/USDC",
        "price": 300000, "quantity": 10, "taker_side": "bid",
    } == fill  # fmt: skip
    assert book == {"ETH/USDC": {"bids": [[300500, 5, 1], [299000, 8, 1]], "asks": [[301000, 5, 1]]}}


def test_terms_cancels_and_amends(tmp_path: Path) -> None:
    lines = [
        '{"op":"place","id":1,"pair":"A/B","side":"ask","price":10,"quantity":9,"trader":"x","tif":"gtd","expires":2000}',
        '{"op":"amend","id":1,"quantity":7}',
        '{"op":"cancel","id":1,"quantity":2,"trader":"x"}',
        '{"op":"place","id":2,"pair":"A/B","side":"bid","price":10,"quantity":1,"trader":"y","post_only":true}',
        '{"op":"place","id":3,"pair":"A/B","side":"bid","quantity":1,"trader":"y","type":"market"}',
        '{"op":"place","id":4,"pair":"A/B","side":"bid","price":10,"quantity":1,"trader":"x","self_trade":"cancel_newest"}',
        '{"t":2.0,"op":"place","id":5,"pair":"A/B","side":"bid","price":10,"quantity":1,"trader":"y","tif":"ioc"}',
    ]
    events, book = match(tmp_path, "\n".join(lines))
    assert [(event["line"], event["event"], event["sequence"][1]) for event in events] == [
        (1, "accepted", 0), (2, "amended", 0), (3, "cancelled", 0), (4, "rejected", 0), (5, "accepted", 0),
        (5, "fill", 1), (6, "accepted", 0), (6, "cancelled", 1), (7, "expired", 0), (7, "accepted", 1),
        (7, "cancelled", 2),
    ]  # fmt: skip
    assert rejections(events) == [(4, "would_cross")]
    assert book == {"A/B": {"bids": [], "asks": []}}


def place(**changes: Any) -> str:
    row = {"op": "place", "id": 1, "pair": "A/B", "side": "bid", "price": 10, "quantity": 5, "trader": "x"} | changes
    return json.dumps({key: value for key, value in row.items() if value is not ...})


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (place(quantity=-1), "invalid_quantity"),
        (place(quantity=0), "invalid_quantity"),
        (place(quantity=1.5), "invalid_quantity"),
        (place(quantity=5.0), "invalid_quantity"),
        (place(quantity="5"), "invalid_quantity"),
        (place(quantity=True), "invalid_quantity"),
        (place(quantity=...), "invalid_quantity"),
        (place(quantity=2**53), "invalid_quantity"),
        (place(quantity=10**40), "invalid_quantity"),
        (place(price=...), "invalid_price"),
        (place(price=0), "invalid_price"),
        (place(price=[1]), "invalid_price"),
        (place(type="market"), "invalid_price"),
        (place(id=2**52), "invalid_id"),
        (place(id="1"), "invalid_id"),
        (place(id=-(2**70)), "invalid_id"),
        (place(side="buy"), "invalid_side"),
        (place(side="BID"), "invalid_side"),
        (place(side=...), "invalid_side"),
        (place(type="stop"), "invalid_type"),
        (place(tif="day"), "invalid_time_in_force"),
        (place(tif=1), "invalid_time_in_force"),
        (place(post_only="yes"), "invalid_post_only"),
        (place(self_trade="never"), "invalid_self_trade"),
        (place(trader=""), "invalid_trader"),
        (place(trader={}), "invalid_trader"),
        (place(trader="\ud800"), "invalid_trader"),
        (place(pair=...), "invalid_pair"),
        (place(pair="AB"), "unknown_pair"),
        ('{"op":"cancel"}', "invalid_id"),
        ('{"op":"cancel","id":1}', "unknown_order"),
        ('{"op":"amend","id":1,"quantity":2}', "unknown_order"),
    ],
)
def test_a_value_that_is_not_allowed_is_an_event_and_the_run_goes_on(tmp_path: Path, line: str, reason: str) -> None:
    events, _ = match(tmp_path, f"{line}\n{place(id=7)}\n")
    assert rejections(events) == [(1, reason)]
    assert (events[-1]["event"], events[-1]["line"]) == ("accepted", 2)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "nonsense",
        "[]",
        "5",
        "null",
        '"place"',
        "{}",
        '{"op":"buy"}',
        '{"op":7}',
        '{"op":["place"]}',
        "{",
        "[" * 99_999,
        '{"op":"place"} x',
        "\ufeff{}",
        "1" * 5_000,
    ],
)
def test_a_line_that_is_no_command_ends_the_run_with_its_number(tmp_path: Path, line: str) -> None:
    file = tmp_path / "in.jsonl"
    file.write_text(f"{place()}\n{place(id=2)}\n{line}\n{place(id=3)}\n")
    result = run("match", file, "--events", tmp_path / "events")
    assert result.exit_code == 2
    assert "line 3" in result.stderr
    assert [event["line"] for event in json_lines(tmp_path / "events")] == [1, 2]


@pytest.mark.parametrize(
    ("line", "problem"), [('{"op":"place","id":1', "',' delimiter, at character 21"), ("", "value, at")]
)
def test_what_is_no_json_is_told_with_its_place_in_the_line(line: str, problem: str) -> None:
    told = run("match", "-", stdin=f"{place()}\n{line}\n".encode()).stderr
    assert f"line 2: no JSON: Expecting {problem}" in told and told.count("line") == 1


def test_bytes_that_are_no_text_end_the_run(tmp_path: Path) -> None:
    file = tmp_path / "in.jsonl"
    file.write_bytes(b'{"op":"place","trader":"\xff"}\n')
    result = run("match", file)
    assert (result.exit_code, "line 1" in result.stderr) == (2, True)


def test_unknown_keys_and_times_that_are_none_are_ignored(tmp_path: Path) -> None:
    events, _ = match(tmp_path, "".join(f"{place(id=id, t=t, x=[])}\n" for id, t in ((1, "soon"), (2, -5), (3, 1e999))))
    assert [event["event"] for event in events] == ["accepted"] * 3


def test_with_instruments_only_their_pairs_are_traded(tmp_path: Path) -> None:
    instruments = tmp_path / "instruments.json"
    instruments.write_text('{"A/B":{"tick":"0.01","lot":"0.001"}}')
    events, book = match(tmp_path, f"{place()}\n{place(id=2, pair='C/D')}\n", "--instruments", instruments)
    assert rejections(events) == [(2, "unknown_pair")]
    assert list(book) == ["A/B"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"A/B":1}',
        '{"A/B":{"tick":"1"}}',
        '{"A/B":{"tick":0.01,"lot":"1"}}',
        '{"AB":{"tick":"1","lot":"1"}}',
        '{"A/B":{"tick":"-1","lot":"1"}}',
    ],
)
def test_wrong_instruments_are_refused(tmp_path: Path, text: str) -> None:
    file, instruments = tmp_path / "in.jsonl", tmp_path / "instruments.json"
    file.write_text(place())
    instruments.write_text(text)
    assert run("match", file, "--instruments", instruments).exit_code == 2


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    result = run("match", tmp_path / "nothing")
    assert (result.exit_code, "nothing" in result.stderr) == (2, True)


def test_standard_input_and_output() -> None:
    result = run("match", "-", "--book", "-", "--json", stdin=TUTORIAL.encode())
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {
        "ETH/USDC": {"bids": [[300500, 5, 1], [299000, 8, 1]], "asks": [[301000, 5, 1]]}
    }
    assert json.loads(result.stderr)["events"] == {"accepted": 4, "fill": 1}


def test_the_summary_is_printed_where_nothing_else_is(tmp_path: Path) -> None:
    result = run("match", "-", stdin=TUTORIAL.encode())
    assert result.stdout.startswith("4 commands: 4 accepted, 1 fill; state hash ")


def test_the_same_file_gives_the_same_hash() -> None:
    hashes = {json.loads(run("match", "-", "--json", stdin=TUTORIAL.encode()).stdout)["state_hash"] for _ in range(2)}
    assert len(hashes) == 1
