"""``orderbook demo``: the tutorial's run, word for word, and then without its leader."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from process.processes import command

TUTORIAL = """\
waiting for matching engine group to come online...
matching engine online, leader: (?P<leader>node-[123])
matcher subscribed to both trader order streams
submitting orders...
received order: alice ASK ETH/USDC@300000 qty=10
received order: alice ASK ETH/USDC@301000 qty=5
received order: bob BID ETH/USDC@299000 qty=8
received order: bob BID ETH/USDC@300500 qty=15
1 fills produced:
  Fill\\(bid=4, ask=1, ETH/USDC@300000, qty=10\\)
follower (?P<follower>node-[123]) sees 1 fills \\(consistent with leader\\)
orderbook example complete
killing the leader (?P<killed>node-[123]) \\(SIGKILL\\)...
received order: bob BID ETH/USDC@300200 qty=3
order agreed on at index (?P<index>[0-9]+), [0-9]+ ms after the kill; leader: (?P<successor>node-[123])
restarting (?P<restarted>node-[123])...
(?P<back>node-[123]) is back and caught up at index (?P<caught_up>[0-9]+)
state hashes: node-1 (?P<hash>[0-9a-f]{16}), node-2 (?P=hash), node-3 (?P=hash)
all three state hashes are equal
"""


async def test_the_tutorial_line_for_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = await command("demo", "--auth", "none")
    assert done.code == 0, done.err
    told = re.fullmatch(TUTORIAL.replace("...", r"\.\.\."), done.out)
    assert told is not None, done.out
    assert told["follower"] != told["leader"]
    assert told["killed"] == told["restarted"] == told["back"] != told["successor"]
    assert int(told["caught_up"]) >= int(told["index"])
    assert os.listdir(tmp_path) == []  # what it made is gone
