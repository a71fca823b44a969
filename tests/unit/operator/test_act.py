"""One action -> the API server or a node, each with what makes it safe; and what its end is called."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from orderbook.client.api import ApiRefused
from orderbook.groups.errors import Unavailable, Uncertain
from orderbook_operator import actions as a
from orderbook_operator import names
from orderbook_operator.act import EXIT_FAILPOINT, FAILPOINTS, Actor, Outcome, failpoint
from orderbook_operator.cluster import SERVICE, Cluster, Unreachable
from orderbook_operator.nodes import Door
from orderbook_operator.observation import GroupSeen, Member, ObjectKey, Observation, PairSeen, PodSeen
from orderbook_operator.observe import Sight
from unit.operator import api_server, resources
from unit.operator.api_server import ApiServer, Faults

NAMESPACE = resources.NAMESPACE
CORE = f"/api/v1/namespaces/{NAMESPACE}"
MEMBER = Member("eth-0", 7)
PAIR = PairSeen("ETH", "USDC", "0.01", "0.001", (("max_quantity", 5),))


class NodesTold:
    """Stands where the nodes are: notes what it is asked, and answers as it is told."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.answer: Exception | None = None

    def __getattr__(self, name: str) -> Any:
        async def ask(door: Door, pod: str, address: str, *rest: Any) -> None:
            self.asked.append((name, (pod, address, *rest)))
            if self.answer is not None:
                raise self.answer

        return ask


@pytest_asyncio.fixture
async def server() -> AsyncIterator[ApiServer]:
    async with api_server.running() as running:
        yield running


@pytest_asyncio.fixture
async def cluster(server: ApiServer) -> AsyncIterator[Cluster]:
    async with api_server.client(server, "operator") as opened:
        yield opened


@pytest.fixture
def nodes() -> NodesTold:
    return NodesTold()


@pytest.fixture
def actor(cluster: Cluster, nodes: NodesTold) -> Actor:
    return Actor(cluster, nodes)  # type: ignore[arg-type]  # what an Actor asks of nodes, all of it


def sight(**seen: Any) -> Sight:
    pod = PodSeen("eth-0", "uid", 0, "", "", 0.0, running=True, address="10.0.0.7")
    members = GroupSeen(MEMBER, 3, "ab", 12, True, False, ())
    observation = Observation(0.0, resources.group(), "image", pods=(pod,), group=members)
    return Sight(replace(observation, **seen), {}, None, Door("eth", NAMESPACE))


def stored(server: ApiServer, kind: str, name: str, **metadata: Any) -> dict[str, Any]:
    manifest = {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": NAMESPACE, **metadata}}
    plural = {"Pod": "pods", "PersistentVolumeClaim": "persistentvolumeclaims", "Service": "services"}[kind]
    return server.put(manifest, plural)


# --- the API server ---------------------------------------------------------------------------------------------------


async def test_the_finalizer_is_added_beside_others_and_taken_from_among_them(server: ApiServer, actor: Actor) -> None:
    raw = server.put(
        {
            "apiVersion": "orderbook.dev/v1alpha1",
            "kind": "OrderBookGroup",
            "metadata": {"name": "eth", "namespace": NAMESPACE, "finalizers": ["other/one"], "uid": resources.UID},
            "spec": {},
        },
        names.PLURAL,
    )
    path = f"/apis/orderbook.dev/v1alpha1/namespaces/{NAMESPACE}/{names.PLURAL}/eth"

    def seen() -> Sight:
        return sight(resource=resources.group().from_object(server.objects[path]))

    version = raw["metadata"]["resourceVersion"]
    assert (await actor.act(a.SetFinalizer(True, version), seen())).outcome is Outcome.DONE
    assert server.objects[path]["metadata"]["finalizers"] == ["other/one", names.FINALIZER]
    assert (await actor.act(a.SetFinalizer(False, version), seen())).outcome is Outcome.STALE
    assert server.objects[path]["metadata"]["finalizers"] == ["other/one", names.FINALIZER]
    version = server.objects[path]["metadata"]["resourceVersion"]
    assert (await actor.act(a.SetFinalizer(False, version), seen())).outcome is Outcome.DONE
    assert server.objects[path]["metadata"]["finalizers"] == ["other/one"]


SERVICE_MANIFEST = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "eth", "namespace": NAMESPACE},
    "spec": {"clusterIP": "None"},
}


