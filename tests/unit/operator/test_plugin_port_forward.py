"""Port-forwards are kept up, and end with whoever asked for them. ``kubectl`` is a script that says what kubectl says;
the real one is used in tests/cluster."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orderbook_operator.plugin.port_forward import PortForward
from unit.operator.plugin_cluster import calls

FIRST_DRAWS = (
    "for spec in sys.argv[4:]:\n"
    "    local, port = spec.split(':')\n"
    "    print(f'Forwarding from 127.0.0.1:{local or int(port) + 30000} -> {port}', flush=True)\n"
    "    print(f'Forwarding from [::1]:{local or int(port) + 30000} -> {port}', flush=True)\n"
)
STAYS = FIRST_DRAWS + "sys.stdin = None\ntime.sleep(600)\n"


@pytest.fixture
def kubectl(tmp_path: Path) -> Iterator[Callable[[str], tuple[list[str], Path]]]:
    """Makes a command from a body, and the record of its calls; what still runs at the end is ended."""
    record = tmp_path / "calls"
    record.touch()

    def make(body: str) -> tuple[list[str], Path]:
        program = tmp_path / "program.py"
        program.write_text(
            "import json, os, sys, time\n"
            f"with open({str(record)!r}, 'a') as record:\n"
            "    record.write(json.dumps([os.getpid(), *sys.argv[1:]]) + '\\n')\n" + body
        )
        return [sys.executable, str(program)], record

    yield make
    for pid, *_ in calls(record):
        assert not is_running(pid), f"process {pid} outlived its forward"


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, f"never came true: {what}"
        time.sleep(0.01)


def started(command: list[str], *ports: int) -> PortForward:
    forward = PortForward(command, "eth-0", ports)
    forward.start()
    return forward


def ended(forward: PortForward) -> None:
    forward.end()
    forward.join()


def test_ports_are_drawn_by_the_system_and_read(kubectl: Callable[[str], tuple[list[str], Path]]) -> None:
    command, record = kubectl(STAYS)
    forward = started(command, 8443, 9464)
    assert forward.is_up(time.monotonic() + 60)
    assert forward.local == {8443: 38443, 9464: 39464}
    assert calls(record)[0][1:] == ["port-forward", "--address=127.0.0.1", "pod/eth-0", ":8443", ":9464"]
    ended(forward)


def test_one_that_ends_is_begun_again_at_the_same_port(kubectl: Callable[[str], tuple[list[str], Path]]) -> None:
    """As when its pod dies: kubectl says so at the next connection, and ends."""
    command, record = kubectl(FIRST_DRAWS + "print('error: lost connection to pod', file=sys.stderr)\nsys.exit(1)\n")
    forward = started(command, 8443)
    assert forward.is_up(time.monotonic() + 60)
    until(lambda: len(calls(record)) >= 3, "it is begun again")
    assert forward.problem == "error: lost connection to pod"
    ended(forward)
    assert [call[-1] for call in calls(record)[:3]] == [":8443", "38443:8443", "38443:8443"]


def test_one_that_never_came_up_says_why_at_once(kubectl: Callable[[str], tuple[list[str], Path]]) -> None:
    command, _ = kubectl("sys.exit('error: pods eth-0 not found')\n")
    forward = started(command, 8443)
    assert not forward.is_up(time.monotonic() + 3600)
    assert forward.problem == "error: pods eth-0 not found"
    ended(forward)


def test_connections_are_no_problem(kubectl: Callable[[str], tuple[list[str], Path]]) -> None:
    """All that is said is read before the end: nothing of it is a problem, whenever it is said."""
    command, _ = kubectl(FIRST_DRAWS + "print('Handling connection for 1', flush=True)\n")
    forward = PortForward(command, "eth-0", (8443,))
    forward._forward()
    assert forward.local == {8443: 38443}
    assert forward.problem == ""


def test_one_that_is_ended_before_it_began_never_runs(kubectl: Callable[[str], tuple[list[str], Path]]) -> None:
    command, record = kubectl(STAYS)
    forward = PortForward(command, "eth-0", (8443,))
    forward.end()
    forward.start()
    forward.join()
    assert calls(record) == []
