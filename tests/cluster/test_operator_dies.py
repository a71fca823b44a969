"""The operator killed between two of its steps, away, twice at once, without an API server: no group suffers by it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import NamedTuple

import pytest
import pytest_asyncio
from kubernetes.aio import client
from kubernetes.aio.client import ApiClient

from cluster.api import SECONDS, eventually
from cluster.client_pod import lines
from cluster.cluster_nodes import kill_processes
from cluster.evidence import evidence
from cluster.figures import Figures
from cluster.group_under_test import LONG, GroupUnderTest
from cluster.operator_release import RELEASE, OperatorRelease, installed
from cluster.roll_watched import pods_watched
from cluster.soak import under_load
from orderbook_operator.act import EXIT_FAILPOINT, FAILPOINTS

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(1800)]
module_loop = {"scope": "module", "loop_scope": "session"}


async def _makes(group: GroupUnderTest) -> None:
    await group.create(replicas=1)


async def _grows(group: GroupUnderTest) -> None:
    await group.scale(3)


async def _rolls(group: GroupUnderTest) -> None:
    await group.change(resources={"requests": {"cpu": "60m"}})


class Kill(NamedTuple):
    """At which step, what makes the operator take it, and how many members the group has before and after."""

    step: Callable[[GroupUnderTest], Awaitable[None]]
    before: int
    after: int


KILLS = {
    "after-finalizer": Kill(_makes, 0, 1),
    "after-identity": Kill(_makes, 0, 1),
    "after-members-changed": Kill(_grows, 1, 3),
    "after-evict": Kill(_rolls, 3, 3),
}


@pytest_asyncio.fixture(**module_loop)
async def kills(session_api: ApiClient, image: str) -> AsyncIterator[dict[str, asyncio.Task[None]]]:
    """All of them at the same time, each with an operator and a group of its own: most of it is waiting for leases."""
    tasks = {name: asyncio.create_task(_killed(session_api, image, name)) for name in FAILPOINTS}
    yield tasks
    for task in tasks.values():
        task.cancel()
    await asyncio.gather(*tasks.values(), return_exceptions=True)


@pytest.mark.parametrize("failpoint", sorted(FAILPOINTS))
async def test_killed_right_after_a_step_it_ends_in_the_same_state(
    kills: dict[str, asyncio.Task[None]], failpoint: str
) -> None:
    await kills[failpoint]


async def _killed(api: ApiClient, image: str, failpoint: str) -> None:
    kill = KILLS[failpoint]
    async with installed(api, image) as operator:
        try:
            group = GroupUnderTest(operator, "steady")
            if kill.before:
                await group.create(replicas=kill.before)
                await group.ready(kill.before)
            before = await group.uids()
            await operator.configure("extraEnv[0].name=ORDERBOOK_FAILPOINT", f"extraEnv[0].value={failpoint}")
            async with pods_watched(group) as watched:
                await kill.step(group)
                await _was_killed(operator)
                await operator.configure()
                await group.ready(kill.after)
            replaced = sorted(before) if kill.before == kill.after else []
            assert sorted(watched.replaced) == replaced
            assert len(watched.most_away) == min(1, len(replaced)), f"away at once: {watched.most_away}"
        except Exception as error:
            error.add_note(evidence(operator.namespace))
            raise


@pytest_asyncio.fixture(**module_loop)
async def restless(session_api: ApiClient, image: str) -> AsyncIterator[OperatorRelease]:
    """An operator of these tests' own."""
    async with installed(session_api, image) as release:
        yield release


@pytest_asyncio.fixture(**module_loop)
async def group(restless: OperatorRelease) -> AsyncIterator[GroupUnderTest]:
    made = GroupUnderTest(restless, "untended")
    await made.create(replicas=3)
    await made.ready(3)
    yield made
    await made.delete()


async def test_a_group_goes_on_while_the_operator_is_away(
    restless: OperatorRelease, group: GroupUnderTest, figures: Figures
) -> None:
    await group.ready(3)
    leader = await group.leader()
    uid = (await group.uids())[leader]
    async with under_load(group, figures, "the operator is away, the leader's pod is deleted") as soak:
        async with restless.away():
            await group.delete_pod(leader)
            await soak.flows()
            await group.replaced(leader, uid)
            await soak.flows()
        await group.ready(3)


