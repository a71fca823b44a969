"""``kubectl port-forward`` to pods, kept up: one process a pod, begun again when it or its pod ends.

A pod of a StatefulSet comes back under its name, and its forward under the local port that was drawn first: whoever
holds the address goes on. Each process is ended by its own id, at the latest with ours.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from time import monotonic

from orderbook.cli.connection import EXIT_UNAVAILABLE
from orderbook_operator.plugin.kubernetes import Kubernetes, Problem

READY_SECONDS = 30.0
END_SECONDS = 5.0
AGAIN_FIRST_SECONDS = 0.1
AGAIN_MOST_SECONDS = 2.0
_FORWARDING = re.compile(r"Forwarding from 127\.0\.0\.1:([0-9]+) -> ([0-9]+)")

_ALL_IS_WELL = ("Forwarding from", "Handling connection")  # the first also of other addresses than ours


class PortForward:
    """Of one pod: the ports ``ports`` of it, each at a port of this machine's loopback."""

    def __init__(self, command: Sequence[str], pod: str, ports: Sequence[int]) -> None:
        """``command`` is kubectl with its cluster and namespace."""
        self.pod = pod
        self.problem = ""  # what kubectl said last, if it wasn't that all is well
        self._command = tuple(command)
        self._local: dict[int, int] = dict.fromkeys(ports, 0)  # 0: the system draws one
        self._settled = threading.Event()  # it is up, or its first process ended
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._run, name=f"port-forward {pod}", daemon=True)

    @property
    def local(self) -> Mapping[int, int]:
        """Port of the pod -> port here."""
        return self._local

    def start(self) -> None:
        self._thread.start()

    def is_up(self, until: float) -> bool:
        """Wait, at most until the monotonic time ``until``, for its ports; False where its first process ended."""
        self._settled.wait(max(0.0, until - monotonic()))
        return all(self._local.values())

    def end(self) -> None:
        """Ask kubectl to end."""
        with self._lock:
            self._closing.set()
            if self._process is not None:
                self._process.terminate()

    def join(self) -> None:
        """Wait until kubectl has ended, and after a while see to it."""
        if self._process is not None:
            try:
                self._process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
        if self._thread.is_alive():
            self._thread.join(END_SECONDS)

    def _run(self) -> None:
        pause = AGAIN_FIRST_SECONDS
        while not self._closing.is_set():
            began = monotonic()
            self._forward()
            self._settled.set()
            pause = AGAIN_FIRST_SECONDS if monotonic() - began > AGAIN_MOST_SECONDS else pause
            self._closing.wait(pause)
            pause = min(2 * pause, AGAIN_MOST_SECONDS)

    def _forward(self) -> None:
        """Run kubectl until it ends."""
        ports = [f"{local or ''}:{port}" for port, local in self._local.items()]
        with self._lock:
            if self._closing.is_set():
                return
            process = self._process = subprocess.Popen(
                [*self._command, "port-forward", "--address=127.0.0.1", f"pod/{self.pod}", *ports],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,  # Ctrl-C is for us; we end it
            )
        assert process.stdout is not None
        with process.stdout as lines, suppress(ValueError):  # it is closed under our hands at the end
            for line in lines:
                self._follow(line.strip())
        process.wait()

    def _follow(self, line: str) -> None:
        found = _FORWARDING.match(line)
        if found is not None:
            self._local[int(found[2])] = int(found[1])
            if all(self._local.values()):
                self._settled.set()
        elif line and not line.startswith(_ALL_IS_WELL):
            self.problem = line


class PortForwards:
    """To several pods of a group at once. Use as a context manager."""

    def __init__(self, kubernetes: Kubernetes, pods: Sequence[str], ports: Sequence[int]) -> None:
        """Raises Problem where there is no kubectl."""
        kubectl = shutil.which("kubectl")
        if kubectl is None:
            raise Problem("kubectl is not on the PATH: the group is reached by its port-forward")
        context = [f"--context={kubernetes.context}"] if kubernetes.context else []
        command = [kubectl, f"--namespace={kubernetes.namespace}", *context]
        self._forwards = [PortForward(command, pod, ports) for pod in pods]

    def __enter__(self) -> Mapping[str, Mapping[int, int]]:
        """Port of the pod -> port here, by pod, of those that can be reached. Raises Problem if that is none."""
        for forward in self._forwards:
            forward.start()
        until = monotonic() + READY_SECONDS
        try:
            up = {forward.pod: forward.local for forward in self._forwards if forward.is_up(until)}
            if not up:
                why = "; ".join(f"{one.pod}: {one.problem or 'no answer of kubectl'}" for one in self._forwards)
                raise Problem(f"no port-forward to a pod came about: {why}", EXIT_UNAVAILABLE)
        except BaseException:
            self.__exit__()
            raise
        return up

    def __exit__(self, *_error: object) -> None:
        for forward in self._forwards:
            forward.end()
        for forward in self._forwards:
            forward.join()
