"""Garbage collection of a node, in bounded steps of its own in place of the interpreter's.

Python frees most things at once, when nothing refers to them any more. What refers to itself in a circle (an HTTP
connection that was a WebSocket does, in aiohttp) must be looked for, and the interpreter's own search goes through all
that lives: a million resting orders would stop the loop for half a second. So it is off, and from time to time

- what came since the last look is searched: about as many objects as were made meanwhile and live yet;
- rarely, all that came since the last freeze is searched, which is kept few:
- when it is many, it is frozen: orders, results and whatever else lives then is not looked at any more. Such things
  free themselves by their references; a circle among them stays for good, which is why only order flow is let do it.

So a search takes some 2 ms at most, and costs nothing where orders come so fast that every look finds many.
"""

from __future__ import annotations

import gc

from orderbook.runtime import Runtime, Timer

LOOK_SECONDS = 0.1
YOUNG_LEAST = 500  # fewer new objects are left for later
FREEZE_ABOVE = 20_000  # objects since the last freeze: a search of so many takes about 2 ms
LOOKS_BETWEEN_ALL = 100


class Collector:
    """For the one loop of a process, until ``close``. ``searched`` counts searches, for who wants to know."""

    def __init__(self, runtime: Runtime) -> None:
        self.searched = 0
        self.freezes = 0
        self._runtime = runtime
        self._since_freeze = 0
        self._looks = 0
        gc.collect()
        gc.freeze()
        gc.disable()
        self._timer: Timer = runtime.call_later(LOOK_SECONDS, self._look)

    def close(self) -> None:
        self._timer.cancel()

    def _look(self) -> None:
        self._timer = self._runtime.call_later(LOOK_SECONDS, self._look)
        self._looks += 1
        young = gc.get_count()[0]
        if YOUNG_LEAST <= young <= FREEZE_ABOVE:
            gc.collect(0)
            self.searched += 1
        self._since_freeze += young if young >= YOUNG_LEAST else 0
        if self._since_freeze > FREEZE_ABOVE:
            gc.freeze()
            self.freezes += 1
            self._since_freeze = 0
        elif self._looks >= LOOKS_BETWEEN_ALL:
            gc.collect()
            self.searched += 1
            self._looks = 0
