"""What a group does a second, from two looks at its nodes' metrics. Pure.

A node that began anew between the looks counts from 0 again: what would be negative is unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from prometheus_client.parser import text_string_to_metric_families

FSYNC = "orderbook_fsync_seconds_bucket"


class Look(NamedTuple):
    """At one node. ``at`` in seconds, of any clock that only goes forward. ``values``: (name, labels) -> number."""

    at: float
    values: Mapping[tuple[str, frozenset[tuple[str, str]]], float]

    def total(self, name: str, **labels: str) -> float:
        """The sum of the samples of this name that have these labels."""
        wanted = set(labels.items())
        return sum(value for (known, has), value in self.values.items() if known == name and wanted <= has)

    def label_of_one(self, name: str, label: str) -> str:
        """Of a family with one sample at 1: that one's label."""
        for (known, labels), value in self.values.items():
            if known == name and value == 1:
                return dict(labels).get(label, "")
        return ""

    def by_label(self, name: str, label: str) -> dict[str, float]:
        return {dict(labels)[label]: value for (known, labels), value in self.values.items() if known == name}


class NodeRates(NamedTuple):
    """A second, over the time between two looks; None is unknown. ``fsync_ms``: of how long writes took then, at the
    median and for 99 of 100. ``lag``: the member's, in entries, as the leader counts it."""

    name: str
    role: str
    term: int | None
    ready: bool
    orders: float | None = None
    fills: float | None = None
    commits: float | None = None
    lag: int | None = None
    fsync_ms: tuple[float | None, float | None] = (None, None)
    log_bytes: int | None = None
    problem: str = ""


def read(text: str, at: float) -> Look:
    """Of /metrics in Prometheus' text format. Raises ValueError."""
    values = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            values[sample.name, frozenset(sample.labels.items())] = sample.value
    return Look(at, values)


def rates(before: Mapping[str, Look | str], after: Mapping[str, Look | str], names: Sequence[str]) -> list[NodeRates]:
    """One row a node, in the order of ``names``. A text in place of a look: why there is none."""
    lags: dict[str, float] = {}
    for look in after.values():
        if isinstance(look, Look) and look.label_of_one("orderbook_raft_role", "role") == "leader":
            lags = look.by_label("orderbook_raft_lag_entries", "member")
    rows = []
    for name in names:
        now, then = after.get(name, "not asked"), before.get(name)
        if isinstance(now, str):
            rows.append(NodeRates(name, "", None, ready=False, problem=now))
        else:
            rows.append(_row(name, then if isinstance(then, Look) else None, now, lags.get(name)))
    return rows


def _row(name: str, then: Look | None, now: Look, lag: float | None) -> NodeRates:
    def rate(count: Callable[[Look], float]) -> float | None:
        if then is None or now.at <= then.at or count(now) < count(then):
            return None
        return (count(now) - count(then)) / (now.at - then.at)

    return NodeRates(
        name=name,
        role=now.label_of_one("orderbook_raft_role", "role"),
        term=int(now.total("orderbook_raft_term")),
        ready=now.total("orderbook_ready") == 1,
        orders=rate(lambda look: look.total("orderbook_orders_total", outcome="accepted")),
        fills=rate(lambda look: look.total("orderbook_fills_total")),
        commits=rate(lambda look: look.total("orderbook_raft_commit_index")),
        lag=None if lag is None else int(lag),
        fsync_ms=(_quantile_ms(then, now, 0.5), _quantile_ms(then, now, 0.99)),
        log_bytes=int(now.total("orderbook_log_bytes")),
    )


def _quantile_ms(then: Look | None, now: Look, share: float) -> float | None:
    """As Prometheus' histogram_quantile: linear within the bucket. None without a write in the time."""
    before = then.by_label(FSYNC, "le") if then is not None else {}
    buckets = sorted(
        (float(bound), count - before.get(bound, 0.0)) for bound, count in now.by_label(FSYNC, "le").items()
    )
    if not buckets or buckets[-1][1] <= 0 or any(count < 0 for _, count in buckets):
        return None
    wanted = share * buckets[-1][1]
    for (low, below), (high, upto) in pairwise([(0.0, 0.0), *buckets]):
        if upto >= wanted and upto > below:
            within = low if high == float("inf") else low + (high - low) * (wanted - below) / (upto - below)
            return within * 1000
    return None


def document(rows: Sequence[NodeRates]) -> list[dict[str, Any]]:
    """For --json."""
    return [row._asdict() for row in rows]
