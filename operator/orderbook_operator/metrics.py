"""What the operator counts, in Prometheus' text format. Labels are closed sets of words; no group's name is one.

=====================================================  ================================================================
orderbook_operator_pass_seconds{result}                how long passes took
orderbook_operator_actions_total{action,outcome}       what was done to groups
orderbook_operator_groups{phase}                       groups by the phase of their status
orderbook_operator_seconds_since_good_pass             of the group whose last good pass is the longest ago
orderbook_operator_api_requests_total{verb,result}     requests to the API server
orderbook_operator_leading                             1 while this operator holds the lease
=====================================================  ================================================================
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from enum import Enum
from typing import get_args

from prometheus_client import (
    GC_COLLECTOR,
    PLATFORM_COLLECTOR,
    PROCESS_COLLECTOR,
    CollectorRegistry,
    Counter,
    Histogram,
)
from prometheus_client.core import GaugeMetricFamily, Metric

from orderbook_operator.act import Outcome
from orderbook_operator.actions import Action
from orderbook_operator.cluster import RESULTS, VERBS
from orderbook_operator.resource import Phase

BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
PHASES = (*get_args(Phase), "Unknown")


class PassResult(Enum):
    """How a pass over a group ended."""

    CONVERGED = "converged"  # nothing to do, nothing to wait for, every member up
    WAITING = "waiting"  # something wanted isn't possible now; the status says what
    ACTED = "acted"
    STALE = "stale"  # what was decided was overtaken: another pass follows
    REFUSED = "refused"  # an action was refused; the status and an Event say which
    FAILED = "failed"  # the API server, or an object that can't be read
    STOPPED = "stopped"  # the lease was lost, or the operator ends
    GONE = "gone"  # the resource is deleted

    @property
    def is_good(self) -> bool:
        return self not in (PassResult.REFUSED, PassResult.FAILED, PassResult.STOPPED)


class Metrics:
    """The registry, and one method a thing that happens. ``groups`` is asked at each scrape."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        for collector in (PROCESS_COLLECTOR, PLATFORM_COLLECTOR, GC_COLLECTOR):
            self.registry.register(collector)
        self.is_leading: Callable[[], bool] = lambda: False
        self._clock = clock
        self._good: dict[tuple[str, str], float] = {}
        self._phases: dict[tuple[str, str], str] = {}
        self._passes = Histogram(
            "orderbook_operator_pass_seconds",
            "Passes over a group, by how they ended.",
            ["result"],
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._actions = Counter(
            "orderbook_operator_actions",
            "Actions, by what became of them.",
            ["action", "outcome"],
            registry=self.registry,
        )
        self._requests = Counter(
            "orderbook_operator_api_requests", "Requests to the API server.", ["verb", "result"], registry=self.registry
        )
        self._begin_at_zero()
        self.registry.register(self)

    def requested(self, verb: str, result: str) -> None:
        self._requests.labels(verb, result).inc()

    def acted(self, action: Action, outcome: Outcome) -> None:
        self._actions.labels(type(action).__name__, outcome.value).inc()

    def passed(self, group: tuple[str, str], result: PassResult, seconds: float) -> None:
        self._passes.labels(result.value).observe(seconds)
        if result is PassResult.GONE:
            self.forget(group)
        elif result.is_good:
            self._good[group] = self._clock()
        else:
            self._good.setdefault(group, self._clock() - seconds)

    def shows(self, group: tuple[str, str], phase: str | None) -> None:
        self._phases[group] = phase if phase is not None and phase in PHASES else "Unknown"

    def forget(self, group: tuple[str, str] | None = None) -> None:
        """A group that is gone; None: all of them, since another operator leads."""
        for kept in (self._good, self._phases):
            if group is None:
                kept.clear()
            else:
                kept.pop(group, None)

    def collect(self) -> Iterator[Metric]:
        phases = list(self._phases.values())
        groups = GaugeMetricFamily("orderbook_operator_groups", "Groups by phase.", labels=["phase"])
        for phase in PHASES:
            groups.add_metric([phase], phases.count(phase))
        yield groups
        oldest = max((self._clock() - at for at in self._good.values()), default=0.0)
        text = "Since the last good pass of the group for which it is the longest."
        yield GaugeMetricFamily("orderbook_operator_seconds_since_good_pass", text, oldest)
        yield GaugeMetricFamily(
            "orderbook_operator_leading", "This operator holds the lease.", float(self.is_leading())
        )

    def _begin_at_zero(self) -> None:
        """A counter that appears with its first event has no rate for it."""
        for result in PassResult:
            self._passes.labels(result.value)
        for kind in get_args(Action):
            for outcome in Outcome:
                self._actions.labels(kind.__name__, outcome.value)
        for verb in VERBS:
            for name in RESULTS:
                self._requests.labels(verb, name)
