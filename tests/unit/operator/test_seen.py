"""Objects as the API server gives them -> what the policy sees."""

from __future__ import annotations

import base64
import traceback
from typing import Any

import pytest

from orderbook_operator import names
from orderbook_operator.actions import CreateSecret, ReplaceSecret
from orderbook_operator.observation import Identity, Manifest
from orderbook_operator.seen import (
    Unreadable,
    claims_seen,
    epoch,
    identity_seen,
    is_owned,
    pods_seen,
    revisions_seen,
    secret_seen,
    stateful_set_seen,
)

KEY = b"c0ffee"
RUNNING = {"state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}
AFFINITY = "0/3 nodes are available: 3 node(s) didn't match PersistentVolume's node affinity."


def pod(name: str = "eth-0", node: str = "node-1", **status: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "uid": f"uid-{name}",
            "resourceVersion": "7",
            "creationTimestamp": "2026-01-01T00:00:10Z",
            "labels": {"controller-revision-hash": "eth-5d4f"},
            "annotations": {names.TEMPLATE: "0123456789abcdef"},
        },
        "spec": {"nodeName": node, "containers": [{"name": "node", "image": "example/orderbook:1"}]},
        "status": status,
    }


def claim(ordinal: int = 0, selected: str = "", **labels: str) -> dict[str, Any]:
    annotations = {"volume.kubernetes.io/selected-node": selected} if selected else {}
    name = f"data-eth-{ordinal}"
    return {
        "metadata": {"name": name, "uid": name, "resourceVersion": "9", "labels": labels, "annotations": annotations},
        "spec": {"resources": {"requests": {"storage": "4Gi"}}},
        "status": {"phase": "Bound", "capacity": {"storage": "4Gi"}},
    }


def node(ready: str = "True", zone: str = "zone-1") -> dict[str, Any]:
    labels = {"topology.kubernetes.io/zone": zone} if zone else {}
    return {"metadata": {"labels": labels}, "status": {"conditions": [{"type": "Ready", "status": ready}]}}


def unscheduled(message: str) -> dict[str, Any]:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    return pod(node="", conditions=[condition])


def test_a_pod_that_runs_and_is_ready() -> None:
    conditions = [{"type": "Ready", "status": "True"}, {"type": "PodScheduled", "status": "True"}]
    raw = pod(podIP="10.0.0.7", conditions=conditions, containerStatuses=[{"name": "node", **RUNNING}])
    (seen,) = pods_seen([raw], "eth", {"node-1": node()})
    assert (seen.name, seen.ordinal, seen.uid, seen.resource_version) == ("eth-0", 0, "uid-eth-0", "7")
    assert (seen.revision, seen.template, seen.image) == ("eth-5d4f", "0123456789abcdef", "example/orderbook:1")
    assert (seen.ready, seen.running, seen.terminating, seen.waiting) == (True, True, False, "")
    assert (seen.address, seen.node, seen.node_exists, seen.node_ready, seen.zone) == (
        "10.0.0.7", "node-1", True, True, "zone-1",
    )  # fmt: skip
    assert seen.created == epoch("2026-01-01T00:00:10Z") == 1767225610.0


@pytest.mark.parametrize(
    ("status", "waiting"),
    [
        (
            {"containerStatuses": [{"name": "node", "state": {"waiting": {"reason": "ImagePullBackOff"}}}]},
            "ImagePullBackOff",
        ),
        ({"containerStatuses": [{"name": "node", "state": {"terminated": {"reason": "OOMKilled"}}}]}, "OOMKilled"),
        ({"containerStatuses": [{"name": "node", "state": {"terminated": {}}}]}, "Terminated"),
        ({"containerStatuses": [{"name": "sidecar", **RUNNING}]}, ""),
        ({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]}, "Unschedulable"),
        ({}, ""),
    ],
)
def test_why_the_node_s_container_does_not_run(status: dict[str, Any], waiting: str) -> None:
    (seen,) = pods_seen([pod(**status)], "eth", {})
    assert not seen.running
    assert seen.waiting == waiting


def test_a_cluster_node_that_is_gone_is_told_from_one_that_is_down_and_from_one_that_can_not_be_read() -> None:
    known: dict[str, Manifest | None] = {"node-1": None, "node-2": node("Unknown")}
    gone, down, unknown = pods_seen(
        [pod("eth-0", "node-1"), pod("eth-1", "node-2"), pod("eth-2", "node-3")], "eth", known
    )
    assert (gone.node_exists, gone.node_ready) == (False, False)
    assert (down.node_exists, down.node_ready) == (True, False)
    assert (unknown.node_exists, unknown.node_ready, unknown.zone) == (True, True, "")


def test_only_members_pods_and_claims_are_seen_by_ordinal() -> None:
    pods = [pod("eth-10"), pod("eth-2"), pod("eth-test"), pod("other-0")]
    assert [seen.ordinal for seen in pods_seen(pods, "eth", {})] == [2, 10]
    others = {**claim(), "metadata": {**claim()["metadata"], "name": "backup-eth-0"}}
    assert [seen.ordinal for seen in claims_seen([claim(3), others, claim(1)], [], "eth", {})] == [1, 3]


