"""What somebody else does to a group's objects: it is put right; what isn't the group's is left alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from kubernetes.aio import client

from cluster.api import MERGE, SECONDS, eventually
from cluster.group_under_test import LONG, GroupUnderTest, condition, message, reason
from cluster.operator_release import OperatorRelease
from orderbook_operator import names

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(1200)]
OTHER = "somebody-else"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def group(operator: OperatorRelease) -> AsyncIterator[GroupUnderTest]:
    made = GroupUnderTest(operator, "drifting")
    await made.create(replicas=3)
    await made.ready(3)
    yield made
    await made.delete()


async def test_a_variable_that_another_manager_added_goes_and_no_pod_with_it(group: GroupUnderTest) -> None:
    before = await group.uids()
    added = {"name": "ADDED", "value": "1"}
    containers = [{"name": names.CONTAINER, "env": [added]}]
    await group.apps.patch_namespaced_stateful_set(
        names.stateful_set(group.name),
        group.namespace,
        {"spec": {"template": {"spec": {"containers": containers}}}},
        field_manager=OTHER,
        _content_type="application/strategic-merge-patch+json",
        _request_timeout=SECONDS,
    )

    async def is_as_it_was() -> bool:
        container = (await group.stateful_set()).spec.template.spec.containers[0]
        return "ADDED" not in [variable.name for variable in container.env]

    await eventually(is_as_it_was, "the variable is gone", LONG)
    await group.ready(3)
    assert await group.uids() == before
    managers = {
        entry.manager for entry in (await group.stateful_set()).metadata.managed_fields if not entry.subresource
    }
    assert managers == {names.FIELD_MANAGER}


async def test_what_was_changed_in_a_service_is_put_back(group: GroupUnderTest) -> None:
    changed = {
        "metadata": {"labels": {"app.kubernetes.io/instance": None}},
        "spec": {"publishNotReadyAddresses": False},
    }
    service = names.peer_service(group.name)
    await group.core.patch_namespaced_service(
        service, group.namespace, changed, field_manager=OTHER, _content_type=MERGE, _request_timeout=SECONDS
    )

    async def is_as_it_was() -> bool:
        found = await group.core.read_namespaced_service(service, group.namespace, _request_timeout=SECONDS)
        labelled = found.metadata.labels.get("app.kubernetes.io/instance") == group.name
        return labelled and found.spec.publish_not_ready_addresses is True

    await eventually(is_as_it_was, "the Service is as it was", LONG)


@pytest.mark.parametrize(
    ("kind", "of"),
    [
        ("service", names.client_service),
        ("service", names.peer_service),
        ("poddisruptionbudget", names.disruption_budget),
        ("networkpolicy", lambda name: names.network_policy(name, "clients")),
        ("serviceaccount", names.service_account),
    ],
)
async def test_what_was_deleted_comes_back(group: GroupUnderTest, kind: str, of: Any) -> None:
    name = of(group.name)
    before, pods = await _uid(group, kind, name), await group.uids()
    await group.kubectl("delete", kind, name)

    async def is_back() -> bool:
        return await _uid(group, kind, name) not in ("", before)

    await eventually(is_back, f"{kind} {name} is back", LONG)
    assert await group.uids() == pods


async def test_a_member_comes_back_though_the_credentials_were_deleted(group: GroupUnderTest) -> None:
    """Nobody may watch Secrets. Its pod can't start without them, which the operator sees."""
    await group.ready(3)
    name, uid = next(iter(sorted((await group.uids()).items())))
    before = await group.secret(names.credentials_secret(group.name))
    await group.kubectl("delete", "secret", names.credentials_secret(group.name))
    await group.delete_pod(name)
    await group.replaced(name, uid)
    await group.ready(3)
    after = await group.secret(names.credentials_secret(group.name))
    assert after[names.TRUST] == before[names.TRUST], "clients trust whom they trusted"


async def test_a_deleted_stateful_set_comes_back_with_the_members_and_their_data(group: GroupUnderTest) -> None:
    await group.ready(3)
    members, claims = await _ids(group), set(await group.claims())
    uid = await _uid(group, "statefulset", names.stateful_set(group.name))
    await group.kubectl("delete", "statefulset", names.stateful_set(group.name), "--wait=false")

    async def is_back() -> bool:
        return await _uid(group, "statefulset", names.stateful_set(group.name)) not in ("", uid)

    await eventually(is_back, "the StatefulSet is back", LONG)
    await group.ready(3)
    assert await _ids(group) == members
    assert set(await group.claims()) == claims


async def test_a_changed_label_of_the_resource_rolls_nothing(group: GroupUnderTest, operator: OperatorRelease) -> None:
    await group.ready(3)
    before, revision = await group.uids(), (await group.stateful_set()).status.update_revision
    passes = await operator.metric("orderbook_operator_pass_seconds_count")
    await group.kubectl("label", "obg", group.name, "team=fills", "--overwrite")

    async def was_looked_at() -> bool:
        return await operator.metric("orderbook_operator_pass_seconds_count") >= passes + 2

    await eventually(was_looked_at, "the operator made two more passes", LONG, 0.5)
    await group.ready(3)
    assert await group.uids() == before
    assert (await group.stateful_set()).status.update_revision == revision


async def test_an_object_of_somebody_else_is_refused_and_left_alone(operator: OperatorRelease) -> None:
    group = GroupUnderTest(operator, "taken")
    core = client.CoreV1Api(operator.api)
    foreign = names.peer_service(group.name)
    service = {"metadata": {"name": foreign}, "spec": {"ports": [{"port": 80}], "selector": {"app": "other"}}}
    made = await core.create_namespaced_service(group.namespace, service, _request_timeout=SECONDS)
    try:
        await group.create(replicas=1)
        refused = await group.until(
            "says that a name is taken",
            lambda resource: (
                condition(resource, "Degraded") == "True"
                and f"Service {foreign} is not this group's" in message(resource, "Degraded")
            ),
        )
        assert reason(refused, "Degraded") == "NameTaken"
        left = await core.read_namespaced_service(foreign, group.namespace, _request_timeout=SECONDS)
        assert (left.metadata.uid, left.spec.selector) == (made.metadata.uid, {"app": "other"})
        assert not left.metadata.owner_references
        await core.delete_namespaced_service(foreign, group.namespace, _request_timeout=SECONDS)
        await group.ready(1)
    finally:
        await group.delete()


async def _uid(group: GroupUnderTest, kind: str, name: str) -> str:
    """ "" where there is none."""
    return await group.kubectl("get", kind, name, "--ignore-not-found", "-o", "jsonpath={.metadata.uid}")


async def _ids(group: GroupUnderTest) -> dict[str, str]:
    return {member["name"]: member["id"] for member in (await group.status())["members"]}
