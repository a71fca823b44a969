"""A task a group: woken, coalesced, alone with its failures, and cut off with the lease."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from random import Random
from typing import Any

import pytest
import pytest_asyncio

from orderbook_operator import groups as g
from orderbook_operator import schedule
from orderbook_operator.cluster import Unreachable
from orderbook_operator.groups import Groups, log_fields
from orderbook_operator.metrics import Metrics, PassResult
from orderbook_operator.observation import Observation
from orderbook_operator.observe import Sight
from orderbook_operator.reconcile import Key, Passed
from orderbook_operator.resource import ResourceError
from unit.operator import resources
from unit.operator.api_server import until

ETH, BTC = ("trading", "eth"), ("trading", "btc")
SIGHT = Sight(Observation(0.0, resources.group(), "image"), {})
AT_REST = Passed(PassResult.CONVERGED, None, SIGHT)


class Told:
    """Passes that end as they are told: ``ends`` by group, one after the other; the last one stays."""

    def __init__(self) -> None:
        self.ends: dict[Key, list[Passed | Exception]] = {}
        self.made: list[tuple[Key, str]] = []
        self.fields: list[dict[str, object]] = []
        self.going_on = 0
        self.most_at_once = 0
        self.gate: asyncio.Event | None = None
        self.said: list[tuple[Key, str]] = []
        self.forgotten: list[Key] = []
        self.heard_of: list[Key] = []
        self.looked_at: list[Key] = []

    async def full(self, key: Key) -> Passed:
        return await self._pass(key, "full")

    async def quick(self, key: Key, sight: Sight) -> Passed:
        assert sight is SIGHT
        return await self._pass(key, "quick")

    async def unreadable(self, key: Key, problem: str) -> None:
        self.said.append((key, problem))

    def expect(self, key: Key) -> None:
        self.heard_of.append(key)

    def ended(self, key: Key) -> None:
        self.looked_at.append(key)

    def forget(self, key: Key, sight: Sight | None) -> None:
        self.forgotten.append(key)

    def of(self, key: Key) -> list[str]:
        return [kind for made, kind in self.made if made == key]

    async def _pass(self, key: Key, kind: str) -> Passed:
        self.made.append((key, kind))
        self.fields.append(log_fields())
        self.going_on += 1
        self.most_at_once = max(self.most_at_once, self.going_on)
        try:
            if self.gate is not None:
                await self.gate.wait()
        finally:
            self.going_on -= 1
        ends = self.ends.get(key, [AT_REST])
        end = ends.pop(0) if len(ends) > 1 else ends[0]
        if isinstance(end, Exception):
            raise end
        return end


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits are short; that they are as long as they should be is tested in test_schedule."""
    monkeypatch.setattr(schedule, "COALESCED", 0.02)
    monkeypatch.setattr(schedule, "FIRST", dict.fromkeys(PassResult, 0.01))
    monkeypatch.setattr(schedule, "MOST", dict.fromkeys(PassResult, 0.05))


@pytest_asyncio.fixture
async def groups(told: Told, metrics: Metrics) -> AsyncIterator[Groups]:
    made = Groups(told, metrics, Random(1))
    made.start()
    yield made
    await made.stop()


async def test_a_new_group_gets_a_pass_and_then_rests(groups: Groups, told: Told) -> None:
    groups.wake(*ETH)
    await until(lambda: told.made)
    assert told.made == [(ETH, "full")]
    assert told.fields == [{"namespace": "trading", "group": "eth", "pass": 1}]


async def test_wakes_that_come_together_make_one_pass(groups: Groups, told: Told) -> None:
    told.gate = asyncio.Event()
    groups.wake(*ETH)
    await until(lambda: told.made)
    for _ in range(100):
        groups.wake(*ETH)
    told.gate.set()
    groups.wake(*BTC)
    await until(lambda: len(told.of(ETH)) == 2)
    groups.wake(*BTC)
    await until(lambda: len(told.of(BTC)) == 2)  # by now a third pass over eth would have begun
    assert told.of(ETH) == ["full", "full"]


async def test_at_rest_passes_are_quick_until_something_happens(
    groups: Groups, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "CONVERGED", 0.03)
    groups.wake(*ETH)
    await until(lambda: len(told.of(ETH)) >= 3)
    assert told.of(ETH)[:3] == ["full", "quick", "quick"]
    groups.wake(*ETH)
    before = len(told.of(ETH))
    await until(lambda: "full" in told.of(ETH)[before:])


@pytest.mark.parametrize(
    ("error", "result"),
    [
        (Unreachable("get", "no answer"), PassResult.FAILED),
        (ResourceError("spec is missing"), PassResult.FAILED),
        (ZeroDivisionError("a fault of ours"), PassResult.FAILED),
    ],
)
async def test_a_pass_that_fails_is_counted_and_made_again(
    groups: Groups, told: Told, metrics: Metrics, error: Exception, result: PassResult
) -> None:
    told.ends[ETH] = [error, error, AT_REST]
    groups.wake(*ETH)
    groups.wake(*BTC)
    await until(lambda: len(told.of(ETH)) == 3)
    assert told.of(ETH) == ["full"] * 3
    assert told.of(BTC)
    labels = {"result": result.value}
    assert metrics.registry.get_sample_value("orderbook_operator_pass_seconds_count", labels) == 2
    assert not groups.failure.done()


