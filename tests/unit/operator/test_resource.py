"""Reading an ``OrderBookGroup`` as the API server sends it, and what goes back to its status."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from orderbook_operator.resource import Condition, MemberStatus, OrderBookGroup, ResourceError, Status
from orderbook_operator.scalars import Duration, Quantity
from unit.operator.refusals import LEGAL

SAMPLES = Path(__file__).parents[3] / "k8s"


def group(spec: Any = LEGAL, status: dict[str, Any] | None = None, **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "orderbook.dev/v1alpha1",
        "kind": "OrderBookGroup",
        "metadata": {"name": "eth", "namespace": "trading", **metadata},
        "spec": spec,
        **({} if status is None else {"status": status}),
    }


def member(name: str, id: str) -> MemberStatus:
    return MemberStatus(name=name, id=id, role="voter", lag="none", version="0.1.0", zone="a")


FULL = Status(
    observed_generation=3,
    phase="Ready",
    conditions=(
        Condition(type="Ready", status="True", reason="Serves", last_transition_time="2026-01-01T00:00:00Z"),
        Condition(type="Paused", status="False", reason="Acts", last_transition_time="2026-01-01T00:00:00Z"),
    ),
    leader="eth-0",
    term=7,
    members=(member("eth-0", "17"), member("eth-1", "18")),
    ready="2/2",
    replicas=2,
    selector="orderbook.dev/group=eth",
    pairs=2,
    version=1,
    incarnation="0123456789abcdef" * 2,
    failed_template="8f2c",
)


def test_a_spec_that_names_only_pairs_gets_every_default() -> None:
    spec = OrderBookGroup.from_object(group({"pairs": LEGAL["pairs"]})).spec
    assert spec.replicas == 3
    assert spec.image is None
    assert [pair.name for pair in spec.pairs] == ["ETH/USDC", "BTC/USDC"]
    assert spec.storage.size == "4Gi"
    assert spec.storage.retention == "Retain"
    assert spec.auth.mode == "tokens"
    assert spec.tls.auto
    assert [spread.topology_key for spread in spec.scheduling.topology_spread] == [
        "topology.kubernetes.io/zone",
        "kubernetes.io/hostname",
    ]
    assert not spec.paused


def test_the_numbers_of_a_spec_are_at_hand() -> None:
    changed = {**LEGAL, "raft": {"heartbeat": "1s500ms", "electionTimeout": "1m"}, "storage": {"size": "1.5Gi"}}
    spec = OrderBookGroup.from_object(group(changed)).spec
    assert spec.raft.heartbeat.seconds == 1.5
    assert spec.raft.election_timeout.milliseconds == 60_000
    assert spec.storage.size.number == 1.5 * 2**30
    assert spec.pairs[0].limits.max_price == 2**53 - 1


@pytest.mark.parametrize(
    ("text", "milliseconds"), [("100ms", 100), ("1s", 1_000), ("1m30s", 90_000), ("2h", 7_200_000), ("1s1s", 2_000)]
)
def test_a_duration_is_a_sum(text: str, milliseconds: int) -> None:
    assert Duration.checked(text).milliseconds == milliseconds


@pytest.mark.parametrize("text", ["", "1", "ms", "1.5s", "1 s", "-1s", "1s ", "1234567s", "1s\n", "١s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        Duration.checked(text)


@pytest.mark.parametrize(
    ("text", "number"),
    [("1Gi", 2**30), ("1G", 10**9), (5, 5), ("500m", 0.5), ("0.5", 0.5), ("1e3", 1_000), ("1E", 10**18)],
)
def test_a_quantity_has_its_number(text: str | int, number: float) -> None:
    assert Quantity.checked(text).number == number


@pytest.mark.parametrize("text", ["", "Gi", "1gi", "1 Gi", "NaN", "Infinity", "1e", "1_000", True, 1.5, None, "1Gi\n"])
def test_what_is_no_quantity_is_refused(text: Any) -> None:
    with pytest.raises(ValueError, match="quantity"):
        Quantity.checked(text)


def test_what_another_version_of_the_crd_left_in_an_object_is_put_aside() -> None:
    raw = group({**LEGAL, "shards": 4, "raft": {"leaseFactor": 2}}, {"phase": "Ready", "shards": 4}, managedFields=[{}])
    read = OrderBookGroup.from_object(raw)
    assert read.status.phase == "Ready"
    with pytest.raises(ResourceError, match=r"spec\.shards is no field of an OrderBookGroup"):
        OrderBookGroup.from_object(raw, strict=True)


def test_what_another_version_of_the_operator_said_stops_nothing() -> None:
    said = {"phase": "Splendid", "term": 7, "conditions": [{"type": "Radiant"}], "members": "many", "leader": "eth-1"}
    read = OrderBookGroup.from_object(group(status=said))
    assert read.status == Status(term=7, leader="eth-1")
    assert OrderBookGroup.from_object({**group(), "status": "fine"}).status == Status()
    with pytest.raises(ResourceError, match=r"status\.phase = 'Splendid'"):
        OrderBookGroup.from_object(group(status=said), strict=True)


@pytest.mark.parametrize(
    ("spec", "retention"),
    [
        ({**LEGAL, "replicas": 4, "storage": {"retention": "Delete"}}, "Delete"),
        ({**LEGAL, "replicas": 4, "storage": {"retention": "Perhaps"}}, "Retain"),
        ({**LEGAL, "replicas": "many"}, "Retain"),
        ("three replicas", "Retain"),
        (None, "Retain"),
    ],
)
def test_a_spec_that_can_not_be_read_holds_up_no_deletion(spec: Any, retention: str) -> None:
    raw = group(deletionTimestamp="2026-01-02T00:00:00Z")
    read = OrderBookGroup.from_object({**raw, "spec": spec})
    assert read.is_being_deleted and read.spec.storage.retention == retention


def test_metadata_is_read_as_the_api_server_writes_it() -> None:
    read = OrderBookGroup.from_object(
        group(
            uid="5d2f",
            resourceVersion="41",
            generation=2,
            creationTimestamp="2026-01-01T00:00:00Z",
            deletionTimestamp="2026-01-02T00:00:00Z",
            annotations={"orderbook.dev/recover": "eth-0/17@00"},
            finalizers=["orderbook.dev/teardown"],
        )
    )
    assert (read.namespace, read.name, read.uid) == ("trading", "eth", "5d2f")
    assert read.metadata.generation == 2
    assert read.metadata.resource_version == "41"
    assert read.annotations == {"orderbook.dev/recover": "eth-0/17@00"}
    assert read.metadata.finalizers == ("orderbook.dev/teardown",)
    assert read.is_being_deleted
    assert not OrderBookGroup.from_object(group()).is_being_deleted


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        ({}, "OrderBookGroup (no namespace)/(no name): is None None, not orderbook.dev/v1alpha1 OrderBookGroup"),
        ({**group(), "kind": "Pod"}, "trading/eth: is orderbook.dev/v1alpha1 Pod"),
        ({**group(), "spec": None}, "trading/eth: spec is missing"),
        (group("three replicas"), "trading/eth: spec = 'three replicas'"),
        (group({**LEGAL, "replicas": "3 of them"}), "trading/eth: spec.replicas = '3 of them'"),
    ],
)
def test_what_is_no_group_is_refused_by_name(raw: dict[str, Any], says: str) -> None:
    with pytest.raises(ResourceError) as refused:
        OrderBookGroup.from_object(raw)
    assert says in str(refused.value)


def test_a_read_group_can_not_be_changed() -> None:
    read = OrderBookGroup.from_object(group())
    with pytest.raises(ValueError, match="frozen"):
        read.spec.paused = True  # type: ignore[misc]


def test_a_status_comes_back_as_it_went() -> None:
    read = OrderBookGroup.from_object(group(status=FULL.to_dict()), strict=True)
    assert read.status == FULL
    ready = read.status.condition("Ready")
    assert ready is not None and ready.status == "True"
    assert read.status.condition("Degraded") is None


def test_a_status_says_null_for_what_is_no_longer_known() -> None:
    document = Status(phase="Unavailable", replicas=3).to_dict()
    assert document["phase"] == "Unavailable"
    assert document["leader"] is None
    assert document["members"] == []
    assert document.keys() == FULL.to_dict().keys()


def test_a_status_has_nothing_but_json() -> None:
    document = FULL.to_dict()
    assert document["conditions"][0] == {
        "type": "Ready",
        "status": "True",
        "reason": "Serves",
        "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    assert document["members"][0]["id"] == "17"
    assert document["observedGeneration"] == 3
    assert document["failedTemplate"] == "8f2c"


def test_one_pod_may_stand_for_two_members_while_one_replaces_the_other() -> None:
    both = Status(members=(member("eth-1", "18"), member("eth-1", "19")))
    assert [seen["id"] for seen in both.to_dict()["members"]] == ["18", "19"]
    with pytest.raises(ValueError, match="eth-1/18 is there twice"):
        Status(members=(member("eth-1", "18"), member("eth-1", "18")))


@pytest.mark.parametrize("sample", ["orderbook.yaml", "orderbook-full.yaml"])
def test_the_samples_are_groups(sample: str) -> None:
    raw = yaml.safe_load((SAMPLES / sample).read_text())
    raw["metadata"]["namespace"] = "trading"
    assert OrderBookGroup.from_object(raw, strict=True).spec.pairs
