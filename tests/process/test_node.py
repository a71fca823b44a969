"""A node process and its exit codes."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from pathlib import Path

import pytest

from orderbook.cli.failover_bench import FailoverBench
from orderbook.client.local_group import NodeProcess
from process.processes import KEY, SECONDS, command, running_group, until

OPTIONS = ("--auth", "none", "--peer-port", 0, "--client-port", 0, "--probe-port", 0, "--key", KEY)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--name", "Node 1", "--data", "d"), "name = 'Node 1' (from --name)"),
        (("--name", "a", "--data", "d", "--peer-port", 70000), "peer_port = 70000 (from --peer-port)"),
        (("--name", "a"), "data is missing"),
        (
            ("--name", "a", "--data", "d", "--pair", "ETH"),
            "a pair is BASE/QUOTE, each 1 to 32 of A-Z a-z 0-9 . _ -, not 'ETH'",
        ),
        (("--name", "a", "--data", "d", "--config", "none.toml"), "none.toml"),
        (("--name", "a", "--data", "d", "--auth", "maybe"), "auth.mode = 'maybe'"),
    ],
)
async def test_wrong_configuration_is_exit_code_2(tmp_path: Path, options: tuple[object, ...], told: str) -> None:
    base = OPTIONS if "--auth" not in options else OPTIONS[2:]
    done = await command("node", *base, *(tmp_path / o if o == "d" else o for o in options))
    assert done.code == 2
    assert told in done.err
    assert not (tmp_path / "d").exists()


async def test_a_value_from_the_environment_is_named_by_its_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORDERBOOK_RAFT__TICK", "soon")
    done = await command("node", *OPTIONS, "--name", "a", "--data", tmp_path / "d")
    assert done.code == 2 and "ORDERBOOK_RAFT__TICK" in done.err


async def test_without_keys_only_auth_none_starts(tmp_path: Path) -> None:
    done = await command("node", *OPTIONS[2:], "--name", "a", "--data", tmp_path / "d")
    assert done.code == 2 and "only with --auth none" in done.err


async def test_a_directory_in_use_a_clean_stop_and_a_damaged_log(tmp_path: Path) -> None:
    """One node through its exit codes: 3 for the second process, 0 at SIGTERM, 4 for damage below what was synced."""
    async with asyncio.timeout(SECONDS), running_group(tmp_path, size=1, pairs=["A/B"]) as running:
        [node] = running.group.nodes
        second = await command("node", *OPTIONS, "--name", node.name, "--data", node.directory, "--initial-size", 1)
        assert second.code == 3, second.err
        assert str(node.directory) in second.err
        for id in range(1, 30):
            await running.api.place({"id": id, "pair": "A/B", "side": "bid", "price": 1, "quantity": 1})
        assert exit_code(await stopped(running.group, node, signal.SIGTERM)) == 0
        log = newest_log(node.directory)
        data = bytearray(log.read_bytes())
        place = data.find(b"A/B")
        assert place > 0
        data[place] ^= 0xFF
        log.write_bytes(data)
        damaged = await command("node", *OPTIONS, "--name", node.name, "--data", node.directory, "--initial-size", 1)
        assert damaged.code == 4, damaged.err
        assert log.name in damaged.err


@pytest.mark.parametrize("key", ["peer_port", "client_port", "probe_port"])
async def test_a_port_that_is_taken_is_exit_code_2(tmp_path: Path, key: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        option = "--" + key.replace("_", "-")
        done = await command("node", *OPTIONS, "--name", "a", "--data", tmp_path / "d", option, port)
    assert done.code == 2, done.err
    assert f"{key} = {port}" in done.err


async def test_failover_bench_finds_nothing_lost_and_nothing_doubled(tmp_path: Path) -> None:
    async with asyncio.timeout(SECONDS), running_group(tmp_path) as running:
        bench = FailoverBench(running.runtime, running.http, running.group, kills=1, batch=50)
        result = await bench.measure(rate=2000)
    assert (result["lost"], result["doubled"], result["uncertain"]) == (0, 0, 0)
    assert result["acknowledged"] == result["orders"] > 0
    assert result["state_hash_equal"] and result["book_equal"]
    assert result["failover_ms"]["p50"] > 0


async def stopped(group: object, node: NodeProcess, number: signal.Signals) -> NodeProcess:
    assert node.process is not None
    os.kill(node.process.pid, number)
    await until(lambda: not node.running, "it has ended")
    return node


def exit_code(node: NodeProcess) -> int | None:
    return node.process.returncode if node.process is not None else None


def newest_log(directory: Path) -> Path:
    """The segment that holds the newest records."""
    logs = sorted(path for path in (directory / "member").rglob("*") if path.is_file() and b"A/B" in path.read_bytes())
    return logs[-1]
