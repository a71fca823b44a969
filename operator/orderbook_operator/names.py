"""Every name that the operator gives or looks for: labels, annotations, objects of a group, ports, keys of Secrets.

All are functions of the group's name, so that a group made again over kept claims finds what it left.
"""

from __future__ import annotations

import re

API_GROUP = "orderbook.dev"
API_VERSION = "v1alpha1"
KIND = "OrderBookGroup"
PLURAL = "orderbookgroups"

FIELD_MANAGER = "orderbook-operator"
FINALIZER = f"{API_GROUP}/teardown"

# Annotations by which a person consents to what is never done automatically.
RECOVER = f"{API_GROUP}/recover"  # <name>/<id>@<incarnation>: bring a lost majority back from this survivor
REPLACE_MEMBER = f"{API_GROUP}/replace-member"  # <name>/<id>: delete this member's pinned claim, then replace it
# Each new value asks once for new keys of certificates and tokens: see credentials.py.
ROTATE = f"{API_GROUP}/rotate"

# On the pod template: what it was rendered from. Its change is what a roll is.
TEMPLATE = f"{API_GROUP}/template"
# On the StatefulSet: the rendering with which every member was up. A roll that fails goes back to it.
PROVEN_TEMPLATE = f"{API_GROUP}/proven-template"
# On the StatefulSet: the rendering whose roll was stopped. Written with the template that replaces it, in one update.
FAILED_TEMPLATE = f"{API_GROUP}/failed-template"
# On the StatefulSet: what the user asked of the pods when its template was rendered. If the same is rendered otherwise,
# it is the operator that has changed.
ASKED = f"{API_GROUP}/asked"
# On the StatefulSet, while it is narrowed to a survivor: <name>/<id>@<incarnation>, the word that was given.
RECOVERING = f"{API_GROUP}/recovering"
# On a claim: the id of the member that left the configuration. Growing again removes it.
RETIRED = f"{API_GROUP}/retired"
# On every owned object and pod: the group. Watches and lists select by it.
GROUP_LABEL = f"{API_GROUP}/group"

PEER_PORT = 7400
CLIENT_PORT = 8443
PROBE_PORT = 9464

CONTAINER = "node"
DATA_VOLUME = "data"

# Keys of the identity Secret, also the files that a node reads.
IDENTITY_KEY = "key"
IDENTITY_INITIAL_SIZE = "initial-size"
IDENTITY_INCARNATION = "incarnation"

# Keys of the credentials Secret, also the files that a node reads.
PEER_CERTIFICATE = "tls.crt"
PEER_KEY = "tls.key"
CLIENT_CERTIFICATE = "client.crt"
CLIENT_KEY = "client.key"
TRUST = "ca.crt"
TOKEN_KEYS = "tokens.jwks"

CLUSTER_DOMAIN = "cluster.local"


def selector(group: str) -> dict[str, str]:
    """The labels by which Services, the StatefulSet and lists find the pods of a group. They never change."""
    return {GROUP_LABEL: group, "app.kubernetes.io/name": "orderbook"}


def labels(group: str) -> dict[str, str]:
    """The labels of everything that the operator owns for a group."""
    return {**selector(group), "app.kubernetes.io/instance": group, "app.kubernetes.io/managed-by": FIELD_MANAGER}


def stateful_set(group: str) -> str:
    return group


def client_service(group: str) -> str:
    return group


def peer_service(group: str) -> str:
    """The headless Service: its records are how nodes find each other."""
    return f"{group}-peers"


def disruption_budget(group: str) -> str:
    return group


def service_account(group: str) -> str:
    return group


def network_policy(group: str, listener: str) -> str:
    """``listener`` is peers, clients or probes: a policy for each port."""
    return f"{group}-{listener}"


def service_monitor(group: str) -> str:
    return group


def identity_secret(group: str) -> str:
    """Group key, initial size and incarnation. It has no owner: it outlives the resource while a claim exists."""
    return f"{group}-identity"


def authority_secret(group: str) -> str:
    """Keys that sign: certificate authorities and tokens. No pod mounts it."""
    return f"{group}-authority"


def credentials_secret(group: str) -> str:
    """What nodes mount: their certificate, whom they trust, the public keys of tokens."""
    return f"{group}-credentials"


def service_host(service: str, namespace: str) -> str:
    """The full DNS name of a Service; a pod of a headless one is found at ``<pod>.<this>``."""
    return f"{service}.{namespace}.svc.{CLUSTER_DOMAIN}"


def audience(group: str, namespace: str) -> str:
    """Whom a token is for: what nodes ask of its ``aud``."""
    return f"{group}.{namespace}"


def pod(group: str, ordinal: int) -> str:
    return f"{group}-{ordinal}"


def claim(group: str, ordinal: int) -> str:
    return f"{DATA_VOLUME}-{group}-{ordinal}"


def ordinal(name: str, group: str) -> int | None:
    """The ordinal in a pod's or a claim's name, None if it is none of this group."""
    found = re.fullmatch(rf"(?:{DATA_VOLUME}-)?{re.escape(group)}-(0|[1-9][0-9]*)", name)
    return int(found.group(1)) if found else None
