"""``orderbook soak`` in a pod: load while a test does something to the group, and what became of every order of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from cluster.api import eventually
from cluster.client_pod import ClientPod, lines
from cluster.figures import Figures
from cluster.group_under_test import LONG, GroupUnderTest

RATE, BATCH = 300, 10  # commands a second, and in a batch


class Soak:
    """Of one run. ``summary`` is empty until it has ended."""

    def __init__(self, group: GroupUnderTest, node: str = "") -> None:
        command = ["orderbook", "soak", "--json", "--rate", str(RATE), "--batch", str(BATCH)]
        self._pod = ClientPod(group, "soak", command, node)
        self.summary: dict[str, Any] = {}

    async def acknowledged(self) -> int:
        """How many commands were answered so far."""
        seconds = lines(await self._pod.log())
        return int(seconds[-1]["acknowledged"]) if seconds else 0

    async def flows(self) -> None:
        """Orders are answered that weren't when this was called: two more seconds of them."""
        before = await self.acknowledged()

        async def goes_on() -> bool:
            assert await self._pod.phase() == "Running", f"the load ended: {await self._pod.log()}"
            return await self.acknowledged() > before + 2 * RATE

        await eventually(goes_on, "orders flow", LONG, 0.5)

    async def start(self) -> None:
        await self._pod.start()
        await self.flows()

    async def end(self) -> None:
        """Stop, and read the summary: everything sent was answered by then."""
        await self._pod.run("sh", "-c", "kill -TERM 1")

        async def ended() -> bool:
            return await self._pod.phase() in ("Succeeded", "Failed")

        await eventually(ended, "the load ended", LONG)
        log = await self._pod.log()
        self.summary = lines(log)[-1]
        assert "lost" in self.summary, f"the load says nothing at its end: {log[-3000:]}"

    async def remove(self) -> None:
        await self._pod.remove()


@asynccontextmanager
async def under_load(group: GroupUnderTest, figures: Figures, what: str, node: str = "") -> AsyncIterator[Soak]:
    """Load on the group while the block lasts: no acknowledged order lost or doubled, no error that a client sees.

    ``what`` is done to the group meanwhile: figures bear this name. ``node``: the cluster's node to put the load on.
    """
    soak = Soak(group, node)
    try:
        await soak.start()
        yield soak
        await soak.flows()
        await soak.end()
    finally:
        await soak.remove()
    summary = soak.summary
    figures.note(f"{what}: longest time without an answer (ms)", summary["longest_gap_ms"])
    figures.note(f"{what}: latency of a batch (ms)", summary["latency_ms"])
    figures.note(f"{what}: commands acknowledged", summary["acknowledged"])
    bad = {name: summary[name] for name in ("lost", "doubled", "failed") if summary[name]}
    assert not bad, f"{what}: {bad}; {summary}"
    assert summary["acknowledged"] == summary["sent"]
