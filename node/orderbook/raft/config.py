"""The settings of one consensus node. They bound its timing and memory; none changes what is decided."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class RaftConfig:
    """``draw(low, high)`` gives a random integer of low .. high - 1, and is the only randomness there is.

    One tick is what the caller makes it (50 ms by default). Election timeouts are drawn from ``election_ticks`` up to
    twice as many; within ``election_ticks`` of its leader's last message a node answers no candidate, and after as many
    without a quorum a leader steps down.
    """

    id: int
    draw: Callable[[int, int], int]
    name: str = ""
    election_ticks: int = 10
    heartbeat_ticks: int = 2
    max_append_bytes: int = MIB  # of one append; a larger entry travels alone
    max_inflight_bytes: int = 8 * MIB  # sent to one follower and not answered
    max_inflight_appends: int = 256
    max_uncommitted_bytes: int = 64 * MIB  # in the leader's log; more is refused
    max_committed_bytes: int = 8 * MIB  # handed over by one ready()
    promotion_lag: int = 128  # entries that a learner may lack and still be promoted
    hold_commit: bool = False  # a commit index leaves alone only when the caller says so; see ``announce_commit``

    def __post_init__(self) -> None:
        """Raises ValueError for settings that can't work together."""
        if not 1 <= self.id < 2**63:
            raise ValueError(f"id: {self.id} isn't in 1 .. 2^63-1")
        if not 1 <= self.heartbeat_ticks < self.election_ticks:
            raise ValueError("heartbeat_ticks must be at least 1 and below election_ticks")
        for bound in (
            "max_append_bytes",
            "max_inflight_bytes",
            "max_inflight_appends",
            "max_uncommitted_bytes",
            "max_committed_bytes",
        ):
            if getattr(self, bound) < 1:
                raise ValueError(f"{bound} must be at least 1")
        if self.promotion_lag < 0:
            raise ValueError("promotion_lag must not be negative")
