"""What a node's log says of its member: each change once, and nothing while there is none.

Term, index and role stand in every line of the log; the fields here are what changed. ``lines`` is the whole policy and
pure. It is asked when the group says that something changed, and every second for what nobody announces.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, NamedTuple

from orderbook.groups.group import Group
from orderbook.groups.replica import Phase
from orderbook.runtime import Runtime, Timer

LOOK_SECONDS = 1.0

_logger = logging.getLogger("orderbook.group")


class Seen(NamedTuple):
    """A member at one moment. Empty and 0: it has, or knows, none."""

    waits_for: str = ""  # while it has no group
    incarnation: str = ""
    id: int = 0
    phase: str = Phase.MEMBER.value
    leader: str = ""
    configuration: int = 0  # the index of the one in force
    voters: tuple[str, ...] = ()
    learners: tuple[str, ...] = ()
    snapshot: int = 0
    disk: str = "ok"


class Line(NamedTuple):
    level: int
    message: str
    fields: dict[str, Any]


def lines(before: Seen, now: Seen) -> Iterator[Line]:
    """What there is to say. ``before`` keeps the incarnation of a group that was left."""
    if now.disk != before.disk:
        yield _disk(now.disk)
    if now.waits_for and now.waits_for != before.waits_for:
        yield Line(logging.INFO, "without a group", {"waits_for": now.waits_for})
    if not now.incarnation:
        return
    members = {"voters": list(now.voters), "learners": list(now.learners)}
    if (now.incarnation, now.id) != (before.incarnation, before.id):
        yield _entered(before, now, members)
    elif now.configuration != before.configuration:
        yield Line(logging.INFO, "the membership changed", {"configuration_index": now.configuration, **members})
    if now.phase != before.phase:
        yield from _phase(before.phase, now.phase)
    if now.leader != before.leader:
        known = Line(logging.INFO, "a leader is known", {"leader": now.leader})
        yield known if now.leader else Line(logging.WARNING, "no leader is known", {"leader_before": before.leader})
    if now.snapshot > before.snapshot:
        yield Line(logging.INFO, "there is a new snapshot", {"snapshot_index": now.snapshot})


def _entered(before: Seen, now: Seen, members: dict[str, Any]) -> Line:
    fields = {"incarnation": now.incarnation, "id": str(now.id), **members}
    if before.incarnation and now.incarnation != before.incarnation:
        fields["incarnation_before"] = before.incarnation
        return Line(logging.WARNING, "member of a new life of the group, or of another one", fields)
    return Line(logging.INFO, "member of a group", fields)


def _phase(before: str, now: str) -> Iterator[Line]:
    if now == Phase.QUARANTINED.value:
        yield Line(logging.ERROR, "quarantined: the state of this member differs from the majority's", {})
    elif now == Phase.HALTED.value:
        yield Line(logging.ERROR, "halted: no majority agrees on the state", {})
    elif now == Phase.RESTORING.value:
        yield Line(logging.INFO, "a snapshot takes the place of the state", {})
    elif before == Phase.RESTORING.value and now == Phase.MEMBER.value:
        yield Line(logging.INFO, "the snapshot is restored", {})


def _disk(health: str) -> Line:
    if health == "ok":
        return Line(logging.INFO, "the disk takes writes again", {})
    return Line(logging.ERROR, f"the disk is {health}", {})


def seen(group: Group) -> Seen:
    """The member as it is now. Raises NotBootstrapped while its directory is being opened."""
    replica, disk = group.replica, group.disk
    if replica is None:
        return Seen(waits_for=group.waits_for, disk=disk)
    node = replica.node
    return Seen(
        incarnation=group.identity.incarnation.hex(),
        id=replica.id,
        phase=replica.phase.value,
        leader=(replica.name_of(node.leader) or str(node.leader)) if node.leader else "",
        configuration=node.configuration_index,
        voters=tuple(member.name for member in node.configuration.voters),
        learners=tuple(member.name for member in node.configuration.learners),
        snapshot=group.storage.snapshot_index,
        disk=disk,
    )


class Journal:
    """Writes it. One per node, from when its group is opened until ``close``."""

    def __init__(self, runtime: Runtime, group: Group) -> None:
        self._runtime = runtime
        self._group = group
        self._seen = Seen()
        self._timer: Timer | None = None
        group.on_change.append(self.look)
        self._again()

    def look(self) -> None:
        """Say what changed since the last time."""
        now = seen(self._group)
        for level, message, fields in lines(self._seen, now):
            _logger.log(level, message, extra={"fields": fields})
        if not now.incarnation:
            now = now._replace(incarnation=self._seen.incarnation, id=self._seen.id)
        self._seen = now

    def close(self) -> None:
        self._group.on_change.remove(self.look)
        if self._timer is not None:
            self._timer.cancel()

    def _again(self) -> None:
        self._timer = self._runtime.call_later(LOOK_SECONDS, self._again)
        self.look()
