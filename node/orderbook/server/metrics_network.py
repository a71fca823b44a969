"""Metrics on connections: peers, consumers of the feeds, requests of clients."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from orderbook.groups.statistics import SECONDS_BUCKETS
from orderbook.network.peers import Peers
from orderbook.server.http_statistics import HttpStatistics
from orderbook.streams.audience import FeedKind
from orderbook.streams.feed import Feeds

_PEER_COUNTERS = {
    "frames_out": "Frames sent to a peer.",
    "bytes_out": "Bytes sent to a peer.",
    "frames_in": "Frames received from a peer.",
    "bytes_in": "Bytes received from a peer.",
    "frames_dropped": "Frames for a peer that were dropped, its queue being full.",
    "frames_refused": "Frames of a peer for a channel that is not ours.",
    "connections": "Connections with a peer.",
    "wrong_keys": "Proofs of a peer that failed: it holds another group key.",
}


NOT_PROVEN = "not proven"  # no peer's name has a space


def peer_metrics(peers: Peers) -> Iterator[Metric]:
    """Of the peers that are connected and proved a group's key, by name. Names that others gave themselves are no
    labels: those are summed."""
    statistics = peers.statistics()
    connected = peers.connected()
    named = {name: statistics[name] for name in connected if name in statistics and statistics[name].proven}
    shown = named | {NOT_PROVEN: peers.others()}
    for field, text in _PEER_COUNTERS.items():
        family = CounterMetricFamily(f"orderbook_peer_{field}", text, labels=["peer"])
        for name, of_peer in shown.items():
            family.add_metric([name], getattr(of_peer, field))
        yield family
    queue = GaugeMetricFamily("orderbook_peer_queue_bytes", "Waiting to be sent to a peer.", labels=["peer"])
    for name, of_peer in shown.items():
        queue.add_metric([name], of_peer.queue_bytes)
    yield queue
    yield GaugeMetricFamily("orderbook_peers_connected", "Peers that are connected.", len(connected))
    ended = CounterMetricFamily("orderbook_peer_connections_ended", "Connections by why they ended.", labels=["reason"])
    for reason, count in peers.counts.ended.items():
        ended.add_metric([reason.value], count)
    yield ended


def feed_metrics(feeds: Feeds) -> Iterator[Metric]:
    """By kind of feed: a consumer is no label."""
    labels = ["feed"]
    consumers = GaugeMetricFamily("orderbook_stream_consumers", "Consumers of the feeds.", labels=labels)
    lag = GaugeMetricFamily("orderbook_stream_lag_entries", "The farthest behind of the consumers.", labels=labels)
    queue = GaugeMetricFamily("orderbook_stream_queue_bytes", "Waiting to be read by consumers.", labels=labels)
    readers = feeds.consumers()
    for kind in FeedKind:
        own = [reader for reader in readers if reader.kind is kind]
        consumers.add_metric([kind.value], len(own))
        lag.add_metric([kind.value], max((reader.lag for reader in own), default=0))
        queue.add_metric([kind.value], sum(reader.queued_bytes for reader in own))
    yield from (consumers, lag, queue)
    statistics = feeds.statistics
    yield CounterMetricFamily("orderbook_stream_subscriptions", "Subscriptions.", statistics.subscribed)
    yield CounterMetricFamily(
        "orderbook_stream_resumes", "Subscriptions that went on from a place.", statistics.resumes
    )
    yield CounterMetricFamily("orderbook_stream_gaps", "Consumers told that what they want is gone.", statistics.gaps)
    yield CounterMetricFamily("orderbook_stream_resets", "Consumers with a token of another life.", statistics.resets)
    yield CounterMetricFamily(
        "orderbook_stream_slow_consumers", "Consumers disconnected as too slow.", statistics.slow_consumers
    )
    yield CounterMetricFamily("orderbook_stream_frames", "Frames sent to consumers.", statistics.frames)
    yield CounterMetricFamily("orderbook_stream_bytes", "Bytes sent to consumers.", statistics.bytes)


def http_metrics(statistics: HttpStatistics) -> Metric:
    """By route of the API and class of status: both from closed sets."""
    family = HistogramMetricFamily(
        "orderbook_http_request_seconds", "From a client's request to its answer.", labels=["route", "status"]
    )
    for labels, histogram in statistics.seconds.items():
        cumulative, buckets = 0, []
        for bound, count in zip([*map(str, SECONDS_BUCKETS), "+Inf"], histogram.counts, strict=True):
            cumulative += count
            buckets.append((bound, cumulative))
        family.add_metric(labels, buckets, histogram.total)
    return family
