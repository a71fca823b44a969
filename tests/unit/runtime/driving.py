"""Drives the real runtime on a loop of its own, asyncio's or uvloop's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from orderbook.server.runtime import AsyncioRuntime


class LoopDriver:
    def __init__(self, new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
        self.loop = new_loop()
        self.failures: list[BaseException] = []
        self.unhandled: list[object] = []  # what the runtime let through to the loop
        self.loop.set_exception_handler(lambda loop, context: self.unhandled.append(context))
        self.runtime = self.loop.run_until_complete(self._make())

    async def _make(self) -> AsyncioRuntime:
        return AsyncioRuntime(self.failures.append)

    def start(self, action: Callable[[], object]) -> None:
        async def act() -> None:
            action()

        self.loop.run_until_complete(act())

    def run_until(self, condition: Callable[[], bool]) -> None:
        async def wait() -> None:
            async with asyncio.timeout(20):
                while not condition():  # noqa: ASYNC110 - any condition, of threads and processes too
                    await asyncio.sleep(0.001)

        self.loop.run_until_complete(wait())

    def close(self) -> None:
        self.start(lambda: None)
        self.loop.close()
        assert self.unhandled == []
