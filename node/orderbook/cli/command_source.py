"""Where ``match`` and ``replay`` read commands from, and how they write what became of them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import IO

from orderbook.book import PairSpec, to_json
from orderbook.book.events import Event
from orderbook.cli.command_file import Line, read_instruments, read_json_lines
from orderbook.cli.lobster import pair_of, read_lobster

STANDARD = Path("-")


class FileFormat(StrEnum):
    JSONL = "jsonl"
    LOBSTER = "lobster"


def pairs_of(file: Path, instruments: Path | None, format: FileFormat) -> list[PairSpec] | None:
    """The pairs that are to exist before the first command; None: those that the file names, when it does.

    Raises ValueError that names the instruments file, OSError.
    """
    if instruments is not None:
        try:
            return read_instruments(instruments.read_text("utf-8"))
        except ValueError as error:
            raise ValueError(f"{instruments}: {error}") from error
    return [pair_of(file.name)] if format is FileFormat.LOBSTER else None


def commands_of(lines: Iterable[bytes], file: Path, format: FileFormat) -> Iterator[Line]:
    """The commands in ``lines`` of ``file``. Raises NotACommand."""
    if format is FileFormat.LOBSTER:
        return read_lobster(lines, pair_of(file.name).pair)
    return read_json_lines(lines)


def writer(path: Path, opened: ExitStack) -> IO[str]:
    return sys.stdout if path == STANDARD else opened.enter_context(path.open("w", encoding="utf-8"))


def event_line(event: Event, line: int, sequence: tuple[int, int]) -> str:
    """A line of ``--events``."""
    return json.dumps(to_json(event, line=line, sequence=sequence), ensure_ascii=False) + "\n"
