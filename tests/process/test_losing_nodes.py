"""Nodes die, hang and come back while orders go on: nothing that was answered is lost, nothing is done twice."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from process.processes import SECONDS, running_group, under_load, until


async def test_each_node_is_killed_in_turn_under_load(tmp_path: Path) -> None:
    async with asyncio.timeout(SECONDS), running_group(tmp_path) as running:

        async def kill_each() -> None:
            for node in running.group.nodes:
                await running.group.kill(node)
                assert not node.running
                await running.api.group(consistency="strong")  # the others have a leader
                await running.group.start_node(node)
                await running.settled()

        await under_load(running, kill_each)


async def test_a_leader_that_hangs_is_replaced_and_comes_back(tmp_path: Path) -> None:
    async with asyncio.timeout(SECONDS), running_group(tmp_path) as running:

        async def hang() -> None:
            old = await running.leader()
            assert old.process is not None
            old.process.send_signal(signal.SIGSTOP)
            others = [node for node in running.group.nodes if node is not old]
            running.api.addresses = [endpoints.clients for node in others if (endpoints := node.endpoints())]
            running.api.address = running.api.addresses[0]
            new = await running.leader()
            assert new is not old
            old.process.send_signal(signal.SIGCONT)
            await running.settled()

        await under_load(running, hang)


async def test_five_nodes_go_on_without_two_and_start_again_after_all_were_killed(tmp_path: Path) -> None:
    async with asyncio.timeout(SECONDS), running_group(tmp_path, size=5, pairs=["ETH/USDC"]) as running:
        order = {"id": 1, "pair": "ETH/USDC", "side": "bid", "price": 100, "quantity": 5, "trader": "alice"}
        await running.api.place(order)
        leader = await running.leader()
        other = next(node for node in running.group.nodes if node is not leader)
        for node in (leader, other):
            await running.group.kill(node)
        await running.api.place({**order, "id": 2})
        for node in running.group.nodes:
            await running.group.kill(node)
        await until(lambda: not any(node.running for node in running.group.nodes), "all are dead")
        await running.group.start()
        await running.agreed()
        found = await running.api.orders("alice")
        assert [order["id"] for order in found["orders"]] == [1, 2]
