"""``kubectl orderbook`` before an API server of its own: a kubeconfig names it, and ``kubectl`` is what a test says."""

from __future__ import annotations

import asyncio
import base64
import json
import stat
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from orderbook_operator import names
from orderbook_operator.plugin import application
from unit.operator import api_server
from unit.operator.api_server import ApiServer, Json
from unit.operator.resources import NAMESPACE, UID
from unit.operator.secret_store import SecretStore


class PluginCluster:
    """What the API server has, and the command line before it."""

    def __init__(self, server: ApiServer, directory: Path) -> None:
        self.server = server
        self.directory = directory
        self.kubeconfig = directory / "kubeconfig"
        context = {"name": "here", "context": {"cluster": "c", "user": "u", "namespace": NAMESPACE}}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": server.url}}],
            "contexts": [context],
            "users": [{"name": "u", "user": {"username": "u", "password": "p"}}],
            "current-context": "here",
        }
        self.kubeconfig.write_text(json.dumps(document))

    def run(self, *arguments: object) -> Result:
        return CliRunner().invoke(application(), [str(argument) for argument in arguments])

    def install(self) -> None:
        """The API server knows the resource."""
        self.server.objects["/apis/orderbook.dev/v1alpha1"] = {"resources": [{"name": names.PLURAL}]}

    def group(self, name: str = "eth", spec: Mapping[str, Any] | None = None, status: Json | None = None) -> Json:
        return self.server.put(
            {
                "apiVersion": "orderbook.dev/v1alpha1",
                "kind": "OrderBookGroup",
                "metadata": {"name": name, "namespace": NAMESPACE, "uid": UID, "generation": 1},
                "spec": dict(spec or {}),
                "status": status or {},
            },
            "orderbookgroups",
        )

    def secret(self, name: str, data: Mapping[str, bytes]) -> None:
        encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
        metadata = {"name": name, "namespace": NAMESPACE}
        self.server.put({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": encoded}, "secrets")

    def secrets(self) -> SecretStore:
        """As the operator makes them."""
        store = SecretStore()
        store.look()
        self.secret(names.authority_secret("eth"), store.authority.data)
        self.secret(names.credentials_secret("eth"), store.credentials.data)
        return store

    def pod(self, name: str, *, ready: bool = True) -> None:
        status = {
            "conditions": [{"type": "Ready", "status": str(ready)}],
            "containerStatuses": [{"name": names.CONTAINER, "state": {"running": {}}}],
        }
        self.server.put(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name, "namespace": NAMESPACE, "labels": names.labels("eth")},
                "spec": {"containers": [{"name": names.CONTAINER}], "nodeName": "machine-1"},
                "status": status,
            },
            "pods",
        )

    def kubectl(self, monkeypatch: pytest.MonkeyPatch, body: str) -> Path:
        """A program of this name on the PATH; what it was called with, a JSON line a call after its process id."""
        record = self.directory / "calls"
        record.touch()
        program = self.directory / "kubectl"
        program.write_text(
            f"#!{sys.executable}\nimport json, os, sys, time\n"
            f"with open({str(record)!r}, 'a') as record:\n"
            "    record.write(json.dumps([os.getpid(), *sys.argv[1:]]) + '\\n')\n" + body
        )
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", str(self.directory), prepend=":")
        return record


def calls(record: Path) -> list[list[Any]]:
    return [json.loads(line) for line in record.read_text().splitlines()]


@contextmanager
def plugin_cluster(directory: Path) -> Iterator[PluginCluster]:
    """The server runs on a loop of its own thread: commands have loops of theirs."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    context = api_server.running()
    server = asyncio.run_coroutine_threadsafe(context.__aenter__(), loop).result(60)
    try:
        yield PluginCluster(server, directory)
    finally:
        asyncio.run_coroutine_threadsafe(context.__aexit__(None, None, None), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(60)
        loop.close()
