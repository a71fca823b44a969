"""What the tests measured on the way. Nothing here decides whether a test passes: a busy machine is no fault.

At the end of the run they are listed; a file that the environment variable FIGURES names gets them as JSON.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class Figures:
    """By name, in the order in which they came."""

    def __init__(self) -> None:
        self._found: dict[str, Any] = {}

    def note(self, name: str, value: Any) -> None:
        """``name`` says what was measured, and in which unit."""
        self._found[name] = round(value, 2) if isinstance(value, float) else value

    def lines(self) -> list[str]:
        return [f"{name}: {value}" for name, value in self._found.items()]

    def write(self, file: Path) -> None:
        file.write_text(json.dumps(self._found, indent=2) + "\n")