async def test_what_makes_a_group_unreadable_is_said_on_it(groups: Groups, told: Told) -> None:
    told.ends[ETH] = [ResourceError("OrderBookGroup trading/eth: spec is missing"), AT_REST]
    groups.wake(*ETH)
    await until(lambda: told.said)
    assert told.said == [(ETH, "OrderBookGroup trading/eth: spec is missing")]


async def test_a_pass_that_hangs_is_cut_off(
    groups: Groups, told: Told, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(g, "PASS_SECONDS", 0.02)
    told.gate = asyncio.Event()
    groups.wake(*ETH)
    await until(lambda: len(told.made) >= 2)
    told.gate.set()


async def test_a_group_is_heard_of_at_once_and_looked_at_when_its_first_pass_ended(groups: Groups, told: Told) -> None:
    told.gate = asyncio.Event()
    told.ends[BTC] = [Unreachable("get", "no answer")]
    for key in (ETH, BTC):
        groups.wake(*key)
    assert (told.heard_of, told.looked_at) == ([ETH, BTC], [])
    told.gate.set()
    await until(lambda: {ETH, BTC} <= set(told.looked_at), "also one whose look failed")


async def test_a_group_that_is_gone_ends_its_task(groups: Groups, told: Told) -> None:
    told.ends[ETH] = [Passed(PassResult.GONE)]
    groups.wake(*ETH)
    await until(lambda: told.forgotten == [ETH])
    await until(lambda: groups.stalled_for() == 0.0)
    told.ends[ETH] = [AT_REST]  # one of the same name is made
    groups.wake(*ETH)
    await until(lambda: len(told.of(ETH)) == 2)


async def test_a_group_that_is_made_anew_while_its_last_pass_ends_is_not_forgotten(groups: Groups, told: Told) -> None:
    told.gate = asyncio.Event()
    told.ends[ETH] = [Passed(PassResult.GONE), AT_REST]
    groups.wake(*ETH)
    await until(lambda: told.made)
    groups.wake(*ETH)
    told.gate.set()
    await until(lambda: len(told.of(ETH)) == 2)
    assert not told.forgotten


async def test_only_so_many_passes_go_on_at_once(groups: Groups, told: Told) -> None:
    told.gate = asyncio.Event()
    for number in range(40):
        groups.wake("trading", f"group-{number}")
    await until(lambda: told.going_on == g.PASSES_AT_ONCE)
    told.gate.set()
    await until(lambda: len({key for key, _ in told.made}) == 40)
    assert told.most_at_once == g.PASSES_AT_ONCE


async def test_without_the_lease_nothing_runs_and_with_it_every_group_is_looked_at(
    told: Told, metrics: Metrics
) -> None:
    groups = Groups(told, metrics, Random(1))
    groups.wake(*ETH)
    groups.wake(*BTC)
    await asyncio.sleep(0)
    assert not told.made
    groups.start()
    await until(lambda: {key for key, _ in told.made} == {ETH, BTC})
    await groups.stop()


async def test_losing_the_lease_cuts_a_pass_off_where_it_stands(told: Told, metrics: Metrics) -> None:
    groups = Groups(told, metrics, Random(1))
    groups.start()
    told.gate = asyncio.Event()
    groups.wake(*ETH)
    await until(lambda: told.going_on == 1)
    await groups.stop()
    assert told.going_on == 0
    labels = {"result": "stopped"}
    assert metrics.registry.get_sample_value("orderbook_operator_pass_seconds_count", labels) == 1
    groups.wake(*ETH)
    await asyncio.sleep(0)
    assert len(told.made) == 1
    told.gate.set()
    groups.start()  # and won again
    await until(lambda: len(told.of(ETH)) == 2)
    await groups.stop()


async def test_a_fault_outside_of_passes_is_no_group_s(
    told: Told, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups = Groups(told, metrics, Random(1))
    groups.start()

    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("a fault of ours")

    monkeypatch.setattr(told, "forget", broken)
    told.ends[ETH] = [Passed(PassResult.GONE)]
    groups.wake(*ETH)
    await until(groups.failure.done)
    assert isinstance(groups.failure.exception(), ZeroDivisionError)
    await groups.stop()


async def test_how_long_no_pass_has_ended_is_known_only_while_there_are_groups(told: Told, metrics: Metrics) -> None:
    now = [100.0]
    groups = Groups(told, metrics, Random(1), clock=lambda: now[0])
    assert groups.stalled_for() == 0.0
    groups.start()
    told.gate = asyncio.Event()
    groups.wake(*ETH)
    await until(lambda: told.going_on == 1)
    now[0] = 400.0
    assert groups.stalled_for() == 300.0
    told.gate.set()
    await until(lambda: groups.stalled_for() == 0.0)
    await groups.stop()
