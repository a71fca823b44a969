"""Which form of the engine is imported: the modules compiled by mypyc, or the same sources interpreted.

``hatch_build.py`` compiles them next to their sources, into a shared library that has the digest of these sources in
its name. A library of other sources is never used: then the sources are imported, and the log says so. Both forms give
the same events and hashes; ``python -X orderbook_interpreted`` asks for the slower one.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from hashlib import sha256
from importlib.abc import MetaPathFinder
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec
from importlib.util import spec_from_file_location
from logging import getLogger
from pathlib import Path
from types import ModuleType

COMPILED = (
    "administration",
    "constants",
    "engine",
    "mass_cancel",
    "matching",
    "mixing",
    "orders",
    "pending_cancels",
    "sides",
    "snapshots",
    "state",
    "trading",
)
LIBRARY = "compiled_"
OPTION = "orderbook_interpreted"


def digest(directory: Path) -> str:
    """Of the sources of the compiled modules."""
    sources = sha256()
    for name in COMPILED:
        sources.update((directory / f"{name}.py").read_bytes())
    return sources.hexdigest()[:16]


def library_name(directory: Path) -> str:
    """The file that holds the present sources, compiled for this interpreter."""
    return f"{LIBRARY}{digest(directory)}__mypyc{EXTENSION_SUFFIXES[0]}"


def choose(directory: Path) -> str:
    """Make imports find one form, and say which: ``compiled`` or ``interpreted``."""
    built = any(directory.glob(f"{LIBRARY}*__mypyc{EXTENSION_SUFFIXES[0]}"))
    if built and OPTION not in sys._xoptions:
        if (directory / library_name(directory)).exists():
            return "compiled"
        getLogger("orderbook.book").warning("compiled from other sources than these, which are used now: make build")
    if built:
        sys.meta_path.insert(0, _SourceFinder(directory))
    return "interpreted"


class _SourceFinder(MetaPathFinder):
    """Python prefers a compiled module to its source; this finder does not."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package, _, name = fullname.rpartition(".")
        if package != __package__ or name not in COMPILED:
            return None
        return spec_from_file_location(fullname, self._directory / f"{name}.py")


FORM = choose(Path(__file__).parent) if __package__ else "not imported"  # a build only asks for names and digest
