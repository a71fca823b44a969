"""One virtual clock and one heap of events for the whole world.

An event belongs to a ``Host`` (a process, the network, the schedule of faults). It runs when it is the earliest one;
time stands still while it runs. Events of the same moment run in the order in which they were asked for, as on an event
loop. A host that ended runs nothing more; one that is paused (SIGSTOP, a long stall) runs it all later, in order.

Everything that happens goes into a running hash, so that two runs can be compared, and the last few hundred lines are
kept for the report of a failure.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from hashlib import blake2b
from heapq import heappop, heappush
from typing import Any, Protocol

KEPT_LINES = 2000


class OutOfSteps(AssertionError):
    """The world went on for longer than it may: something waits for what never comes, or spins."""


class Host(Protocol):
    """Whose event it is."""

    name: str
    alive: bool
    paused: bool

    def run(self, event: Event) -> None:
        """Call ``event.call(*event.args)``; what it raises is this host's business."""
        ...


class Event:
    """A pending call; also the timer that its owner may cancel."""

    __slots__ = ("args", "call", "cancelled", "context", "host", "when")

    def __init__(self, host: Host, when: float, call: Callable[..., object], args: tuple[Any, ...]) -> None:
        self.host = host
        self.when = when
        self.call = call
        self.args = args
        self.context: Any = None
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Scheduler:
    def __init__(self) -> None:
        self.now = 0.0  # virtual seconds
        self.steps = 0
        self.after_event: Callable[[Host], None] = lambda host: None
        self.lines: deque[tuple[float, str, str]] = deque(maxlen=KEPT_LINES)
        self._heap: list[tuple[float, int, Event]] = []
        self._number = 0
        self._held: dict[str, list[Event]] = {}  # what paused hosts have still to do
        self._hash = blake2b(digest_size=16)

    def at(self, when: float, host: Host, call: Callable[..., object], *args: Any) -> Event:
        """Run ``call(*args)`` for ``host`` at ``when``, or now if that has passed."""
        event = Event(host, max(when, self.now), call, args)
        self._number += 1
        heappush(self._heap, (event.when, self._number, event))
        return event

    def resume(self, host: Host) -> None:
        """A paused host goes on with what came in meanwhile."""
        host.paused = False
        for event in self._held.pop(host.name, []):
            self._number += 1
            event.when = self.now
            heappush(self._heap, (self.now, self._number, event))

    def forget(self, host: Host) -> None:
        """A host ended while it was paused."""
        self._held.pop(host.name, None)

    def step(self) -> None:
        """Take the earliest event, and run it unless it was cancelled meanwhile, or its host ended or is paused."""
        when, _, event = heappop(self._heap)
        host = event.host
        if event.cancelled or not host.alive:
            return
        if host.paused:
            self._held.setdefault(host.name, []).append(event)
            return
        self.now = when
        self.steps += 1
        name = getattr(event.call, "__qualname__", "call")
        self._hash.update(f"{when!r} {host.name} {name}".encode())
        host.run(event)
        self.after_event(host)

    def run_until(self, condition: Callable[[], bool], *, until: float, max_steps: int) -> bool:
        """Step until ``condition`` holds (True) or it is ``until``, or nothing is left (False). Raises OutOfSteps."""
        limit = self.steps + max_steps
        while not condition():
            if not self._heap:
                return False
            if self._heap[0][0] > until:
                self.now = until
                return False
            self.step()
            if self.steps > limit:
                raise OutOfSteps(f"{max_steps} events, and it is only {self.now:.3f} s")
        return True

    def note(self, who: str, what: str) -> None:
        """Something worth a line in the report of a failure; part of the hash too."""
        self._hash.update(f"{who} {what}".encode())
        self.lines.append((self.now, who, what))

    def mix(self, data: bytes) -> None:
        """Content that must be equal in two runs of one seed, and is not worth a line."""
        self._hash.update(data)

    def digest(self) -> str:
        """Of everything that happened so far."""
        return self._hash.hexdigest()
