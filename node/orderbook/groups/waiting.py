"""Futures around callbacks: how coroutines wait for a worker, for the next turn, and for a condition to hold."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import TypeVar

from orderbook.runtime import Runtime, Worker

T = TypeVar("T")


async def run_on(worker: Worker, job: Callable[[], T]) -> T:
    """Run a blocking job on a worker and give its result, or raise its error."""
    future: asyncio.Future[T] = asyncio.get_running_loop().create_future()

    def done(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]  # a job of type T that raised nothing gave a T

    worker.submit(job, done)
    return await future


async def turn(runtime: Runtime) -> None:
    """Let everything else that is ready run first."""
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    runtime.call_soon(lambda: None if future.done() else future.set_result(None))
    await future


async def in_slices(runtime: Runtime, steps: Iterator[None]) -> None:
    """Run a long computation that yields, letting the loop turn at each yield."""
    for _ in steps:
        await turn(runtime)


class Conditions:
    """Coroutines that wait until a predicate holds. ``check`` is called whenever one may have become true."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._waiting: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []

    async def until(self, predicate: Callable[[], bool], timeout: float | None, what: str) -> None:
        """Raises TimeoutError, naming ``what`` was waited for, after ``timeout`` seconds."""
        if predicate():
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiter = (predicate, future)
        self._waiting.append(waiter)

        def expired() -> None:
            if not future.done():
                future.set_exception(TimeoutError(f"waited {timeout} s for {what}"))

        timer = self._runtime.call_later(timeout, expired) if timeout is not None else None
        try:
            await future
        finally:
            if timer is not None:
                timer.cancel()
            if waiter in self._waiting:
                self._waiting.remove(waiter)

    def check(self) -> None:
        if self._waiting:
            still = []
            for predicate, future in self._waiting:
                if future.done():
                    continue
                if predicate():
                    future.set_result(None)
                else:
                    still.append((predicate, future))
            self._waiting = still

    def fail(self, error: Exception) -> None:
        """Nothing will become true any more."""
        waiting, self._waiting = self._waiting, []
        for _, future in waiting:
            if not future.done():
                future.set_exception(error)
