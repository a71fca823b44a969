"""``orderbook replay`` through real processes: exact, whoever dies meanwhile."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from orderbook.client.order_stream import OrderStream
from process.processes import SECONDS, Running, command, finish, json_lines, running_group, start_command, until

ROOT = Path(__file__).parents[2]
DATA = (ROOT / os.environ.get("RECORDED_FLOW", "../shared/data")).resolve()


@pytest.mark.skipif(not (DATA / "coinbase.jsonl").exists(), reason=f"no recorded flow in {DATA} (set RECORDED_FLOW)")
async def test_recorded_flow_with_the_leader_killed_half_way(tmp_path: Path) -> None:
    events, book, state = tmp_path / "events.jsonl", tmp_path / "book.json", tmp_path / "state.json"
    flow = DATA / "coinbase.jsonl"
    half = len(flow.read_bytes().splitlines()) // 2
    async with asyncio.timeout(SECONDS), running_group(tmp_path / "group") as running:
        replay = await start_command(
            "replay", flow, "--instruments", DATA / "coinbase.instruments.json", "--group", running.nodes,
            "--events", events, "--book", book, "--state", state, "--speed", 6, "--json",
        )  # fmt: skip
        await until(lambda: line_of(state) > half, "half of it is done")
        leader = await running.leader()
        await running.group.kill(leader)
        assert replay.returncode is None, "it ended before the leader was killed"
        done = await finish(replay)
        assert done.code == 0, done.err
        await running.group.start_node(leader)
        await running.agreed()
    expected = json.loads((DATA / "coinbase.expected.json").read_text())
    told = json_lines(events.read_text())
    fills = [event for event in told if event["event"] == "fill"]
    assert [[fill["pair"], fill["price"], fill["quantity"], fill["taker_side"]] for fill in fills] == expected["fills"]
    assert len(fills) == 97
    assert json.loads(done.out)["lines"] == 18_081
    assert {pair: sides(levels) for pair, levels in json.loads(book.read_text()).items()} == {
        pair: sides(levels) for pair, levels in expected["book"].items()
    }
    assert not state.exists()


async def test_an_interrupted_replay_goes_on_where_it_stopped(tmp_path: Path) -> None:
    flow = tmp_path / "flow.jsonl"
    flow.write_text("".join(json.dumps(line) + "\n" for line in made_flow(seconds=40)))
    plain, events, state = tmp_path / "match.jsonl", tmp_path / "events.jsonl", tmp_path / "flow.jsonl.replay.json"
    matched = await command("match", flow, "--events", plain, "--book", tmp_path / "match.json")
    assert matched.code == 0
    async with asyncio.timeout(SECONDS), running_group(tmp_path / "group", size=1) as running:
        options = ("--group", running.nodes, "--events", events, "--book", tmp_path / "book.json", "--batch", 7)
        recorded = 0
        for end in (signal.SIGKILL, signal.SIGINT, signal.SIGKILL):
            replay = await start_command("replay", flow, *options, "--speed", 4)
            await until(lambda at_least=recorded: line_of(state) > at_least, "it goes on")
            replay.send_signal(end)
            interrupted = await finish(replay)
            assert interrupted.code == (130 if end is signal.SIGINT else -end)
            recorded = line_of(state)
        other = await command("replay", flow, *options[:2])
        assert other.code == 2 and str(events) in other.err  # events of the other half would be missing
        done = await command("replay", flow, *options, "--json")
        assert done.code == 0, done.err
        assert f"going on behind line {recorded}" in done.err
        await lobster_goes_the_same_way(tmp_path, running)
    assert without_sequence(events) == without_sequence(plain)
    assert (tmp_path / "book.json").read_text() == (tmp_path / "match.json").read_text()
    assert json.loads(done.out)["lines"] == len(flow.read_text().splitlines())


async def lobster_goes_the_same_way(tmp_path: Path, running: Running) -> None:
    flow, plain, events = tmp_path / "AAPL_messages.csv", tmp_path / "lobster.match", tmp_path / "lobster.events"
    messages = ((1, 11, 100, 5853300, -1), (1, 12, 18, 5853200, 1), (4, 11, 40, 5853300, -1), (2, 11, 10, 5853300, -1))
    flow.write_text("".join(f"34200.0{n},{','.join(map(str, row))}\n" for n, row in enumerate(messages)))
    matched = await command("match", flow, "--format", "lobster", "--events", plain)
    assert matched.code == 0
    done = await command("replay", flow, "--format", "lobster", "--events", events, "--group", running.nodes)
    assert done.code == 0, done.err
    assert without_sequence(events) == without_sequence(plain) != []


async def test_a_replay_whose_session_ended_meanwhile_is_refused(tmp_path: Path) -> None:
    flow, state = tmp_path / "flow.jsonl", tmp_path / "flow.jsonl.replay.json"
    flow.write_text("".join(json.dumps(line) + "\n" for line in made_flow(seconds=40)))
    async with asyncio.timeout(SECONDS), running_group(tmp_path / "group", size=1) as running:
        replay = await start_command("replay", flow, "--group", running.nodes, "--batch", 7, "--speed", 4)
        await until(lambda: line_of(state) > 0, "some of it is done")
        replay.kill()
        await finish(replay)
        await close_session(running, json.loads(state.read_text())["session"])
        before = await running.api.orders("alice")
        again = await command("replay", flow, "--group", running.nodes)
        assert again.code == 4, again.err
        assert "session" in again.err and str(state) in again.err
        assert (await running.api.orders("alice"))["orders"] == before["orders"]  # nothing was sent anew
        progress = json.loads(state.read_text())
        state.write_text(json.dumps({**progress, "incarnation": "00" * 16}))
        elsewhere = await command("replay", flow, "--group", running.nodes)
        assert elsewhere.code == 4 and "another, or began anew" in elsewhere.err
        flow.write_text(flow.read_text().replace('"quantity": 5', '"quantity": 6'))
        changed = await command("replay", flow, "--group", running.nodes)
        assert changed.code == 2 and "another file" in changed.err


async def close_session(running: Running, session: int) -> None:
    stream = OrderStream(running.runtime, running.http, running.group.addresses())
    closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    stream.on_connected = lambda: stream.close_session(session, lambda _answer, error: closed.set_result(error))
    assert await closed is None
    await stream.close()


def made_flow(seconds: int) -> list[dict[str, Any]]:
    """Ten lines a second of recorded time: orders of two pairs that trade, cancels, and lines that are rejected."""
    lines: list[dict[str, Any]] = []
    for number in range(1, seconds * 10 + 1):
        time = {"t": number / 10}
        if number % 7 == 0:
            lines.append({**time, "op": "cancel", "id": number - 3, "trader": "alice"})
        elif number % 11 == 0:
            lines.append({**time, "op": "amend", "id": number - 1, "price": 95, "trader": "alice"})
        else:
            side, pair = ("bid", "ask")[number % 3 == 0], ("A/B", "C/D")[number % 2]
            order = {"pair": pair, "side": side, "price": 90 + number % 20, "quantity": 5, "trader": "alice"}
            lines.append({**time, "op": "place", "id": number, **order})
    return lines


def line_of(state: Path) -> int:
    """How far a replay is, by its progress file; -1 where there is none."""
    return int(json.loads(state.read_text())["line"]) if state.exists() else -1


def without_sequence(events: Path) -> list[dict[str, Any]]:
    return [{key: value for key, value in event.items() if key not in ("sequence", "time_ms")}
            for event in json_lines(events.read_text())]  # fmt: skip


def sides(book: dict[str, Any]) -> dict[str, list[list[int]]]:
    """Price and quantity of each level, best first."""
    return {side: [level[:2] for level in book[side]] for side in ("bids", "asks")}
