"""The nodes of the cluster: drained and given back, killed and started again, and processes on them killed."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from kubernetes.aio import client
from kubernetes.aio.client import ApiClient

from cluster.api import SECONDS, eventually
from cluster.commands import ROOT, run
from cluster.group_under_test import LONG
from cluster.operator_release import TEST_RUN

# Looks for the processes of a pod on its cluster node, and sends all of them a signal.
KILL = """
import os, signal, sys
pod, number, killed = sys.argv[1], signal.Signals[sys.argv[2]], 0
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        group = open(f"/proc/{pid}/cgroup").read().replace("_", "-")
        command = open(f"/proc/{pid}/cmdline").read()
    except OSError:
        continue
    if f"pod{pod}" in group and "orderbook" in command:
        os.kill(int(pid), number)
        killed += 1
sys.exit(0 if killed else "no process of this pod runs here")
"""


async def zones(api: ApiClient) -> dict[str, str]:
    """The zone of each node that takes pods."""
    found = (await client.CoreV1Api(api).list_node(_request_timeout=SECONDS)).items
    tainted = ("NoSchedule", "NoExecute")
    return {
        node.metadata.name: node.metadata.labels.get("topology.kubernetes.io/zone", "")
        for node in found
        if not any(taint.effect in tainted for taint in node.spec.taints or ())
    }


@asynccontextmanager
async def drained(node: str, namespace: str) -> AsyncIterator[None]:
    """``kubectl drain`` of a node, of this test run's pods: operator and members; given back at the end."""
    options = ("--ignore-daemonsets", f"--pod-selector={TEST_RUN}={namespace}", "--timeout=300s")
    try:
        await run("kubectl", "drain", node, *options, seconds=LONG)
        yield
    finally:
        await run("kubectl", "uncordon", node)


async def kill_processes(
    api: ApiClient, namespace: str, image: str, pod: client.V1Pod, signal: str = "SIGKILL"
) -> None:
    """A signal for the processes of ``pod``. A pod's first process can't be killed or stopped from within: this is done
    from a pod that sees its node's processes, in ``namespace``, which must allow it."""
    core = client.CoreV1Api(api)
    name = f"kill-{secrets.token_hex(4)}"
    container = {
        "name": "kill",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-c", KILL, pod.metadata.uid, signal],
        "securityContext": {"privileged": True, "runAsUser": 0},
    }
    spec = {"hostPID": True, "restartPolicy": "Never", "nodeName": pod.spec.node_name, "containers": [container]}
    await core.create_namespaced_pod(namespace, {"metadata": {"name": name}, "spec": spec}, _request_timeout=SECONDS)
    phase = ""

    async def ended() -> bool:
        nonlocal phase
        found = await core.read_namespaced_pod(name, namespace, _request_timeout=SECONDS)
        phase = found.status.phase
        return phase in ("Succeeded", "Failed")

    await eventually(ended, f"the processes of {pod.metadata.name} got {signal}", LONG)
    if phase == "Failed":
        raise AssertionError(await core.read_namespaced_pod_log(name, namespace, _request_timeout=SECONDS))


class LocalCluster:
    """The cluster on this machine, whose nodes can lose power."""

    def __init__(self, program: str) -> None:
        self._program = program

    async def crash(self, node: str) -> None:
        """Kubelet, containers and all die at once."""
        await run(self._program, "crash", node)

    async def boot(self, node: str) -> None:
        """It is back, with its volumes, and the API server knows it."""
        await run(self._program, "boot", node, seconds=LONG)


async def local_cluster() -> LocalCluster:
    """Skips the test where the cluster that KUBECONFIG names isn't one."""
    named = os.environ.get("LOCAL_CLUSTER", "")
    program = (ROOT / named).resolve() if named else Path()
    if not named or not program.is_file():
        pytest.skip("needs a cluster whose nodes can lose power: LOCAL_CLUSTER names no program that does it")
    environment = await run(str(program), "env")
    if f"KUBECONFIG={os.environ['KUBECONFIG']} " not in environment:
        pytest.skip("needs a cluster whose nodes can lose power: KUBECONFIG names another cluster")
    return LocalCluster(str(program))
