"""``orderbook local``: a group on this machine that stops cleanly and starts again with its data."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from process.processes import SECONDS, Finished, command, finish, is_free, start_command, until


@asynccontextmanager
async def local(directory: Path, *options: object) -> AsyncIterator[tuple[str, list[Finished]]]:
    """The nodes of a running one, as ``--node`` takes them; it is interrupted at the end, as by Ctrl-C."""
    process = await start_command("local", "--dir", directory, "--auth", "none", "--port", 0, *options)
    ended: list[Finished] = []
    try:
        assert process.stdout is not None
        async with asyncio.timeout(SECONDS):
            async for line in process.stdout:
                if line.startswith(b"export ORDERBOOK_NODES="):
                    break
        yield line.decode().strip().split("=", 1)[1], ended
    finally:
        process.send_signal(signal.SIGINT)
        ended.append(await finish(process))


async def test_it_starts_again_with_its_data(tmp_path: Path) -> None:
    directory = tmp_path / "group"
    async with local(directory, "--nodes", 3, "--pair", "ETH/USDC") as (nodes, ended):
        placed = await command("place", "bid", "ETH/USDC", 2, 100, "--id", 7, "--trader", "bob", "--node", nodes)
        assert placed.code == 0, placed.err
    assert ended[0].code == 0 and "stopping" in ended[0].out
    for number in (1, 2, 3):
        assert (directory / f"node-{number}" / "node.log").stat().st_size > 0
    wrong = await command("local", "--dir", directory, "--auth", "none", "--nodes", 5)
    assert wrong.code == 2 and "3 nodes" in wrong.err
    async with local(directory) as (nodes, ended):
        orders = await command("orders", "--trader", "bob", "--json", "--node", nodes)
        assert [order["id"] for order in json.loads(orders.out)["orders"]] == [7]
        status = await command("status", "--json", "--node", nodes)
        assert status.code == 0
        assert [node["name"] for node in json.loads(status.out)] == ["node-1", "node-2", "node-3"]
    assert ended[0].code == 0


async def test_after_a_start_that_failed_the_same_command_works(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        first = ("--dir", tmp_path, "--auth", "none", "--nodes", 3, "--port", min(taken.getsockname()[1], 65500))
        failed = await command("local", *first)
    assert failed.code == 1 and "client_port" in failed.err
    async with local(tmp_path, "--nodes", 3) as (nodes, _):
        assert len(nodes.split(",")) == 3


async def test_without_auth_it_does_not_start(tmp_path: Path) -> None:
    refused = await command("local", "--dir", tmp_path / "group")
    assert refused.code == 2 and "--auth none" in refused.err
    assert not (tmp_path / "group").exists()


async def test_nodes_end_with_the_process_that_started_them(tmp_path: Path) -> None:
    process = await start_command("local", "--dir", tmp_path / "group", "--auth", "none", "--port", 0, "--nodes", 1)
    assert process.stdout is not None
    async with asyncio.timeout(SECONDS):
        async for line in process.stdout:
            if line.startswith(b"export ORDERBOOK_NODES="):
                break
    address = line.decode().strip().split("=", 1)[1]
    process.kill()
    await finish(process)
    port = int(address.rsplit(":", 1)[1])
    await until(lambda: is_free(port), "the node is gone")
