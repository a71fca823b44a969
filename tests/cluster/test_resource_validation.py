"""The API server refuses a wrong ``OrderBookGroup`` with a sentence that says what is allowed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml
from kubernetes.aio.client import ApiClient, ApiException

from cluster.api import Groups, sentence
from cluster.conftest import Kubectl
from orderbook_operator.resource import Condition, MemberStatus, OrderBookGroup, Status
from unit.operator.refusals import BTC, ETH, LEGAL, REPLICAS, Bound, Refusal, bounds, merged, refusals

SAMPLES = Path(__file__).parents[2] / "k8s"


@pytest_asyncio.fixture
async def groups(api: ApiClient, definition: None, namespace: str) -> Groups:
    return Groups(api, namespace)


@pytest_asyncio.fixture
async def judge(api: ApiClient, definition: None) -> Groups:
    """For dry runs only, which leave nothing behind: so a namespace that is there anyway will do."""
    return Groups(api, "default")


@pytest.mark.parametrize("refusal", [r for r in refusals() if not r.is_change], ids=lambda refusal: refusal.name)
async def test_a_wrong_spec_is_refused_when_created(judge: Groups, refusal: Refusal) -> None:
    with pytest.raises(ApiException) as refused:
        await judge.create("eth", refusal.spec, dry_run=True)
    assert refused.value.status == 422
    assert refusal.says in sentence(refused.value)
    assert "evaluating rule" not in sentence(refused.value), "a rule failed where another one has said what is wrong"


@pytest.mark.parametrize("refusal", [r for r in refusals() if r.is_change], ids=lambda refusal: refusal.name)
async def test_a_wrong_change_is_refused(groups: Groups, refusal: Refusal) -> None:
    created = await groups.create("eth", LEGAL)
    with pytest.raises(ApiException) as refused:
        await groups.change("eth", refusal.change)
    assert refused.value.status == 422
    assert refusal.says in sentence(refused.value)
    assert (await groups.get("eth"))["spec"] == created["spec"]


@pytest.mark.parametrize("bound", tuple(bounds()), ids=lambda bound: bound.name)
async def test_a_value_out_of_bounds_is_refused_by_name(judge: Groups, bound: Bound) -> None:
    with pytest.raises(ApiException) as refused:
        await judge.create("eth", merged(LEGAL, bound.change), dry_run=True)
    assert refused.value.status in (400, 422)
    assert bound.api_says in sentence(refused.value)


@pytest.mark.parametrize(
    "change",
    [
        {"replicas": 7},
        {"pairs": [ETH, BTC, {**ETH, "base": "SOL"}]},
        {"pairs": [BTC, ETH]},
        {"pairs": [{**ETH, "limits": {"maxQuantity": 10, "minPrice": 5, "maxPrice": 5}}, BTC]},
        {"storage": {"size": "8Gi"}},
        {"storage": {"size": 4 << 30}},
        {"storage": {"retention": "Delete"}},
        {"raft": {"heartbeat": "20ms", "electionTimeout": "100ms", "snapshotEvery": 10}},
        {"auth": {"mode": "none"}},
        {"tls": {"secret": "mine"}},
        {"networkPolicy": {"clientsFrom": []}},
        {
            "networkPolicy": {
                "metricsFrom": [{"ipBlock": {"cidr": "10.0.0.9/8", "except": ["10.1.0.0/16", "10.128.9.9/9"]}}]
            }
        },
        {"networkPolicy": {"metricsFrom": [{"ipBlock": {"cidr": "2001:db8::/32", "except": ["2001:db8:1::/48"]}}]}},
        {"service": {"type": "NodePort", "nodePort": 31000}, "networkPolicy": {"enabled": False}},
        {"resources": {"limits": {"memory": "512Mi"}}},
        {"scheduling": {"topologySpread": []}},
        {
            "pod": {
                "labels": {"team": "", "example.com/cost-centre": "a_b.c-1"},
                "annotations": {"a": "any words"},
            }
        },
        {"paused": True},
    ],
    ids=str,
)
async def test_what_may_change_may_be_changed(groups: Groups, change: dict[str, Any]) -> None:
    await groups.create("eth", LEGAL)
    changed = await groups.change("eth", change)
    assert (
        OrderBookGroup.from_object(changed, strict=True).spec
        == OrderBookGroup.from_object({**changed, "spec": merged(LEGAL, change)}, strict=True).spec
    )


@pytest.mark.parametrize("name", ["e" * 41, "1eth", "eth.usdc"])
async def test_a_name_that_pods_can_not_take_is_refused(judge: Groups, name: str) -> None:
    with pytest.raises(ApiException) as refused:
        await judge.create(name, LEGAL, dry_run=True)
    assert "metadata.name must be at most 40 lower-case letters, digits and '-'" in sentence(refused.value)


@pytest.mark.parametrize("name", ["e", "e" * 40, "eth-usdc-2"])
async def test_a_name_that_pods_can_take_is_taken(judge: Groups, name: str) -> None:
    assert (await judge.create(name, LEGAL, dry_run=True))["metadata"]["name"] == name


@pytest.mark.parametrize("sample", ["orderbook.yaml", "orderbook-full.yaml"])
async def test_a_sample_is_read_back_as_it_was_written(groups: Groups, sample: str) -> None:
    """So the defaults of API server and models are the same, and no field is lost on the way."""
    raw = yaml.safe_load((SAMPLES / sample).read_text())
    await groups.create(raw["metadata"]["name"], raw["spec"])
    stored = await groups.get(raw["metadata"]["name"])
    read = OrderBookGroup.from_object(stored, strict=True)
    raw["metadata"]["namespace"] = read.namespace
    assert read.spec == OrderBookGroup.from_object(raw, strict=True).spec
    assert read.metadata.generation == 1
    assert read.status == Status()


async def test_a_group_scales_to_odd_numbers_only(groups: Groups) -> None:
    await groups.create("eth", LEGAL)
    with pytest.raises(ApiException) as refused:
        await groups.scale("eth", 4)
    assert REPLICAS in sentence(refused.value)
    await groups.scale("eth", 5)
    assert (await groups.get("eth"))["spec"]["replicas"] == 5


async def test_a_status_is_stored_whole_and_what_is_absent_goes(groups: Groups) -> None:
    status = Status(
        observed_generation=1,
        phase="Ready",
        conditions=(
            Condition(
                type="Quorate",
                status="True",
                reason="MajorityUp",
                message="3 of 3 voters are up.",
                last_transition_time="2026-01-01T00:00:00Z",
                observed_generation=1,
            ),
        ),
        leader="eth-0",
        term=4,
        members=tuple(
            MemberStatus(name="eth-0", id=id, role="voter", lag="none", version="0.1.0", zone="a")
            for id in ("9223372036854775807", "18446744073709551615")
        ),
        ready="3/3",
        replicas=3,
        selector="orderbook.dev/group=eth",
        pairs=2,
        version=1,
        incarnation="0123456789abcdef" * 2,
        failed_template="f" * 64,
    )
    await groups.create("eth", LEGAL)
    await groups.set_status("eth", status.to_dict())
    stored = await groups.get("eth")
    assert OrderBookGroup.from_object(stored, strict=True).status == status
    assert stored["metadata"]["generation"] == 1
    lost = Status(phase="Unavailable", replicas=3)
    await groups.set_status("eth", lost.to_dict())
    assert OrderBookGroup.from_object(await groups.get("eth"), strict=True).status == lost


def test_kubectl_shows_explains_and_scales(definition: None, kubectl: Kubectl) -> None:
    sample = yaml.safe_load((SAMPLES / "orderbook.yaml").read_text())
    assert "created" in kubectl("apply", "--filename", "-", input=sample)
    quorate = {"type": "Quorate", "status": "True", "reason": "Up", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    status = {"ready": "2/3", "leader": "eth-1", "pairs": 2, "version": 1, "conditions": [quorate]}
    kubectl("patch", "obg/eth", "--subresource=status", "--type=merge", "--patch", json.dumps({"status": status}))
    header, row = (line.split() for line in kubectl("get", "obg").splitlines())
    assert header == ["NAME", "READY", "QUORATE", "LEADER", "PAIRS", "VERSION", "AGE"]
    assert row[:-1] == ["eth", "2/3", "True", "eth-1", "2", "1"]
    assert kubectl("get", "orderbook", "--output=name").split() == ["orderbookgroup.orderbook.dev/eth"]
    assert REPLICAS in kubectl("scale", "obg/eth", "--replicas=2", fails=True)
    explained = kubectl("explain", "obg.spec.raft.electionTimeout")
    assert "campaigns" in explained and "<string>" in explained
