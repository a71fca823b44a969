"""The client of the API server: what each answer becomes, over real HTTP with the real library."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from orderbook_operator import cluster as c
from orderbook_operator.cluster import (
    AlreadyExists,
    Cluster,
    ClusterError,
    Conflict,
    NotFound,
    Refused,
    Throttled,
    Unreachable,
)
from orderbook_operator.observation import ObjectKey
from unit.operator import api_server
from unit.operator.api_server import ApiServer, Faults

NAMESPACE = "trading"
ACCOUNT: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "ServiceAccount",
    "metadata": {"name": "eth", "namespace": NAMESPACE},
}


class Counts:
    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

    def __call__(self, verb: str, result: str) -> None:
        assert verb in c.VERBS
        assert result in c.RESULTS
        self.seen.append((verb, result))


@pytest_asyncio.fixture
async def server() -> AsyncIterator[ApiServer]:
    async with api_server.running() as running:
        yield running


@pytest.fixture
def counts() -> Counts:
    return Counts()


@pytest_asyncio.fixture
async def cluster(server: ApiServer, counts: Counts) -> AsyncIterator[Cluster]:
    async with api_server.client(server, "operator", on_request=counts) as opened:
        yield opened


async def test_an_object_is_read_by_name_and_one_that_is_not_there_is_none(
    server: ApiServer, cluster: Cluster, counts: Counts
) -> None:
    stored = server.put(ACCOUNT, "serviceaccounts")
    assert await cluster.get(c.SERVICE_ACCOUNT, NAMESPACE, "eth") == stored
    assert await cluster.get(c.SERVICE_ACCOUNT, NAMESPACE, "btc") is None
    assert counts.seen == [("get", "ok"), ("get", "not_found")]


async def test_a_list_holds_what_has_the_labels_whole_and_from_all_pages(
    server: ApiServer, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(c, "PAGE", 2)
    for ordinal in range(5):
        metadata = {"name": f"eth-{ordinal}", "namespace": NAMESPACE, "labels": {"orderbook.dev/group": "eth"}}
        server.put({"apiVersion": "v1", "kind": "Pod", "metadata": metadata}, "pods")
    server.put({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "other", "namespace": NAMESPACE}}, "pods")
    found = await cluster.select(c.POD, NAMESPACE, {"orderbook.dev/group": "eth"})
    assert [pod["metadata"]["name"] for pod in found] == [f"eth-{ordinal}" for ordinal in range(5)]
    assert {(pod["apiVersion"], pod["kind"]) for pod in found} == {("v1", "Pod")}
    assert len([request for request in server.requests if request[0] == "GET"]) == 3


async def test_a_create_takes_nothing_over(server: ApiServer, cluster: Cluster) -> None:
    created = await cluster.create(ACCOUNT, NAMESPACE)
    assert created["metadata"]["uid"]
    with pytest.raises(AlreadyExists, match="already exists"):
        await cluster.create(ACCOUNT, NAMESPACE)


async def test_an_apply_to_another_object_than_the_one_that_was_seen_is_a_conflict(
    server: ApiServer, cluster: Cluster
) -> None:
    server.put(ACCOUNT, "serviceaccounts")
    stale = {**ACCOUNT, "metadata": {**ACCOUNT["metadata"], "uid": "another"}}
    with pytest.raises(Conflict):
        await cluster.apply(stale, NAMESPACE)
    gone = {**ACCOUNT, "metadata": {"name": "gone", "namespace": NAMESPACE, "uid": "another"}}
    with pytest.raises(Conflict):
        await cluster.apply(gone, NAMESPACE)


async def test_a_replace_of_an_older_version_is_a_conflict(server: ApiServer, cluster: Cluster) -> None:
    stored = server.put(ACCOUNT, "serviceaccounts")
    stale = {**stored, "metadata": {**stored["metadata"], "resourceVersion": "1"}}
    with pytest.raises(Conflict):
        await cluster.replace(stale, NAMESPACE)
    await cluster.replace(stored, NAMESPACE)


async def test_a_delete_is_of_exactly_the_object_that_was_seen(server: ApiServer, cluster: Cluster) -> None:
    stored = server.put(ACCOUNT, "serviceaccounts")
    key = c.SERVICE_ACCOUNT.key("eth")
    uid, version = stored["metadata"]["uid"], stored["metadata"]["resourceVersion"]
    with pytest.raises(Conflict):
        await cluster.delete(key, NAMESPACE, "another")
    with pytest.raises(Conflict):
        await cluster.delete(key, NAMESPACE, uid, "1")
    await cluster.delete(key, NAMESPACE, uid, version)
    assert await cluster.get(c.SERVICE_ACCOUNT, NAMESPACE, "eth") is None
    await cluster.delete(key, NAMESPACE, uid)  # gone already is what was wanted


async def test_an_eviction_tells_a_wrong_pod_from_a_budget_that_is_used_up(server: ApiServer, cluster: Cluster) -> None:
    metadata: dict[str, Any] = {"name": "eth-0", "namespace": NAMESPACE, "annotations": {"test/budget": "used up"}}
    pod = server.put({"apiVersion": "v1", "kind": "Pod", "metadata": metadata}, "pods")
    with pytest.raises(Conflict):
        await cluster.evict(NAMESPACE, "eth-0", "another")
    with pytest.raises(Throttled, match="disruption budget"):
        await cluster.evict(NAMESPACE, "eth-0", pod["metadata"]["uid"])
    pod["metadata"]["annotations"].clear()
    await cluster.evict(NAMESPACE, "eth-0", pod["metadata"]["uid"])
    await cluster.evict(NAMESPACE, "eth-0", pod["metadata"]["uid"])


@pytest.mark.parametrize(
    ("status", "reason", "error"),
    [
        (400, "BadRequest", Refused),
        (401, "Unauthorized", Refused),
        (403, "Forbidden", Refused),
        (404, "NotFound", NotFound),
        (409, "AlreadyExists", AlreadyExists),
        (409, "Conflict", Conflict),
        (422, "Invalid", Refused),
        (429, "TooManyRequests", Throttled),
        (500, "InternalError", Unreachable),
        (503, "ServiceUnavailable", Unreachable),
        (504, "Timeout", Unreachable),
    ],
)
async def test_each_refusal_has_its_error_with_the_server_s_words(
    server: ApiServer, cluster: Cluster, counts: Counts, status: int, reason: str, error: type[ClusterError]
) -> None:
    server.fail("", Faults(refused=status, reason=reason))
    with pytest.raises(ClusterError, match="the test says so") as raised:
        await cluster.create(ACCOUNT, NAMESPACE)
    assert type(raised.value) is error
    assert raised.value.status == status
    assert counts.seen == [("create", error.result)]


async def test_a_server_that_does_not_answer_is_unreachable(
    server: ApiServer, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(c, "REQUEST_SECONDS", 0.05)
    faults = Faults(is_stalled=True)
    server.fail("", faults)
    with pytest.raises(Unreachable, match=r"no answer within 0\.05 s"):
        await cluster.get(c.POD, NAMESPACE, "eth-0")
    faults.stalled.set()


async def test_a_server_that_is_not_there_is_unreachable(server: ApiServer) -> None:
    elsewhere = ApiServer()
    elsewhere.url = "http://127.0.0.1:1"
    async with api_server.client(elsewhere, "operator") as cluster:
        with pytest.raises(Unreachable, match=r"get /api/v1/namespaces/trading/pods/eth-0: .*127\.0\.0\.1"):
            await cluster.get(c.POD, NAMESPACE, "eth-0")


def test_a_kind_that_the_operator_has_no_business_with_is_named() -> None:
    with pytest.raises(ValueError, match="v1 ConfigMap is none of the operator's kinds"):
        c.kind_of(ObjectKey("v1", "ConfigMap", "eth"))