async def test_a_new_object_is_created_and_its_fields_become_applied_ones(server: ApiServer, actor: Actor) -> None:
    assert (await actor.act(a.ApplyObject(SERVICE_MANIFEST), sight())).outcome is Outcome.DONE
    made = server.objects[f"{CORE}/services/eth"]
    assert made["spec"] == {"clusterIP": "None"}
    (entry,) = made["metadata"]["managedFields"]
    assert (entry["manager"], entry["operation"]) == (names.FIELD_MANAGER, "Apply")
    assert [method for method, _, _ in server.requests] == ["POST", "GET", "PATCH", "PATCH"]
    assert server.requests[-1][2]["metadata"]["uid"] == made["metadata"]["uid"]


async def test_what_took_a_name_since_we_looked_is_not_adopted(server: ApiServer, actor: Actor) -> None:
    theirs = stored(server, "Service", "eth")
    result = await actor.act(a.ApplyObject(SERVICE_MANIFEST), sight())
    assert result.outcome is Outcome.STALE
    assert server.objects[f"{CORE}/services/eth"] == theirs


async def test_an_object_that_is_another_one_by_now_is_not_applied_to(server: ApiServer, actor: Actor) -> None:
    stored(server, "Service", "eth")
    for reclaim in (False, True):
        result = await actor.act(a.ApplyObject(SERVICE_MANIFEST, "the one before", reclaim), sight())
        assert result.outcome is Outcome.STALE
    assert "spec" not in server.objects[f"{CORE}/services/eth"]


async def test_fields_of_others_are_reclaimed_before_the_apply(server: ApiServer, actor: Actor) -> None:
    entry = {"manager": "kubectl-edit", "operation": "Update", "fieldsV1": {"f:spec": {"f:type": {}}}}
    live = stored(server, "Service", "eth", managedFields=[entry])
    result = await actor.act(a.ApplyObject(SERVICE_MANIFEST, live["metadata"]["uid"], reclaim=True), sight())
    assert result.outcome is Outcome.DONE
    _, reclaim, apply = server.requests
    assert reclaim[2]["metadata"]["managedFields"][0]["fieldsV1"] == {"f:spec": {"f:type": {}}}
    assert reclaim[2]["metadata"]["resourceVersion"] == live["metadata"]["resourceVersion"]
    assert apply[2]["spec"] == {"clusterIP": "None"}


@pytest.mark.parametrize("reclaim", [False, True])
async def test_what_decides_how_many_pods_there_are_is_changed_only_as_it_was_seen(
    server: ApiServer, actor: Actor, reclaim: bool
) -> None:
    live = stored(server, "Service", "eth")["metadata"]
    late = a.ApplyObject(SERVICE_MANIFEST, live["uid"], reclaim, live["resourceVersion"])
    assert (await actor.act(late, sight())).outcome is Outcome.DONE
    server.objects[f"{CORE}/services/eth"]["spec"] = {}
    assert (await actor.act(late, sight())).outcome is Outcome.STALE
    assert server.objects[f"{CORE}/services/eth"]["spec"] == {}


