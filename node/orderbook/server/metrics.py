"""/metrics in Prometheus' text format: plain numbers, read when somebody asks.

Nothing on the way of an order knows of Prometheus: the parts of a node keep integers, and a scrape puts names to them.
Labels are bounded: pairs (1,024), members of the group, and closed sets of words. Names begin with ``orderbook_``; the
process's own are Prometheus' usual ``process_`` and ``python_``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from prometheus_client import GC_COLLECTOR, PLATFORM_COLLECTOR, PROCESS_COLLECTOR, CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder

from orderbook.book import OrderBook
from orderbook.runtime import Runtime
from orderbook.server.metrics_book import book_metrics
from orderbook.server.metrics_group import group_metrics, member_metrics
from orderbook.server.metrics_network import feed_metrics, http_metrics, peer_metrics
from orderbook.server.metrics_security import security_metrics

if TYPE_CHECKING:
    from orderbook.server.probes import Vitals


class _Collected(NamedTuple):
    """What an encoder asks of a registry."""

    metrics: list[Metric]

    def collect(self) -> Iterable[Metric]:
        return self.metrics


class Metrics:
    """The collector of one node."""

    def __init__(self, runtime: Runtime, vitals: Vitals) -> None:
        self._runtime = runtime
        self._vitals = vitals
        self._registry = CollectorRegistry(auto_describe=False)
        for collector in (PROCESS_COLLECTOR, PLATFORM_COLLECTOR, GC_COLLECTOR, self):
            self._registry.register(collector)

    def scrape(self, accept: str) -> Callable[[], tuple[bytes, str]]:
        """Read every number now, on the loop. The result encodes them, anywhere, as ``accept`` wants it."""
        collected = _Collected(list(self._registry.collect()))
        encoder, content_type = choose_encoder(accept)
        return lambda: (encoder(collected), content_type)

    def collect(self) -> Iterator[Metric]:
        vitals = self._vitals
        group = vitals.group
        if group is not None:
            yield from group_metrics(group)
            if group.replica is not None:
                yield from member_metrics(group, group.replica, self._runtime.monotonic())
                machine = group.replica.state.machine
                if isinstance(machine, OrderBook):
                    yield from book_metrics(machine.statistics())
        if vitals.peers is not None:
            yield from peer_metrics(vitals.peers)
        if vitals.feeds is not None:
            yield from feed_metrics(vitals.feeds)
        if vitals.http is not None:
            yield http_metrics(vitals.http)
        yield from security_metrics(vitals)
