"""A group of node processes on this machine: started, watched, killed and started again.

Each node has a directory of its own below one root: its data, its log file, and ``endpoints.json``, written once
it listens (ports are drawn by the operating system, so that groups never collide). Nodes end with the process that
started them.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import aiohttp

from orderbook.client import local_tls
from orderbook.client.credentials import trusting
from orderbook.runtime import Runtime

ENDPOINTS = "endpoints.json"
TLS_DIRECTORY = "tls"
_PR_SET_PDEATHSIG = 1
_prctl = getattr(ctypes.CDLL(None), "prctl", None)  # found here: a forked child should load nothing
START_SECONDS = 60.0


class Endpoints(NamedTuple):
    """Where one node listens: peers as host:port, clients and probes as URLs."""

    peers: str
    clients: str
    probes: str


class NodeProcess:
    """One node of the group; ``process`` is None while it does not run."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self.directory = directory
        self.process: asyncio.subprocess.Process | None = None

    @property
    def log_file(self) -> Path:
        return self.directory / "node.log"

    def endpoints(self) -> Endpoints | None:
        """Where it listens; None before it does."""
        try:
            return Endpoints(**json.loads((self.directory / ENDPOINTS).read_text()))
        except FileNotFoundError:
            return None

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.returncode is None


class NodeDied(RuntimeError):
    """A node process ended by itself; the message ends with the last lines of its log."""


class LocalGroup:
    """``size`` nodes below ``root``. ``options`` are extra ``orderbook node`` flags for all of them.

    Clients find node-1 at ``client_port``, the others at the ports after it; 0 draws them. ``tls``: with certificates
    that are made when the group starts (``ca``) and are worth nothing elsewhere.
    """

    def __init__(
        self,
        runtime: Runtime,
        root: Path,
        size: int = 3,
        options: Sequence[str] = (),
        client_port: int = 0,
        *,
        tls: bool = False,
    ) -> None:
        self.nodes = [NodeProcess(f"node-{number}", root / f"node-{number}") for number in range(1, size + 1)]
        self._runtime = runtime
        self._options = list(options)
        self._client_port = client_port
        self._environment: dict[str, str] = {}
        self._certificates = (root / TLS_DIRECTORY).resolve() if tls else None

    @property
    def ca(self) -> Path | None:
        """Whom a client of these nodes trusts (PEM); None without TLS."""
        return self._certificates / local_tls.CA_FILE if self._certificates is not None else None

    def http_session(self) -> aiohttp.ClientSession:
        """For whoever talks to these nodes: it trusts them."""
        ca = self.ca
        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting(ca) if ca is not None else True))

    async def start(self, environment: Mapping[str, str] | None = None) -> None:
        """Start all nodes that do not run and wait until each listens. Raises NodeDied, TimeoutError.

        ``environment`` is for these and all later starts.
        """
        self._environment = dict(environment or self._environment)
        for node in self.nodes:  # all of them, so that whoever looks sees how many the group has
            node.directory.mkdir(parents=True, exist_ok=True)
        down = [node for node in self.nodes if not node.running]
        if self._certificates is not None:
            if len(down) == len(self.nodes):
                local_tls.write_certificates(self._certificates, self._runtime.wall_ms() / 1000)
            self._environment |= local_tls.environment(self._certificates)
        for node in down:
            (node.directory / ENDPOINTS).unlink(missing_ok=True)
        for node in down[:1]:
            await self.start_node(node)  # the others find each other through it
        started = await asyncio.gather(*(self.start_node(node) for node in down[1:]), return_exceptions=True)
        for error in started:
            if error is not None:
                raise error

    async def start_node(self, node: NodeProcess) -> None:
        """Start one node and wait until it listens."""
        node.directory.mkdir(parents=True, exist_ok=True)
        (node.directory / ENDPOINTS).unlink(missing_ok=True)
        known = [other.endpoints() for other in self.nodes if other is not node]
        command = [sys.executable, "-m", "orderbook", "node", "--name", node.name, "--data", str(node.directory)]
        command += ["--initial-size", str(len(self.nodes)), "--auth", "none", *self._options]
        port = self._client_port and self._client_port + self.nodes.index(node)
        command += ["--peer-port", "0", "--client-port", str(port), "--probe-port", "0"]
        for endpoints in known:
            if endpoints is not None:
                command += ["--peer", endpoints.peers]
        with node.log_file.open("ab") as log:
            node.process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self._environment},
                start_new_session=True,
                preexec_fn=partial(_end_with_parent, os.getpid()),
            )
        await self._listening(node)

    async def _listening(self, node: NodeProcess) -> None:
        until = self._runtime.monotonic() + START_SECONDS
        while node.endpoints() is None:
            if not node.running:
                code = node.process.returncode if node.process is not None else None
                raise NodeDied(f"{node.name} ended with exit code {code}: {last_lines(node.log_file)}")
            if self._runtime.monotonic() > until:
                raise TimeoutError(f"{node.name} did not listen within {START_SECONDS} s: {last_lines(node.log_file)}")
            await asyncio.sleep(0.02)

    async def kill(self, node: NodeProcess) -> None:
        """SIGKILL: nothing is closed, nothing is flushed."""
        await self._signal(node, signal.SIGKILL)

    async def stop_node(self, node: NodeProcess) -> None:
        """SIGTERM, and wait until it has ended."""
        await self._signal(node, signal.SIGTERM)

    async def stop(self) -> None:
        for node in self.nodes:
            if node.running and node.process is not None:
                node.process.send_signal(signal.SIGTERM)
        for node in self.nodes:
            if node.process is not None:
                await node.process.wait()

    async def _signal(self, node: NodeProcess, number: signal.Signals) -> None:
        if node.process is not None and node.running:
            node.process.send_signal(number)
            await node.process.wait()

    def addresses(self) -> list[str]:
        """The client URLs of the nodes that have listened."""
        return [endpoints.clients for node in self.nodes if (endpoints := node.endpoints()) is not None]


def _end_with_parent(parent: int) -> None:
    """In the new process: SIGTERM when the one that started it is gone, even by SIGKILL (on Linux)."""
    if _prctl is not None:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)


def last_lines(file: Path, count: int = 10) -> str:
    """The end of a log, for an error message."""
    return "\n".join(file.read_text(errors="replace").splitlines()[-count:]) if file.exists() else "(no log)"
