"""Counters of one member: plain numbers that a collector reads at scrape. Written on the event loop only.

Nothing here is touched for an order; the finest grain is an entry of the log, which holds a whole batch.
"""

from __future__ import annotations

from bisect import bisect_left

SECONDS_BUCKETS = (
    0.00001,
    0.000025,
    0.00005,
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
)
"""Upper bounds in seconds; ``Histogram.counts`` has one place more, for what took longer."""


class Histogram:
    """Durations in seconds by SECONDS_BUCKETS, and their sum."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(SECONDS_BUCKETS) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(SECONDS_BUCKETS, seconds)] += 1
        self.total += seconds


class Statistics:
    """Since this process started."""

    __slots__ = (
        "append_seconds",
        "apply_seconds",
        "checks",
        "elections_won",
        "frames_dropped",
        "leader_changes",
        "proposals",
        "reads",
        "ticked_at",
        "verdicts_differing",
        "verdicts_equal",
    )

    def __init__(self, now: float) -> None:
        self.ticked_at = now  # monotonic time of the last tick
        self.append_seconds = Histogram()  # from handing entries to the log until they are durable here
        self.apply_seconds = Histogram()  # of one entry by the replicated state, matching included
        self.proposals = 0  # requests accepted or refused at this edge; ``Proposals`` counts how they ended
        self.reads = 0  # strong ones asked for here
        self.leader_changes = 0  # how often this member learned of another leader, or that there is none
        self.elections_won = 0
        self.checks = 0  # checks for divergence applied here
        self.verdicts_equal = 0  # verdicts that this member's own state agreed with
        self.verdicts_differing = 0
        self.frames_dropped = 0  # frames of proven peers with fields that mean nothing
