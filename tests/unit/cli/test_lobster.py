"""LOBSTER message files as commands."""

import json
from pathlib import Path

import pytest

from orderbook.cli.lobster import pair_of, read_lobster
from unit.cli.run import json_lines, run

MESSAGES = """\
34200.017,5,0,1,2238200,-1
34200.100,1,11,18,2238100,1
34200.189,1,12,21,2238100,1
34200.190,1,13,20,2239600,-1
34200.200,2,12,1,2238100,1
34200.250,4,11,18,2238100,1
34200.260,4,12,5,2238100,1
34200.270,4,99,5,2238100,1
34200.280,3,13,20,2239600,-1
34200.290,3,98,20,2239600,-1
34200.300,6,0,100,2238000,1
34200.400,7,0,0,-1,-1
34200.410,1,14,1,2238000,1
34200.500,7,0,0,0,-1
34200.600,7,0,0,1,-1
34200.700,1,15,7,2238000,1
"""


def test_messages_become_the_book_that_they_tell(tmp_path: Path) -> None:
    file, events, book = tmp_path / "AAPL_2012-06-21_34200000_message_1.csv", tmp_path / "events", tmp_path / "book"
    file.write_text(MESSAGES)
    result = run("match", file, "--format", "lobster", "--events", events, "--book", book)
    assert result.exit_code == 0, result.output
    assert json.loads(book.read_text()) == {"AAPL/USD": {"bids": [[2238100, 15, 1], [2238000, 7, 1]], "asks": []}}
    told = json_lines(events)
    fills = [(event["bid_order_id"], event["quantity"]) for event in told if event["event"] == "fill"]
    assert fills == [(11, 18), (12, 5)]
    rejected = [(event["line"], event["reason"]) for event in told if event["event"] == "rejected"]
    assert rejected == [(10, "unknown_order"), (13, "pair_halted")]


def test_an_execution_of_an_order_from_before_the_file_meets_no_other() -> None:
    rows = [line.row for line in read_lobster([b"1.0,4,99,5,2238100,1\n"], "A/USD")]
    assert rows == []


def test_time_is_in_milliseconds_after_midnight() -> None:
    [line] = read_lobster([b"34200.189,1,12,21,2238100,-1\n"], "A/USD")
    assert line == (1, 34_200_189, (1, 12, "A/USD", 2, 2238100, 21, "lobster"), "A/USD")


@pytest.mark.parametrize(
    "text", ["", "1.0,1,2,3", "x,1,2,3,4,5", "1.0,8,2,3,4,1", "1.0,1,a,3,4,1", "inf,1,2,3,4,1", "ü"]
)
def test_a_line_that_is_no_message_ends_the_run(tmp_path: Path, text: str) -> None:
    file = tmp_path / "MSFT_message.csv"
    file.write_text(f"1.0,1,2,3,4,1\n{text}\n")
    result = run("match", file, "--format", "lobster")
    assert (result.exit_code, "line 2" in result.stderr) == (2, True)


def test_the_pair_is_the_files_ticker() -> None:
    assert pair_of("AAPL_2012-06-21_message_10.csv").pair == "AAPL/USD"
    assert pair_of("amzn.csv").pair == "AMZN/USD"
    assert pair_of("-").pair == "-/USD"
