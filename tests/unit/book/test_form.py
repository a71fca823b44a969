"""The compiled modules are used only if they were made from the sources beside them."""

import shutil
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

from orderbook.book import _form

BOOK = Path(_form.__file__).parent
ASK = "import orderbook.book as book, orderbook.book.engine as e; print(book.FORM, e.__file__.endswith('.py'))"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the package whose compiled modules are pretended: empty files of the right names."""
    target = tmp_path / "orderbook" / "book"
    shutil.copytree(BOOK, target, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    shutil.copy(BOOK.parent / "packing.py", tmp_path / "orderbook")
    (tmp_path / "orderbook" / "__init__.py").write_text("")
    return target


def build(directory: Path, library: str) -> None:
    (directory / library).touch()
    for name in _form.COMPILED:
        (directory / f"{name}{EXTENSION_SUFFIXES[0]}").touch()


def ask(directory: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *options, "-c", ASK]
    path = str(directory.parent.parent)
    return subprocess.run(command, check=False, capture_output=True, text=True, env={"PYTHONPATH": path})


def test_without_compiled_modules_the_sources_run(copy: Path) -> None:
    assert ask(copy).stdout.split() == ["interpreted", "True"]


def test_modules_compiled_from_other_sources_are_not_used_and_that_is_said(copy: Path) -> None:
    build(copy, _form.library_name(copy))
    (copy / "matching.py").write_text((copy / "matching.py").read_text() + "\n")
    done = ask(copy)
    assert done.stdout.split() == ["interpreted", "True"]
    assert "compiled from other sources" in done.stderr


def test_modules_compiled_from_these_sources_are_used(copy: Path) -> None:
    build(copy, _form.library_name(copy))
    assert "file too short" in ask(copy).stderr, "the pretended module is tried, and is none"


def test_the_interpreted_form_can_be_asked_for(copy: Path) -> None:
    build(copy, _form.library_name(copy))
    done = ask(copy, "-X", _form.OPTION)
    assert (done.stdout.split(), done.stderr) == (["interpreted", "True"], "")


def test_every_module_that_is_compiled_is_in_the_digest(copy: Path) -> None:
    for name in _form.COMPILED:
        before = _form.digest(copy)
        (copy / f"{name}.py").write_text((copy / f"{name}.py").read_text() + "# changed\n")
        assert _form.digest(copy) != before
