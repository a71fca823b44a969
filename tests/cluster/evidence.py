"""What a cluster looks like when a test has failed: enough to know why without running it again."""

from __future__ import annotations

import subprocess

LINES = 40
SECONDS = 60.0


def evidence(namespace: str) -> str:
    """Groups with their status, pods, Events and logs of a namespace, as kubectl tells them."""
    pods = _kubectl(namespace, "get", "pods", "-o", "name").split()
    parts = [
        ("groups", _kubectl(namespace, "get", "orderbookgroups", "-o", "yaml")),
        ("pods", _kubectl(namespace, "get", "pods,pvc", "-o", "wide")),
        ("Events", "\n".join(_kubectl(namespace, "get", "events", "--sort-by=.lastTimestamp").splitlines()[-LINES:])),
        *((f"log of {pod}", _kubectl(namespace, "logs", pod, f"--tail={LINES}")) for pod in pods),
    ]
    return "\n".join(f"--- {title}\n{text}" for title, text in parts)


def _kubectl(namespace: str, *arguments: str) -> str:
    command = ["kubectl", f"--namespace={namespace}", "--request-timeout=10s", *arguments]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return ended.stdout + ended.stderr
