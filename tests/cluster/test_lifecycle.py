"""A group from the moment it is asked for: it gets ready, its members meet, orders match, and it goes again."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from cluster.api import SECONDS
from cluster.client_pod import ClientPod, idle_client, minted, service_url
from cluster.cluster_nodes import zones
from cluster.commands import run
from cluster.figures import Figures
from cluster.group_under_test import GroupUnderTest, condition, is_up
from cluster.operator_release import RELEASE, OperatorRelease
from cluster.port_forward import port_forward
from orderbook.book import Fill, Order, Side
from orderbook.client.network import Network
from orderbook_operator import names

# Members ask for each other before all have an address: DNS denies such a name until that answer has expired.
RESOLVE = """
import json, socket, sys, time
while True:
    try:
        print(json.dumps([socket.gethostbyname(name) for name in sys.argv[1:]]))
        break
    except socket.gaierror:
        time.sleep(0.2)
"""

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(900)]
module_loop = {"scope": "module", "loop_scope": "session"}


@pytest_asyncio.fixture(**module_loop)
async def group(operator: OperatorRelease, figures: Figures) -> AsyncIterator[GroupUnderTest]:
    """Three members, as they came up."""
    made = GroupUnderTest(operator, "fresh")
    began = time.monotonic()
    await made.create(replicas=3)
    await made.until("is ready", lambda resource: condition(resource, "Ready") == "True")
    figures.note("fresh group of three: apply to Ready (s)", time.monotonic() - began)
    await made.ready(3)
    yield made
    await made.delete()


@pytest_asyncio.fixture(**module_loop)
async def trader(group: GroupUnderTest) -> AsyncIterator[ClientPod]:
    pod = idle_client(group)
    await pod.start()
    yield pod
    await pod.remove()


async def test_the_status_tells_who_its_members_are(group: GroupUnderTest) -> None:
    status = (await group.get())["status"]
    assert [member["name"] for member in status["members"]] == ["fresh-0", "fresh-1", "fresh-2"]
    assert sorted(member["role"] for member in status["members"]) == ["leader", "voter", "voter"]
    assert status["leader"] in [member["name"] for member in status["members"] if member["role"] == "leader"]
    assert (status["phase"], status["ready"], status["pairs"]) == ("Ready", "3/3", 1)
    conditions = {one["type"]: one["status"] for one in status["conditions"]}
    assert conditions == {
        "Ready": "True",
        "Quorate": "True",
        "Progressing": "False",
        "Degraded": "False",
        "Paused": "False",
    }


async def test_the_table_of_kubectl_shows_it(group: GroupUnderTest) -> None:
    header, row = (await group.kubectl("get", "obg", group.name)).splitlines()
    shown = dict(zip(header.split(), row.split(), strict=True))
    leader = await group.leader()
    assert shown.pop("AGE")
    assert shown == {
        "NAME": "fresh",
        "READY": "3/3",
        "QUORATE": "True",
        "LEADER": leader,
        "PAIRS": "1",
        "VERSION": "1",
    }


async def test_its_events_tell_the_story(group: GroupUnderTest) -> None:
    told = await group.kubectl("describe", "obg", group.name)
    events = told.partition("Events:")[2]
    assert "StatefulSet" in events
    assert "AllMembersUp" in events


async def test_the_members_are_spread_over_the_zones(group: GroupUnderTest) -> None:
    zone_of = await zones(group.api)
    pods = await group.pods()
    used = {zone_of[pod.spec.node_name] for pod in pods.values()}
    assert len(used) == min(len(pods), len(set(zone_of.values())))
    status = await group.status()
    assert {member["name"]: member["zone"] for member in status["members"]} == {
        name: zone_of[pod.spec.node_name] for name, pod in pods.items()
    }


async def test_the_headless_service_names_each_member(group: GroupUnderTest, trader: ClientPod) -> None:
    service = names.service_host(names.peer_service(group.name), group.namespace)
    pods = await group.pods()
    said = await trader.run("python3", "-c", RESOLVE, *(f"{name}.{service}" for name in pods))
    assert json.loads(said) == [pod.status.pod_ip for pod in pods.values()]


async def test_orders_from_a_pod_and_through_a_port_forward_match_and_an_observer_sees_the_fill(
    group: GroupUnderTest, trader: ClientPod, tmp_path: Path
) -> None:
    ca = tmp_path / "ca.crt"
    ca.write_bytes((await group.secret(names.credentials_secret(group.name)))[names.TRUST])
    host = names.service_host(names.client_service(group.name), group.namespace)
    async with port_forward(group.namespace, names.client_service(group.name), names.CLIENT_PORT) as port:
        url = f"https://127.0.0.1:{port}"
        watcher, alice = [
            await Network.connect([url], await minted(group, who, role), ca=ca, server_name=host)
            for who, role in (("watcher", "observer"), ("alice", "trader"))
        ]
        try:
            fills = watcher.streams.consume(Fill)
            await fills.when(SECONDS).subscribed()
            await trader.run("orderbook", "place", "ask", "ETH/USDC", "1.5", "3005.00", "--id", "7")
            async with asyncio.timeout(SECONDS):
                outcome = await alice.streams.produce(Order).send(
                    Order(None, "ETH/USDC", Side.BID, 300500, 500, "alice")
                )
                fill = await anext(fills)
            assert outcome.rejected is None
            assert (fill.pair, fill.price, fill.quantity, fill.ask_order_id) == ("ETH/USDC", 300500, 500, 7)
        finally:
            await alice.close()
            await watcher.close()


async def test_a_client_without_a_token_is_refused(trader: ClientPod, group: GroupUnderTest) -> None:
    script = (
        "import ssl, sys, urllib.request, urllib.error\n"
        "try:\n    urllib.request.urlopen(sys.argv[1], context=ssl.create_default_context(cafile=sys.argv[2]))\n"
        "except urllib.error.HTTPError as error:\n    print(error.code)"
    )
    said = await trader.run("python3", "-c", script, f"{service_url(group)}/v1/pairs", "/etc/client/ca.crt")
    assert said.strip() == "401"


async def test_a_group_that_is_deleted_takes_all_of_its_own_along(operator: OperatorRelease, figures: Figures) -> None:
    group = GroupUnderTest(operator, "brief")
    await group.create(replicas=1)
    await group.ready(1)
    assert all(is_up(pod) for pod in (await group.pods()).values())
    began = time.monotonic()
    await group.delete()
    figures.note("group of one: deleted (s)", time.monotonic() - began)
    kinds = "statefulset,service,poddisruptionbudget,networkpolicy,secret,serviceaccount,pvc,pod"
    left = await group.kubectl("get", kinds, f"--selector={names.GROUP_LABEL}={group.name}", "-o", "name")
    assert [name for name in left.splitlines() if not name.startswith("persistentvolumeclaim/")] == []


async def test_the_charts_own_test_matches_an_order_in_a_throw_away_group(operator: OperatorRelease) -> None:
    said = await run("helm", "test", RELEASE, "--namespace", operator.namespace, "--logs", seconds=400)
    assert "trial-observer: filled 5 TRY/OUT at 100" in said
    assert "it is deleted" in said
