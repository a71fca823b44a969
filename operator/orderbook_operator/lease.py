"""Our own Lease: among several operators, one acts.

It is no fence: what an operator sent before its lease ended may arrive afterwards. Fences are in each change: a uid, a
resourceVersion, the index of the configuration. The lease keeps two operators from working against each other, and what
it promises is this: ``valid()`` is never true for two of them at once, whatever the API server does, as long as their
clocks run equally fast.

- Who holds it counts from *before* the request that won it, for ``hold`` seconds, which is less than ``duration``.
- Who wants it counts from *after* it saw the holder's last change, by its own clock, for ``duration`` seconds. The
  times in the Lease are for people: clocks of two machines are never compared.
- Every change is a PUT with the resourceVersion that was read, so of two that want it one wins.
- A stalled or refusing API server makes the holder stop in time by itself: ``valid()`` asks nobody.

At a clean end the holder's name is taken out, so that the next one needs not wait.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from orderbook_operator.cluster import LEASE, AlreadyExists, ClusterError, Conflict, Json, Kind

_logger = logging.getLogger("orderbook.operator.lease")


class Leases(Protocol):
    """What is needed of the API server. Errors are ``cluster``'s."""

    async def get(self, kind: Kind, namespace: str, name: str) -> Json | None: ...

    async def create(self, manifest: Any, namespace: str) -> Json: ...

    async def replace(self, manifest: Any, namespace: str) -> Json: ...


@dataclass(frozen=True)
class Timing:
    """Seconds. ``retry`` < ``hold`` < ``duration``: the gap is what the holder has to end what it is doing."""

    duration: float = 15.0
    hold: float = 10.0
    retry: float = 2.0

    def __post_init__(self) -> None:
        if not 0 < self.retry < self.hold < self.duration:
            raise ValueError(
                f"a lease needs 0 < retry < hold < duration, not {self.retry:g}, {self.hold:g}, {self.duration:g} s"
            )


class Lease:
    """One candidate. ``holder`` is its name, another one for each process, also after a restart."""

    def __init__(
        self,
        leases: Leases,
        namespace: str,
        name: str,
        holder: str,
        timing: Timing | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.holder = holder
        self.tried_at = clock()  # when the last attempt ended, well or not
        self._leases = leases
        self._namespace = namespace
        self._name = name
        self._timing = timing or Timing()
        self._clock = clock
        self._held_until = float("-inf")
        self._seen: tuple[str, str] | None = None  # the holder and its last change, as this candidate saw it
        self._seen_at = 0.0
        self._changed = asyncio.Event()

    def valid(self) -> bool:
        """Whether this candidate may act now. Ask before each action; it costs nothing."""
        return self._clock() < self._held_until

    async def run(self) -> None:
        """Win the lease and keep it, until cancelled; then give it back."""
        try:
            while True:
                await self._attempt()
                self.tried_at = self._clock()
                self._changed.set()
                await asyncio.sleep(self._timing.retry)
        finally:
            await self._release()

    async def acquired(self) -> None:
        """Return once it is held."""
        while not self.valid():
            self._changed.clear()
            await self._changed.wait()

    async def lost(self) -> None:
        """Return once it is held no more, at the very moment that ``valid()`` turns false."""
        while self.valid():
            self._changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._held_until - self._clock()):
                    await self._changed.wait()

    async def _attempt(self) -> None:
        begun = self._clock()
        try:
            async with asyncio.timeout(self._timing.retry * 0.9):
                won = await self._take()
        except TimeoutError:
            _logger.warning("no answer of the API server about the lease", extra={"fields": {"lease": self._name}})
        except ClusterError as error:
            _logger.warning("the lease can't be had now: %s", error, extra={"fields": {"lease": self._name}})
        else:
            if won:
                self._held_until = begun + self._timing.hold

    async def _take(self) -> bool:
        """Write our name into it, if it is ours, free, or silent for its whole duration."""
        lease = await self._leases.get(LEASE, self._namespace, self._name)
        try:
            if lease is None:
                await self._leases.create(self._manifest({}, {}), self._namespace)
            elif self._may_take(lease["spec"]):
                await self._leases.replace(self._manifest(lease["metadata"], lease["spec"]), self._namespace)
            else:
                return False
        except (AlreadyExists, Conflict):
            return False  # somebody was faster
        return True

    def _may_take(self, spec: Json) -> bool:
        holder = spec.get("holderIdentity") or ""
        if holder in ("", self.holder):
            return True
        seen = holder, spec.get("renewTime") or ""
        if seen != self._seen:
            self._seen, self._seen_at = seen, self._clock()
        duration = max(self._timing.duration, float(spec.get("leaseDurationSeconds") or 0))
        return self._clock() - self._seen_at > duration

    def _manifest(self, metadata: Json, spec: Json) -> Json:
        now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        is_ours = spec.get("holderIdentity") == self.holder
        return {
            "apiVersion": LEASE.api_version,
            "kind": LEASE.kind,
            "metadata": {"name": self._name, "namespace": self._namespace, **metadata},
            "spec": {
                "holderIdentity": self.holder,
                "leaseDurationSeconds": max(1, round(self._timing.duration)),
                "acquireTime": spec.get("acquireTime", now) if is_ours else now,
                "renewTime": now,
                "leaseTransitions": int(spec.get("leaseTransitions") or 0) + (0 if is_ours or not spec else 1),
            },
        }

    async def _release(self) -> None:
        """Take our name out. ``valid()`` is false before the request is sent."""
        held, self._held_until = self.valid(), float("-inf")
        self._changed.set()
        if not held:
            return
        try:
            async with asyncio.timeout(self._timing.retry * 0.9):
                lease = await self._leases.get(LEASE, self._namespace, self._name)
                if lease is None or lease["spec"].get("holderIdentity") != self.holder:
                    return
                lease["spec"] = {**lease["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}
                await self._leases.replace(lease, self._namespace)
        except (TimeoutError, ClusterError) as error:
            _logger.warning("the lease could not be given back; it runs out: %s", error or "no answer")