async def test_of_two_operators_one_acts_also_when_it_stalls(
    restless: OperatorRelease, group: GroupUnderTest, privileged: str
) -> None:
    """The one that leads is stopped like a process whose machine hangs, in the middle of a roll, and wakes up again
    when the other one has taken over: it does nothing any more."""
    await group.ready(3)
    await restless.configure("replicas=2")
    first = await _leading(restless)
    await group.change(resources={"requests": {"cpu": "70m"}})
    await _has_acted(restless, first, times=1)
    pods = {pod.metadata.name: pod for pod in await restless.pods()}
    assert len(pods) == 2
    await kill_processes(restless.api, privileged, restless.image, pods[first], "SIGSTOP")
    try:
        second = await _leading(restless, but=first)
        await _has_acted(restless, second, times=1)
    finally:
        await kill_processes(restless.api, privileged, restless.image, pods[first], "SIGCONT")
    await _says(restless, first, "the lease is lost")
    await group.ready(3)
    said = {name: lines(await _log(restless, name)) for name in (first, second)}
    took_over = next(line["time"] for line in said[second] if line["message"] == "leading")
    late = [line for line in said[first] if line["message"] == "done" and line["time"] >= took_over]
    assert not late, "who was stopped acted after another one had taken over"
    assert [line for line in said[first] if line["message"] == "done"]
    assert await _leading(restless) == second


@pytest.mark.parametrize("count", [8, pytest.param(50, marks=pytest.mark.long)])
async def test_many_groups_converge_and_cost_little_at_rest(
    restless: OperatorRelease, figures: Figures, count: int
) -> None:
    await restless.configure()
    many = [GroupUnderTest(restless, f"small-{number}") for number in range(count)]
    clock = asyncio.get_running_loop().time
    began = clock()
    small = {"requests": {"cpu": "10m", "memory": "64Mi"}}
    try:
        await asyncio.gather(*(one.create(replicas=1, resources=small, storage={"size": "1Gi"}) for one in many))
        for one in many:
            await one.ready(1)
        figures.note(f"{count} groups of one: apply to all at rest (s)", clock() - began)
        await _found_at_rest(restless, count)
        before, since = await _cost(restless), clock()
        await _found_at_rest(restless, 2 * count)
        after, seconds = await _cost(restless), clock() - since
        figures.note(f"{count} groups at rest: CPU (millicores)", 1000 * (after["cpu"] - before["cpu"]) / seconds)
        requests = (after["requests"] - before["requests"]) / seconds
        figures.note(f"{count} groups at rest: requests to the API server (1/s)", requests)
        figures.note(f"{count} groups at rest: memory (MiB)", after["memory"] / 2**20)
    finally:
        await asyncio.gather(*(one.delete() for one in many))


async def _was_killed(operator: OperatorRelease) -> None:
    async def is_so() -> bool:
        statuses = [status for pod in await operator.pods() for status in pod.status.container_statuses or ()]
        ends = [end for status in statuses for end in (status.state.terminated, status.last_state.terminated) if end]
        return EXIT_FAILPOINT in [end.exit_code for end in ends]

    await eventually(is_so, "the operator was killed at its failpoint", LONG)


async def _leading(operator: OperatorRelease, but: str = "") -> str:
    """The pod of the operator that holds the lease, once one does that isn't ``but``."""
    coordination = client.CoordinationV1Api(operator.api)
    holder = ""

    async def is_held() -> bool:
        nonlocal holder
        lease = await coordination.read_namespaced_lease(RELEASE, operator.namespace, _request_timeout=SECONDS)
        holder = (lease.spec.holder_identity or "").rpartition("-")[0]
        return holder in {pod.metadata.name for pod in await operator.pods()} - {but}

    await eventually(is_held, "an operator holds the lease", LONG, 0.2)
    return holder


async def _has_acted(operator: OperatorRelease, pod: str, times: int) -> None:
    async def is_so() -> bool:
        return sum(line["message"] == "done" for line in lines(await _log(operator, pod))) >= times

    await eventually(is_so, f"{pod} acted", LONG, 0.2)


async def _says(operator: OperatorRelease, pod: str, beginning: str) -> None:
    async def is_so() -> bool:
        return any(line["message"].startswith(beginning) for line in lines(await _log(operator, pod)))

    await eventually(is_so, f"{pod} says: {beginning}", LONG, 0.2)


async def _log(operator: OperatorRelease, pod: str) -> str:
    core = client.CoreV1Api(operator.api)
    return str(await core.read_namespaced_pod_log(pod, operator.namespace, _request_timeout=SECONDS))


async def _found_at_rest(operator: OperatorRelease, times: int) -> None:
    """So many passes from now on found that there is nothing to do."""
    before = (await _cost(operator))["rests"]

    async def is_so() -> bool:
        return (await _cost(operator))["rests"] >= before + times

    await eventually(is_so, f"{times} passes found their group at rest", LONG, 1.0)


async def _cost(operator: OperatorRelease) -> dict[str, float]:
    metrics = {
        "rests": ("orderbook_operator_pass_seconds_count", {"result": "converged"}),
        "requests": ("orderbook_operator_api_requests_total", {}),
        "cpu": ("process_cpu_seconds_total", {}),
        "memory": ("process_resident_memory_bytes", {}),
    }
    return {name: await operator.metric(metric, **labels) for name, (metric, labels) in metrics.items()}
