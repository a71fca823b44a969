"""Thirty seconds of a real exchange through ``match``: exactly its book and its trades.

The folder is that of RECORDED_FLOW, by default ``../shared/data`` seen from the repository.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from unit.cli.run import json_lines, run

ROOT = Path(__file__).parents[3]
DATA = (ROOT / os.environ.get("RECORDED_FLOW", "../shared/data")).resolve()

pytestmark = pytest.mark.skipif(
    not (DATA / "coinbase.jsonl").exists(), reason=f"no recorded flow in {DATA} (set RECORDED_FLOW)"
)


def test_book_and_trades_are_those_of_the_exchange(tmp_path: Path) -> None:
    events, book = tmp_path / "events.jsonl", tmp_path / "book.json"
    instruments = DATA / "coinbase.instruments.json"
    result = run(
        "match", DATA / "coinbase.jsonl", "--instruments", instruments, "--events", events, "--book", book
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    expected = json.loads((DATA / "coinbase.expected.json").read_text())
    told = json_lines(events)
    fills = [event for event in told if event["event"] == "fill"]
    assert [[fill["pair"], fill["price"], fill["quantity"], fill["taker_side"]] for fill in fills] == expected["fills"]
    assert len(fills) == 97
    assert not [event for event in told if event["event"] == "rejected"]
    assert {pair: sides(levels) for pair, levels in json.loads(book.read_text()).items()} == {
        pair: sides(levels) for pair, levels in expected["book"].items()
    }


def sides(book: dict[str, Any]) -> dict[str, list[list[int]]]:
    """Price and quantity of each level, best first."""
    return {side: [level[:2] for level in book[side]] for side in ("bids", "asks")}