@pytest.mark.parametrize(
    ("of_pod", "pinned"),
    [
        (None, "node-1"),  # nothing speaks against it
        (pod(node="node-1"), "node-1"),
        (pod(node="node-2"), ""),  # the volume has moved
        (unscheduled(AFFINITY), "node-1"),
        (unscheduled("0/3 nodes are available: 3 Insufficient cpu."), ""),
    ],
)
def test_to_which_cluster_node_a_claim_is_pinned(of_pod: dict[str, Any] | None, pinned: str) -> None:
    pods = [of_pod] if of_pod is not None else []
    (seen,) = claims_seen([claim(selected="node-1")], pods, "eth", {"node-1": None})
    assert seen.node == pinned
    assert seen.node_exists is (pinned == "")


def test_a_claim_says_size_and_whether_its_member_left() -> None:
    (seen,) = claims_seen([claim(**{names.RETIRED: "77"})], [], "eth", {})
    assert (seen.requested, seen.capacity, seen.bound, seen.retired, seen.resource_version) == (
        "4Gi", "4Gi", True, "77", "9",
    )  # fmt: skip


def stateful_set(**status: Any) -> dict[str, Any]:
    template = {"metadata": {"annotations": {names.TEMPLATE: "0123456789abcdef"}}}
    spec = {"replicas": 3, "template": template, "ordinals": {"start": 2}}
    return {"metadata": {"uid": "sts", "generation": 4}, "spec": spec, "status": status}


def test_a_stateful_set_s_revision_counts_once_its_controller_has_seen_the_spec() -> None:
    seen = stateful_set_seen(stateful_set(observedGeneration=4, updateRevision="eth-2"))
    assert (seen.current, seen.update_revision, seen.replicas, seen.first) == (True, "eth-2", 3, 2)
    assert not stateful_set_seen(stateful_set(observedGeneration=3, updateRevision="eth-1")).current
    assert not stateful_set_seen(stateful_set()).current


def test_revisions_of_the_stateful_set_hold_plain_templates_oldest_first() -> None:
    owner = [{"uid": "sts", "controller": True}]
    template = {"$patch": "replace", "spec": {"containers": []}}
    rows = [("eth-new", 2, owner), ("eth-old", 1, owner), ("other", 3, [{"uid": "another", "controller": True}])]
    raw = [
        {
            "metadata": {"name": name, "ownerReferences": by},
            "revision": number,
            "data": {"spec": {"template": template}},
        }
        for name, number, by in rows
    ]
    found = revisions_seen(raw, "sts")
    assert [(revision.name, revision.number) for revision in found] == [("eth-old", 1), ("eth-new", 2)]
    assert found[0].template == {"spec": {"containers": []}}


def test_an_object_is_owned_by_the_resource_that_controls_it() -> None:
    def owned_by(**owner: Any) -> bool:
        return is_owned({"metadata": {"ownerReferences": [owner]}}, "ours")

    assert owned_by(uid="ours", controller=True)
    assert not owned_by(uid="ours")
    assert not owned_by(uid="another", controller=True)
    assert not is_owned({"metadata": {}}, "ours")


def identity(**data: bytes) -> dict[str, Any]:
    encoded = {key.replace("_", "-"): base64.b64encode(value).decode() for key, value in data.items()}
    metadata = {"name": "eth-identity", "namespace": "trading", "uid": "u", "resourceVersion": "3"}
    return {"metadata": metadata, "data": encoded}


def test_the_identity_is_read_whole_or_not_at_all() -> None:
    seen = identity_seen(identity(key=b"secret", initial_size=b"3", incarnation=b"00ff\n"))
    assert seen == Identity("u", "3", b"secret", 3, "00ff")
    assert identity_seen(identity(key=b"secret", initial_size=b"3")).incarnation == ""


def test_no_message_or_dump_shows_what_a_secret_holds() -> None:
    """Mixed up by hand, the group key stands where the size belongs."""
    with pytest.raises(Unreadable) as error:
        identity_seen(identity(key=b"3", initial_size=KEY))
    shown = [str(error.value), "".join(traceback.format_exception(error.value))]
    shown += [repr(identity_seen(identity(key=KEY, initial_size=b"3")))]
    shown += [repr(secret_seen(identity(key=KEY), ours=True))]
    shown += [repr(CreateSecret("eth-identity", {"key": KEY}, owned=False))]
    shown += [repr(ReplaceSecret("eth-identity", {"key": KEY}, "u", "3", owned=False))]
    assert not [text for text in shown if KEY.decode() in text]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ({"initial_size": b"3"}, "Secret trading/eth-identity has no key 'key'"),
        ({"key": b"secret"}, "Secret trading/eth-identity has no key 'initial-size'"),
        (
            {"key": b"secret", "initial_size": b"three"},
            "does not hold what the operator wrote there: key, initial-size",
        ),
        ({"key": b"", "initial_size": b"3"}, "an empty group key"),
        ({"key": b"secret", "initial_size": b"0"}, "an initial size below 1"),
        ({"key": b"secret", "initial_size": b"3", "incarnation": b"\xff"}, "does not hold"),
    ],
)
def test_a_damaged_identity_is_named_and_still_can_be_deleted(data: dict[str, bytes], problem: str) -> None:
    with pytest.raises(Unreadable, match=problem):
        identity_seen(identity(**data))
    assert identity_seen(identity(**data), whole=False).uid == "u"
