"""Compile the hot modules of ``orderbook.book`` with mypyc, in place: a build hook of hatchling, and a script.

    python hatch_build.py [--require]

The compiled modules lie next to their sources, in a library named by the digest of these (``orderbook.book._form``): so
nobody imports what was compiled from others. Without a C compiler nothing is compiled: the same sources run
interpreted, several times slower. ``--require`` makes that an error.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ModuleNotFoundError:  # run as a script, where the build backend need not be
    BuildHookInterface = object  # type: ignore[assignment, misc]

ROOT = Path(__file__).resolve().parent
SOURCES = ROOT / "node" / "orderbook" / "book"
SUFFIX = EXTENSION_SUFFIXES[0]


class NotCompiled(Exception):
    """There is nothing to compile with, or it can't."""


class CompileHook(BuildHookInterface):  # type: ignore[misc, type-arg, unused-ignore]
    """Compile before a wheel is made, an editable one too, and take the compiled modules into it."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel":
            return
        try:
            compile_in_place()
        except NotCompiled as problem:
            notify(problem)
            return
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        build_data["artifacts"].append(f"/{SOURCES.relative_to(ROOT).as_posix()}/*{SUFFIX}")


def notify(problem: NotCompiled) -> None:
    print(f"orderbook.book is not compiled and will run interpreted, several times slower: {problem}", file=sys.stderr)


def compile_in_place() -> bool:
    """Compile what is not compiled yet; True where there was something to do. Raises NotCompiled."""
    form = _form()
    wanted = [form.library_name(SOURCES), *(f"{name}{SUFFIX}" for name in form.COMPILED)]
    if all((SOURCES / name).exists() for name in wanted):
        return False
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(os.environ.get("CC", compiler).split()[0]) is None:
        raise NotCompiled(f"no C compiler: {compiler} is not on the PATH")
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, str(Path(__file__).resolve()), "--into", scratch, wanted[0].split("__mypyc")[0]]
        done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            raise NotCompiled("\n".join([*(done.stdout + done.stderr).splitlines()[-20:], "the compiler failed"]))
        built = Path(scratch) / "lib" / "orderbook" / "book"
        for name in wanted:  # the library before those that load it
            staged = SOURCES / f".{name}.new"
            shutil.copyfile(built / name, staged)
            staged.replace(SOURCES / name)  # who has the old file open keeps it
    for old in SOURCES.glob(f"{form.LIBRARY}*__mypyc{SUFFIX}"):
        if old.name != wanted[0]:
            old.unlink()
    return True


def _form() -> ModuleType:
    """The module that says what is compiled; importing its package would import that."""
    spec = spec_from_file_location("orderbook_book_form", SOURCES / "_form.py")
    if spec is None or spec.loader is None:
        raise NotCompiled(f"{SOURCES} has no _form.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _compile(scratch: str, library: str) -> None:
    """Run mypyc and the C compiler (in a process of its own: both may end it)."""
    from mypyc.build import mypycify
    from setuptools import Distribution  # type: ignore[import-untyped, unused-ignore]
    from setuptools.command.build_ext import build_ext  # type: ignore[import-untyped, unused-ignore]

    paths = [str((SOURCES / f"{name}.py").relative_to(ROOT)) for name in _form().COMPILED]
    options = ["--config-file", "pyproject.toml", "--cache-dir", f"{scratch}/cache"]
    extensions = mypycify(
        [*options, *paths],
        opt_level="3",
        debug_level="0",
        group_name=f"orderbook.book.{library}",
        target_dir=f"{scratch}/c",
    )
    command = build_ext(Distribution({"name": "orderbook-book", "ext_modules": extensions}))
    command.build_lib = f"{scratch}/lib"
    command.build_temp = f"{scratch}/objects"
    command.ensure_finalized()
    command.run()


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["--into"]:
        _compile(*arguments[1:])
        return 0
    if arguments not in ([], ["--require"]):
        print(__doc__, file=sys.stderr)
        return 2
    try:
        print("compiled" if compile_in_place() else "compiled already", SOURCES.relative_to(ROOT))
    except NotCompiled as problem:
        notify(problem)
        return 1 if arguments else 0
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
