"""The simulator finds deliberate bugs, each within a stated number of seeds: its checks can fail."""

from pathlib import Path

import pytest

from simulation.bugs import BUGS, row_of


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_the_simulator_finds(bug, monkeypatch):
    bug(monkeypatch)
    for world in BUGS[bug].worlds():
        try:
            world.run()
        except Exception:  # noqa: BLE001 - whatever it is that tells it
            return
    pytest.fail(f"not found within {BUGS[bug].seeds} seeds")


def test_the_table_in_the_docs_is_this_one():
    text = (Path(__file__).parents[2] / "docs" / "reliability.md").read_text()
    for bug in BUGS:
        assert row_of(bug) in text.splitlines()
    assert text.count("| 50 |") + text.count("| 60 |") == len(BUGS)
