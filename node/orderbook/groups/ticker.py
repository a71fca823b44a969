"""A steady tick on a loop that may stall.

When the loop was held up for longer than a tick, what arrived meanwhile is taken first: it may be the very heartbeat
whose absence the tick would count. And ticks that were missed are not made up for: to a leader that was only late they
would be an election timeout all at once.
"""

from __future__ import annotations

from collections.abc import Callable

from orderbook.runtime import Runtime, Timer


class Ticker:
    """Calls ``on_tick`` every ``period`` seconds from ``start`` to ``stop``."""

    def __init__(self, runtime: Runtime, period: float, on_tick: Callable[[], None]) -> None:
        self._runtime = runtime
        self._period = period
        self._on_tick = on_tick
        self._timer: Timer | None = None
        self._due = 0.0

    def start(self) -> None:
        self._due = self._runtime.monotonic() + self._period
        self._timer = self._runtime.call_later(self._period, self._tick)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _tick(self) -> None:
        now = self._runtime.monotonic()
        if now - self._due > self._period:
            self._due = now
            self._timer = self._runtime.call_later(self._period / 10, self._tick)
            return
        self.start()
        self._on_tick()
