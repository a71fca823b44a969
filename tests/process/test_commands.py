"""The command line against a running group: decimals in and out, exit codes that mean something, JSON."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from typer.testing import Result

from process.processes import SECONDS, finish, json_lines, running_group, start_command
from unit.cli.run import run


class Shell:
    """Commands in this process, one after the other, while the loop goes on."""

    def __init__(self, nodes: str) -> None:
        self._nodes = nodes

    def run(self, *words: object) -> Result:
        return run(*words, "--node", self._nodes)

    async def __call__(self, *words: object, code: int | None = 0) -> Result:
        result = await asyncio.to_thread(self.run, *words)
        assert code in (None, result.exit_code), f"{words}: {result.output}"
        return result

    async def told(self, *words: object, code: int = 0) -> str:
        return " ".join((await self(*words, code=code)).stdout.split())

    async def answered(self, *words: object, code: int | None = 0) -> Any:
        return json.loads((await self(*words, "--json", code=code)).stdout)


async def test_a_trader_s_day(tmp_path: Path) -> None:
    async with asyncio.timeout(SECONDS), running_group(tmp_path, size=1) as running:
        shell = Shell(f"http://127.0.0.1:1,{running.nodes}")  # the first of them is down
        pair = "ETH/USDC"
        assert "ETH/USDC 0.01 0.001" in await shell.told("pairs", "--define", pair, "--tick", "0.01", "--lot", "0.001")
        watching = await start_command("watch", pair, "--json", "--seconds", 30, "--node", running.nodes)
        assert watching.stdout is not None
        first = await watching.stdout.readline()  # it is subscribed
        await orders_are_placed(shell, pair)
        await orders_are_changed(shell, pair)
        watching.terminate()
        watched = json_lines(first.decode() + (await finish(watching)).out)
    assert [line["fill"]["quantity"] for line in watched if "fill" in line] == ["10.000", "0.500"]
    assert watched[0]["book"] == {"sequence": watched[0]["book"]["sequence"], "bids": [], "asks": []}
    assert {"bids": [["3005.00", "4.500", 1]], "asks": [["3010.00", "5.000", 1]]} in [
        {side: line["book"][side] for side in ("bids", "asks")} for line in watched if "book" in line
    ]


async def orders_are_placed(shell: Shell, pair: str) -> None:
    assert (
        await shell.told("place", "ask", pair, "10", "3000.00", "--trader", "alice", "--id", 1)
        == "accepted 1 ask 10.000 ETH/USDC at 3000.00, 10.000 in the book"
    )
    await shell("place", "ask", pair, 5, 3010, "--trader", "alice", "--id", 2)
    bid = ("place", "bid", pair, 15, 3005, "--trader", "bob", "--id", 4, "--key", "once")
    done = await shell.told(*bid)
    assert "filled 10.000 ETH/USDC at 3000.00 (bid 4, ask 1)" in done and "5.000 in the book" in done
    assert await shell.told(*bid) == done  # the same key: done once
    assert "filled 0.500 ETH/USDC at 3005.00" in await shell.told("place", "ask", pair, "0.5", "market")
    off = await shell("place", "bid", pair, 1, "3005.005", code=2)
    assert "3005.00, 3005.01" in off.output
    assert "there are: ETH/USDC" in (await shell("place", "bid", "ETH/USD", 1, 3005, code=2)).output
    taken = await shell.answered("place", "bid", pair, 1, 3005, "--id", 2, code=1)
    assert taken["error"]["reason"] == "duplicate_order_id"
    crossing = await shell.answered("place", "bid", pair, 1, 3010, "--post-only", code=1)
    assert crossing["error"]["reason"] == "would_cross"
    assert (await shell.answered("book", pair))["bids"] == [[300500, 4500, 1]]
    fills = (await shell.answered("fills", "--pair", pair))["fills"]
    assert [(fill["price"], fill["quantity"]) for fill in fills] == [(300000, 10000), (300500, 500)]
    since = ",".join(str(part) for part in fills[0]["sequence"])
    assert len((await shell.answered("fills", "--since", since))["fills"]) == 1


async def orders_are_changed(shell: Shell, pair: str) -> None:
    assert "amended 4 bid 14.000" in await shell.told("amend", 4, "--quantity", 14)
    assert (await shell.answered("amend", 4, "--quantity", 10, code=1))["error"]["reason"] == "quantity_below_filled"
    assert "3.500 left (requested)" in await shell.told("cancel", 2, "--quantity", "1.5")
    await shell("cancel", 99, code=1)
    assert "4 ETH/USDC bid 3005.00 3.500 14.000 bob gtc" in await shell.told("orders", "--trader", "bob")
    assert "1 3.500 3005.00" in await shell.told("book", pair, "--depth", 1)
    await shell("halt", pair)
    assert (await shell.answered("place", "bid", pair, 1, 1, code=1))["error"]["reason"] == "pair_halted"
    await shell("resume", pair)
    assert "cancelled 1 orders of bob" in await shell.told("cancel", "--all", "--trader", "bob")
    odd = "[/b]\x1b[2J"
    assert "1.000 in the book" in await shell.told("place", "bid", pair, 1, 1, "--trader", odd)
    assert "[/b]\\x1b[2J" in await shell.told("orders", "--trader", odd)
    assert "orders of [/b]\\x1b[2J" in await shell.told("cancel", "--all", "--trader", odd)
    assert "cancelled 1 orders" in await shell.told("halt", "--all", "--cancel")
    assert "kill switch is on" in await shell.told("pairs")
    await shell("resume", "--all")
    await shell("pairs", "--define", pair, "--tick", "0.5", code=1)  # a pair's tick never changes


async def test_an_operator_s_day(tmp_path: Path) -> None:
    async with asyncio.timeout(SECONDS), running_group(tmp_path, pairs=["A/B"]) as running:
        shell = Shell(running.nodes)
        status = await shell.answered("status")
        assert [one["name"] for one in status] == ["node-1", "node-2", "node-3"]
        members = (await shell.answered("members"))["configuration"]["members"]
        assert [(member["name"], member["role"], member["lag"]) for member in members] == [
            (f"node-{number}", "voter", 0) for number in (1, 2, 3)
        ]
        leader = status[0]["leader"]
        follower = next(one["name"] for one in status if one["name"] != leader)
        assert await shell.told("transfer", follower) == f"leader: {follower}"
        assert await shell.told("transfer", follower) == f"leader: {follower}"  # it does already
        await shell("transfer", "node-9", code=1)
        assert (await shell.told("snapshot", "--all")).count("snapshot at index") == 3
        await shell("members", "--remove", "node-9", code=2)
        left = (await shell.answered("members", "--remove", leader))["configuration"]["members"]
        assert leader not in [member["name"] for member in left] and len(left) == 2
        await shell("members", "--add", leader)  # it comes back as a new member, and learns before it votes
        again = (await shell.answered("members"))["configuration"]["members"]
        assert [member["role"] for member in again] == ["voter", "voter", "voter"]
        lost = [node for node in running.group.nodes if node.name != follower]
        await running.group.kill(lost[0])
        partly = await shell("status", code=1)
        assert "does not answer" in partly.stdout
        survivor = Shell(next(end.clients for node in running.group.nodes if node.name == follower
                              and (end := node.endpoints())))  # fmt: skip
        assert (await recovery(survivor)).exit_code == 1  # there is a majority
        await running.group.kill(lost[1])
        alone = await shell("place", "bid", "A/B", 1, 1, "--patience", 0, code=None)
        assert alone.exit_code in (3, 4), alone.output  # 4: the survivor still led, and has it in its log
        await shell("recover", "node-9", "--last-term", 1, "--last-index", 1, code=2)
        while (recovered := await recovery(survivor)).exit_code == 1:  # noqa: ASYNC110 - it believes in a leader yet
            await asyncio.sleep(0.2)
        assert recovered.exit_code == 0 and "incarnation: " in recovered.stdout
        assert "members --add" in recovered.stderr
        await shell("place", "bid", "A/B", 1, 1)
        left = (await shell.answered("members"))["configuration"]["members"]
        assert [member["name"] for member in left] == [follower]
        for node in running.group.nodes:
            await running.group.kill(node)
        await shell("status", code=3)


async def test_status_says_when_nodes_are_not_of_one_group(tmp_path: Path) -> None:
    async with asyncio.timeout(SECONDS), running_group(tmp_path / "one", size=1) as one:
        alone = await Shell(one.nodes)("status")
        assert "not of one group" not in alone.stderr
        async with running_group(tmp_path / "other", size=1) as other:
            both = await Shell(f"{one.nodes},{other.nodes}")("status", code=1)
    assert "not of one group" in both.stderr and both.stderr.count("node-1: incarnation") == 2


async def recovery(survivor: Shell) -> Result:
    """Ask a node to go on alone with what it has."""
    [said] = await survivor.answered("status", code=None)
    log_end = ("--last-term", said["last_term"], "--last-index", said["last_index"])
    return await asyncio.to_thread(survivor.run, "recover", f"{said['name']}/{said['id']}", *log_end, "--patience", 1)
