"""The pods of a group: one container, under the ``restricted`` Pod Security profile.

``template_hash`` is what a pod was rendered from. It changes when, and only when, pods would be rendered otherwise, and
that is what a roll is. What is not in the pods can't roll them: labels of the resource, the number of replicas, pairs,
storage, who may reach them.

There is no emptyDir: one would make ``kubectl drain`` refuse these pods. A node writes to its volume only.
"""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

from orderbook_operator import names
from orderbook_operator.manifests.metadata import document
from orderbook_operator.resource import OrderBookGroup
from orderbook_operator.scalars import Duration

USER = 10001  # as in the image; the volume is given to this group
GRACE_SECONDS = 30
RECOVERY_SECONDS = 1800  # a node that has not recovered its directory by then is started again

DATA = "/data"
IDENTITY = "/etc/orderbook/identity"
CREDENTIALS = "/etc/orderbook/credentials"
OWN_CERTIFICATE = "/etc/orderbook/client-certificate"  # of the user, for the port of clients

# The parts of a spec that pods are rendered from.
ASKED_OF_PODS = (
    "image", "image_pull_policy", "image_pull_secrets", "raft", "streams", "auth", "tls", "resources", "scheduling",
    "pod",
)  # fmt: skip

_TICK = Duration("50ms")


def pod_template(group: OrderBookGroup, image: str) -> dict[str, Any]:
    """With the hash of itself as an annotation. ``image`` is used where the spec names none."""
    template = _template(group, image)
    template["metadata"]["annotations"][names.TEMPLATE] = _hash(template)
    return template


def template_hash(group: OrderBookGroup, image: str) -> str:
    """16 hex digits: equal for equal templates, on every Python and in every process."""
    return _hash(_template(group, image))


def asked_hash(group: OrderBookGroup) -> str:
    """16 hex digits of what the user asks of the pods, whatever this operator renders from it, and with which image if
    the spec names none. Fields left at their defaults don't count: a later definition may have others, or more."""
    return _hash(group.spec.model_dump(mode="json", include=set(ASKED_OF_PODS), exclude_defaults=True))


