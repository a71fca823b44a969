"""What the operator's process shows and takes: metrics, Events, probes, options."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, get_args

import pytest
import pytest_asyncio
import typer
from aiohttp.test_utils import TestClient, TestServer
from typer.testing import CliRunner

from orderbook_operator import __main__ as process
from orderbook_operator import events, handlers, names
from orderbook_operator.act import Outcome
from orderbook_operator.actions import Action, EvictPod
from orderbook_operator.cluster import RESULTS, VERBS, Cluster
from orderbook_operator.events import About, Recorder
from orderbook_operator.metrics import Metrics, PassResult
from orderbook_operator.probes import STALLED_SECONDS, Vitals, application
from unit.operator import api_server
from unit.operator.api_server import ApiServer, Faults

ETH, BTC = ("trading", "eth"), ("trading", "btc")
ABOUT = About("trading", "eth", "uid-eth")


# --- start ------------------------------------------------------------------------------------------------------------


async def test_an_operator_that_is_there_before_the_definition_waits_for_it() -> None:
    async with api_server.running() as server, api_server.client(server, "operator") as cluster:
        server.fail("", Faults(refused=503))
        waiting = asyncio.create_task(process.definition_served(cluster, 0.001))
        await api_server.until(lambda: len(server.requests) > 2, "asked again after a failure")
        server.fail("", Faults())
        asked = len(server.requests)
        await api_server.until(lambda: len(server.requests) > asked + 2, "asked again while it is not there")
        assert not waiting.done()
        server.objects["/apis/orderbook.dev/v1alpha1"] = {"resources": [{"name": names.PLURAL}]}
        await asyncio.wait_for(waiting, 60)


# --- metrics ----------------------------------------------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def metrics(clock: Clock) -> Metrics:
    return Metrics(clock)


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"orderbook_operator_{name}", labels)


def test_every_series_is_there_before_the_first_event(metrics: Metrics) -> None:
    for kind in get_args(Action):
        for outcome in Outcome:
            assert value(metrics, "actions_total", action=kind.__name__, outcome=outcome.value) == 0
    for verb in VERBS:
        for result in RESULTS:
            assert value(metrics, "api_requests_total", verb=verb, result=result) == 0
    for passed in PassResult:
        assert value(metrics, "pass_seconds_count", result=passed.value) == 0


def test_no_label_is_taken_from_a_group(metrics: Metrics) -> None:
    metrics.passed(ETH, PassResult.ACTED, 0.1)
    metrics.acted(EvictPod("eth-0", "u", "why"), Outcome.DONE)
    metrics.shows(ETH, "Ready")
    labels = {
        label for family in metrics.registry.collect() for sample in family.samples for label in sample.labels.values()
    }
    assert not [label for label in labels if "eth" in label or "trading" in label]


def test_groups_are_counted_by_phase(metrics: Metrics) -> None:
    metrics.shows(ETH, "Ready")
    metrics.shows(BTC, "Ready")
    metrics.shows(("trading", "sol"), None)
    assert value(metrics, "groups", phase="Ready") == 2
    assert value(metrics, "groups", phase="Unknown") == 1
    assert value(metrics, "groups", phase="Degraded") == 0
    metrics.passed(ETH, PassResult.GONE, 0.1)
    assert value(metrics, "groups", phase="Ready") == 1


def test_the_age_of_the_last_good_pass_is_that_of_the_group_that_waits_longest(metrics: Metrics, clock: Clock) -> None:
    assert value(metrics, "seconds_since_good_pass") == 0
    metrics.passed(ETH, PassResult.CONVERGED, 0.1)
    clock.now += 50
    metrics.passed(BTC, PassResult.WAITING, 0.1)
    metrics.passed(ETH, PassResult.FAILED, 0.1)
    clock.now += 10
    assert value(metrics, "seconds_since_good_pass") == 60
    metrics.passed(ETH, PassResult.CONVERGED, 0.1)
    assert value(metrics, "seconds_since_good_pass") == 10
    metrics.forget()
    assert value(metrics, "seconds_since_good_pass") == 0


def test_a_group_that_never_had_a_good_pass_counts_from_its_first(metrics: Metrics, clock: Clock) -> None:
    metrics.passed(ETH, PassResult.FAILED, 5.0)
    clock.now += 20
    metrics.passed(ETH, PassResult.FAILED, 5.0)
    assert value(metrics, "seconds_since_good_pass") == 25


# --- probes -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def vitals() -> Vitals:
    return Vitals()


@pytest_asyncio.fixture
async def probes(vitals: Vitals, metrics: Metrics) -> AsyncIterator[TestClient[Any, Any]]:
    async with TestClient(TestServer(application(vitals, metrics))) as client:
        yield client


async def asked(probes: TestClient[Any, Any], path: str) -> tuple[int, str]:
    async with probes.get(path) as answer:
        document = await answer.json()
        return answer.status, document["reason"]


async def test_an_operator_is_alive_while_passes_end_and_the_lease_is_tried_for(
    probes: TestClient[Any, Any], vitals: Vitals
) -> None:
    assert await asked(probes, "/livez") == (200, "")
    vitals.since_a_pass_ended = lambda: STALLED_SECONDS + 1
    assert await asked(probes, "/livez") == (503, "no pass has ended for 181 s")
    vitals.since_a_pass_ended = lambda: 0.0
    vitals.since_lease_was_tried = lambda: STALLED_SECONDS + 1
    assert await asked(probes, "/livez") == (503, "no try for the lease has ended for 181 s")


async def test_it_is_ready_once_it_watches(probes: TestClient[Any, Any], vitals: Vitals) -> None:
    assert await asked(probes, "/readyz") == (503, "the watches are not open yet")
    vitals.is_watching = lambda: True
    assert await asked(probes, "/readyz") == (200, "")


async def test_metrics_are_what_prometheus_reads(probes: TestClient[Any, Any]) -> None:
    async with probes.get("/metrics") as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"].startswith("text/plain")
        assert "orderbook_operator_leading 0.0" in await answer.text()


# --- Events -----------------------------------------------------------------------------------------------------------


@pytest_asyncio.fixture
async def server() -> AsyncIterator[ApiServer]:
    async with api_server.running() as running:
        yield running


@pytest_asyncio.fixture
async def cluster(server: ApiServer) -> AsyncIterator[Cluster]:
    async with api_server.client(server, "operator") as opened:
        yield opened


def written(server: ApiServer) -> list[dict[str, Any]]:
    return [event for path, event in server.objects.items() if "/events/" in path]


async def test_the_same_sentence_is_one_event_that_is_counted(server: ApiServer, cluster: Cluster) -> None:
    recorder = Recorder(cluster, "first")
    for _ in range(3):
        await recorder.record(ABOUT, "Normal", "PodEvicted", "eth-0: an older template")
    await recorder.record(ABOUT, "Warning", "Degraded", "MembersDown: eth-0")
    repeated, other = written(server)
    assert (repeated["count"], other["count"]) == (3, 1)
    assert repeated["involvedObject"] == {
        "apiVersion": "orderbook.dev/v1alpha1",
        "kind": "OrderBookGroup",
        "name": "eth",
        "namespace": "trading",
        "uid": "uid-eth",
    }
    assert (repeated["type"], repeated["reason"], other["type"]) == ("Normal", "PodEvicted", "Warning")


async def test_another_operator_goes_on_counting(server: ApiServer, cluster: Cluster) -> None:
    await Recorder(cluster, "first").record(ABOUT, "Normal", "Created", "created Secret eth-identity")
    first = written(server)[0]["firstTimestamp"]
    server.objects[next(iter(server.objects))]["firstTimestamp"] = "2026-01-01T00:00:00Z"
    await Recorder(cluster, "second").record(ABOUT, "Normal", "Created", "created Secret eth-identity")
    (event,) = written(server)
    assert (event["count"], event["firstTimestamp"]) == (2, "2026-01-01T00:00:00Z")
    assert first.endswith("Z")


async def test_a_group_made_anew_has_a_story_of_its_own(server: ApiServer, cluster: Cluster) -> None:
    recorder = Recorder(cluster, "first")
    await recorder.record(ABOUT, "Normal", "Created", "created Secret eth-identity")
    await recorder.record(ABOUT._replace(uid="uid-of-another"), "Normal", "Created", "created Secret eth-identity")
    assert [event["count"] for event in written(server)] == [1, 1]


async def test_a_long_message_is_cut_as_the_api_server_wants_it(server: ApiServer, cluster: Cluster) -> None:
    await Recorder(cluster, "first").record(ABOUT, "Warning", "Degraded", "x" * 5000)
    (event,) = written(server)
    assert len(event["message"]) == events.LONGEST_MESSAGE


async def test_an_event_that_can_not_be_written_costs_nothing_else(server: ApiServer, cluster: Cluster) -> None:
    server.fail("", Faults(refused=403, reason="Forbidden"))
    await Recorder(cluster, "first").record(ABOUT, "Normal", "Created", "created Secret eth-identity")
    assert not written(server)


# --- handlers and options ---------------------------------------------------------------------------------------------


class Woken:
    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []
        self.groups = self

    def wake(self, namespace: str, name: str) -> None:
        self.seen.append((namespace, name))


async def test_an_event_wakes_the_group_that_it_is_about() -> None:
    memo: Any = Woken()
    await handlers.resource_changed(namespace="trading", name="eth", memo=memo)
    labels = {names.GROUP_LABEL: "btc"}
    await handlers.part_changed(namespace="trading", labels=labels, memo=memo)
    assert memo.seen == [ETH, BTC]


@pytest.mark.parametrize(
    ("arguments", "environment", "problem"),
    [
        ([], {}, "--image (or ORDERBOOK_IMAGE) is missing"),
        (["--image", "x"], {}, "--operator-namespace is missing"),
        (
            ["--image", "x", "--operator-namespace", "o", "--log", "loud"],
            {},
            "--log is auto, human or json, not 'loud'",
        ),
        (
            ["--image", "x", "--operator-namespace", "o"],
            {"ORDERBOOK_FAILPOINT": "after-lunch"},
            "ORDERBOOK_FAILPOINT: 'after-lunch' is no failpoint; there are after-finalizer",
        ),
    ],
)
def test_a_wrong_option_is_named(arguments: list[str], environment: dict[str, str], problem: str) -> None:
    command = typer.Typer()
    command.command()(process.run)
    result = CliRunner(env={"ORDERBOOK_IMAGE": "", **environment}).invoke(command, arguments)
    assert result.exit_code == 2
    assert problem in result.output
