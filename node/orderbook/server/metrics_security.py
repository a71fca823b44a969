"""Metrics on credentials: what is loaded, and who was refused. All labels are closed sets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from orderbook.server.access import TokenAccess

if TYPE_CHECKING:
    from orderbook.server.probes import Vitals


def security_metrics(vitals: Vitals) -> Iterator[Metric]:
    if vitals.credentials is not None:
        report = vitals.credentials.current.report
        expiry = GaugeMetricFamily(
            "orderbook_certificate_expiry_timestamp_seconds",
            "When the first certificate of a loaded chain ends, in seconds since the epoch.",
            labels=["certificate"],
        )
        for name, ends in (("peers", report.certificate_expires), ("clients", report.client_certificate_expires)):
            if ends is not None:
                expiry.add_metric([name], ends)
        yield expiry
        reloads = CounterMetricFamily(
            "orderbook_credential_reloads", "Changed files of credentials, by what became of them.", labels=["result"]
        )
        reloads.add_metric(["loaded"], vitals.credentials.loaded)
        reloads.add_metric(["refused"], vitals.credentials.refused)
        yield reloads
    failures = CounterMetricFamily(
        "orderbook_handshake_failures", "Connections that came to nothing in their handshake.", labels=["listener"]
    )
    for listener, key in (("clients", "client_port"), ("probes", "probe_port")):
        failures.add_metric([listener], vitals.refused_connections[key])
    if vitals.peers is not None:
        failures.add_metric(["peers"], vitals.peers.counts.never_spoke)
    yield failures
    if isinstance(vitals.access, TokenAccess):
        refused = CounterMetricFamily("orderbook_tokens_refused", "Refused tokens, by why.", labels=["reason"])
        for reason, count in vitals.access.refused.items():
            refused.add_metric([reason.value.removeprefix("token_")], count)
        yield refused
