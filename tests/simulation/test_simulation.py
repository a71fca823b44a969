"""Worlds of faults, one a seed. A failure prints the seed and the command that repeats it."""

import os
import subprocess
import sys

import pytest

from orderbook.raft.leader import Leader
from simulation import __main__ as runner
from simulation.minimise import fewest
from simulation.world import World

SEEDS = 200
CHUNK = 10


def run(seed):
    try:
        return World(seed).run()
    except Exception as error:
        error.add_note(f"seed {seed}; again: {runner.repeat_command(seed)}")
        raise


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_every_law_holds_and_every_client_was_told_the_truth(first):
    for seed in range(first, first + CHUNK):
        run(seed)


@pytest.mark.parametrize("seed", [3, 11, 28])
def test_the_same_seed_gives_the_same_run(seed):
    one, other = run(seed), run(seed)
    assert one == other
    assert one.digest != run(seed + 1).digest


def in_another_process(hash_seed, *arguments):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": hash_seed}
    command = [sys.executable, "-m", "simulation", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, timeout=120, text=True, check=False)


def test_a_run_depends_on_nothing_but_its_seed():
    one, other = (in_another_process(hash_seed, "--seed", "21") for hash_seed in ("1", "2"))
    assert one.returncode == 0, one.stdout
    assert one.stdout == other.stdout
    assert run(21).digest in one.stdout


def test_many_seeds_end_in_a_summary():
    done = in_another_process("0", "--seeds", "8-9", "--processes", "1")
    assert done.returncode == 0, done.stdout
    assert "2 seeds, 0 failures" in done.stdout.splitlines()[-1]


def test_a_failure_prints_its_seed_and_how_to_repeat_it(monkeypatch, capsys):
    monkeypatch.setattr(Leader, "_count_commit", lambda self: self._state.log.commit_to(self._state.log.last_index))
    assert runner.run_many(4, 4, 1) == 1
    assert f"again: {runner.repeat_command(4)}" in capsys.readouterr().out
    assert runner.run_one(4, None, 10) == 1
    assert f"seed 4 fails; again: {runner.repeat_command(4)}" in capsys.readouterr().out


def test_a_failure_is_minimised_to_the_faults_that_it_needs(monkeypatch, capsys):
    monkeypatch.setattr(Leader, "_count_commit", lambda self: self._state.log.commit_to(self._state.log.last_index))
    assert runner.minimise(4) == 1
    printed = capsys.readouterr().out
    assert printed.startswith("LawBroken: ")
    assert printed.endswith(f"0 faults are enough; again: {runner.repeat_command(4)} --faults none\n")


@pytest.mark.parametrize("needed", [[], [3], [0, 9], [2, 5, 6]])
def test_what_is_not_needed_is_left_out(needed):
    assert fewest(list(range(10)), lambda numbers: set(needed) <= set(numbers), 200) == needed


def test_leaving_out_ends_after_so_many_runs():
    tried = []

    def fails(numbers):
        tried.append(numbers)
        return 7 in numbers

    kept = fewest(list(range(1000)), fails, 5)
    assert len(tried) == 5
    assert 7 in kept