def _hash(template: dict[str, Any]) -> str:
    return sha256(json.dumps(template, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:16]


def _template(group: OrderBookGroup, image: str) -> dict[str, Any]:
    settings, placement = group.spec.pod, group.spec.scheduling
    optional = {
        "imagePullSecrets": [document(secret) for secret in group.spec.image_pull_secrets],
        "nodeSelector": dict(placement.node_selector),
        "tolerations": [document(toleration) for toleration in placement.tolerations],
        "affinity": document(placement.affinity) if placement.affinity is not None else {},
        "priorityClassName": placement.priority_class_name,
        "topologySpreadConstraints": [
            {**document(spread), "labelSelector": {"matchLabels": names.selector(group.name)}}
            for spread in placement.topology_spread
        ],
    }
    return {
        "metadata": {
            "labels": {**settings.labels, **names.labels(group.name)},
            "annotations": dict(settings.annotations),
        },
        "spec": {
            "serviceAccountName": names.service_account(group.name),
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,  # else each Service of the namespace would be in the environment
            "terminationGracePeriodSeconds": GRACE_SECONDS,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": USER,
                "runAsGroup": USER,
                "fsGroup": USER,
                "fsGroupChangePolicy": "OnRootMismatch",
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [_container(group, image)],
            "volumes": _volumes(group),
            **{field: value for field, value in optional.items() if value},
        },
    }


def _container(group: OrderBookGroup, image: str) -> dict[str, Any]:
    return {
        "name": names.CONTAINER,
        "image": group.spec.image or image,
        "imagePullPolicy": group.spec.image_pull_policy,
        "args": ["node"],
        "env": [*_environment(group), *_own_environment(group)],
        "ports": [
            _port("peers", names.PEER_PORT),
            _port("clients", names.CLIENT_PORT),
            _port("probes", names.PROBE_PORT),
        ],
        "resources": document(group.spec.resources),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "startupProbe": _probe("/startupz", every=2, timeout=2, failures=RECOVERY_SECONDS // 2),
        "livenessProbe": _probe("/livez", every=10, timeout=5, failures=3),
        "readinessProbe": _probe("/readyz", every=2, timeout=2, failures=2),
        "volumeMounts": [
            {"name": names.DATA_VOLUME, "mountPath": DATA},
            *({"name": name, "mountPath": path, "readOnly": True} for name, path, _ in _secrets(group)),
        ],
    }


def _port(name: str, number: int) -> dict[str, Any]:
    return {"name": name, "containerPort": number, "protocol": "TCP"}


def _probe(path: str, *, every: int, timeout: int, failures: int) -> dict[str, Any]:
    """On the listener of probes, which is plain: no probe depends on certificates. Times are seconds."""
    return {
        "httpGet": {"path": path, "port": "probes"},
        "periodSeconds": every,
        "timeoutSeconds": timeout,
        "failureThreshold": failures,
    }


def _secrets(group: OrderBookGroup) -> list[tuple[str, str, str]]:
    """Volume, where it is mounted, and which Secret it is."""
    own = group.spec.tls.secret
    return [
        ("identity", IDENTITY, names.identity_secret(group.name)),
        ("credentials", CREDENTIALS, names.credentials_secret(group.name)),
        *([("client-certificate", OWN_CERTIFICATE, own)] if own is not None else []),
    ]


def _volumes(group: OrderBookGroup) -> list[dict[str, Any]]:
    """A pod waits for its Secrets. Readable by the node's group, by nobody else."""
    return [
        {"name": name, "secret": {"secretName": secret, "optional": False, "defaultMode": 0o440}}
        for name, _, secret in _secrets(group)
    ]


# --- the node's configuration -----------------------------------------------------------------------------------------


def _environment(group: OrderBookGroup) -> list[dict[str, Any]]:
    peers = names.service_host(names.peer_service(group.name), group.namespace)
    raft, kept = group.spec.raft, group.spec.streams.retention
    tick = min(_TICK.seconds, raft.heartbeat.seconds / 2)
    values = {
        "HOST": "0.0.0.0",
        "DATA": DATA,
        "NETWORK": group.name,
        "ADVERTISE": f"$(ORDERBOOK_NAME).{peers}:{names.PEER_PORT}",
        "DISCOVERY__SERVICE": peers,
        "KEY_FILE": f"{IDENTITY}/{names.IDENTITY_KEY}",
        "INITIAL_SIZE_FILE": f"{IDENTITY}/{names.IDENTITY_INITIAL_SIZE}",
        "INCARNATION_FILE": f"{IDENTITY}/{names.IDENTITY_INCARNATION}",
        "RAFT__TICK": f"{tick:g}",
        "RAFT__HEARTBEAT": f"{raft.heartbeat.seconds:g}",
        "RAFT__ELECTION_TIMEOUT": f"{raft.election_timeout.seconds:g}",
        "RAFT__SNAPSHOT_EVERY": str(raft.snapshot_every),
        "STREAMS__RETAINED_ENTRIES": str(kept.entries),
        "STREAMS__RETAINED_BYTES": str(int(kept.memory.number)),
        "LOG": "json",
        **_tls(group),
        **_auth(group),
    }
    pod_name = {"name": "ORDERBOOK_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
    return [pod_name, *({"name": f"ORDERBOOK_{key}", "value": value} for key, value in values.items())]


def _tls(group: OrderBookGroup) -> dict[str, str]:
    if not group.spec.tls.auto:
        return {"TLS__MODE": "none"}
    certificate, key = f"{CREDENTIALS}/{names.CLIENT_CERTIFICATE}", f"{CREDENTIALS}/{names.CLIENT_KEY}"
    if group.spec.tls.secret is not None:
        certificate, key = f"{OWN_CERTIFICATE}/tls.crt", f"{OWN_CERTIFICATE}/tls.key"
    return {
        "TLS__MODE": "mutual",
        "TLS__CERTIFICATE": f"{CREDENTIALS}/{names.PEER_CERTIFICATE}",
        "TLS__KEY": f"{CREDENTIALS}/{names.PEER_KEY}",
        "TLS__CA": f"{CREDENTIALS}/{names.TRUST}",
        "TLS__CLIENT_CERTIFICATE": certificate,
        "TLS__CLIENT_KEY": key,
    }


def _auth(group: OrderBookGroup) -> dict[str, str]:
    if group.spec.auth.mode == "none":
        return {"AUTH__MODE": "none"}
    return {
        "AUTH__MODE": "tokens",
        "AUTH__KEYS": f"{CREDENTIALS}/{names.TOKEN_KEYS}",
        "AUTH__AUDIENCE": names.audience(group.name, group.namespace),
        "AUTH__ANONYMOUS": group.spec.auth.anonymous,
        **({} if group.spec.tls.auto else {"AUTH__CLEAR_TEXT": "true"}),
    }


def _own_environment(group: OrderBookGroup) -> list[dict[str, Any]]:
    """The user's variables, literally: Kubernetes would replace ``$(NAME)``, and reads ``$$`` as ``$``."""
    return [
        {"name": variable.name, **({"value": variable.value.replace("$", "$$")} if variable.value else {})}
        for variable in group.spec.pod.env
    ]
