"""``kubectl orderbook`` against a real group: everything that it shows and does, through real port-forwards."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml
from kubernetes.aio import client

from cluster.api import SECONDS
from cluster.commands import Ended, attempt, run
from cluster.group_under_test import LONG, GroupUnderTest
from cluster.operator_release import RELEASE, OperatorRelease
from orderbook_operator import names

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(900)]
module_loop = {"scope": "module", "loop_scope": "session"}

PATH = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
PAIR = "ETH/USDC"


@pytest_asyncio.fixture(**module_loop)
async def group(operator: OperatorRelease) -> AsyncIterator[GroupUnderTest]:
    made = GroupUnderTest(operator, "plugged")
    await made.create(replicas=3)
    await made.ready(3)
    yield made
    await made.delete()


async def plugin(group: GroupUnderTest, command: str, *arguments: str, **extra: str) -> Ended:
    """``kubectl orderbook COMMAND plugged ...`` as a user types it."""
    options = (f"--namespace={group.namespace}", *arguments)
    return await attempt("kubectl", "orderbook", command, group.name, *options, extra={**PATH, **extra}, seconds=LONG)


async def answer(group: GroupUnderTest, command: str, *arguments: str, **extra: str) -> Any:
    """The JSON of a command that must succeed."""
    ended = await plugin(group, command, "--json", *arguments, **extra)
    assert ended.code == 0, ended.out + ended.errors
    return json.loads(ended.out)


async def test_status_tells_members_roles_lag_and_zones(group: GroupUnderTest) -> None:
    told = await answer(group, "status")
    assert told["ready"] and told["problems"] == {}
    assert [member["name"] for member in told["members"]] == [f"plugged-{ordinal}" for ordinal in range(3)]
    assert sorted(member["role"] for member in told["members"]) == ["leader", "voter", "voter"]
    assert all(isinstance(member["lag"], int) and member["phase"] == "online" for member in told["members"])
    assert {member["zone"] for member in told["members"]} == {m["zone"] for m in (await group.status())["members"]}
    shown = (await plugin(group, "status")).out
    assert f"leader {told['leader']}" in shown and "AllMembersUp" in shown


async def test_orders_are_placed_listed_matched_and_cancelled(group: GroupUnderTest) -> None:
    placed = await answer(group, "place", "ask", PAIR, "2", "3000", "--trader", "alice")
    id = placed["events"][0]["order_id"]
    assert id in [order["id"] for order in (await answer(group, "orders", "--trader", "alice"))["orders"]]
    assert (await answer(group, "book", PAIR))["asks"] == [[300000, 2000, 1]]
    crossed = await answer(group, "place", "bid", PAIR, "0.5", "3001", "--trader", "bob")
    assert [event["event"] for event in crossed["events"]] == ["accepted", "fill"]
    [fill] = (await answer(group, "fills", "--pair", PAIR))["fills"]
    assert (fill["ask_order_id"], fill["price"], fill["quantity"]) == (id, 300000, 500)
    amended = await answer(group, "amend", str(id), "--price", "3100")
    assert amended["events"][0]["event"] == "amended"
    cancelled = await plugin(group, "cancel", str(id))
    assert cancelled.code == 0 and f"cancelled {id} ask" in cancelled.out


async def test_what_the_group_refuses_has_the_exit_code_of_orderbook(group: GroupUnderTest) -> None:
    rejected = await plugin(group, "cancel", "77")
    assert rejected.code == 1, rejected.out
    off_tick = await plugin(group, "place", "bid", PAIR, "1", "3000.001")
    assert (off_tick.code, "no multiple of the tick" in " ".join(off_tick.errors.split())) == (2, True)


async def test_watch_shows_fills_as_they_happen(group: GroupUnderTest) -> None:
    watching = await asyncio.create_subprocess_exec(
        *("kubectl", "orderbook", "watch", group.name, PAIR, "--json", f"--namespace={group.namespace}"),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, **PATH},
    )
    assert watching.stdout is not None
    try:
        async with asyncio.timeout(SECONDS):
            assert "book" in json.loads(await watching.stdout.readline())
            for side, trader in (("ask", "alice"), ("bid", "bob")):
                await answer(group, "place", side, PAIR, "1", "2900", "--trader", trader)
            fill: Any = None
            while fill is None:
                fill = json.loads(await watching.stdout.readline()).get("fill")
        assert (fill["price"], fill["quantity"]) == ("2900.00", "1.000")
    finally:
        watching.terminate()
        await watching.wait()


async def test_the_leadership_goes_where_it_is_asked_to_and_nodes_write_snapshots(group: GroupUnderTest) -> None:
    status = await answer(group, "status")
    other = next(member["name"] for member in status["members"] if member["role"] == "voter")
    assert await answer(group, "transfer-leader", other) == {"leader": other}
    assert (await answer(group, "status"))["leader"] == other
    written = await plugin(group, "snapshot", "--all")
    assert written.out.count("snapshot at index") == 3, written.out + written.errors


async def test_a_pair_is_halted_and_resumed(group: GroupUnderTest) -> None:
    assert (await plugin(group, "halt", PAIR)).code == 0
    refused = await plugin(group, "place", "bid", PAIR, "1", "100")
    assert refused.code == 1 and "halted" in refused.out + refused.errors
    assert (await plugin(group, "resume", PAIR)).code == 0


async def test_top_tells_what_each_node_does(group: GroupUnderTest) -> None:
    rows = await answer(group, "top", "--once", "--interval", "0.5")
    assert [row["name"] for row in rows] == [f"plugged-{ordinal}" for ordinal in range(3)]
    assert all(row["ready"] and row["orders"] is not None and row["problem"] == "" for row in rows)
    assert sum(row["lag"] is not None for row in rows) == 2, "of the followers, by the leader"


async def test_a_token_allows_what_its_role_does(group: GroupUnderTest) -> None:
    tokens = {}
    for role in ("trader", "observer"):
        tokens[role] = (await answer(group, "token", "--subject", "carol", "--role", role, "--ttl", "10m"))["token"]
    placed = await answer(group, "place", "bid", PAIR, "1", "50", "--token", tokens["trader"])
    assert placed["events"][0]["trader"] == "carol"
    refused = await plugin(group, "place", "bid", PAIR, "1", "50", "--token", tokens["observer"])
    assert refused.code == 1, refused.out


async def test_a_way_in_that_is_kept_open_outlives_the_leader_s_pod(group: GroupUnderTest) -> None:
    """orderbook itself through ``connect``; its own ledger tells whether anything that was acknowledged is lost."""
    await group.ready(3)
    leader = await group.leader()
    uid = (await group.uids())[leader]
    options = ("--role", "admin", f"--namespace={group.namespace}")
    soak = ("orderbook", "soak", "--seconds", "20", "--rate", "200", "--json")
    running = asyncio.create_task(
        attempt("kubectl", "orderbook", "connect", group.name, *options, "--", *soak, extra=PATH, seconds=LONG)
    )
    try:
        await _orders_flow(group)
        await group.delete_pod(leader)
        ended = await running
    finally:
        running.cancel()
    summary = json.loads(ended.out.splitlines()[-1])
    assert ended.code == 0, ended.out + ended.errors
    assert summary["acknowledged"] > 0 and (summary["lost"], summary["doubled"], summary["failed"]) == (0, 0, 0)
    await group.replaced(leader, uid)


async def _orders_flow(group: GroupUnderTest) -> None:
    while True:
        if sum(row["orders"] or 0 for row in await answer(group, "top", "--once", "--interval", "0.5")) > 0:
            return


async def test_a_diagnosis_holds_what_a_report_needs_and_no_secret(group: GroupUnderTest, tmp_path: Path) -> None:
    file = tmp_path / "report.tar.gz"
    ended = await plugin(group, "diagnose", "--file", str(file), "--operator-namespace", group.namespace)
    assert ended.code == 0, ended.errors
    with tarfile.open(file) as archive:
        parts = {member.name.partition("/")[2]: archive.extractfile(member) for member in archive.getmembers()}
        texts = {name: part.read().decode() for name, part in parts.items() if part is not None}
    wanted = {"group.json", "events.json", "versions.json", "objects/statefulsets.json", "objects/pods.json"}
    for pod in (f"plugged-{ordinal}" for ordinal in range(3)):
        wanted |= {f"nodes/{pod}/group.json", f"nodes/{pod}/metrics.txt", f"logs/{pod}.node.log"}
    assert wanted <= set(texts), ended.errors
    assert any(name.startswith(f"logs/{RELEASE}") for name in texts), "the operator's"
    for secret in ("identity", "authority", "credentials"):
        data = await group.secret(f"{group.name}-{secret}")
        assert set(json.loads(texts[f"secrets/{group.name}-{secret}.json"])["keys"]) == set(data)
        for key, value in data.items():
            if key != "key" and not key.endswith(".key"):
                continue
            forms = {base64.b64encode(value).decode(), value.hex(), value.decode("latin-1").strip()}
            assert not [name for name, text in texts.items() for form in forms if form in text], key


# --- rights -----------------------------------------------------------------------------------------------------------


@pytest_asyncio.fixture(**module_loop)
async def onlooker(group: GroupUnderTest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A kubeconfig of somebody who may look at groups, and at nothing else."""
    rbac, core = client.RbacAuthorizationV1Api(group.api), client.CoreV1Api(group.api)
    name, namespace = "onlooker", group.namespace
    rule = {"apiGroups": [names.API_GROUP], "resources": [names.PLURAL], "verbs": ["get", "list"]}
    await core.create_namespaced_service_account(namespace, {"metadata": {"name": name}})
    await rbac.create_namespaced_role(namespace, {"metadata": {"name": name}, "rules": [rule]})
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
    subject = {"kind": "ServiceAccount", "name": name, "namespace": namespace}
    binding = {"metadata": {"name": name}, "roleRef": reference, "subjects": [subject]}
    await rbac.create_namespaced_role_binding(namespace, binding)
    token = await run("kubectl", f"--namespace={namespace}", "create", "token", name)
    config = yaml.safe_load(await run("kubectl", "config", "view", "--raw", "--minify", "--flatten"))
    config["users"] = [{"name": config["users"][0]["name"], "user": {"token": token.strip()}}]
    file = tmp_path_factory.mktemp("onlooker") / "kubeconfig"
    file.write_text(yaml.safe_dump(config))
    return str(file)


