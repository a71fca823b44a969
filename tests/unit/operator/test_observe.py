"""One look at one group: objects by label and by name, nodes by their own words, over real HTTP."""

from __future__ import annotations

import base64
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from orderbook.server.runtime import AsyncioRuntime
from orderbook_operator import names
from orderbook_operator.cluster import STATEFUL_SET, Cluster, Kind, Unreachable
from orderbook_operator.nodes import open_nodes
from orderbook_operator.observation import Member, ObjectKey, SecretSeen
from orderbook_operator.observe import KNOWN_SECONDS, Observer, Surroundings
from orderbook_operator.seen import Unreadable
from unit.operator import api_server, node_servers, resources
from unit.operator.api_server import ApiServer, Faults
from unit.operator.node_servers import NodeServer, member, status

NAMESPACE = resources.NAMESPACE
INCARNATION = "ab" * 16
OWNER = {"uid": resources.UID, "controller": True}
PLURALS = {
    "Pod": "pods",
    "Service": "services",
    "Secret": "secrets",
    "Node": "nodes",
    "PersistentVolumeClaim": "persistentvolumeclaims",
    "StatefulSet": "statefulsets",
    "ControllerRevision": "controllerrevisions",
    "ServiceMonitor": "servicemonitors",
}


class World:
    """A group ``eth`` in ``trading``: its API server, and as many of its nodes as a test starts."""

    def __init__(self, server: ApiServer, parts: AsyncExitStack) -> None:
        self.server = server
        self.authority, self.trusted = node_servers.issue()
        self._parts = parts

    def put(self, kind: str, name: str, api_version: str = "v1", *, owned: bool = True, **more: Any) -> dict[str, Any]:
        metadata = {
            "name": name,
            "namespace": NAMESPACE,
            "labels": names.labels("eth"),
            **({"ownerReferences": [OWNER]} if owned else {}),
            **more.pop("metadata", {}),
        }
        if kind == "Node":
            del metadata["namespace"]
        return self.server.put({"apiVersion": api_version, "kind": kind, "metadata": metadata, **more}, PLURALS[kind])

    def put_secret(self, name: str, data: Mapping[str, bytes], *, owned: bool = True, **metadata: Any) -> None:
        encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
        self.put("Secret", name, data=encoded, owned=owned, metadata=metadata)

    def put_secrets(self) -> None:
        identity = {"key": b"secret", "initial-size": b"3", "incarnation": INCARNATION.encode()}
        self.put_secret("eth-identity", identity, owned=False)
        self.put_secret("eth-authority", self.authority.data)
        self.put_secret("eth-credentials", self.trusted.data)

    async def start_node(self, ordinal: int, **said: Any) -> NodeServer:
        """A pod whose node runs and answers."""
        node = await self._parts.enter_async_context(node_servers.running(self.trusted))
        name = f"eth-{ordinal}"
        node.documents["/v1/group"] = status(name, 10 + ordinal, incarnation=INCARNATION, **said)
        node.documents["/v1/pairs"] = {"pairs": []}
        container = {"name": "node", "state": {"running": {}}}
        self.put(
            "Pod",
            name,
            spec={"nodeName": f"node-{ordinal}", "containers": [{"name": "node"}]},
            status={"podIP": node.address, "containerStatuses": [container]},
        )
        return node


def raw_group(**spec: Any) -> dict[str, Any]:
    metadata = {"name": "eth", "namespace": NAMESPACE, "uid": resources.UID, "resourceVersion": "5"}
    return {"apiVersion": "orderbook.dev/v1alpha1", "kind": "OrderBookGroup", "metadata": metadata, "spec": spec}


@pytest_asyncio.fixture
async def parts() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest_asyncio.fixture
async def world(parts: AsyncExitStack) -> World:
    return World(await parts.enter_async_context(api_server.running()), parts)


@pytest_asyncio.fixture
async def cluster(world: World, parts: AsyncExitStack) -> Cluster:
    return await parts.enter_async_context(api_server.client(world.server, "operator"))


