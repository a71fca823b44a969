"""What status tells: the resource's own word, and what nodes say now."""

from __future__ import annotations

from typing import Any

import pytest

from orderbook_operator.observation import PodSeen
from orderbook_operator.plugin import story
from orderbook_operator.resource import OrderBookGroup, Status
from unit.operator.resources import group


def node(name: str, id: str, role: str = "follower", term: int = 3, **changes: Any) -> dict[str, Any]:
    """As /v1/group has it: the fields that are read."""
    document = {"name": name, "id": id, "role": role, "term": term, "applied": 9, "online": True, "phase": "member"}
    return {**document, "waits_for": "", "configuration": {"members": []}, **changes}


def leading(name: str, id: str, members: dict[str, tuple[str, str, int]], term: int = 3) -> dict[str, Any]:
    """``members``: name -> (id, role, lag)."""
    rows = [
        {"name": member, "id": of, "role": role, "lag": lag, "leader": member == name}
        for member, (of, role, lag) in members.items()
    ]
    return node(name, id, "leader", term, configuration={"members": rows})


def pod(name: str, **changes: Any) -> PodSeen:
    values: dict[str, Any] = {"ready": True, "running": True, "node": "machine-1", "zone": "zone-1", **changes}
    return PodSeen(name, f"uid-{name}", int(name[-1]), "", "", 0.0, **values)


def resource(*members: tuple[str, str, str], **status: Any) -> OrderBookGroup:
    rows = [
        {"name": name, "id": id, "role": role, "lag": "none", "version": "1.2", "zone": "zone-9"}
        for name, id, role in members
    ]
    return group().model_copy(update={"status": Status.model_validate({"members": rows, **status})})


def test_members_are_those_of_the_leader_s_configuration_with_its_lags() -> None:
    documents = {
        "eth-0": leading("eth-0", "1", {"eth-0": ("1", "voter", 0), "eth-1": ("2", "voter", 7)}),
        "eth-1": node("eth-1", "2", applied=2),
    }
    rows = story.members(resource(("eth-0", "1", "voter")), [pod("eth-0"), pod("eth-1")], documents)
    assert [(row.name, row.role, row.lag, row.applied) for row in rows] == [
        ("eth-0", "leader", 0, 9),
        ("eth-1", "voter", 7, 2),
    ]
    assert [(row.version, row.zone) for row in rows] == [("1.2", "zone-9"), ("", "zone-1")]


def test_of_two_that_say_they_lead_the_newer_term_counts() -> None:
    documents = {"eth-0": leading("eth-0", "1", {}, term=4), "eth-1": leading("eth-1", "2", {}, term=5)}
    leader = story.leader_of(documents)
    assert leader is not None and leader["name"] == "eth-1"


def test_without_a_leader_members_are_those_of_the_status() -> None:
    rows = story.members(resource(("eth-1", "2", "voter"), ("eth-0", "1", "leader")), [], {})
    assert [(row.name, row.role, row.lag, row.phase) for row in rows] == [
        ("eth-0", "leader", None, "no pod is seen"),
        ("eth-1", "voter", None, "no pod is seen"),
    ]


@pytest.mark.parametrize(
    ("document", "seen", "phase"),
    [
        (node("eth-0", "1"), pod("eth-0"), "online"),
        (node("eth-0", "1", online=False), pod("eth-0"), "member"),
        (node("eth-0", "1", online=False, waits_for="eth-2"), pod("eth-0"), "eth-2"),
        (node("eth-0", "5"), pod("eth-0"), "its pod runs another member, 5"),
        (None, pod("eth-0", waiting="ImagePullBackOff"), "ImagePullBackOff"),
        (None, pod("eth-0", terminating=True), "ending"),
        (None, pod("eth-0"), "does not answer"),
        (None, None, "no pod is seen"),
    ],
)
def test_how_a_member_is(document: dict[str, Any] | None, seen: PodSeen | None, phase: str) -> None:
    documents = {"eth-0": document} if document else {}
    [row] = story.members(resource(("eth-0", "1", "voter")), [seen] if seen else [], documents)
    assert row.phase == phase
    assert row.applied == (9 if document and document["id"] == "1" else None)


def test_eleven_members_are_in_the_order_of_their_ordinals() -> None:
    members = [(f"eth-{ordinal}", str(ordinal), "voter") for ordinal in (10, 2, 0)]
    assert [row.name for row in story.members(resource(*members), [], {})] == ["eth-0", "eth-2", "eth-10"]


@pytest.mark.parametrize(("generation", "observed", "ready"), [(1, 1, True), (2, 1, False)])
def test_ready_is_what_the_operator_said_of_the_newest_spec(generation: int, observed: int, ready: bool) -> None:
    condition = {"type": "Ready", "status": "True", "reason": "R", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    seen = resource(conditions=[condition], observedGeneration=observed)
    seen = seen.model_copy(update={"metadata": seen.metadata.model_copy(update={"generation": generation})})
    assert story.is_ready(seen) is ready


def test_a_group_that_no_operator_looked_at_says_so() -> None:
    assert "not looked at by an operator yet, 0/3 ready, no known leader" in story.headline(group(), None)


@pytest.mark.parametrize(
    ("seconds", "told"), [(0, "0s"), (119, "119s"), (120, "2m"), (7199, "119m"), (7200, "2h"), (172800, "2d")]
)
def test_ages_are_told_as_kubectl_does(seconds: int, told: str) -> None:
    assert story.since("1970-01-01T00:00:00Z", seconds) == told
