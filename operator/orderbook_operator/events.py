"""Events of the cluster about a group: ``kubectl describe`` shows them as a story.

One Event object a sentence: the same one again raises its ``count``, so that a thing that repeats fills no list. They
are applied under a name made of what they say. An Event that can't be written is logged and costs nothing else.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from datetime import UTC, datetime
from hashlib import sha256
from typing import Literal, NamedTuple

from orderbook_operator import names
from orderbook_operator.cluster import EVENT, Cluster, ClusterError

Type = Literal["Normal", "Warning"]
LONGEST_MESSAGE = 1024
_MOST_KNOWN = 4096

_logger = logging.getLogger("orderbook.operator.events")


class About(NamedTuple):
    """The resource that an Event is about. Without its uid ``kubectl describe`` would not show it."""

    namespace: str
    name: str
    uid: str


class Recorder:
    """Writes Events, and remembers how often each was written."""

    def __init__(self, cluster: Cluster, instance: str) -> None:
        self._cluster = cluster
        self._instance = instance
        self._known: OrderedDict[tuple[str, str], tuple[int, str]] = OrderedDict()

    async def record(self, about: About, type: Type, reason: str, message: str) -> None:
        message = message if len(message) <= LONGEST_MESSAGE else message[: LONGEST_MESSAGE - 1] + "…"
        said = sha256(f"{about.uid} {type} {reason} {message}".encode()).hexdigest()[:16]
        name, now = f"{about.name}.{said}", datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        try:
            count, first = await self._before(about.namespace, name, now)
            times = {"count": count + 1, "firstTimestamp": first, "lastTimestamp": now}
            says = {"type": type, "reason": reason, "message": message}
            await self._cluster.apply({**self._manifest(about, name), **says, **times}, about.namespace)
        except ClusterError as error:
            _logger.warning("an Event could not be recorded: %s", error, extra={"fields": {"event": message}})
            return
        self._known[about.namespace, name] = count + 1, first
        self._known.move_to_end((about.namespace, name))
        if len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)

    async def _before(self, namespace: str, name: str, now: str) -> tuple[int, str]:
        """How often it was said, and when first: also by the operator before this one."""
        known = self._known.get((namespace, name))
        if known is not None:
            return known
        event = await self._cluster.get(EVENT, namespace, name)
        return (int(event.get("count") or 1), str(event.get("firstTimestamp") or now)) if event else (0, now)

    def _manifest(self, about: About, name: str) -> dict[str, object]:
        return {
            "apiVersion": EVENT.api_version,
            "kind": EVENT.kind,
            "metadata": {"name": name, "namespace": about.namespace},
            "involvedObject": {
                "apiVersion": f"{names.API_GROUP}/{names.API_VERSION}",
                "kind": names.KIND,
                "name": about.name,
                "namespace": about.namespace,
                "uid": about.uid,
            },
            "source": {"component": names.FIELD_MANAGER},
            "reportingComponent": names.FIELD_MANAGER,
            "reportingInstance": self._instance,
        }
