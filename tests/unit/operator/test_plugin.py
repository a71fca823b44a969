"""``kubectl orderbook``: what it takes, whom it refuses, and what it says of what is wrong."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from orderbook.tokens import TokenKeys
from orderbook.wire.roles import Role
from orderbook_operator import names
from orderbook_operator.plugin import application
from unit.operator.api_server import Faults
from unit.operator.plugin_cluster import PluginCluster, plugin_cluster
from unit.operator.resources import NAMESPACE

COMMANDS = sorted(typer.main.get_command(application()).commands)  # type: ignore[attr-defined]


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PluginCluster]:
    with plugin_cluster(tmp_path) as made:
        monkeypatch.setenv("KUBECONFIG", str(made.kubeconfig))
        yield made


def test_all_commands_are_there() -> None:
    assert set(COMMANDS) == {
        *("status", "top", "place", "cancel", "amend", "orders", "book", "fills", "watch", "transfer-leader"),
        *("snapshot", "halt", "resume", "token", "connect", "diagnose", "trial"),
    }


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example_that_calls_this_command(name: str, cluster: PluginCluster) -> None:
    result = cluster.run(name, "--help")
    assert result.exit_code == 0
    text = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", result.output).split())
    assert f"Example: kubectl orderbook {name}" in text
    assert "--namespace" in text and "--context" in text
    assert "--node " not in text and "--server-name" not in text


@pytest.mark.parametrize("name", COMMANDS)
def test_an_unknown_option_is_wrong_usage(name: str, cluster: PluginCluster) -> None:
    assert cluster.run(name, "--no-such-option").exit_code == 2


# --- finding a group --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [("status",), ("book", "A/B"), ("top",), ("diagnose",), ("token", "--subject=a")])
def test_a_group_that_is_not_there_is_named_with_those_that_are(
    command: tuple[str, ...], cluster: PluginCluster
) -> None:
    cluster.install()
    cluster.group("btc")
    cluster.group("sol")
    result = cluster.run(command[0], "eth", *command[1:])
    assert result.exit_code == 1
    assert f"there is no OrderBookGroup {NAMESPACE}/eth; there are: btc, sol" in result.stderr


def test_without_the_operator_it_says_that(cluster: PluginCluster) -> None:
    assert "install the operator" in cluster.run("status", "eth").stderr


def test_the_namespace_can_be_said(cluster: PluginCluster) -> None:
    assert "OrderBookGroup elsewhere/eth" in cluster.run("status", "eth", "-n", "elsewhere").stderr


def test_an_unknown_context_is_named_with_those_that_are(cluster: PluginCluster) -> None:
    result = cluster.run("status", "eth", "--context", "there")
    assert (result.exit_code, "no context 'there'; there are: here" in result.stderr) == (2, True)


def test_without_a_cluster_it_says_where_it_looked(cluster: PluginCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(cluster.directory / "nowhere"))
    result = cluster.run("status", "eth")
    assert (result.exit_code, "no cluster is configured" in result.stderr) == (2, True)


def test_a_damaged_kubeconfig_is_told(cluster: PluginCluster) -> None:
    cluster.kubeconfig.write_text("apiVersion: v1\nkind: Config\n")
    result = cluster.run("status", "eth")
    assert (result.exit_code, "the kubeconfig can't be used" in result.stderr) == (2, True)


def test_what_is_forbidden_is_told_in_the_words_of_the_api_server(cluster: PluginCluster) -> None:
    cluster.server.fail("", Faults(refused=403, reason="Forbidden"))
    result = cluster.run("status", "eth")
    assert (result.exit_code, "the test says so" in result.stderr) == (1, True)


def test_an_api_server_that_fails_is_unavailable_and_json_if_asked_for(cluster: PluginCluster) -> None:
    cluster.server.fail("", Faults(refused=503))
    result = cluster.run("status", "eth", "--json")
    assert result.exit_code == 3
    assert "does not answer" in json.loads(result.stdout)["error"]["message"]


# --- tokens -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["trader", "observer", "admin"])
def test_a_token_is_taken_by_nodes(role: str, cluster: PluginCluster) -> None:
    cluster.group()
    store = cluster.secrets()
    minted = cluster.run("token", "eth", "--subject", "alice", "--role", role, "--ttl", "2h").stdout.strip()
    keys = TokenKeys.parse(store.credentials.data[names.TOKEN_KEYS].decode())
    claims = keys.verify(minted, names.audience("eth", NAMESPACE), time.time())
    assert (claims.subject, claims.role) == ("alice", Role[role.upper()])
    assert 7100 < claims.expires - time.time() <= 7200


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--ttl", "1y"), "--ttl is a number and s, m, h or d"),
        (("--ttl", "31d"), "at most 30 days"),
        (("--ttl", "0s"), "a token lives for"),
        (("--subject", "a\nb"), "printable characters"),
    ],
)
def test_a_token_that_can_not_be_is_wrong_usage(options: tuple[str, ...], says: str, cluster: PluginCluster) -> None:
    cluster.group()
    cluster.secrets()
    result = cluster.run("token", "eth", "--subject", "alice", *options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert says in result.stderr


def test_a_group_that_asks_for_no_token_has_none(cluster: PluginCluster) -> None:
    cluster.group(spec={"auth": {"mode": "none"}})
    assert "spec.auth.mode is none" in cluster.run("token", "eth", "--subject", "alice").stderr


def test_a_secret_that_is_not_there_yet_is_unavailable(cluster: PluginCluster) -> None:
    cluster.group()
    result = cluster.run("token", "eth", "--subject", "alice")
    assert (result.exit_code, f"no Secret {NAMESPACE}/eth-authority" in result.stderr) == (3, True)


# --- reaching nodes ---------------------------------------------------------------------------------------------------


def test_without_kubectl_it_says_so(cluster: PluginCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster.group()
    cluster.secrets()
    cluster.pod("eth-0")
    monkeypatch.setenv("PATH", str(cluster.directory))
    result = cluster.run("book", "eth", "A/B")
    assert (result.exit_code, "kubectl is not on the PATH" in result.stderr) == (1, True)


def test_what_kubectl_says_is_told(cluster: PluginCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster.group()
    cluster.secrets()
    cluster.pod("eth-0")
    cluster.kubectl(monkeypatch, "sys.exit('error: pods eth-0 is forbidden')\n")
    result = cluster.run("book", "eth", "A/B")
    assert (result.exit_code, "eth-0: error: pods eth-0 is forbidden" in result.stderr) == (3, True)


def test_a_group_without_a_running_pod_is_unavailable(cluster: PluginCluster) -> None:
    cluster.group()
    cluster.secrets()
    result = cluster.run("book", "eth", "A/B")
    assert (result.exit_code, "no pod of eth runs: it has none" in result.stderr) == (3, True)


def test_authorities_in_no_file_are_wrong_usage(cluster: PluginCluster) -> None:
    cluster.group()
    result = cluster.run("book", "eth", "A/B", "--token", "x", "--ca", cluster.directory / "none.pem")
    assert (result.exit_code, "none.pem" in result.stderr) == (2, True)


def test_who_has_token_and_authorities_needs_no_secret(cluster: PluginCluster, tmp_path: Path) -> None:
    cluster.group()
    store = cluster.secrets()
    (tmp_path / "ca.pem").write_bytes(store.credentials.data[names.TRUST])
    cluster.run("book", "eth", "A/B", "--token", "x", "--ca", tmp_path / "ca.pem")
    assert not [path for _, path, _ in cluster.server.requests if "/secrets/" in path]


def test_status_without_nodes_tells_what_the_resource_says(cluster: PluginCluster) -> None:
    member = {"name": "eth-0", "id": "7", "role": "voter", "lag": "none", "version": "1", "zone": "a"}
    condition = {
        "type": "Ready",
        "status": "False",
        "reason": "MembersMissing",
        "message": "0 of 3 members are up",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    status = {"phase": "Unavailable", "members": [member], "conditions": [condition], "observedGeneration": 1}
    cluster.group(status=status)
    result = cluster.run("status", "eth")
    assert result.exit_code == 1
    assert "Unavailable" in result.stdout and "MembersMissing" in result.stdout and "eth-0" in result.stdout
    assert "no Secret" in result.stderr
    document = json.loads(cluster.run("status", "eth", "--json").stdout)
    assert document["members"][0]["phase"] == "no pod is seen" and document["ready"] is False


# --- trials -----------------------------------------------------------------------------------------------------------


def test_a_trial_touches_no_group_of_others(cluster: PluginCluster) -> None:
    cluster.group("eth")
    result = cluster.run("trial", "eth")
    assert (result.exit_code, "it is no trial" in result.stderr) == (1, True)
    assert not [path for method, path, _ in cluster.server.requests if method == "DELETE"]


def test_a_trial_without_an_operator_ends_in_time_and_leaves_nothing(cluster: PluginCluster) -> None:
    result = cluster.run("trial", "try", "--timeout", "1s")
    assert (result.exit_code, "no operator looks at it" in result.stderr) == (3, True)
    assert not [path for path in cluster.server.objects if path.endswith("/try")]
    assert {path for _, path, _ in cluster.server.requests if "secrets" in path or "pods" in path} == set()


def test_what_an_earlier_trial_left_is_deleted_first(cluster: PluginCluster) -> None:
    left = cluster.group("try")
    left["metadata"]["labels"] = {"orderbook.dev/trial": "true"}
    result = cluster.run("trial", "try", "--timeout", "1s")
    assert "deleting the group try that an earlier trial left" in result.stdout
    assert f"made the group {NAMESPACE}/try" in result.stdout
