"""What the status says of a group, and which Events a change makes."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from orderbook_operator import status
from orderbook_operator.actions import EvictPod
from orderbook_operator.observation import Member, NodeSeen, Observation
from orderbook_operator.plan import Plan, plan
from orderbook_operator.policy.decision import Reason, Wait
from orderbook_operator.resource import Status
from unit.operator.groups_seen import (
    Change,
    at_rest,
    changed,
    down,
    group,
    learner,
    member,
    metadata,
    new_pod,
    no_leader,
    pod,
    sight,
    spec,
)


def reported(seen: Observation, planned: Plan | None = None) -> status.Report:
    return status.report(seen, plan(seen, bytes) if planned is None else planned)


def conditions(report: status.Report) -> dict[str, tuple[str, str]]:
    return {one["type"]: (one["status"], one["reason"]) for one in report.status["conditions"]}


def with_status(seen: Observation, said: dict[str, Any]) -> Observation:
    known = Status.model_validate({name: value for name, value in said.items() if value is not None})
    return replace(seen, resource=seen.resource.model_copy(update={"status": known}))


OLD_POD = pod(1, created=0.0)
AT_REST = {
    "Ready": ("True", "AllMembersUp"),
    "Quorate": ("True", "LeaderConfirmed"),
    "Progressing": ("False", "Converged"),
    "Degraded": ("False", "Healthy"),
    "Paused": ("False", "Active"),
}
ROWS: list[tuple[str, list[Change], str, dict[str, tuple[str, str]]]] = [
    ("at rest", [], "Ready", {}),
    (
        "a member that was just made anew",
        [down(1)],
        "Updating",
        {"Ready": ("False", "MembersMissing"), "Progressing": ("True", "MembersCatchUp")},
    ),
    (
        "a member that is down for longer",
        [down(1), OLD_POD],
        "Degraded",
        {"Ready": ("False", "MembersMissing"), "Degraded": ("True", "MembersDown")},
    ),
    (
        "a member on a node that is down",
        [down(1), pod(1, node_ready=False)],
        "Degraded",
        {"Ready": ("False", "MembersMissing"), "Degraded": ("True", "MembersDown")},
    ),
    (
        "no leader",
        [no_leader],
        "Unavailable",
        {
            "Ready": ("False", "NoQuorum"),
            "Quorate": ("False", "NoLeader"),
            "Progressing": ("False", "NoLeader"),
            "Degraded": ("True", "NoLeader"),
        },
    ),
    (
        "an image that can't be pulled",
        [down(1), pod(1, running=False, waiting="ImagePullBackOff")],
        "Updating",
        {
            "Ready": ("False", "MembersMissing"),
            "Progressing": ("True", "MembersCatchUp"),
            "Degraded": ("True", "PodNotStarting"),
        },
    ),
    (
        "a member whose state differs",
        [down(1), sight(nodes={"eth-1": NodeSeen("eth-1", Member("eth-1", 2), "quarantined")})],
        "Updating",
        {
            "Ready": ("False", "MembersMissing"),
            "Progressing": ("True", "MembersCatchUp"),
            "Degraded": ("True", "MemberQuarantined"),
        },
    ),
    (
        "no majority agrees on the state",
        [no_leader, sight(nodes={"eth-1": NodeSeen("eth-1", Member("eth-1", 2), "halted")})],
        "Unavailable",
        {
            "Ready": ("False", "NoQuorum"),
            "Quorate": ("False", "NoLeader"),
            "Progressing": ("False", "NoLeader"),
            "Degraded": ("True", "GroupHalted"),
        },
    ),
    (
        "growth",
        [spec(replicas=5)],
        "Updating",
        {"Ready": ("False", "MembersMissing"), "Progressing": ("True", "Updated")},
    ),
    (
        "shrinkage",
        [spec(replicas=1)],
        "Updating",
        {"Ready": ("False", "MembersToLeave"), "Progressing": ("True", "MembersChanged")},
    ),
    (
        "paused",
        [spec(paused=True)],
        "Paused",
        {"Progressing": ("False", "SpecPaused"), "Paused": ("True", "SpecPaused")},
    ),
    (
        "deleted",
        [metadata(deletion_timestamp="2026-01-01T00:00:00Z")],
        "Deleting",
        {"Ready": ("False", "Deleting"), "Progressing": ("True", "TearingDown")},
    ),
    (
        "its identity is lost",
        [sight(identity=None)],
        "Degraded",
        {"Progressing": ("False", "IdentityLost"), "Degraded": ("True", "IdentityLost")},
    ),
]


@pytest.mark.parametrize(("changes", "phase", "expected"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_conditions(changes, phase, expected):
    report = reported(changed(at_rest(), *changes))
    assert conditions(report) == {**AT_REST, **expected}
    assert report.status["phase"] == phase


@pytest.mark.parametrize(
    ("waiting", "said"),
    [
        ("ImagePullBackOff", "eth-1 doesn't start: ImagePullBackOff (r/ob:1)"),
        (
            "Unschedulable",
            "eth-1 doesn't start: no node of the cluster takes it now (kubectl describe pod eth-1)",
        ),
    ],
)
def test_it_says_why_a_pod_doesnt_start(waiting, said):
    report = reported(changed(at_rest(), down(1), pod(1, running=False, waiting=waiting, image="r/ob:1")))
    [degraded] = [one for one in report.status["conditions"] if one["type"] == "Degraded"]
    assert degraded["message"] == said


def test_numbers_and_members_are_those_of_the_leaders_answer():
    seen = changed(
        at_rest(), down(1), new_pod(3), learner(3, 901, caught_up=False), pod(0, image="r:5000/ob:1.2", zone="a")
    )
    said = reported(seen).status
    assert (said["ready"], said["replicas"], said["pairs"]) == ("2/3", 4, 1)
    assert said["selector"] == "app.kubernetes.io/name=orderbook,orderbook.dev/group=eth"
    members = {one["name"]: one for one in said["members"]}
    assert [one["role"] for one in members.values()] == ["leader", "voter", "voter", "learner"]
    assert [one["lag"] for one in members.values()] == ["none", "catching_up", "none", "catching_up"]
    assert (members["eth-0"]["version"], members["eth-0"]["zone"]) == ("1.2", "a")


def test_a_member_that_doesnt_catch_up_in_time_is_stuck():
    said = reported(changed(at_rest(), down(1), OLD_POD)).status
    assert said["members"][1]["lag"] == "stuck"


def test_without_a_leader_it_says_what_was_known_last():
    seen = at_rest()
    before = reported(seen).status
    after = reported(with_status(changed(seen, no_leader), before)).status
    assert (after["members"], after["pairs"], after["version"]) == (
        before["members"],
        before["pairs"],
        before["version"],
    )
    assert after["leader"] is None and after["term"] is None and after["ready"] == "0/3"


def test_it_changes_only_when_something_did():
    seen = at_rest()
    before = reported(seen).status
    working = changed(
        with_status(seen, before), member(1, lag=77), group(configuration_index=99), sight(now=seen.now + 60)
    )
    assert reported(working).status == before
    assert "index" not in json.dumps(before)


def test_a_transition_time_moves_only_with_the_status_of_its_condition():
    seen = at_rest()
    before = reported(seen).status
    later = reported(changed(with_status(seen, before), down(1), OLD_POD, sight(now=seen.now + 60))).status
    moved = {
        now["type"]
        for now, then in zip(later["conditions"], before["conditions"], strict=True)
        if now["lastTransitionTime"] != then["lastTransitionTime"]
    }
    assert moved == {"Ready", "Degraded"}


def test_events_tell_what_was_done_and_which_conditions_changed():
    seen = at_rest()
    seen = with_status(seen, reported(seen).status)
    done = Plan((EvictPod("eth-1", "uid", "its pod was made from an older template"),))
    events = [(event.type, event.reason) for event in reported(seen, done).events]
    assert events == [("Normal", "PodEvicted"), ("Normal", "Progressing")]
    trouble = Plan(waits=(Wait(Reason.MEMBER_PINNED, "eth-1: two steps"),))
    (event, degraded) = reported(seen, trouble).events
    assert (degraded.type, degraded.reason, degraded.message) == (
        "Warning",
        "Degraded",
        "MemberPinned: eth-1: two steps",
    )
    assert reported(seen, Plan()).events == () and event.reason == "NotProgressing"


def test_a_new_groups_story_begins_with_what_is_done():
    seen = with_status(at_rest(), {})
    assert {event.reason for event in reported(seen, Plan()).events} == {"Ready", "Quorate"}


def test_the_failed_template_is_that_of_the_stateful_set():
    seen = at_rest()
    live: Any = seen.objects[seen.stateful_set_key]
    annotated = {**live, "metadata": {**live["metadata"], "annotations": {"orderbook.dev/failed-template": "abc"}}}
    stopped = replace(seen, objects={**seen.objects, seen.stateful_set_key: annotated})
    assert reported(stopped, Plan()).status["failedTemplate"] == "abc"
    assert reported(seen, Plan()).status["failedTemplate"] is None
