"""What counts as a difference between what was meant and what is there, and whose fields must be reclaimed."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from orderbook_operator import manifests
from orderbook_operator.manifests import Drift, drift
from orderbook_operator.manifests.compare import is_foreign
from unit.operator.resources import group

ENV = ("f:spec", "f:template", "f:spec", "f:containers", 'k:{"name":"node"}', "f:env")


def fields(*paths: tuple[str, ...]) -> dict[str, Any]:
    """A set of fields as managedFields writes it."""
    root: dict[str, Any] = {}
    for path in paths:
        at = root
        for step in path:
            at = at.setdefault(step, {})
    return root


def entry(manager: str, operation: str, held: dict[str, Any], subresource: str = "") -> dict[str, Any]:
    of = {"subresource": subresource} if subresource else {}
    return {"manager": manager, "operation": operation, "fieldsType": "FieldsV1", "fieldsV1": held, **of}


DESIRED = manifests.stateful_set(group({"resources": {"limits": {"cpu": "1500m", "memory": "1Gi"}}}), "image:1", 3)
OURS = entry("orderbook-operator", "Apply", fields(("f:spec", "f:replicas"), ("f:metadata", "f:labels")))


@pytest.fixture
def live() -> dict[str, Any]:
    """As the API server gives it back: defaults filled in, quantities written its way, status beside it."""
    found = copy.deepcopy(DESIRED)
    found["metadata"] |= {"uid": "u", "resourceVersion": "9", "managedFields": [OURS]}
    found["metadata"]["annotations"] = {"somebody.example.com/note": "x"}
    found["spec"] |= {"revisionHistoryLimit": 10}
    pod = found["spec"]["template"]["spec"]
    pod |= {"dnsPolicy": "ClusterFirst", "restartPolicy": "Always"}
    (node,) = pod["containers"]
    node["resources"]["limits"] = {"cpu": "1.5", "memory": "1024Mi"}
    node["startupProbe"] |= {"successThreshold": 1}
    node["startupProbe"]["httpGet"] |= {"scheme": "HTTP"}
    node["env"].reverse()
    found["spec"]["volumeClaimTemplates"][0] |= {"kind": "PersistentVolumeClaim", "status": {"phase": "Pending"}}
    found["status"] = {"replicas": 3}
    return found


def node_of(live: dict[str, Any]) -> dict[str, Any]:
    (node,) = live["spec"]["template"]["spec"]["containers"]
    return node  # type: ignore[no-any-return]


def test_what_the_api_server_fills_in_is_no_difference(live: dict[str, Any]) -> None:
    assert drift(DESIRED, live) is None


def test_a_changed_value_is_named_by_its_path(live: dict[str, Any]) -> None:
    live["spec"]["replicas"] = 5
    node_of(live)["image"] = "image:2"
    node_of(live)["resources"]["limits"]["cpu"] = "2"
    assert drift(DESIRED, live) == Drift(
        (
            "spec.replicas",
            "spec.template.spec.containers[node].image",
            "spec.template.spec.containers[node].resources.limits.cpu",
        ),
        (),
    )


def test_what_was_removed_is_missing(live: dict[str, Any]) -> None:
    del live["metadata"]["labels"]["app.kubernetes.io/name"]
    node_of(live)["env"] = [row for row in node_of(live)["env"] if row["name"] != "ORDERBOOK_LOG"]
    found = drift(DESIRED, live)
    assert found is not None
    assert set(found.fields) == {
        "metadata.labels.app.kubernetes.io/name",
        "spec.template.spec.containers[node].env[ORDERBOOK_LOG]",
    }


@pytest.mark.parametrize(("wanted", "found"), [(True, 1), (1, True), (1, "1"), ("1", 1), (3, None)])
def test_values_of_another_kind_differ(wanted: object, found: object) -> None:
    assert drift({"spec": {"x": wanted}}, {"spec": {"x": found}}) == Drift(("spec.x",), ())


@pytest.mark.parametrize(
    ("wanted", "found", "same"),
    [("1Gi", "1024Mi", True), ("0.5", "500m", True), (2, "2", True), ("1Gi", "1G", False), ("1Gi", "much", False)],
)
def test_quantities_are_compared_by_value(wanted: object, found: object, same: bool) -> None:
    result = drift({"requests": {"memory": wanted}}, {"requests": {"memory": found}})
    assert (result is None) == same


def test_items_of_an_atomic_list_are_compared_in_order_and_number() -> None:
    assert drift({"args": ["a", "b"]}, {"args": ["b", "a"]}) == Drift(("args[0]", "args[1]"), ())
    assert drift({"args": ["a"]}, {"args": ["a", "b"]}) == Drift(("args",), ())


def test_an_empty_selector_is_not_an_absent_one() -> None:
    assert drift({"from": [{"podSelector": {}}]}, {"from": [{"namespaceSelector": {}}]}) == Drift(
        ("from[0].podSelector",), ()
    )


def test_ports_are_told_apart_by_number_and_protocol() -> None:
    tcp, udp = {"port": 53, "protocol": "TCP", "name": "a"}, {"port": 53, "protocol": "UDP", "name": "b"}
    assert drift({"ports": [tcp]}, {"ports": [udp, tcp]}) is None
    assert drift({"ports": [tcp]}, {"ports": [udp]}) == Drift(("ports[53, TCP]",), ())


# --- what we left behind ----------------------------------------------------------------------------------------------


def test_a_field_of_ours_that_we_no_longer_mean_is_a_difference(live: dict[str, Any]) -> None:
    held = fields(
        ("f:metadata", "f:annotations", "f:gone"),
        (*ENV, 'k:{"name":"GONE"}', "f:value"),
        (*ENV, 'k:{"name":"ORDERBOOK_LOG"}', "."),
        (*ENV, 'k:{"name":"ORDERBOOK_LOG"}', "f:value"),
        (*ENV[:-1], "f:ports", 'k:{"containerPort":7400,"protocol":"TCP"}', "f:name"),
    )
    live["metadata"]["managedFields"] = [entry("orderbook-operator", "Apply", held)]
    assert drift(DESIRED, live) == Drift(("metadata.annotations", "spec.template.spec.containers[node].env[GONE]"), ())


# --- what others put in -----------------------------------------------------------------------------------------------


def foreign(live: dict[str, Any], *entries: dict[str, Any]) -> Drift | None:
    live["metadata"]["managedFields"] = [OURS, *entries]
    return drift(DESIRED, live)


def test_a_variable_that_somebody_added_must_be_reclaimed(live: dict[str, Any]) -> None:
    node_of(live)["env"].append({"name": "ADDED", "value": "x"})
    added = entry("kubectl-edit", "Update", fields((*ENV, 'k:{"name":"ADDED"}', "f:value")))
    assert foreign(live, added) == Drift(
        ("spec.template.spec.containers[node].env[ADDED].value",), ("kubectl-edit (Update)",)
    )


@pytest.mark.parametrize(
    ("who", "named"),
    [
        (entry("kubectl", "Update", fields(("f:spec", "f:replicas")), "scale"), "kubectl (Update)/scale"),
        (entry("argocd", "Apply", fields(("f:spec", "f:paused"))), "argocd (Apply)"),
        (
            entry("orderbook-operator", "Update", fields(("f:spec", "f:serviceName"))),
            "orderbook-operator (Update)",
        ),
        (
            entry("kubectl-rollout", "Update", fields(("f:spec", "f:template", "f:metadata", "f:annotations", "f:x"))),
            "kubectl-rollout (Update)",
        ),
    ],
)
def test_whoever_writes_the_spec_is_named(live: dict[str, Any], who: dict[str, Any], named: str) -> None:
    assert is_foreign(who)
    found = foreign(live, who)
    assert found is not None and found.foreign_managers == (named,)


@pytest.mark.parametrize(
    "harmless",
    [
        entry("kube-controller-manager", "Update", fields(("f:status", "f:replicas")), "status"),
        entry("kubectl-annotate", "Update", fields(("f:metadata", "f:annotations", "f:somebody.example.com/note"))),
        entry("cloud-controller-manager", "Update", fields(("f:metadata", "f:finalizers", 'v:"lb"'))),
        entry("openshift-controller-manager", "Update", fields(("f:secrets", 'k:{"name":"token"}', "f:name"))),
    ],
)
def test_reports_and_notes_are_harmless(live: dict[str, Any], harmless: dict[str, Any]) -> None:
    assert not is_foreign(harmless)
    assert foreign(live, harmless) is None


def test_paths_are_json_as_the_api_server_writes_them() -> None:
    """The keys of an item are JSON in a name; a value that is no object is written as it is."""
    held = fields(("f:spec", "f:list", f"v:{json.dumps('a.b')}"))
    assert drift({}, {"metadata": {"managedFields": [entry("x", "Update", held)]}}) == Drift(
        ("spec.list[a.b]",), ("x (Update)",)
    )
