"""Equal events, snapshots and hashes under any hash seed, compiled and interpreted."""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from orderbook.book import FORM
from orderbook.book._form import OPTION

TESTS = Path(__file__).parents[2]
ROOT = TESTS.parent
RECORDED = (ROOT / os.environ.get("RECORDED_FLOW", "../shared/data") / "coinbase.jsonl").resolve()

compiled_here = pytest.mark.skipif(
    FORM != "compiled", reason="the engine is not compiled here: no C compiler, or no make build"
)


@cache
def transcript(hash_seed: str, *options: str) -> list[str]:
    """What ``transcript.py`` prints: the form, the fingerprint, the hashes."""
    flows = [str(RECORDED)] if RECORDED.exists() else []
    script = str(Path(__file__).with_name("transcript.py"))
    path = os.pathsep.join(str(folder) for folder in (ROOT / "node", TESTS))
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": hash_seed}
    command = [sys.executable, *options, script, *flows]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return done.stdout.split()


def test_two_hash_seeds_give_the_same() -> None:
    assert transcript("1") == transcript("2")


@compiled_here
def test_the_compiled_and_the_interpreted_form_give_the_same() -> None:
    form, *compiled = transcript("1")
    other, *interpreted = transcript("1", "-X", OPTION)
    assert (form, other) == ("compiled", "interpreted")
    assert compiled == interpreted


@compiled_here
def test_every_statement_about_the_book_holds_for_the_interpreted_form_too() -> None:
    statements = str(TESTS / "unit" / "book")
    command = [sys.executable, "-X", OPTION, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", statements]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout[-3000:]
