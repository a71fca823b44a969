"""What the operator may do, asked of the API server; and that pods need no more than the ``restricted`` profile."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest
import pytest_asyncio
from kubernetes.aio import client
from kubernetes.aio.client import ApiClient

from cluster.api import SECONDS
from cluster.group_under_test import GroupUnderTest
from cluster.operator_release import RELEASE, OperatorRelease, installed

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(900)]

ELSEWHERE = "default"
CLUSTER = ""


class Ask(NamedTuple):
    verb: str
    resource: str  # with its group and subresource: "statefulsets.apps", "pods/eviction"
    name: str = ""


NEVER = [
    *(Ask(verb, "secrets") for verb in ("list", "watch", "patch", "deletecollection")),
    Ask("create", "pods"),
    Ask("create", "pods/exec"),
    Ask("create", "pods/portforward"),
    Ask("get", "pods/log"),
    Ask("create", "serviceaccounts/token"),
    *(Ask(verb, "persistentvolumeclaims") for verb in ("create", "deletecollection")),
    Ask("deletecollection", "pods"),
    Ask("create", "orderbookgroups.orderbook.dev"),
    Ask("delete", "orderbookgroups.orderbook.dev"),
    *(Ask(verb, "roles.rbac.authorization.k8s.io") for verb in ("create", "patch", "bind", "escalate")),
    Ask("create", "rolebindings.rbac.authorization.k8s.io"),
    *(Ask(verb, "leases.coordination.k8s.io", "of-somebody-else") for verb in ("get", "update")),
    *(Ask(verb, "configmaps") for verb in ("get", "create")),
    *(Ask(verb, "deployments.apps") for verb in ("get", "patch")),
]
NEVER_OF_THE_CLUSTER = [
    *(Ask(verb, "nodes") for verb in ("list", "watch", "patch", "delete")),
    *(Ask(verb, "namespaces") for verb in ("get", "list")),
    *(Ask(verb, "persistentvolumes") for verb in ("get", "delete")),
    Ask("list", "customresourcedefinitions.apiextensions.k8s.io"),
    Ask("create", "clusterrolebindings.rbac.authorization.k8s.io"),
]
OF_ITS_WORK = [
    Ask("watch", "orderbookgroups.orderbook.dev"),
    Ask("patch", "orderbookgroups.orderbook.dev/status"),
    Ask("get", "secrets"),
    Ask("create", "pods/eviction"),
    Ask("delete", "persistentvolumeclaims"),
    Ask("patch", "statefulsets.apps"),
    Ask("update", "leases.coordination.k8s.io", RELEASE),
]


def _told(ask: Ask) -> str:
    return " ".join(part for part in ask if part)


@pytest.mark.parametrize("ask", NEVER, ids=_told)
async def test_it_may_not(operator: OperatorRelease, ask: Ask) -> None:
    assert not await _may(operator, ask, operator.namespace)


@pytest.mark.parametrize("ask", NEVER_OF_THE_CLUSTER, ids=_told)
async def test_it_may_not_in_the_cluster(operator: OperatorRelease, ask: Ask) -> None:
    assert not await _may(operator, ask, CLUSTER)


@pytest.mark.parametrize("ask", OF_ITS_WORK, ids=_told)
async def test_what_it_may_in_its_namespace_it_may_not_elsewhere(operator: OperatorRelease, ask: Ask) -> None:
    assert await _may(operator, ask, operator.namespace)
    assert not await _may(operator, ask, ELSEWHERE)
    assert not await _may(operator, ask, CLUSTER)


async def test_it_may_read_nodes(operator: OperatorRelease) -> None:
    assert await _may(operator, Ask("get", "nodes"), CLUSTER)


async def test_no_rule_has_a_wildcard(operator: OperatorRelease) -> None:
    rbac = client.RbacAuthorizationV1Api(operator.api)
    instance = f"app.kubernetes.io/instance={RELEASE}"
    roles = (await rbac.list_namespaced_role(operator.namespace, label_selector=instance)).items
    roles += [
        role
        for role in (await rbac.list_cluster_role(label_selector=instance)).items
        if operator.namespace in role.metadata.name
    ]
    assert len(roles) == 3, [role.metadata.name for role in roles]
    for role in roles:
        for rule in role.rules:
            assert "*" not in [*(rule.api_groups or ()), *rule.resources, *rule.verbs], rule


async def test_all_pods_pass_the_restricted_profile(operator: OperatorRelease) -> None:
    """The namespace has enforced it from its beginning: no other pod would have been let in."""
    namespace = await client.CoreV1Api(operator.api).read_namespace(operator.namespace, _request_timeout=SECONDS)
    assert namespace.metadata.labels["pod-security.kubernetes.io/enforce"] == "restricted"
    group = GroupUnderTest(operator, "plain")
    try:
        await group.create(replicas=1)
        await group.ready(1)
        assert len(await group.pods()) == len(await operator.pods()) == 1
    finally:
        await group.delete()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def blind(session_api: ApiClient, image: str) -> AsyncIterator[OperatorRelease]:
    """An operator that may not read the cluster's nodes."""
    async with installed(session_api, image, "rbac.nodes=false") as release:
        yield release


async def test_without_the_right_to_read_nodes_zones_are_empty_and_all_else_works(blind: OperatorRelease) -> None:
    assert not await _may(blind, Ask("get", "nodes"), CLUSTER)
    group = GroupUnderTest(blind, "unplaced")
    try:
        await group.create(replicas=1)
        await group.ready(1)
        await group.scale(3)
        resource = await group.ready(3)
        assert [member.get("zone", "") for member in resource["status"]["members"]] == ["", "", ""]
    finally:
        await group.delete()


async def _may(operator: OperatorRelease, ask: Ask, namespace: str) -> bool:
    """Whether the operator's account may do this there, as the API server's authorizer decides."""
    whole, _, subresource = ask.resource.partition("/")
    resource, _, api_group = whole.partition(".")
    attributes = {"verb": ask.verb, "group": api_group, "resource": resource, "namespace": namespace}
    attributes |= {"subresource": subresource, "name": ask.name}
    user = f"system:serviceaccount:{operator.namespace}:{RELEASE}"
    groups = ["system:serviceaccounts", f"system:serviceaccounts:{operator.namespace}", "system:authenticated"]
    review = await client.AuthorizationV1Api(operator.api).create_subject_access_review(
        {"spec": {"user": user, "groups": groups, "resourceAttributes": attributes}}, _request_timeout=SECONDS
    )
    return bool(review.status.allowed)
