"""A real process on a real disk, killed with SIGKILL at any moment: what it acknowledged is there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from random import Random

from orderbook.storage import Disk
from unit.storage.member import Member, payload_of
from unit.storage.writer import OPTIONS

ROUNDS = 8
ROOT = Path(__file__).resolve().parents[3]


def acknowledged_before_it_died(directory: str, lines: int) -> int:
    """Run the writer, kill it once it has acknowledged so many writes; the last index that it acknowledged."""
    path = os.pathsep.join([str(ROOT / "node"), str(ROOT / "tests")])
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "tests" / "unit" / "storage" / "writer.py"), directory],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert process.stdout is not None
    assert process.stderr is not None
    for _ in range(lines):
        if not process.stdout.readline():
            break
    process.send_signal(signal.SIGKILL)
    rest, problems = process.stdout.read(), process.stderr.read()
    process.stdout.close()
    process.stderr.close()
    assert process.wait() == -signal.SIGKILL, problems.decode()
    whole = rest[: rest.rfind(b"\n") + 1].split()
    return int(whole[-1]) if whole else 0


def test_a_killed_process_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    directory = str(tmp_path / "data")
    random = Random(20)
    last = 0
    for _ in range(ROUNDS):
        last = max(last, acknowledged_before_it_died(directory, random.randrange(1, 700)))
        member = Member(Disk(), OPTIONS, directory=directory)
        recovered = member.recovered
        assert recovered.entries
        assert recovered.entries[-1][0] >= last
        assert recovered.hard_state[0] >= last
        for place, (index, term, _, payload) in enumerate(recovered.entries):
            assert index == recovered.base[0] + 1 + place
            assert payload == payload_of(index, term, len(payload))
        member.close()
        last = recovered.entries[-1][0]
    assert recovered.base[0] > 0, "the log was never cut"
