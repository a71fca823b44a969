"""What the deterministic packages ask of the world: clock, timers, randomness, tasks, and a thread to block in.

raft, storage, groups and streams never reach for the real ones (a lint rule keeps them out). They are handed a
``Runtime``: ``orderbook.server.runtime`` is the real one, the simulator's runs a virtual clock from one seed. The same
seed then gives the same run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Timer(Protocol):
    """A pending call. Cancelling it twice, or after it ran, does nothing."""

    def cancel(self) -> None: ...


class Task(Protocol):
    """A running coroutine."""

    def cancel(self) -> bool: ...

    def done(self) -> bool: ...


class Worker(Protocol):
    """One thread that may block. Jobs run one at a time, in the order they were submitted."""

    def submit(self, job: Callable[[], T], done: Callable[[T | None, BaseException | None], None]) -> None:
        """Run ``job`` off the event loop, then call ``done(result, error)`` on it. One of the two is None."""
        ...

    def close(self) -> None:
        """Let the jobs that were submitted finish, then end the thread."""
        ...


class Runtime(Protocol):
    """Clock, timers, randomness and tasks of one node. All callbacks run on its single event loop."""

    random: Random

    def monotonic(self) -> float:
        """Seconds since an arbitrary start; never goes back."""
        ...

    def wall_ms(self) -> int:
        """Milliseconds since 1970 by this machine's clock, which may jump."""
        ...

    def call_soon(self, callback: Callable[..., object], *args: Any) -> None:
        """Run ``callback(*args)`` in the next turn of the loop."""
        ...

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> Timer:
        """Run ``callback(*args)`` once, ``delay`` seconds from now."""
        ...

    def spawn(self, coroutine: Coroutine[Any, Any, Any], name: str) -> Task:
        """Run a coroutine. Its unexpected exception ends the node: none is ever swallowed."""
        ...

    def worker(self, name: str) -> Worker:
        """A new thread to block in (in the simulator: a queue with virtual durations)."""
        ...

    def fork(self, job: Callable[[], None], done: Callable[[BaseException | None], None]) -> None:
        """Run ``job`` on a copy of this moment's memory, off the loop, then call ``done(error)``.

        The real one forks a child process: what ``job`` changes in memory is lost, what it writes to files stays.
        """
        ...


async def pause(runtime: Runtime, seconds: float) -> None:
    """Wait on the injected clock."""
    over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def end() -> None:
        if not over.done():  # the waiting task may have been cancelled in this very turn
            over.set_result(None)

    timer = runtime.call_later(seconds, end)
    try:
        await over
    finally:
        timer.cancel()
