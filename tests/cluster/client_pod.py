"""A pod of the group's own image that is a client of the group: its commands reach the group by the client Service, as
an admin, with the authority and a token from Secrets."""

from __future__ import annotations

import json
import time
from typing import Any

from kubernetes.aio.client import ApiException

from cluster.api import SECONDS, eventually
from cluster.group_under_test import LONG, GroupUnderTest
from orderbook_operator import credentials, names
from orderbook_operator.observation import SecretSeen

CREDENTIALS = "/etc/client"
TOKEN = "token"
TOKEN_SECONDS = 6 * 3600.0
SUBJECT = "tester"
USER = 10001


async def minted(group: GroupUnderTest, subject: str, role: str) -> str:
    """A token for the group, made with the key that the operator keeps."""
    authority = SecretSeen("", "", await group.secret(names.authority_secret(group.name)))
    now = time.time()
    return credentials.token(
        authority, subject, role, names.audience(group.name, group.namespace), TOKEN_SECONDS, now - 60
    )


def service_url(group: GroupUnderTest) -> str:
    host = names.service_host(names.client_service(group.name), group.namespace)
    return f"https://{host}:{names.CLIENT_PORT}"


class ClientPod:
    """``node``: the cluster's node that it is to be on, "" for any."""

    def __init__(self, group: GroupUnderTest, name: str, command: list[str], node: str = "") -> None:
        self.name = f"{group.name}-{name}"
        self._group = group
        self._command = command
        self._node = node

    async def start(self) -> None:
        """And wait until it runs."""
        group = self._group
        token = {TOKEN: await minted(group, SUBJECT, "admin")}
        secret = {"metadata": {"name": self.name}, "stringData": token}
        await group.core.create_namespaced_secret(group.namespace, secret, _request_timeout=SECONDS)
        await group.core.create_namespaced_pod(group.namespace, self._manifest(), _request_timeout=SECONDS)

        async def runs() -> bool:
            return await self.phase() != "Pending"

        await eventually(runs, f"the pod {self.name} runs", LONG)

    async def run(self, *command: str, seconds: float = LONG) -> str:
        """What a command in it printed. Raises CommandFailed."""
        return await self._group.kubectl("exec", self.name, "--", *command, seconds=seconds)

    async def phase(self) -> str:
        found = await self._group.core.read_namespaced_pod(self.name, self._group.namespace, _request_timeout=SECONDS)
        return str(found.status.phase)

    async def log(self) -> str:
        return str(
            await self._group.core.read_namespaced_pod_log(self.name, self._group.namespace, _request_timeout=SECONDS)
        )

    async def remove(self) -> None:
        """At once, and its token with it. What isn't there is removed."""
        group = self._group
        for delete, options in (
            (group.core.delete_namespaced_pod, {"grace_period_seconds": 0}),
            (group.core.delete_namespaced_secret, {}),
        ):
            try:
                await delete(self.name, group.namespace, **options, _request_timeout=SECONDS)
            except ApiException as error:
                if error.status != 404:
                    raise

    def _manifest(self) -> dict[str, Any]:
        group = self._group
        sources = [
            {
                "secret": {
                    "name": names.credentials_secret(group.name),
                    "items": [{"key": names.TRUST, "path": names.TRUST}],
                }
            },
            {"secret": {"name": self.name}},
        ]
        environment = {
            "ORDERBOOK_NODES": service_url(group),
            "ORDERBOOK_CA": f"{CREDENTIALS}/{names.TRUST}",
            "ORDERBOOK_TOKEN_FILE": f"{CREDENTIALS}/{TOKEN}",
        }
        container = {
            "name": "client",
            "image": group.image,
            "imagePullPolicy": "IfNotPresent",
            "command": self._command,
            "env": [{"name": name, "value": value} for name, value in environment.items()],
            "volumeMounts": [{"name": "credentials", "mountPath": CREDENTIALS, "readOnly": True}],
            "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}},
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            },
        }
        return {
            "metadata": {"name": self.name},
            "spec": {
                "restartPolicy": "Never",
                "automountServiceAccountToken": False,
                "terminationGracePeriodSeconds": 5,
                "securityContext": {
                    "runAsNonRoot": True,
                    "runAsUser": USER,
                    "fsGroup": USER,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": [container],
                "volumes": [{"name": "credentials", "projected": {"sources": sources, "defaultMode": 0o440}}],
                **({"nodeSelector": {"kubernetes.io/hostname": self._node}} if self._node else {}),
            },
        }


def idle_client(group: GroupUnderTest, node: str = "") -> ClientPod:
    """One that does nothing but what ``run`` asks it to."""
    return ClientPod(group, "client", ["sh", "-c", "trap exit TERM; while :; do sleep 1; done"], node)


def lines(log: str) -> list[dict[str, Any]]:
    """The JSON documents of a log, one a line. What has no end of line yet is still being written."""
    whole = log[: log.rfind("\n") + 1]
    return [json.loads(line) for line in whole.splitlines() if line.startswith("{")]