@pytest_asyncio.fixture
async def observer(cluster: Cluster, parts: AsyncExitStack) -> Observer:
    def failed(error: BaseException) -> None:
        raise error

    nodes = await parts.enter_async_context(open_nodes(AsyncioRuntime(failed)))
    return Observer(
        cluster, nodes, Surroundings(cluster), default_image="example/image", operator_namespace="operators"
    )


# --- objects ----------------------------------------------------------------------------------------------------------


async def test_pods_are_listed_after_the_stateful_set_was_read(
    world: World, cluster: Cluster, observer: Observer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recovery counts on it: that the others' pods are gone is seen after their StatefulSet wants them no more."""
    answered: list[str] = []
    select = cluster.select

    async def slowly(kind: Kind, *where: Any) -> Any:
        begun, found = len(answered), await select(kind, *where)
        if kind is STATEFUL_SET:
            await api_server.until(lambda: len(world.server.requests) > 5)  # whatever else is asked at once
        answered.append(f"{kind.plural} after {answered[:begun]}")
        return found

    monkeypatch.setattr(cluster, "select", slowly)
    await observer.look(raw_group())
    (pods,) = [one for one in answered if one.startswith("pods")]
    assert "statefulsets" in pods


async def test_an_empty_namespace_is_seen_as_such(observer: Observer) -> None:
    seen = (await observer.look(raw_group())).seen
    assert (seen.objects, seen.pods, seen.claims, seen.revisions, seen.stateful_set) == ({}, (), (), (), None)
    assert (seen.identity, seen.authority, seen.credentials, seen.foreign) == (None, None, None, ())
    assert (seen.group, seen.nodes) == (None, {})
    assert seen.unanswered == "there is no Secret eth-authority of ours to sign tokens with"
    assert (seen.default_image, seen.operator_namespace, seen.has_service_monitors) == (
        "example/image",
        "operators",
        False,
    )
    assert time.time() - 60 < seen.now <= time.time()


async def test_what_is_ours_is_seen_by_key(world: World, observer: Observer) -> None:
    template = {"metadata": {"annotations": {names.TEMPLATE: "t1"}}}
    made = world.put("StatefulSet", "eth", "apps/v1", spec={"replicas": 3, "template": template}, status={})
    world.put("Service", "eth-peers")
    world.put("Service", "eth-left-over")
    owner = {"ownerReferences": [{"uid": made["metadata"]["uid"], "controller": True}]}
    data = {"spec": {"template": {}}}
    world.put("ControllerRevision", "eth-1", "apps/v1", metadata=owner, data=data, revision=1)
    seen = (await observer.look(raw_group())).seen
    assert set(seen.objects) == {
        ObjectKey("apps/v1", "StatefulSet", "eth"),
        ObjectKey("v1", "Service", "eth-peers"),
        ObjectKey("v1", "Service", "eth-left-over"),
    }
    assert seen.stateful_set is not None
    assert (seen.stateful_set.uid, seen.stateful_set.template) == (made["metadata"]["uid"], "t1")
    assert [revision.name for revision in seen.revisions] == ["eth-1"]
    assert seen.foreign == ()


async def test_a_name_that_we_need_and_that_is_another_s_is_foreign(world: World, observer: Observer) -> None:
    """With our labels or without, and also if it belonged to a resource of this name before."""
    world.put("Service", "eth-peers", metadata={"labels": {}}, owned=False)
    before = {"ownerReferences": [{"uid": "the one before", "controller": True}]}
    world.put("StatefulSet", "eth", "apps/v1", metadata=before, spec={"template": {"metadata": {}}})
    world.put_secret("eth-identity", {"key": b"theirs"}, owned=False, labels={})
    world.put_secret("eth-authority", {}, **before)
    seen = (await observer.look(raw_group())).seen
    assert seen.foreign == (
        ObjectKey("apps/v1", "StatefulSet", "eth"),
        ObjectKey("v1", "Secret", "eth-authority"),
        ObjectKey("v1", "Secret", "eth-identity"),
        ObjectKey("v1", "Service", "eth-peers"),
    )
    assert seen.stateful_set is None
    assert seen.identity is None
    assert seen.authority is not None
    assert not seen.authority.ours
    assert ObjectKey("v1", "Service", "eth-peers") in seen.objects


async def test_what_only_carries_our_label_is_none_of_our_business(world: World, observer: Observer) -> None:
    world.put("Service", "dashboards", owned=False)
    seen = (await observer.look(raw_group())).seen
    assert not seen.objects


async def test_secrets_are_asked_for_by_name_alone(world: World, observer: Observer) -> None:
    world.put_secrets()
    await observer.look(raw_group())
    asked = [path for _, path, _ in world.server.requests if "/secrets" in path]
    front = f"/api/v1/namespaces/{NAMESPACE}/secrets"
    assert sorted(asked) == [f"{front}/eth-authority", f"{front}/eth-credentials", f"{front}/eth-identity"]


async def test_a_damaged_identity_ends_the_look_unless_the_group_is_to_go(world: World, observer: Observer) -> None:
    world.put_secret("eth-identity", {"key": b"secret"}, owned=False)
    with pytest.raises(Unreadable, match="Secret trading/eth-identity has no key 'initial-size'"):
        await observer.look(raw_group())
    going = raw_group()
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert (await observer.look(going)).seen.identity is not None


async def test_without_the_api_server_there_is_no_look(world: World, observer: Observer) -> None:
    world.server.fail("", Faults(refused=503))
    with pytest.raises(Unreachable):
        await observer.look(raw_group())


# --- surroundings -----------------------------------------------------------------------------------------------------


async def test_nodes_of_the_cluster_are_known_for_a_while_and_one_that_is_gone_is_told(
    world: World, cluster: Cluster
) -> None:
    now = [0.0]
    around = Surroundings(cluster, clock=lambda: now[0])
    world.put("Node", "node-1")
    known = await around.nodes({"node-1", "node-2"})
    assert known["node-1"] is not None
    assert known["node-2"] is None
    del world.server.objects["/api/v1/nodes/node-1"]
    assert (await around.nodes({"node-1"}))["node-1"] is not None
    now[0] = KNOWN_SECONDS + 1
    assert await around.nodes({"node-1"}) == {"node-1": None}


async def test_an_operator_that_may_not_read_nodes_goes_on_without(world: World, cluster: Cluster) -> None:
    world.server.fail("", Faults(refused=403, reason="Forbidden"))
    around = Surroundings(cluster)
    assert await around.nodes({"node-1"}) == {}
    asked = len(world.server.requests)
    assert await around.nodes({"node-1", "node-2"}) == {}
    assert len(world.server.requests) == asked
    assert await Surroundings(cluster, may_read_nodes=False).nodes({"node-1"}) == {}
    assert len(world.server.requests) == asked


async def test_service_monitors_are_looked_for_where_their_kind_is_known(
    world: World, cluster: Cluster, observer: Observer
) -> None:
    resource = {"name": "servicemonitors", "kind": "ServiceMonitor"}
    world.server.objects["/apis/monitoring.coreos.com/v1"] = {"resources": [resource]}
    world.put("ServiceMonitor", "eth", "monitoring.coreos.com/v1")
    seen = (await observer.look(raw_group())).seen
    assert seen.has_service_monitors
    assert ObjectKey("monitoring.coreos.com/v1", "ServiceMonitor", "eth") in seen.objects


# --- nodes ------------------------------------------------------------------------------------------------------------


def leading(*members: dict[str, Any], **said: Any) -> dict[str, Any]:
    configuration = {"index": 12, "committed": True, "joint": False, "members": list(members)}
    return {"role": "leader", "configuration": configuration, **said}


async def test_a_group_is_seen_by_its_leader_s_answer_and_its_nodes_by_their_own(
    world: World, observer: Observer
) -> None:
    world.put_secrets()
    await world.start_node(0)
    await world.start_node(1, **leading(member("eth-0", 10), member("eth-1", 11)))
    sight = await observer.look(raw_group())
    assert set(sight.seen.nodes) == {"eth-0", "eth-1"}
    assert sight.seen.group is not None
    assert sight.seen.group.leader == Member("eth-1", 11)
    assert sight.seen.unanswered == ""
    assert set(sight.addresses) == {"eth-0", "eth-1"}


async def test_a_node_that_does_not_answer_costs_only_its_own_word(world: World, observer: Observer) -> None:
    world.put_secrets()
    broken = await world.start_node(0)
    broken.statuses["/v1/group"] = 500
    await world.start_node(1, **leading(member("eth-1", 11)))
    seen = (await observer.look(raw_group())).seen
    assert set(seen.nodes) == {"eth-1"}
    assert seen.group is not None


async def test_a_leader_without_a_quorum_is_no_leader(world: World, observer: Observer) -> None:
    """Weakly it believes that it leads; strongly it has no answer."""
    world.put_secrets()
    lonely = await world.start_node(0, **leading(member("eth-0", 10)))
    lonely.documents["/v1/group"]["role"] = "leader"
    lonely.statuses["/v1/pairs"] = 503
    seen = (await observer.look(raw_group())).seen
    assert set(seen.nodes) == {"eth-0"}
    assert seen.group is None
    assert seen.unanswered.startswith("eth-0 believes that it leads, and gives no confirmed answer")


async def test_of_two_who_believe_that_they_lead_the_later_term_is_asked_first(
    world: World, observer: Observer
) -> None:
    world.put_secrets()
    old = await world.start_node(0, **leading(member("eth-0", 10), term=3))
    new = await world.start_node(1, **leading(member("eth-1", 11), term=4))
    group = (await observer.look(raw_group())).seen.group
    assert group is not None
    assert group.leader.name == "eth-1"
    new.statuses["/v1/pairs"] = 503
    group = (await observer.look(raw_group())).seen.group
    assert group is not None
    assert group.leader.name == "eth-0"
    assert old.requests


async def test_nobody_leads_and_why_nodes_do_not_answer(world: World, observer: Observer) -> None:
    world.put_secrets()
    await world.start_node(0)
    broken = await world.start_node(1)
    broken.statuses["/v1/group"] = 500
    seen = (await observer.look(raw_group())).seen
    assert seen.group is None
    assert seen.unanswered == "no node leads; eth-1: the test says so"


async def test_pods_that_do_not_run_are_not_asked(world: World, observer: Observer) -> None:
    world.put_secrets()
    world.put("Pod", "eth-0", spec={"containers": [{"name": "node"}]}, status={"podIP": "127.0.0.1"})
    seen = (await observer.look(raw_group())).seen
    assert seen.unanswered == "no node runs"


# --- at rest ----------------------------------------------------------------------------------------------------------


async def test_at_rest_one_strong_read_of_the_leader_is_all(world: World, observer: Observer) -> None:
    world.put_secrets()
    leader = await world.start_node(0, **leading(member("eth-0", 10)))
    follower = await world.start_node(1)
    sight = await observer.look(raw_group())
    for asked in (world.server.requests, leader.requests, follower.requests):
        asked.clear()
    leader.documents["/v1/group"]["term"] = 9
    again = await observer.look_again(sight)
    assert again is not None
    assert again.seen.group is not None
    assert again.seen.group.term == 9
    assert again.seen.now >= sight.seen.now
    assert [(path, query) for _, path, query, _ in leader.requests] == [("/v1/group", {"consistency": "strong"})]
    assert not world.server.requests
    assert not follower.requests


@pytest.mark.parametrize("code", [503, 401, 500])
async def test_a_leader_that_is_none_any_more_asks_for_a_whole_look(
    world: World, observer: Observer, code: int
) -> None:
    world.put_secrets()
    leader = await world.start_node(0, **leading(member("eth-0", 10)))
    sight = await observer.look(raw_group())
    leader.statuses["/v1/group"] = code
    assert await observer.look_again(sight) is None
    leader.statuses.clear()
    leader.documents["/v1/group"]["role"] = "follower"
    assert await observer.look_again(sight) is None
    assert await observer.look_again(replace(sight, seen=replace(sight.seen, group=None))) is None
    assert await observer.look_again(replace(sight, seen=replace(sight.seen, authority=None))) is None
    assert isinstance(sight.seen.authority, SecretSeen)
