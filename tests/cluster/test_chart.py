"""The chart: what it renders, whom it refuses, and that the API server takes all of it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "orderbook-operator"
VARIANTS = {
    "as it is": (),
    "for the whole cluster": ("--set", "clusterWide=true"),
    "for two namespaces": ("--set", "namespaces={default,kube-public}"),
    "without rights on nodes": ("--set", "rbac.nodes=false"),
    "two replicas": ("--set", "replicas=2"),
    "with everything set": (
        *("--set", "image.pullSecrets[0].name=pull", "--set", "priorityClassName=system-cluster-critical"),
        *("--set", "podLabels.team=desk", "--set", "podAnnotations.note=x", "--set", "nodeSelector.disk=fast"),
        *("--set", "tolerations[0].operator=Exists", "--set", "extraEnv[0].name=A", "--set", "extraEnv[0].value=b"),
        *("--set", "serviceAccount.annotations.role=x", "--set", "log=human"),
    ),
}

pytestmark = [
    pytest.mark.skipif(shutil.which("helm") is None, reason="needs helm"),
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl"),
]


def helm(*arguments: str, fails: bool = False) -> str:
    ended = subprocess.run(["helm", *arguments], capture_output=True, text=True, timeout=100, check=False)
    assert (ended.returncode != 0) == fails, ended.stdout + ended.stderr
    return ended.stderr if fails else ended.stdout


def render(*settings: str, namespace: str = "orderbook-system", fails: bool = False) -> str:
    return helm(
        *("template", "orderbook-operator", str(CHART), "--namespace", namespace, "--kube-version", "1.34.0"),
        *("--no-hooks", *settings),
        fails=fails,
    )


def objects(text: str) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(text) if document]


def rules(*settings: str) -> list[dict[str, Any]]:
    found = objects(render(*settings))
    return [rule for item in found if item["kind"] in ("Role", "ClusterRole") for rule in item["rules"]]


def test_it_passes_lint() -> None:
    assert "0 chart(s) failed" in helm("lint", "--strict", str(CHART))


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_api_server_takes_what_it_renders(variant: str, namespace: str) -> None:
    manifests = render(*VARIANTS[variant], namespace=namespace)
    command = ["kubectl", "apply", "--dry-run=server", "-f", "-"]
    ended = subprocess.run(command, input=manifests, capture_output=True, text=True, timeout=100, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("(server dry run)") == len(objects(manifests))


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        (("--set", "replicas=0"), "/replicas"),
        (("--set", "log=loud"), "/log"),
        (("--set", "image.tag="), "/image/tag"),
        (("--set", "image.repositry=x"), "repositry"),
        (("--set", "clusterWide=true", "--set", "namespaces={a}"), "/namespaces"),
        (("--set", "serviceAccount.create=false"), "serviceAccount.name is needed"),
    ],
)
def test_a_wrong_value_is_refused_by_name(settings: tuple[str, ...], named: str) -> None:
    assert named in render(*settings, fails=True)


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_rule_has_a_wildcard_and_secrets_are_neither_listed_nor_watched(variant: str) -> None:
    for rule in rules(*VARIANTS[variant]):
        assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
        if "secrets" in rule["resources"]:
            assert not {"list", "watch", "deletecollection"} & set(rule["verbs"])


def test_only_nodes_are_read_outside_of_the_namespaces_and_a_value_turns_it_off() -> None:
    def cluster_rules(*settings: str) -> list[Any]:
        return [item["rules"] for item in objects(render(*settings)) if item["kind"] == "ClusterRole"]

    assert cluster_rules() == [[{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]}]]
    assert cluster_rules("--set", "rbac.nodes=false") == []


def test_each_watched_namespace_has_its_role() -> None:
    found = objects(render("--set", "namespaces={desk-a,desk-b}"))
    places = {item["metadata"]["namespace"] for item in found if item["kind"] == "Role"}
    assert places == {"desk-a", "desk-b", "orderbook-system"}, "the last one for the Lease"


def test_the_definition_is_kept_when_the_release_goes() -> None:
    [definition] = [item for item in objects(render()) if item["kind"] == "CustomResourceDefinition"]
    assert definition["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


def test_the_plain_manifests_are_what_the_chart_renders() -> None:
    """k8s/operator.yaml is written by ``make generate``."""
    assert objects((ROOT / "k8s" / "operator.yaml").read_text()) == objects(render("--set", "crds.install=false"))


def test_the_kustomization_is_complete(kubectl: Callable[..., str]) -> None:
    kinds = [item["kind"] for item in objects(kubectl("kustomize", str(ROOT / "k8s")))]
    assert {"Namespace", "CustomResourceDefinition", "Deployment", "ServiceAccount", "Role", "RoleBinding"} <= set(
        kinds
    )
