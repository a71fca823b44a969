"""The small file by which a replay goes on."""

import json
from pathlib import Path

import pytest

from orderbook.cli.replay_progress import Progress, ProgressError, load, save, source_of


def progress() -> Progress:
    return Progress("digest", "ab" * 16, 7, 500, 10, "events.jsonl", 99, 1500, 1490, 1490, 33, {"fill": 3})


def test_it_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    save(path, progress())
    assert load(path) == progress()
    assert [file.name for file in tmp_path.iterdir()] == ["state.json"]


def test_without_a_file_there_is_nothing_to_go_on_with(tmp_path: Path) -> None:
    assert load(tmp_path / "state.json") is None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"version":1}', '{"version":2}', "\xff"])
def test_what_is_no_progress_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "state.json"
    path.write_text(text, "latin-1")
    with pytest.raises(ProgressError, match=r"state\.json"):
        load(path)


def test_a_key_too_many_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    save(path, progress())
    path.write_text(json.dumps({**json.loads(path.read_text()), "later": 1}))
    with pytest.raises(ProgressError):
        load(path)


def test_the_source_is_file_and_options(tmp_path: Path) -> None:
    file = tmp_path / "in.jsonl"
    file.write_bytes(b"one\ntwo\n")
    first, lines = source_of(file, {"format": "jsonl"})
    assert lines == 2
    assert source_of(file, {"format": "jsonl"}) == (first, 2)
    assert source_of(file, {"format": "lobster"})[0] != first
    file.write_bytes(b"one\ntwo")
    changed, lines = source_of(file, {"format": "jsonl"})
    assert (changed != first, lines) == (True, 2)