async def test_who_may_not_read_secrets_sees_the_status_of_the_resource(group: GroupUnderTest, onlooker: str) -> None:
    ended = await plugin(group, "status", "--json", KUBECONFIG=onlooker)
    told = json.loads(ended.out)
    assert [member["name"] for member in told["members"]] == [f"plugged-{ordinal}" for ordinal in range(3)]
    assert "forbidden" in told["problems"]["nodes"] and "forbidden" in told["problems"]["pods"]


async def test_who_may_not_read_the_authority_gets_no_token_and_is_told_what_is_missing(
    group: GroupUnderTest, onlooker: str
) -> None:
    ended = await plugin(group, "token", "--subject", "mallory", KUBECONFIG=onlooker)
    assert (ended.code, ended.out) == (1, "")
    assert f"the right to get the Secret {group.namespace}/plugged-authority" in ended.errors


# --- trials -----------------------------------------------------------------------------------------------------------


async def test_a_trial_from_outside_matches_an_order_and_leaves_nothing(operator: OperatorRelease) -> None:
    told = await run(
        *("kubectl", "orderbook", "trial", "tried", f"--namespace={operator.namespace}", "--timeout", "600s"),
        extra=PATH,
        seconds=LONG,
    )
    assert "trial-observer: filled 5 TRY/OUT at 100" in told
    left = await run("kubectl", f"--namespace={operator.namespace}", "get", "obg,sts,svc,secrets,pvc", "--output=name")
    assert "tried" not in left


async def test_the_chart_s_own_test_places_an_order_with_few_rights(operator: OperatorRelease) -> None:
    told = await run("helm", "test", RELEASE, "--namespace", operator.namespace, "--logs", seconds=LONG)
    assert "trial-observer: filled 5 TRY/OUT at 100" in told
