"""What is rendered: the pods' restrictions, what rolls them and what doesn't, and what of a user's reaches them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from orderbook.server.configuration import load
from orderbook_operator import manifests, names
from orderbook_operator.manifests.pod_template import CREDENTIALS, DATA, IDENTITY, OWN_CERTIFICATE
from orderbook_operator.resource import OrderBookGroup, ResourceError
from unit.operator.resources import NAMESPACE, UID, group

IMAGE = "example.com/orderbook:1"


def everything(of: OrderBookGroup) -> list[dict[str, Any]]:
    budget = manifests.disruption_budget(of, 3)
    assert budget is not None
    return [
        manifests.peer_service(of),
        manifests.client_service(of),
        budget,
        *manifests.network_policies(of, "orderbook-system"),
        manifests.service_account(of),
        manifests.service_monitor(of),
        manifests.stateful_set(of, IMAGE, 3),
    ]


def template(spec: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return manifests.pod_template(group(spec), IMAGE)


def container(spec: Mapping[str, Any] | None = None) -> dict[str, Any]:
    (only,) = template(spec)["spec"]["containers"]
    return dict(only)


def environment(spec: Mapping[str, Any] | None = None) -> dict[str, str]:
    """As the container gets it in the pod eth-1: references replaced as Kubernetes does."""
    values: dict[str, str] = {}
    for variable in container(spec)["env"]:
        text = "eth-1" if "valueFrom" in variable else variable.get("value", "")
        values[variable["name"]] = text.replace("$(ORDERBOOK_NAME)", "eth-1").replace("$$", "$")
    return values


# --- every object -----------------------------------------------------------------------------------------------------


def test_every_object_is_named_labelled_and_owned() -> None:
    for manifest in everything(group()):
        metadata = manifest["metadata"]
        assert metadata["namespace"] == NAMESPACE
        assert metadata["name"].startswith("eth")
        assert metadata["labels"] == names.labels("eth")
        assert [(owner["uid"], owner["controller"]) for owner in metadata["ownerReferences"]] == [(UID, True)]


def test_no_two_objects_share_kind_and_name() -> None:
    keys = [(manifest["kind"], manifest["metadata"]["name"]) for manifest in everything(group())]
    assert len(set(keys)) == len(keys) == 9


def test_labels_and_annotations_of_the_resource_change_nothing() -> None:
    other = group(labels={"team": "x"}, annotations={names.ROTATE: "now", "a": "b"})
    assert everything(other) == everything(group())


@pytest.mark.parametrize(("voters", "unavailable"), [(1, None), (2, 0), (3, 1), (5, 1), (7, 1)])
def test_a_budget_never_costs_the_quorum(voters: int, unavailable: int | None) -> None:
    budget = manifests.disruption_budget(group(), voters)
    assert (budget and budget["spec"]["maxUnavailable"]) == unavailable


def test_the_peers_service_finds_pods_that_are_not_ready_and_names_their_ports() -> None:
    spec = manifests.peer_service(group())["spec"]
    assert (spec["clusterIP"], spec["publishNotReadyAddresses"]) == ("None", True)
    assert {port["name"]: port["port"] for port in spec["ports"]} == {"peers": 7400, "clients": 8443, "probes": 9464}


def test_the_clients_service_is_as_the_spec_says() -> None:
    wanted = {"type": "NodePort", "nodePort": 30123, "annotations": {"lb": "internal"}}
    service = manifests.client_service(group({"service": wanted, "networkPolicy": {"enabled": False}}))
    assert service["metadata"]["annotations"] == {"lb": "internal"}
    (port,) = service["spec"]["ports"]
    assert (service["spec"]["type"], port["port"], port["nodePort"]) == ("NodePort", 8443, 30123)


def test_the_service_monitor_is_found_by_the_users_labels_and_finds_the_headless_service() -> None:
    monitor = manifests.service_monitor(group({"monitoring": {"labels": {"release": "prom"}, "interval": "30s"}}))
    assert monitor["metadata"]["labels"]["release"] == "prom"
    assert monitor["spec"]["selector"]["matchLabels"].items() <= names.labels("eth").items()
    (endpoint,) = monitor["spec"]["endpoints"]
    assert (endpoint["port"], endpoint["path"], endpoint["interval"]) == ("probes", "/metrics", "30s")


# --- the StatefulSet --------------------------------------------------------------------------------------------------


def test_the_controller_replaces_no_pod_and_deletes_no_claim() -> None:
    spec = manifests.stateful_set(group(), IMAGE, 4)["spec"]
    assert spec["updateStrategy"] == {"type": "OnDelete"}
    assert spec["podManagementPolicy"] == "Parallel"
    assert spec["persistentVolumeClaimRetentionPolicy"] == {"whenScaled": "Retain", "whenDeleted": "Retain"}
    assert (spec["replicas"], spec["serviceName"]) == (4, "eth-peers")


def test_retention_delete_is_the_operators_not_the_controllers() -> None:
    spec = manifests.stateful_set(group({"storage": {"retention": "Delete"}}), IMAGE, 3)["spec"]
    assert set(spec["persistentVolumeClaimRetentionPolicy"].values()) == {"Retain"}


def test_a_claim_has_the_size_and_class_of_the_spec() -> None:
    sized = manifests.stateful_set(group({"storage": {"size": "8Gi", "className": "fast"}}), IMAGE, 3)
    (claim,) = sized["spec"]["volumeClaimTemplates"]
    assert claim["metadata"]["name"] == "data"
    assert claim["spec"]["resources"]["requests"]["storage"] == "8Gi"
    assert claim["spec"]["storageClassName"] == "fast"
    (default,) = manifests.stateful_set(group(), IMAGE, 3)["spec"]["volumeClaimTemplates"]
    assert "storageClassName" not in default["spec"]


def test_claim_templates_and_template_in_force_can_be_kept() -> None:
    small, large = (manifests.stateful_set(group({"storage": {"size": size}}), IMAGE, 3) for size in ("1Gi", "2Gi"))
    assert manifests.with_claim_templates_of(large, small) == small
    revision = {"$patch": "replace", "metadata": {"creationTimestamp": None, "labels": {"a": "b"}}, "spec": {"x": [{}]}}
    kept = manifests.with_template(small, revision)["spec"]["template"]
    assert kept == {"metadata": {"labels": {"a": "b"}}, "spec": {"x": [{}]}}


# --- the pods ---------------------------------------------------------------------------------------------------------


def test_pods_are_restricted() -> None:
    pod = template()["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    security = container()["securityContext"]
    assert security == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & set(pod)
    assert {kind for volume in pod["volumes"] for kind in volume} == {"name", "secret"}


def test_probes_ask_the_plain_listener() -> None:
    node = container()
    probes = {name: node[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {name: (probe["path"], probe["port"]) for name, probe in probes.items()} == {
        "startupProbe": ("/startupz", "probes"),
        "livenessProbe": ("/livez", "probes"),
        "readinessProbe": ("/readyz", "probes"),
    }
    assert {port["name"]: port["containerPort"] for port in node["ports"]}["probes"] == 9464


def test_members_are_spread_over_zones_then_hosts_by_the_groups_own_pods() -> None:
    constraints = template()["spec"]["topologySpreadConstraints"]
    assert [constraint["topologyKey"] for constraint in constraints] == [
        "topology.kubernetes.io/zone",
        "kubernetes.io/hostname",
    ]
    assert all(constraint["labelSelector"] == {"matchLabels": names.selector("eth")} for constraint in constraints)


@pytest.mark.parametrize(
    ("spec", "mounted"),
    [
        ({}, {DATA: "data", IDENTITY: "eth-identity", CREDENTIALS: "eth-credentials"}),
        (
            {"tls": {"secret": "mine"}},
            {DATA: "data", IDENTITY: "eth-identity", CREDENTIALS: "eth-credentials", OWN_CERTIFICATE: "mine"},
        ),
    ],
)
def test_what_is_mounted_is_read_only_but_for_the_data(spec: dict[str, Any], mounted: dict[str, str]) -> None:
    secrets = {volume["name"]: volume["secret"] for volume in template(spec)["spec"]["volumes"]}
    mounts = container(spec)["volumeMounts"]
    found = {
        mount["mountPath"]: secrets[mount["name"]]["secretName"] if mount["name"] in secrets else mount["name"]
        for mount in mounts
    }
    assert found == mounted
    assert [mount["mountPath"] for mount in mounts if not mount.get("readOnly")] == [DATA]
    assert all(secret["optional"] is False for secret in secrets.values())


# --- the node's configuration -----------------------------------------------------------------------------------------

SPECS: dict[str, dict[str, Any]] = {
    "default": {},
    "own certificate": {"tls": {"secret": "mine"}},
    "no TLS": {"tls": {"auto": False}},
    "no tokens": {"auth": {"mode": "none"}},
    "anonymous": {"auth": {"anonymous": "observer"}},
    "fast": {"raft": {"heartbeat": "10ms", "electionTimeout": "100ms", "snapshotEvery": 10}},
    "slow": {"raft": {"heartbeat": "10s", "electionTimeout": "1m"}},
    "streams": {"streams": {"retention": {"entries": 1000, "memory": "16Mi"}}},
}


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_a_node_takes_the_environment_that_it_gets(spec: dict[str, Any], tmp_path: Path) -> None:
    values = environment(spec)
    for name in (names.IDENTITY_KEY, names.IDENTITY_INITIAL_SIZE, names.IDENTITY_INCARNATION):
        (tmp_path / name).write_text({names.IDENTITY_KEY: "k" * 32, names.IDENTITY_INITIAL_SIZE: "3"}.get(name, ""))
    there = {name: value.replace(IDENTITY, str(tmp_path)) for name, value in values.items()}
    configuration = load(None, there)
    wanted = group(spec).spec
    peers = "eth-peers.trading.svc.cluster.local"
    assert configuration.name == "eth-1"
    assert configuration.advertise == f"eth-1.{peers}:7400"
    assert configuration.discovery.service == peers
    assert configuration.initial_size == 3
    assert configuration.raft.heartbeat == wanted.raft.heartbeat.seconds
    assert configuration.raft.election_timeout == wanted.raft.election_timeout.seconds
    assert configuration.raft.tick <= configuration.raft.heartbeat / 2
    assert configuration.raft.snapshot_every == wanted.raft.snapshot_every
    assert configuration.streams.retained_entries == wanted.streams.retention.entries
    assert configuration.streams.retained_bytes == wanted.streams.retention.memory.number
    assert configuration.tls.mode == ("mutual" if wanted.tls.auto else "none")
    assert (configuration.auth.mode, configuration.auth.anonymous) == (wanted.auth.mode, wanted.auth.anonymous)
    if wanted.auth.mode == "tokens":
        assert configuration.audience == names.audience("eth", NAMESPACE)


def test_every_file_that_a_node_is_told_of_is_mounted() -> None:
    files = {*names_of(environment({"tls": {"secret": "mine"}}))}
    held = {
        IDENTITY: {names.IDENTITY_KEY, names.IDENTITY_INITIAL_SIZE, names.IDENTITY_INCARNATION},
        CREDENTIALS: {"tls.crt", "tls.key", "ca.crt", "tokens.jwks"},
        OWN_CERTIFICATE: {"tls.crt", "tls.key"},
    }
    assert files == {f"{directory}/{file}" for directory, there in held.items() for file in there}


def names_of(values: Mapping[str, str]) -> list[str]:
    return [value for value in values.values() if value.startswith("/etc/")]


# --- what a user gives ------------------------------------------------------------------------------------------------


def test_a_users_variables_come_last_and_literally() -> None:
    spec = {"pod": {"env": [{"name": "A", "value": "$(ORDERBOOK_NAME) $$ $x"}, {"name": "EMPTY"}]}}
    assert [variable["name"] for variable in container(spec)["env"]][-2:] == ["A", "EMPTY"]
    (value,) = (variable["value"] for variable in container(spec)["env"] if variable["name"] == "A")
    assert value == "$$(ORDERBOOK_NAME) $$$$ $$x"


@pytest.mark.parametrize(
    ("pod", "says"),
    [
        ({"env": [{"name": "ORDERBOOK_AUTH__MODE", "value": "none"}]}, "must not set names that start with ORDERBOOK_"),
        ({"labels": {"orderbook.dev/group": "other"}}, "labels must not take"),
        ({"labels": {"app.kubernetes.io/name": "x"}}, "labels must not take"),
        ({"labels": {"controller-revision-hash": "x"}}, "labels must not take"),
        ({"annotations": {"orderbook.dev/template": "0"}}, "annotations must not take"),
        ({"volumes": [{"name": "x"}]}, "no field"),
    ],
)
def test_reserved_names_are_refused(pod: dict[str, Any], says: str) -> None:
    with pytest.raises(ResourceError, match=says):
        group({"pod": pod})


def test_our_labels_win_whatever_gets_through() -> None:
    """The rules refuse it; the builder would not give way either."""
    through = group({"pod": {"labels": {"team": "x"}}})
    through.spec.pod.labels[names.GROUP_LABEL] = "other"
    labels = manifests.pod_template(through, IMAGE)["metadata"]["labels"]
    assert (labels[names.GROUP_LABEL], labels["team"]) == ("eth", "x")


def test_settings_reach_the_pods_as_kubernetes_writes_them() -> None:
    spec = {
        "resources": {"limits": {"memory": "1Gi"}},
        "imagePullSecrets": [{"name": "registry"}],
        "scheduling": {
            "nodeSelector": {"disk": "fast"},
            "tolerations": [{"operator": "Exists"}, {"key": "k", "effect": "NoExecute", "tolerationSeconds": 0}],
            "priorityClassName": "high",
            "affinity": {
                "podAntiAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": [
                        {"topologyKey": "kubernetes.io/hostname", "labelSelector": {}}
                    ]
                }
            },
        },
    }
    pod = template(spec)["spec"]
    assert pod["tolerations"] == [
        {"operator": "Exists"},
        {"key": "k", "operator": "Equal", "effect": "NoExecute", "tolerationSeconds": 0},
    ]
    (term,) = pod["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert term == {"topologyKey": "kubernetes.io/hostname", "labelSelector": {}}, "{} is everybody, absent is nobody"
    assert (pod["nodeSelector"], pod["priorityClassName"]) == ({"disk": "fast"}, "high")
    assert pod["imagePullSecrets"] == [{"name": "registry"}]
    assert container(spec)["resources"]["limits"] == {"memory": "1Gi"}


# --- what rolls -------------------------------------------------------------------------------------------------------


def test_the_annotation_is_the_hash_of_the_rest() -> None:
    assert template()["metadata"]["annotations"] == {names.TEMPLATE: manifests.template_hash(group(), IMAGE)}


@pytest.mark.parametrize(
    "spec",
    [
        {"replicas": 5},
        {"pairs": [{"base": "ETH", "quote": "USDC", "tickSize": "0.01", "lotSize": "0.1"}]},
        {"storage": {"size": "9Gi", "retention": "Delete"}},
        {"paused": True},
        {"progressDeadline": "1m"},
        {"service": {"annotations": {"a": "b"}}},
        {"networkPolicy": {"enabled": False}},
        {"monitoring": {"serviceMonitor": False}},
    ],
)
def test_what_is_not_in_the_pods_rolls_nothing(spec: dict[str, Any]) -> None:
    assert manifests.template_hash(group(spec), IMAGE) == manifests.template_hash(group(), IMAGE)
    assert manifests.asked_hash(group(spec)) == manifests.asked_hash(group())


@pytest.mark.parametrize(
    "spec",
    [
        {"image": "example.com/orderbook:2"},
        {"resources": {"requests": {"cpu": "2"}}},
        {"raft": {"heartbeat": "50ms"}},
        {"pod": {"env": [{"name": "A", "value": "1"}]}},
        {"pod": {"labels": {"a": "b"}}},
        {"scheduling": {"topologySpread": []}},
        {"tls": {"secret": "mine"}},
        {"auth": {"anonymous": "observer"}},
    ],
)
def test_what_is_in_the_pods_rolls_them(spec: dict[str, Any]) -> None:
    assert manifests.template_hash(group(spec), IMAGE) != manifests.template_hash(group(), IMAGE)
    assert manifests.asked_hash(group(spec)) != manifests.asked_hash(group())


def test_a_default_that_is_written_out_is_nothing_that_was_asked() -> None:
    """The API server writes all of them into a resource, also those that came with a later definition."""
    written = group().spec.model_dump(mode="json", exclude_none=True)
    assert len(written) > 10
    assert manifests.asked_hash(group(written)) == manifests.asked_hash(group())


def test_the_specs_image_wins_over_the_operators() -> None:
    assert container({"image": "mine:2"})["image"] == "mine:2"
    assert manifests.template_hash(group({"image": "mine:2"}), "a") == manifests.template_hash(
        group({"image": "mine:2"}), "b"
    )


def test_the_hash_is_the_same_in_every_process() -> None:
    program = (
        "from unit.operator.resources import group; from orderbook_operator import manifests;"
        f"print(manifests.template_hash(group({SPECS['streams']!r}), {IMAGE!r}))"
    )
    path = os.pathsep.join(sys.path)
    hashes = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONPATH": path, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=100,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert hashes == {manifests.template_hash(group(SPECS["streams"]), IMAGE)}
