"""How far a replay is, in a small file: what an interrupted one needs to go on exactly where it stopped.

It is written, whole and durable, after the events of the batches that it counts as recorded, and before the group is
told that it may drop their results. It is removed when the replay is complete.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from hashlib import blake2b
from pathlib import Path

VERSION = 1
_PIECE = 1 << 20


class ProgressError(ValueError):
    """A progress file that is none, or of another replay; the message says what to do."""


@dataclass
class Progress:
    """``recorded`` is the last number whose events are written; they end at byte ``events_bytes`` of ``events``."""

    source: str  # digest of what decides the batches: the file, its format, the pairs
    incarnation: str
    session: int
    commands: int
    slice_ms: int
    events: str | None
    events_bytes: int = 0
    recorded: int = 0
    line: int = 0
    lines: int = 0
    index: int = 0  # of the log, of the last batch recorded
    counts: dict[str, int] = field(default_factory=dict)


def load(path: Path) -> Progress | None:
    """None where no replay was interrupted. Raises ProgressError, OSError."""
    try:
        document = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ProgressError(f"{path} is no progress file: {error}") from error
    if not isinstance(document, dict) or document.pop("version", None) != VERSION:
        raise ProgressError(f"{path} is no progress file of this version")
    if document.keys() != {known.name for known in fields(Progress)}:
        raise ProgressError(f"{path} is no progress file of this version")
    return Progress(**document)


def save(path: Path, progress: Progress) -> None:
    """Replace the file; durable when this returns."""
    unfinished = path.with_name(path.name + ".tmp")
    with unfinished.open("w", encoding="utf-8") as file:
        json.dump({"version": VERSION, **asdict(progress)}, file)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def source_of(file: Path, options: Mapping[str, object]) -> tuple[str, int]:
    """The digest of a file and of the options that decide its batches, and how many lines it has. Raises OSError."""
    digest = blake2b(digest_size=16)
    count, last = 0, b"\n"
    with file.open("rb") as opened:
        while piece := opened.read(_PIECE):
            digest.update(piece)
            count += piece.count(b"\n")
            last = piece[-1:]
    digest.update(json.dumps(dict(options), sort_keys=True).encode())
    return digest.hexdigest(), count + (last != b"\n")
