"""What each member reports with its raft frames: its clock, the machine version it can apply, its hash at a check.

The leader draws three conclusions from them, all pure: the stamp of the next entry, the verdict on a check, and whether
every member has supported a newer machine version for long enough.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from orderbook.groups.replicated import Verdict

KEPT_CHECKS = 16


class Reports:
    def __init__(self, own_id: int) -> None:
        self._own_id = own_id
        self._clocks: dict[int, tuple[int, float]] = {}
        self._versions: dict[int, tuple[int, int]] = {}  # id -> (version, log time since it is supported)
        self._checks: dict[int, dict[int, int]] = {}  # index of the check -> id -> hash
        self._judged = 0  # index of the newest check with a verdict

    def heard(
        self, member: int, clock_ms: int, at: float, version: int, log_ms: int, check: tuple[int, int] | None
    ) -> None:
        """A frame of ``member`` arrived at ``at`` (monotonic seconds), when log time was ``log_ms``."""
        self._clocks[member] = (clock_ms, at)
        known = self._versions.get(member)
        if known is None or known[0] != version:
            self._versions[member] = (version, log_ms)
        if check is not None:
            self.check(member, *check)

    def check(self, member: int, index: int, hash: int) -> None:
        if index > self._judged:
            self._checks.setdefault(index, {})[member] = hash
            while len(self._checks) > KEPT_CHECKS:
                del self._checks[min(self._checks)]

    def stamp(self, own_ms: int, at: float, voters: Sequence[int], lead_ms: int) -> int:
        """The leader's clock, at most ``lead_ms`` ahead of the median of the voters' clocks.

        A voter that was not heard counts as one whose clock is behind: with a majority of sound clocks among all the
        voters the stamp is sound. Where less than a majority is known the stamp is 0, and log time stands still.
        """
        clocks = []
        for voter in voters:
            if voter == self._own_id:
                clocks.append(own_ms)
            elif voter in self._clocks:
                clock, heard = self._clocks[voter]
                clocks.append(clock + int((at - heard) * 1000))
        clocks.sort()
        median = (len(voters) - 1) // 2 - (len(voters) - len(clocks))
        return max(0, min(own_ms, clocks[median] + lead_ms)) if median >= 0 else 0

    def verdict(self, voters: Sequence[int]) -> Verdict | None:
        """What to log about the newest check on which it can be told; None while it can't."""
        for index in sorted(self._checks, reverse=True):
            hashes = [self._checks[index][voter] for voter in voters if voter in self._checks[index]]
            best = max(hashes, key=hashes.count, default=None)
            if best is not None and hashes.count(best) > len(voters) // 2:
                return Verdict(index, best)
            if len(hashes) == len(voters):
                return Verdict(index, None)
        return None

    def judged(self, index: int) -> None:
        """A verdict on the check at ``index`` is in the log."""
        self._judged = max(self._judged, index)
        for older in [check for check in self._checks if check <= index]:
            del self._checks[older]

    def supported_version(self, members: Iterable[int], own: int, log_ms: int, soak_ms: int) -> int:
        """The highest machine version that every member has supported for ``soak_ms`` of log time; 0 if unknown."""
        lowest = own
        for member in members:
            if member == self._own_id:
                continue
            version, since = self._versions.get(member, (0, log_ms))
            if log_ms - since < soak_ms:
                return 0
            lowest = min(lowest, version)
        return lowest

    def forget(self) -> None:
        """A new leadership begins: versions and hashes that were heard in an earlier one say nothing about now.

        Clocks do: those of the majority that elected this leader have just arrived.
        """
        self._versions.clear()
        self._checks.clear()
