"""``orderbook soak``: load on a running group, and what it says of it at the end."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path

from process.processes import SECONDS, command, finish, json_lines, running_group, start_command

PAIRS = ["ETH/USDC", "BTC/USDC"]


async def test_nothing_is_lost_while_the_leader_dies_and_a_signal_ends_it(tmp_path: Path) -> None:
    async with asyncio.timeout(SECONDS), running_group(tmp_path, pairs=PAIRS) as running:
        soaking = await start_command("soak", "--rate", 1000, "--json", "--node", running.nodes)
        assert soaking.stdout is not None
        lines = [await soaking.stdout.readline()]
        leader = await running.leader()
        await running.group.kill(leader)
        await running.api.group(consistency="strong")
        answered = json.loads(lines[0])["acknowledged"]
        while json.loads(lines[-1])["acknowledged"] <= answered:
            lines.append(await soaking.stdout.readline())
        soaking.send_signal(signal.SIGTERM)
        ended = await finish(soaking)
        assert ended.code == 0, ended.err + ended.out
        summary = json_lines(ended.out)[-1]
        assert (summary["lost"], summary["doubled"], summary["failed"]) == (0, 0, 0)
        assert summary["acknowledged"] == summary["sent"] > answered
        assert summary["longest_gap_ms"] > 100, "no leader is elected sooner"
        again = await command("soak", "--rate", 1000, "--seconds", 1, "--node", running.nodes)
        assert again.code == 0 and "lost: 0" in again.out, "its ids are new ones"


async def test_a_group_without_pairs_is_told_from_one_that_answers_nothing(tmp_path: Path) -> None:
    async with asyncio.timeout(SECONDS), running_group(tmp_path, size=1) as running:
        ended = await command("soak", "--seconds", 1, "--node", running.nodes)
    assert ended.code == 2 and "pairs --define" in ended.err
