"""Clock and timers that move only when a test says so. What a ``Runtime`` offers beyond that is not here."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from random import Random
from typing import Any


class VirtualTimer:
    def __init__(self, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
        self._call: tuple[Callable[..., object], tuple[Any, ...]] | None = (callback, args)

    def cancel(self) -> None:
        self._call = None

    def run(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call[0](*call[1])


class VirtualRuntime:
    """Timers run in the order of their time, and of their making where that is the same."""

    def __init__(self, seed: int = 0) -> None:
        self.random = Random(seed)
        self.now = 0.0
        self._made = 0
        self._heap: list[tuple[float, int, VirtualTimer]] = []

    def monotonic(self) -> float:
        return self.now

    def wall_ms(self) -> int:
        return 1_000_000 + round(self.now * 1000)

    def call_soon(self, callback: Callable[..., object], *args: Any) -> None:
        self.call_later(0.0, callback, *args)

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> VirtualTimer:
        timer = VirtualTimer(callback, args)
        self._made += 1
        heappush(self._heap, (self.now + delay, self._made, timer))
        return timer

    def advance(self, seconds: float) -> None:
        """Let time pass, and run all that is due meanwhile."""
        until = self.now + seconds
        while self._heap and self._heap[0][0] <= until:
            at, _, timer = heappop(self._heap)
            self.now = max(self.now, at)
            timer.run()
        self.now = until

    def advance_until(self, condition: Callable[[], bool], most: float) -> bool:
        """Let time pass until a condition holds, at most so many seconds; whether it came to hold."""
        until = self.now + most
        while not condition():
            if not self._heap or self._heap[0][0] > until:
                return False
            self.advance(self._heap[0][0] - self.now)
        return True
