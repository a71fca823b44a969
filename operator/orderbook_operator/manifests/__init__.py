"""Builders of what a group owns: pure, one object a function, each the complete manifest.

A manifest is what we mean, no more: what the API server fills in by itself is left out, so that another version of it
may choose otherwise without a difference. ``compare.drift`` finds what the cluster has made of it since.

What comes from the user (labels, annotations, environment, placement) is taken from the typed spec, whose rules refuse
reserved names. Secrets are not built here: they are never applied; see ``credentials``.
"""

from orderbook_operator.manifests.compare import Drift, drift
from orderbook_operator.manifests.disruption_budget import disruption_budget
from orderbook_operator.manifests.network_policies import network_policies
from orderbook_operator.manifests.pod_template import asked_hash, pod_template, template_hash
from orderbook_operator.manifests.service_account import service_account
from orderbook_operator.manifests.service_monitor import service_monitor
from orderbook_operator.manifests.services import client_service, peer_service
from orderbook_operator.manifests.stateful_set import stateful_set, with_claim_templates_of, with_template

__all__ = [
    "Drift",
    "asked_hash",
    "client_service",
    "disruption_budget",
    "drift",
    "network_policies",
    "peer_service",
    "pod_template",
    "service_account",
    "service_monitor",
    "stateful_set",
    "template_hash",
    "with_claim_templates_of",
    "with_template",
]
