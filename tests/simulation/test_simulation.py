"""Worlds of faults, one a seed. A failure prints the seed and the command that repeats it."""

import pytest

from simulation.world import World

SEEDS = 200
CHUNK = 10


def run(seed):
    try:
        return World(seed).run()
    except Exception as error:
        error.add_note(f"seed {seed}; again: PYTHONPATH=node:tests python -m simulation --seed {seed}")
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
