"""What a group does a second, from metrics as nodes write them."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from orderbook_operator.plugin.rates import Look, rates, read


class Node:
    """A collector with the families of a node's that are read."""

    def __init__(self, role: str = "follower", term: int = 4, **lags: int) -> None:
        self.role, self.term, self.lags = role, term, lags
        self.accepted, self.fills, self.commit = 0, 0, 0
        self.fsyncs = [("0.001", 0), ("0.01", 0), ("+Inf", 0)]

    def collect(self) -> Any:
        role = GaugeMetricFamily("orderbook_raft_role", "", labels=["role"])
        for name in ("follower", "leader"):
            role.add_metric([name], name == self.role)
        yield role
        yield GaugeMetricFamily("orderbook_raft_term", "", self.term)
        yield GaugeMetricFamily("orderbook_ready", "", 1)
        yield GaugeMetricFamily("orderbook_raft_commit_index", "", self.commit)
        yield GaugeMetricFamily("orderbook_log_bytes", "", 1 << 27)
        orders = CounterMetricFamily("orderbook_orders", "", labels=["pair", "side", "outcome"])
        for side in ("bid", "ask"):
            orders.add_metric(["A/B", side, "accepted"], self.accepted)
            orders.add_metric(["A/B", side, "rejected"], 10**6)
        yield orders
        fills = CounterMetricFamily("orderbook_fills", "", labels=["pair"])
        fills.add_metric(["A/B"], self.fills)
        yield fills
        lag = GaugeMetricFamily("orderbook_raft_lag_entries", "", labels=["member"])
        for member, entries in self.lags.items():
            lag.add_metric([member.replace("_", "-")], entries)
        yield lag
        yield HistogramMetricFamily("orderbook_fsync_seconds", "", buckets=self.fsyncs, sum_value=1.0)

    def look(self, at: float) -> Look:
        registry = CollectorRegistry()
        registry.register(self)
        return read(generate_latest(registry).decode(), at)


def test_rates_are_differences_over_the_time_between() -> None:
    node = Node(term=7)
    before = node.look(100.0)
    node.accepted, node.fills, node.commit = 50, 30, 20
    [row] = rates({"eth-0": before}, {"eth-0": node.look(102.0)}, ["eth-0"])
    assert (row.orders, row.fills, row.commits) == (50.0, 15.0, 10.0)
    assert (row.role, row.term, row.ready, row.log_bytes) == ("follower", 7, True, 1 << 27)


def test_a_node_that_began_anew_has_no_rates_once() -> None:
    node = Node()
    node.accepted = 100
    before, node.accepted = node.look(100.0), 3
    [row] = rates({"eth-0": before}, {"eth-0": node.look(101.0)}, ["eth-0"])
    assert row.orders is None and row.fills == 0.0


def test_lag_is_the_leader_s_word_on_each_member() -> None:
    nodes = {"eth-0": Node(), "eth-1": Node("leader", eth_0=12, eth_2=0), "eth-2": Node()}
    looks = {name: node.look(1.0) for name, node in nodes.items()}
    assert [row.lag for row in rates(looks, looks, sorted(nodes))] == [12, None, 0]


def test_who_does_not_answer_is_told_with_the_reason() -> None:
    [row] = rates({}, {"eth-0": "no answer within 2 s"}, ["eth-0"])
    assert (row.problem, row.ready, row.orders) == ("no answer within 2 s", False, None)


def test_a_node_seen_for_the_first_time_has_no_rates() -> None:
    node = Node()
    [row] = rates({"eth-0": "down"}, {"eth-0": node.look(1.0)}, ["eth-0"])
    assert row.orders is None and row.role == "follower"


def test_quantiles_are_of_the_writes_between_the_looks() -> None:
    node = Node()
    node.fsyncs = [("0.001", 1000), ("0.01", 1000), ("+Inf", 1000)]
    before = node.look(1.0)
    node.fsyncs = [("0.001", 1000), ("0.01", 1090), ("+Inf", 1100)]
    [row] = rates({"eth-0": before}, {"eth-0": node.look(2.0)}, ["eth-0"])
    assert row.fsync_ms == (pytest.approx(1 + 9 * 50 / 90), 10.0)


def test_without_a_write_there_is_no_quantile() -> None:
    look = Node().look(1.0)
    [row] = rates({"eth-0": look}, {"eth-0": look._replace(at=2.0)}, ["eth-0"])
    assert row.fsync_ms == (None, None)