async def test_a_status_that_is_reported_meanwhile_does_not_stop_a_takeover(
    server: ApiServer, cluster: Cluster, actor: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = stored(server, "Service", "eth")
    read, reports = cluster.get, [1, 2]

    async def and_then_it_changes(*where: Any) -> Any:
        found = await read(*where)
        if reports:
            reports.pop()
            stored(server, "Service", "eth")
        return found

    monkeypatch.setattr(cluster, "get", and_then_it_changes)
    takeover = a.ApplyObject(SERVICE_MANIFEST, live["metadata"]["uid"], reclaim=True)
    assert (await actor.act(takeover, sight())).outcome is Outcome.DONE
    reports += [1, 2, 3]
    assert (await actor.act(takeover, sight())).outcome is Outcome.STALE


async def test_a_secret_is_created_once_and_changed_only_as_it_was_seen(server: ApiServer, actor: Actor) -> None:
    create = a.CreateSecret("eth-identity", {"key": b"\x00secret"}, owned=False)
    assert (await actor.act(create, sight())).outcome is Outcome.DONE
    made = server.objects[f"{CORE}/secrets/eth-identity"]
    assert made["data"] == {"key": base64.b64encode(b"\x00secret").decode()}
    assert made["metadata"]["labels"] == names.labels("eth")
    assert "ownerReferences" not in made["metadata"]
    assert (await actor.act(create, sight())).outcome is Outcome.STALE
    uid, version = made["metadata"]["uid"], made["metadata"]["resourceVersion"]
    change = a.ReplaceSecret("eth-identity", {"key": b"new"}, uid, version, owned=False)
    assert (await actor.act(replace(change, uid="another"), sight())).outcome is Outcome.STALE
    assert (await actor.act(change, sight())).outcome is Outcome.DONE
    assert (await actor.act(change, sight())).outcome is Outcome.STALE
    assert server.objects[f"{CORE}/secrets/eth-identity"]["data"] == {"key": base64.b64encode(b"new").decode()}


async def test_an_owned_secret_goes_with_its_resource(server: ApiServer, actor: Actor) -> None:
    await actor.act(a.CreateSecret("eth-authority", {}, owned=True), sight())
    (owner,) = server.objects[f"{CORE}/secrets/eth-authority"]["metadata"]["ownerReferences"]
    assert (owner["uid"], owner["controller"]) == (resources.UID, True)


async def test_no_secret_is_ever_patched_applied_or_listed(server: ApiServer, actor: Actor) -> None:
    await actor.act(a.CreateSecret("eth-authority", {}, owned=True), sight())
    made = server.objects[f"{CORE}/secrets/eth-authority"]["metadata"]
    await actor.act(a.ReplaceSecret("eth-authority", {}, made["uid"], made["resourceVersion"], owned=True), sight())
    await actor.act(a.DeleteObject(ObjectKey("v1", "Secret", "eth-authority"), made["uid"], "why"), sight())
    assert [method for method, _, _ in server.requests] == ["POST", "PUT", "DELETE"]


@pytest.mark.parametrize(
    ("kind", "name", "action"),
    [
        ("Pod", "eth-0", lambda uid: a.DeletePod("eth-0", uid, "why")),
        ("Pod", "eth-0", lambda uid: a.EvictPod("eth-0", uid, "why")),
        ("PersistentVolumeClaim", "data-eth-0", lambda uid: a.DeleteClaim("data-eth-0", uid, "why")),
        ("Service", "eth", lambda uid: a.DeleteObject(SERVICE.key("eth"), uid, "why")),
    ],
)
async def test_what_is_removed_is_exactly_what_was_seen(
    server: ApiServer, actor: Actor, kind: str, name: str, action: Any
) -> None:
    live = stored(server, kind, name)
    assert (await actor.act(action("the one before"), sight())).outcome is Outcome.STALE
    assert len(server.objects) == 1
    assert (await actor.act(action(live["metadata"]["uid"]), sight())).outcome is Outcome.DONE
    assert not server.objects
    assert (await actor.act(action(live["metadata"]["uid"]), sight())).outcome is Outcome.DONE  # gone is gone


@pytest.mark.parametrize(
    ("kind", "action"),
    [
        ("Pod", lambda uid: a.DeletePod("eth-0", uid, "its container isn't running", "1")),
        ("PersistentVolumeClaim", lambda uid: a.DeleteClaim("eth-0", uid, "its member left", "1")),
    ],
)
async def test_what_has_changed_since_is_not_deleted(
    server: ApiServer, actor: Actor, kind: str, action: Callable[[str], Any]
) -> None:
    live = stored(server, kind, "eth-0")
    action = action(live["metadata"]["uid"])
    assert (await actor.act(action, sight())).outcome is Outcome.STALE
    assert (
        await actor.act(replace(action, resource_version=live["metadata"]["resourceVersion"]), sight())
    ).outcome is (Outcome.DONE)


async def test_an_eviction_that_the_budget_forbids_is_blocked_and_not_refused(server: ApiServer, actor: Actor) -> None:
    live = stored(server, "Pod", "eth-0", annotations={"test/budget": "used up"})
    result = await actor.act(a.EvictPod("eth-0", live["metadata"]["uid"], "why"), sight())
    assert result.outcome is Outcome.BLOCKED
    assert "disruption budget" in result.message


async def test_a_claim_is_labelled_grown_and_used_again(server: ApiServer, actor: Actor) -> None:
    live = stored(server, "PersistentVolumeClaim", "data-eth-3")
    uid, path = live["metadata"]["uid"], f"{CORE}/persistentvolumeclaims/data-eth-3"
    assert (await actor.act(a.LabelClaim("data-eth-3", uid, "77"), sight())).outcome is Outcome.DONE
    assert server.objects[path]["metadata"]["labels"] == {names.RETIRED: "77"}
    assert (await actor.act(a.LabelClaim("data-eth-3", uid, ""), sight())).outcome is Outcome.DONE
    assert server.objects[path]["metadata"]["labels"] == {}
    assert (await actor.act(a.GrowClaim("data-eth-3", uid, "8Gi"), sight())).outcome is Outcome.DONE
    assert server.objects[path]["spec"]["resources"]["requests"] == {"storage": "8Gi"}
    assert (await actor.act(a.GrowClaim("data-eth-3", "another", "9Gi"), sight())).outcome is Outcome.STALE


async def test_what_the_api_server_refuses_is_told_in_its_words(server: ApiServer, actor: Actor) -> None:
    server.fail("", Faults(refused=403, reason="Forbidden"))
    result = await actor.act(a.DeletePod("eth-0", "uid", "why"), sight())
    assert result.outcome is Outcome.REFUSED
    assert result.message == f"delete {CORE}/pods/eth-0: the test says so"


async def test_a_failure_that_the_api_server_answers_with_is_told_in_its_words(server: ApiServer, actor: Actor) -> None:
    """As of an eviction where somebody's budget selects the pod too, or of a webhook that is down."""
    server.fail("", Faults(refused=500, reason="InternalError"))
    result = await actor.act(a.EvictPod("eth-0", "uid", "why"), sight())
    assert result == (Outcome.FAILED, "the test says so")


async def test_an_api_server_that_is_out_of_reach_ends_the_pass(nodes: NodesTold) -> None:
    nowhere = ApiServer()
    nowhere.url = "http://127.0.0.1:1"
    async with api_server.client(nowhere, "operator") as cluster:
        actor = Actor(cluster, nodes)  # type: ignore[arg-type]
        with pytest.raises(Unreachable):
            await actor.act(a.DeletePod("eth-0", "uid", "why"), sight())


# --- the nodes --------------------------------------------------------------------------------------------------------

CHANGE = a.ChangeMembers((MEMBER,), (Member("eth-1", 8),), 12, "eth-1 is added")


@pytest.mark.parametrize(
    ("action", "asked"),
    [
        (CHANGE, ("change_members", ("eth-0", "10.0.0.7", (MEMBER,), (Member("eth-1", 8),), 12))),
        (a.TransferLeadership("eth-1", "why"), ("transfer", ("eth-0", "10.0.0.7", "eth-1"))),
        (a.DefinePair(PAIR), ("define_pair", ("eth-0", "10.0.0.7", PAIR))),
        (a.ChangePair(PAIR), ("change_pair", ("eth-0", "10.0.0.7", PAIR))),
        (a.Recover(MEMBER, "ab", 3, 99), ("recover", ("eth-0", "10.0.0.7", MEMBER, 3, 99))),
    ],
)
async def test_the_leader_or_the_survivor_is_asked(
    actor: Actor, nodes: NodesTold, action: a.Action, asked: tuple[str, Any]
) -> None:
    assert (await actor.act(action, sight())).outcome is Outcome.DONE
    assert nodes.asked == [asked]


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (ApiRefused(409, {"message": "the configuration is another one"}), Outcome.STALE),
        (ApiRefused(404, {"message": "nobody of this name"}), Outcome.STALE),
        (ApiRefused(401, {"message": "the token has expired"}), Outcome.STALE),
        (ApiRefused(422, {"message": "an even number of voters"}), Outcome.REFUSED),
        (ApiRefused(403, {"message": "the role may not do this"}), Outcome.REFUSED),
        (Unavailable("no_leader"), Outcome.BLOCKED),
        (Uncertain("no answer within 15 s"), Outcome.UNCERTAIN),
    ],
)
async def test_what_a_node_answers_has_its_outcome(
    actor: Actor, nodes: NodesTold, answer: Exception, outcome: Outcome
) -> None:
    nodes.answer = answer
    result = await actor.act(CHANGE, sight())
    assert result.outcome is outcome
    assert result.message == str(answer)


