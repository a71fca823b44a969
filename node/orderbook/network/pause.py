"""Waiting on the injected clock."""

from __future__ import annotations

import asyncio

from orderbook.runtime import Runtime


async def pause(runtime: Runtime, seconds: float) -> None:
    over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def end() -> None:
        if not over.done():  # the waiting task may have been cancelled in this very turn
            over.set_result(None)

    timer = runtime.call_later(seconds, end)
    try:
        await over
    finally:
        timer.cancel()
