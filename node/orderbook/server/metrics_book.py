"""Metrics on matching, from the book's own integers. Counters begin at 0 with the process, and with a new snapshot."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from orderbook.book import RejectReason
from orderbook.book.queries import PairStatistics, SideStatistics, Statistics

OUTCOMES = ("accepted", "filled", "cancelled", "expired", "amended", "rejected")


def book_metrics(statistics: Statistics) -> Iterator[Metric]:
    yield from _orders(statistics)
    yield from _trades(statistics)
    yield from _resting(statistics)
    rejections = CounterMetricFamily(
        "orderbook_rejections", "Commands of any kind that were rejected, by reason.", labels=["reason"]
    )
    for reason in RejectReason:
        rejections.add_metric([reason.name.lower()], statistics.rejected[reason])
    yield rejections
    yield GaugeMetricFamily("orderbook_traders", "Traders of whom the book knows something.", statistics.traders)


def _sides(statistics: Statistics) -> Iterator[tuple[PairStatistics, str, SideStatistics]]:
    for pair in statistics.pairs:
        yield pair, "bid", pair.bids
        yield pair, "ask", pair.asks


def _orders(statistics: Statistics) -> Iterator[Metric]:
    orders = CounterMetricFamily(
        "orderbook_orders", "Orders by what became of them.", labels=["pair", "side", "outcome"]
    )
    for pair, side, numbers in _sides(statistics):
        for outcome in OUTCOMES:
            orders.add_metric([pair.pair, side, outcome], getattr(numbers, outcome))
    yield orders


def _trades(statistics: Statistics) -> Iterator[Metric]:
    fills = CounterMetricFamily("orderbook_fills", "Trades.", labels=["pair"])
    traded = CounterMetricFamily("orderbook_traded_quantity", "Lots traded.", labels=["pair"])
    for pair in statistics.pairs:
        fills.add_metric([pair.pair], pair.fills)
        traded.add_metric([pair.pair], pair.traded)
    yield fills
    yield traded


def _resting(statistics: Statistics) -> Iterator[Metric]:
    labels = ["pair", "side"]
    orders = GaugeMetricFamily("orderbook_resting_orders", "Orders that rest in the book.", labels=labels)
    quantity = GaugeMetricFamily("orderbook_resting_quantity", "Lots that rest in the book.", labels=labels)
    levels = GaugeMetricFamily("orderbook_price_levels", "Price levels.", labels=labels)
    best = GaugeMetricFamily("orderbook_best_price", "The best price in ticks; absent on an empty side.", labels=labels)
    for pair, side, numbers in _sides(statistics):
        orders.add_metric([pair.pair, side], numbers.orders)
        quantity.add_metric([pair.pair, side], numbers.quantity)
        levels.add_metric([pair.pair, side], numbers.levels)
        if numbers.orders:
            best.add_metric([pair.pair, side], numbers.best)
    yield from (orders, quantity, levels, best)
