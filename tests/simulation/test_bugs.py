"""The simulator finds deliberate bugs, each within a stated number of seeds: its checks can fail."""

import pytest

from simulation.bugs import BUGS
from simulation.world import World


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_the_simulator_finds(bug, monkeypatch):
    bug(monkeypatch)
    for seed in range(BUGS[bug]):
        try:
            World(seed).run()
        except Exception:  # noqa: BLE001 - whatever it is that tells it
            return
    pytest.fail(f"not found within {BUGS[bug]} seeds")
