"""Probes: what the cluster is told of a node at each stage of its life."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp.test_utils import TestClient, TestServer

from orderbook.groups.replica import Phase
from orderbook.server.probes import STALLED_SECONDS, Vitals, probe_application
from unit.server.members import Members


class Probes:
    def __init__(self, client: TestClient, vitals: Vitals) -> None:  # type: ignore[type-arg]
        self.client = client
        self.vitals = vitals

    async def ask(self, path: str) -> str:
        """The reason; empty for 200."""
        answer = await self.client.get(path)
        document = await answer.json()
        assert (answer.status == 200) is document["ok"] is (document["reason"] == "")
        assert answer.status in (200, 503)
        return str(document["reason"])

    async def all(self) -> list[str]:
        return [await self.ask(path) for path in ("/startupz", "/livez", "/readyz")]


@pytest_asyncio.fixture
async def members(tmp_path: Path) -> AsyncIterator[Members]:
    members = Members(tmp_path, tick=0.01)
    yield members
    await members.close()


@pytest_asyncio.fixture
async def probes(members: Members) -> AsyncIterator[Probes]:
    vitals = Vitals(name="a")
    client = TestClient(TestServer(probe_application(members.runtime, vitals)))
    await client.start_server()
    yield Probes(client, vitals)
    await client.close()


async def test_a_node_that_recovers_its_directory_lives_but_has_not_started(probes: Probes) -> None:
    assert await probes.all() == ["the directory is being recovered", "", "starting"]


async def test_a_node_without_a_group_says_whom_it_waits_for(members: Members, probes: Probes) -> None:
    probes.vitals.group = await members.open("a", 3)
    started, alive, ready = await probes.all()
    assert (started, alive) == ("", "")
    assert ready.startswith("joining: sees 1 members (a)")


async def test_a_node_that_serves_is_ready_until_it_drains(members: Members, probes: Probes) -> None:
    await members.begin("a")
    probes.vitals.group = members.groups["a"]
    assert await probes.all() == ["", "", ""]
    probes.vitals.draining = True
    assert await probes.all() == ["", "", "draining"]


async def test_a_node_that_lost_the_others_is_not_ready_but_lives(members: Members, probes: Probes) -> None:
    await members.begin("a", "b", "c")
    group = probes.vitals.group = members.groups["a"]
    assert await probes.ask("/readyz") == ""
    members.channels["a"].cut()
    await group.until(lambda: not group.is_online, 60, "the leader to be missed")
    assert await probes.all() == ["", "", "no_leader"]


async def test_a_node_that_has_to_catch_up_is_not_ready(
    members: Members, probes: Probes, monkeypatch: pytest.MonkeyPatch
) -> None:
    await members.begin("a")
    group = probes.vitals.group = members.groups["a"]
    assert group.replica is not None
    monkeypatch.setattr(group.replica.state, "index", group.replica.state.index - 1)
    assert await probes.ask("/readyz") == "catching_up"


@pytest.mark.parametrize("phase", [Phase.QUARANTINED, Phase.HALTED, Phase.RESTORING])
async def test_a_node_whose_state_can_not_be_read_is_not_ready_but_lives(
    members: Members, probes: Probes, phase: Phase, monkeypatch: pytest.MonkeyPatch
) -> None:
    await members.begin("a")
    group = probes.vitals.group = members.groups["a"]
    assert group.replica is not None
    monkeypatch.setattr(group.replica, "phase", phase)
    assert await probes.all() == ["", "", phase.value]


async def test_a_member_that_stopped_or_whose_clock_does_not_tick_is_not_alive(
    members: Members, probes: Probes
) -> None:
    await members.begin("a")
    group = probes.vitals.group = members.groups["a"]
    replica = group.replica
    assert replica is not None
    replica.stop()
    assert await probes.ask("/livez") == "this member has stopped"
    replica.phase = Phase.MEMBER  # as if it went on, but no timer came any more
    replica.statistics.ticked_at = members.runtime.monotonic() - STALLED_SECONDS - 10 * replica.options.tick - 1
    assert (await probes.ask("/livez")).startswith("no tick for")
    replica.phase = Phase.STOPPED


async def test_other_paths_are_not_found(probes: Probes) -> None:
    assert (await probes.client.get("/v1/pairs")).status == 404
