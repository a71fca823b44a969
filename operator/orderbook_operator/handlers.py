"""What wakes the task of a group: events of its resource and of what belongs to it. Nothing else is done here.

kopf watches, starts again after a lost connection, and follows namespaces that come and go. It keeps no state in the
resources and handles no deletion: our own task does, by what it sees.

``memo.groups`` is the ``groups.Groups`` of the process: of the memo itself kopf hands out copies, one a resource.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import kopf

from orderbook_operator import names

_OF_A_GROUP = {names.GROUP_LABEL: kopf.PRESENT}


@kopf.on.event(names.API_GROUP, names.API_VERSION, names.PLURAL)
async def resource_changed(namespace: str | None, name: str | None, memo: kopf.Memo, **_: Any) -> None:
    memo.groups.wake(str(namespace), str(name))


@kopf.on.event("v1", "pods", labels=_OF_A_GROUP)
@kopf.on.event("v1", "services", labels=_OF_A_GROUP)
@kopf.on.event("v1", "serviceaccounts", labels=_OF_A_GROUP)
@kopf.on.event("v1", "persistentvolumeclaims", labels=_OF_A_GROUP)
@kopf.on.event("apps", "v1", "statefulsets", labels=_OF_A_GROUP)
@kopf.on.event("policy", "v1", "poddisruptionbudgets", labels=_OF_A_GROUP)
@kopf.on.event("networking.k8s.io", "v1", "networkpolicies", labels=_OF_A_GROUP)
async def part_changed(namespace: str | None, labels: Mapping[str, str], memo: kopf.Memo, **_: Any) -> None:
    memo.groups.wake(str(namespace), labels[names.GROUP_LABEL])
