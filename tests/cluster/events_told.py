"""The Events about a group: its story, as ``kubectl describe`` shows it."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from cluster.api import SECONDS
from cluster.group_under_test import GroupUnderTest


class Told(NamedTuple):
    """One Event. ``first`` and ``last`` are when it was said, to the second."""

    reason: str
    message: str
    first: datetime
    last: datetime
    count: int


async def events(group: GroupUnderTest, reason: str = "") -> list[Told]:
    """All of the resource that has this name now, or those of one ``reason``; by time."""
    uid = (await group.get())["metadata"]["uid"]
    found = await group.core.list_namespaced_event(
        group.namespace, field_selector=f"involvedObject.uid={uid}", _request_timeout=SECONDS
    )
    told = [Told(one.reason, one.message, one.first_timestamp, one.last_timestamp, one.count) for one in found.items]
    return sorted((one for one in told if reason in ("", one.reason)), key=lambda one: one.first)
