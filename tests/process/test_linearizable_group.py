"""Real processes under faults, judged by what their clients saw alone; and a lie among it is noticed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from linearizability.checker import NotLinearizable, linearize
from linearizability.models import Observed
from process.histories import DEPTH, PAIR, HttpBookModel, Recording
from process.processes import SECONDS, Running, running_group, until
from process.relays import relayed_group

SOME = 40  # answers between two faults


@asynccontextmanager
async def recorded(running: Running) -> AsyncIterator[Recording]:
    """What clients see while the body lets faults happen; judged at its end."""
    recording = Recording(running)
    recording.start()
    try:
        await recording.answered(SOME)
        yield recording
        await recording.answered(SOME)
        await running.agreed()
        await recording.judge()
    finally:
        await recording.stop()


async def test_while_leaders_are_killed(tmp_path: Path) -> None:
    async with asyncio.timeout(SECONDS), running_group(tmp_path, pairs=[PAIR]) as running, recorded(running) as seen:
        for _ in range(2):
            leader = await running.leader()
            await running.group.kill(leader)
            await seen.answered(SOME)
            await running.group.start_node(leader)
            await running.settled()
        changed = [
            operation._replace(answer=((), ())) if operation.call == Observed() and operation.answer[0] else operation
            for operation in seen.history
        ]
        assert changed != seen.history
        with pytest.raises(NotLinearizable):  # the oracle can tell
            linearize(changed, HttpBookModel(DEPTH))


async def test_while_all_are_killed_at_once(tmp_path: Path) -> None:
    async with asyncio.timeout(SECONDS), running_group(tmp_path, pairs=[PAIR]) as running, recorded(running):
        for node in running.group.nodes:
            await running.group.kill(node)
        await running.group.start()
        await running.settled()


async def test_while_leaders_hang_and_come_back(tmp_path: Path) -> None:
    async with asyncio.timeout(SECONDS), running_group(tmp_path, pairs=[PAIR]) as running, recorded(running) as seen:
        leader = await running.leader()
        assert leader.process is not None
        leader.process.send_signal(signal.SIGSTOP)
        await seen.answered(SOME)
        leader.process.send_signal(signal.SIGCONT)
        await running.settled()


@pytest.mark.skipif(sys.platform != "linux", reason="finds the dialling process in /proc")
async def test_while_the_leader_is_cut_off_from_the_others(tmp_path: Path) -> None:
    async with (
        asyncio.timeout(SECONDS),
        relayed_group(tmp_path, pairs=[PAIR]) as (running, relays),
        recorded(running) as seen,
    ):
        leader = await running.leader()
        await relays.cut_off(leader.name)
        await seen.answered(SOME)
        assert relays.bytes_held > 0, "it went on sending"
        await relays.release()
        await running.settled()


@pytest.mark.skipif(sys.platform != "linux", reason="finds the dialling process in /proc")
async def test_while_nothing_gets_from_the_leader_to_one_and_from_that_one_to_the_third(tmp_path: Path) -> None:
    async with (
        asyncio.timeout(SECONDS),
        relayed_group(tmp_path, pairs=[PAIR]) as (running, relays),
        recorded(running) as seen,
    ):
        leader = await running.leader()
        one, other = (node.name for node in running.group.nodes if node is not leader)
        await relays.hold((leader.name, one), (one, other))
        await seen.answered(SOME)
        assert relays.bytes_held > 0, "it went on sending"
        await relays.release()
        await running.settled()


@contextmanager
def small_file_system(directory: Path, megabytes: int) -> Iterator[None]:
    directory.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(directory)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if mounted.returncode:
        pytest.skip(f"may not mount a tmpfs: {mounted.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(directory)], timeout=30, check=True)


def fill(directory: Path) -> Path:
    """A file that takes all the room that is left."""
    path = directory / "of-others"
    with path.open("wb", buffering=0) as file:
        while free := os.statvfs(directory).f_bavail * os.statvfs(directory).f_frsize:
            file.write(bytes(min(free, 1 << 20)))
    return path


async def test_while_the_leaders_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORDERBOOK_STORAGE__SEGMENT_BYTES", str(1 << 20))
    with small_file_system(tmp_path / "node-1", 240):
        async with (
            asyncio.timeout(SECONDS),
            running_group(tmp_path, pairs=[PAIR]) as running,
            recorded(running) as seen,
        ):
            full = running.group.nodes[0]
            await until_it_leads(running, full.name)
            others = fill(full.directory)
            await until_another_leads(running, full.name)
            await seen.answered(SOME)
            others.unlink()
            if not full.running:
                await running.group.start_node(full)
            await running.settled()


async def until_it_leads(running: Running, name: str) -> None:
    while (await running.leader()).name != name:
        await running.api.transfer(name)


async def until_another_leads(running: Running, name: str) -> None:
    found: list[str] = []

    async def look() -> None:
        while True:
            found.append((await running.leader()).name)
            await asyncio.sleep(0.05)

    looking = asyncio.create_task(look())
    try:
        await until(lambda: found and found[-1] != name, f"{name} gave its leadership away")
    finally:
        looking.cancel()
