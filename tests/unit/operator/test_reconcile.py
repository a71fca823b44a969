"""One pass: what is planned is done in order, while the lease is held, until something isn't done; then the status."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from orderbook_operator import actions as a
from orderbook_operator import names, reconcile
from orderbook_operator.act import DONE, Outcome, Result
from orderbook_operator.cluster import Cluster, Unreachable
from orderbook_operator.events import Recorder
from orderbook_operator.metrics import Metrics, PassResult
from orderbook_operator.observation import PodSeen, StatefulSetSeen
from orderbook_operator.observe import Sight
from orderbook_operator.policy.decision import Plan, Reason, Wait
from orderbook_operator.reconcile import Reconciler, Upgrades
from orderbook_operator.resource import OrderBookGroup
from unit.operator import api_server, groups_seen, resources
from unit.operator.api_server import ApiServer, Faults

NAMESPACE = resources.NAMESPACE
KEY = (NAMESPACE, "eth")
PATH = f"/apis/orderbook.dev/v1alpha1/namespaces/{NAMESPACE}/{names.PLURAL}/eth"
FIRST = a.DeletePod("eth-1", "u1", "its container does not run")
SECOND = a.EvictPod("eth-2", "u2", "its pod was made from an older template")


class Told:
    """Stands where looking and acting are: both as a test tells."""

    def __init__(self) -> None:
        self.done: list[a.Action] = []
        self.results: list[Result | Exception] = []
        self.again: Sight | None = None
        self.lease: list[bool] = []
        self.seen: dict[str, Any] = {}

    async def look(self, raw: dict[str, Any]) -> Sight:
        observation = replace(groups_seen.at_rest(), resource=OrderBookGroup.from_object(raw))
        return Sight(replace(observation, **self.seen), raw)

    async def look_again(self, sight: Sight) -> Sight | None:
        return self.again

    async def act(self, action: a.Action, sight: Sight) -> Result:
        result = self.results.pop(0) if self.results else DONE
        if isinstance(result, Exception):
            raise result
        self.done.append(action)
        return result

    def may_act(self) -> bool:
        return self.lease.pop(0) if self.lease else True


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Plan]]:
    """What the policy says, one look after the other; nothing when the list has ended."""
    plans: list[Plan] = []
    monkeypatch.setattr(reconcile, "plan", lambda seen, draw: plans.pop(0) if plans else Plan())
    yield plans
    assert not plans


@pytest_asyncio.fixture
async def server() -> AsyncIterator[ApiServer]:
    async with api_server.running() as running:
        running.put(
            {
                "apiVersion": "orderbook.dev/v1alpha1",
                "kind": names.KIND,
                "metadata": {"name": "eth", "namespace": NAMESPACE, "uid": resources.UID, "generation": 1},
                "spec": {},
            },
            names.PLURAL,
        )
        yield running


@pytest_asyncio.fixture
async def cluster(server: ApiServer) -> AsyncIterator[Cluster]:
    async with api_server.client(server, "operator") as opened:
        yield opened


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def passes(cluster: Cluster, told: Told, metrics: Metrics) -> Reconciler:
    parts: Any = told
    return Reconciler(cluster, parts, parts, Recorder(cluster, "test"), metrics, told.may_act, resources.seeded())


def status(server: ApiServer) -> dict[str, Any]:
    found: dict[str, Any] = server.objects[PATH].get("status", {})
    return found


def condition(server: ApiServer, type: str) -> dict[str, Any]:
    return next(one for one in status(server)["conditions"] if one["type"] == type)


def events(server: ApiServer) -> set[tuple[str, str]]:
    return {(one["reason"], one["message"]) for path, one in server.objects.items() if "/events/" in path}


async def test_all_that_is_planned_is_done_in_order_and_told(
    server: ApiServer, passes: Reconciler, told: Told, planned: list[Plan], metrics: Metrics
) -> None:
    planned.append(Plan((FIRST, SECOND)))
    passed = await passes.full(KEY)
    assert passed.result is PassResult.ACTED
    assert told.done == [FIRST, SECOND]
    assert ("PodEvicted", "eth-2: its pod was made from an older template") in events(server)
    assert condition(server, "Progressing")["status"] == "True"
    labels = {"action": "EvictPod", "outcome": "done"}
    assert metrics.registry.get_sample_value("orderbook_operator_actions_total", labels) == 1


@pytest.mark.parametrize(
    ("outcome", "result"),
    [
        (Outcome.STALE, PassResult.STALE),
        (Outcome.UNCERTAIN, PassResult.STALE),
        (Outcome.BLOCKED, PassResult.WAITING),
        (Outcome.REFUSED, PassResult.REFUSED),
    ],
)
async def test_a_pass_ends_at_the_first_action_that_is_not_done(
    server: ApiServer, passes: Reconciler, told: Told, planned: list[Plan], outcome: Outcome, result: PassResult
) -> None:
    planned.append(Plan((FIRST, SECOND)))
    told.results = [Result(outcome, "for a reason")]
    passed = await passes.full(KEY)
    assert passed.result is result
    assert told.done == [FIRST]
    assert not [one for one in events(server) if one[0].startswith("Pod")]  # nothing is told as done


async def test_a_refusal_of_what_nothing_is_built_on_is_passed_over(
    told: Told, planned: list[Plan], passes: Reconciler
) -> None:
    grown = a.GrowClaim("data-eth-0", "u0", "8Gi")
    planned.append(Plan((grown, FIRST)))
    told.results = [Result(Outcome.REFUSED, "the storage class can't grow volumes"), DONE]
    assert (await passes.full(KEY)).result is PassResult.REFUSED
    assert told.done == [grown, FIRST]


async def test_a_refusal_is_a_condition_and_an_event(
    server: ApiServer, passes: Reconciler, told: Told, planned: list[Plan]
) -> None:
    planned.append(Plan((FIRST,)))
    told.results = [Result(Outcome.REFUSED, "pods is forbidden")]
    await passes.full(KEY)
    degraded = condition(server, "Degraded")
    assert (degraded["status"], degraded["reason"]) == ("True", "ActionRefused")
    assert degraded["message"] == "DeletePod eth-1 its container does not run: pods is forbidden"
    assert ("DeletePodRefused", "pods is forbidden") in events(server)


async def test_what_is_blocked_is_no_rest(
    server: ApiServer, passes: Reconciler, told: Told, planned: list[Plan]
) -> None:
    planned.append(Plan((SECOND,)))
    told.results = [Result(Outcome.BLOCKED, "Cannot evict pod")]
    await passes.full(KEY)
    progressing = condition(server, "Progressing")
    assert (progressing["status"], progressing["reason"]) == ("True", "ActionBlocked")


async def test_a_failure_that_lasts_is_said_on_the_group(
    server: ApiServer, passes: Reconciler, told: Told, planned: list[Plan]
) -> None:
    planned.append(Plan((SECOND,)))
    told.results = [Result(Outcome.FAILED, "This pod has more than one PodDisruptionBudget")]
    assert (await passes.full(KEY)).result is PassResult.FAILED
    progressing = condition(server, "Progressing")
    assert (progressing["status"], progressing["reason"]) == ("True", "ActionBlocked")
    assert "more than one PodDisruptionBudget" in progressing["message"]


async def test_the_lease_is_asked_before_each_action(
    server: ApiServer, passes: Reconciler, told: Told, planned: list[Plan]
) -> None:
    planned.append(Plan((FIRST, SECOND)))
    told.lease = [True, False]
    passed = await passes.full(KEY)
    assert passed.result is PassResult.STOPPED
    assert told.done == [FIRST]
    assert status(server) == {}
    assert not events(server)


async def test_without_the_lease_no_status_is_written(
    server: ApiServer, passes: Reconciler, told: Told, planned: list[Plan]
) -> None:
    planned.append(Plan((FIRST,)))
    told.lease = [True, False]
    await passes.full(KEY)
    assert told.done == [FIRST]
    assert status(server) == {}


async def test_an_api_server_that_is_out_of_reach_ends_the_pass(
    server: ApiServer, passes: Reconciler, told: Told, planned: list[Plan]
) -> None:
    planned.append(Plan((FIRST, SECOND)))
    told.results = [Unreachable("delete", "no answer")]
    with pytest.raises(Unreachable):
        await passes.full(KEY)
    assert not told.done


async def test_what_was_done_is_told_though_the_next_request_got_no_answer(
    server: ApiServer, passes: Reconciler, told: Told, planned: list[Plan]
) -> None:
    planned.append(Plan((FIRST, SECOND)))
    told.results = [DONE, Unreachable("evict", "no answer")]
    with pytest.raises(Unreachable, match="evict"):
        await passes.full(KEY)
    assert told.done == [FIRST]
    assert "PodDeleted" in {reason for reason, _ in events(server)}
    planned.append(Plan((FIRST, SECOND)))
    told.results = [DONE, Unreachable("evict", "no answer")]
    sight = await told.look(server.objects[PATH])
    server.fail("", Faults(refused=503))  # nothing can be told; what went wrong first stays what the pass ends with
    with pytest.raises(Unreachable, match="evict"):
        await passes._carry_out(KEY, sight)


async def test_a_status_is_written_once_and_again_only_when_it_changed(
    server: ApiServer, passes: Reconciler, told: Told, planned: list[Plan]
) -> None:
    assert (await passes.full(KEY)).result is PassResult.CONVERGED
    assert status(server)["ready"] == "3/3"
    server.requests.clear()
    assert (await passes.full(KEY)).result is PassResult.CONVERGED
    assert [method for method, _, _ in server.requests] == ["GET"]
    planned.append(Plan(waits=(Wait(Reason.FORMING, "eth-0: sees 1 member"),)))
    assert (await passes.full(KEY)).result is PassResult.WAITING
    assert condition(server, "Progressing")["message"] == "eth-0: sees 1 member"


async def test_what_the_status_says_no_more_is_taken_out(server: ApiServer, passes: Reconciler, told: Told) -> None:
    told.seen = {"group": None}
    server.objects[PATH]["status"] = {"leader": "eth-7", "fromAnotherVersion": True}
    await passes.full(KEY)
    assert "leader" not in status(server)
    assert "fromAnotherVersion" not in status(server)


async def test_a_resource_that_is_gone_is_gone(server: ApiServer, passes: Reconciler) -> None:
    del server.objects[PATH]
    assert (await passes.full(KEY)).result is PassResult.GONE


async def test_a_resource_that_goes_with_its_finalizer_gets_no_status(
    server: ApiServer, passes: Reconciler, told: Told, planned: list[Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    planned.append(Plan((a.SetFinalizer(False, "1"),)))
    act = told.act

    async def and_it_is_gone(action: a.Action, sight: Sight) -> Result:
        del server.objects[PATH]
        return await act(action, sight)

    monkeypatch.setattr(told, "act", and_it_is_gone)
    assert (await passes.full(KEY)).result is PassResult.ACTED


async def test_why_a_group_can_not_be_read_is_said_on_it(server: ApiServer, passes: Reconciler) -> None:
    await passes.unreadable(KEY, "Secret trading/eth-identity has no key 'key'")
    assert events(server) == {("Unreadable", "Secret trading/eth-identity has no key 'key'")}
    server.fail("", Faults(refused=503))
    await passes.unreadable(KEY, "again")  # that it can't be said is no failure of its own


# --- at rest ----------------------------------------------------------------------------------------------------------


async def test_at_rest_nothing_is_asked_of_the_api_server(
    server: ApiServer, passes: Reconciler, told: Told, planned: list[Plan]
) -> None:
    await passes.full(KEY)
    sight = (await passes.full(KEY)).sight
    assert sight is not None
    told.again = sight
    server.requests.clear()
    passed = await passes.quick(KEY, sight)
    assert passed.result is PassResult.CONVERGED
    assert not server.requests


async def test_a_group_with_a_member_that_is_down_is_not_at_rest(
    passes: Reconciler, told: Told, planned: list[Plan]
) -> None:
    """Nothing can be done, and nobody tells of a cluster node that is lost: it has to be looked at again."""
    down = groups_seen.down(1)(groups_seen.at_rest())
    told.seen = {"pods": down.pods, "group": down.group}
    await passes.full(KEY)
    assert (await passes.full(KEY)).result is PassResult.WAITING


@pytest.mark.parametrize("found", ["a plan", "another status", "no leader"])
async def test_anything_but_rest_is_looked_at_whole(
    server: ApiServer, passes: Reconciler, told: Told, planned: list[Plan], found: str
) -> None:
    await passes.full(KEY)
    sight = (await passes.full(KEY)).sight
    assert sight is not None
    told.again = sight
    if found == "a plan":
        planned += [Plan((FIRST,)), Plan((SECOND,))]
    elif found == "another status":
        told.again = replace(sight, raw={**sight.raw, "status": {}})
    else:
        told.again = None
    server.requests.clear()
    await passes.quick(KEY, sight)
    assert server.requests[0][:2] == ("GET", PATH)
    assert told.done == ([SECOND] if found == "a plan" else [])  # what an old look planned is not done


# --- one upgrade at a time --------------------------------------------------------------------------------------------


def test_one_group_rolls_for_an_upgrade_of_the_operator() -> None:
    upgrades, other = Upgrades(), (NAMESPACE, "btc")
    assert upgrades.may(KEY)
    upgrades.note(KEY, rolling=True)
    assert upgrades.may(KEY)
    assert not upgrades.may(other)
    upgrades.note(other, rolling=True)  # its spec changed, which waits for nobody
    upgrades.note(other, rolling=False)
    assert not upgrades.may(other)
    upgrades.note(KEY, rolling=False)
    assert upgrades.may(other)


def test_nobody_begins_while_another_group_was_not_looked_at_yet() -> None:
    """The operator was started anew, in the middle of a roll."""
    upgrades, other = Upgrades(), (NAMESPACE, "btc")
    for key in (KEY, other):
        upgrades.expect(key)
    assert not upgrades.may(other)
    upgrades.note(KEY, rolling=True)
    for key in (KEY, other):
        upgrades.looked_at(key)
    assert upgrades.may(KEY)
    assert not upgrades.may(other)


async def test_who_rolls_is_told_by_pods_of_another_template_and_by_the_plan(
    passes: Reconciler, told: Told, planned: list[Plan]
) -> None:
    told.seen["stateful_set"] = StatefulSetSeen("s", 3, "old", "r1", True)
    told.seen["pods"] = (PodSeen("eth-0", "u", 0, "r1", "old", 0.0),)
    may: list[bool] = []
    upgrades = passes._upgrades
    template = {"metadata": {"annotations": {names.TEMPLATE: "new"}}}
    manifest = {"kind": "StatefulSet", "metadata": {"name": "eth"}, "spec": {"template": template}}

    async def after(plan: Plan) -> None:
        planned.append(plan)
        await passes.full(KEY)
        may.append(upgrades.may((NAMESPACE, "btc")))

    await after(Plan())
    await after(Plan((a.ApplyObject(manifest, "s"),)))
    told.seen["stateful_set"] = StatefulSetSeen("s", 3, "new", "r2", True)
    await after(Plan())
    told.seen["pods"] = (PodSeen("eth-0", "u", 0, "r2", "new", 0.0),)
    await after(Plan())
    assert may == [True, False, False, True]
