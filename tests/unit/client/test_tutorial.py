"""docs/tutorial.md is a program: its blocks run in order, and print what the page says."""

from __future__ import annotations

import ast
import contextlib
import io
import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[3] / "docs" / "tutorial.md"
_BLOCK = re.compile(r"^```(python|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: str) -> Iterator[tuple[int, str, str]]:
    """(line, kind, text) of each."""
    for match in _BLOCK.finditer(page):
        yield page.count("\n", 0, match.start()) + 2, match[1], match[2]


async def run(code: str, line: int, names: dict[str, Any]) -> str:
    """Run a block in which ``await`` may stand anywhere; what it prints."""
    padded = "\n" * (line - 1) + code
    compiled = compile(padded, str(PAGE), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        running = types.FunctionType(compiled, names)()
        if running is not None:
            await running
    return printed.getvalue()


async def test_the_tutorial_runs_and_prints_what_it_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = types.ModuleType("tutorial")
    monkeypatch.setitem(sys.modules, "tutorial", module)  # dataclasses look their module up
    names = vars(module)
    printed, ran = "", 0
    for line, kind, text in blocks(PAGE.read_text()):
        if kind == "python":
            assert printed == "", f"line {line}: the page does not say that the block before prints {printed!r}"
            printed = await run(text, line, names)
            ran += 1
        else:
            pattern = re.escape(text).replace("<node>", "(alpha|beta|gamma)")
            assert re.fullmatch(pattern, printed), f"line {line}: it printed {printed!r}"
            printed = ""
    assert printed == ""
    assert ran >= 15