async def test_without_anybody_to_ask_the_view_was_stale(actor: Actor, nodes: NodesTold) -> None:
    assert (await actor.act(CHANGE, sight(group=None))).outcome is Outcome.STALE
    assert (await actor.act(CHANGE, sight(pods=()))).outcome is Outcome.STALE
    assert (await actor.act(a.Recover(MEMBER, "ab", 3, 99), sight(pods=()))).outcome is Outcome.STALE
    assert not nodes.asked


# --- failpoints -------------------------------------------------------------------------------------------------------

AT = {
    "after-finalizer": a.SetFinalizer(True, "1"),
    "after-identity": a.CreateSecret("eth-identity", {}, owned=False),
    "after-members-changed": CHANGE,
    "after-evict": a.EvictPod("eth-0", "uid", "why"),
}


@pytest.mark.parametrize("name", FAILPOINTS)
def test_a_failpoint_ends_the_process_after_its_action_and_no_other(name: str) -> None:
    for other, action in AT.items():
        ended: list[int] = []
        failpoint(name, ended.append)(action)
        assert ended == ([EXIT_FAILPOINT] if other == name else [])
    failpoint(name, ended.append)(a.SetFinalizer(False, "1"))
    failpoint(name, ended.append)(a.CreateSecret("eth-authority", {}, owned=True))


async def test_a_failpoint_is_reached_only_by_what_was_done(server: ApiServer, cluster: Cluster) -> None:
    ended: list[int] = []
    actor = Actor(cluster, NodesTold(), failpoint("after-evict", ended.append))  # type: ignore[arg-type]
    live = stored(server, "Pod", "eth-0")
    await actor.act(a.EvictPod("eth-0", "another", "why"), sight())
    assert not ended
    await actor.act(a.EvictPod("eth-0", live["metadata"]["uid"], "why"), sight())
    assert ended == [EXIT_FAILPOINT]


def test_an_unknown_failpoint_is_named_with_those_that_there_are() -> None:
    with pytest.raises(ValueError, match="'after-lunch' is no failpoint; there are after-finalizer, after-identity"):
        failpoint("after-lunch")
