"""When a group is looked at next. Pure: times are seconds of the caller's monotonic clock.

Whatever a pass left open is taken up soon; what stays the same is asked for less and less often, up to a bound. Events
of the cluster bring a pass forward, but not before ``earliest``: a change that comes back each time it is made must not
make a busy loop, and a failing API server must not be hammered.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from random import Random

from orderbook_operator.metrics import PassResult

COALESCED = 0.1
CONVERGED = 10.0
FULL = 300.0
FIRST = {
    PassResult.ACTED: 0.2,
    PassResult.STALE: 0.2,
    PassResult.WAITING: 1.0,
    PassResult.REFUSED: 2.0,
    PassResult.FAILED: 0.5,
}
MOST = {
    PassResult.ACTED: 10.0,
    PassResult.STALE: 10.0,
    PassResult.WAITING: 10.0,
    PassResult.REFUSED: 60.0,
    PassResult.FAILED: 30.0,
}


@dataclass
class Schedule:
    """Of one group."""

    random: Random
    earliest: float = 0.0
    latest: float = 0.0
    _last: tuple[PassResult, Hashable] | None = field(default=None, repr=False)
    _repeats: int = 0
    _full_at: float = float("-inf")

    def ended(self, result: PassResult, about: Hashable, now: float, *, full: bool) -> None:
        """A pass ended now. ``about``: what it did or waits for; the same again counts as a repeat."""
        self._repeats = self._repeats + 1 if self._last == (result, about) else 0
        self._last = result, about
        if full:
            self._full_at = now
        if result is PassResult.CONVERGED:
            self.earliest, self.latest = now + COALESCED, now + self._around(CONVERGED)
            return
        delay = min(FIRST.get(result, 0.2) * 2 ** min(self._repeats, 16), MOST.get(result, 10.0))
        self.latest = now + self._around(delay)
        patient = result is PassResult.WAITING  # what it waits for may come any moment, and an Event tells
        self.earliest = now + COALESCED if patient else self.latest

    def due(self, now: float, *, woken: bool) -> float:
        """Seconds until the next pass; 0 or less is now."""
        return (max(self.earliest, now) if woken else self.latest) - now

    def needs_full(self, now: float, *, woken: bool) -> bool:
        """Whether the objects are to be read anew: always, but in the rest of a converged group."""
        is_at_rest = self._last is not None and self._last[0] is PassResult.CONVERGED
        return woken or not is_at_rest or now - self._full_at >= FULL

    def _around(self, seconds: float) -> float:
        """Groups that began together don't stay in step."""
        return seconds * (0.9 + 0.2 * self.random.random())
