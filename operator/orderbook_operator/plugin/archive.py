"""The archive of a bug report: files in memory, redacted as they are added, written as one .tar.gz."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

from orderbook_operator.plugin.redaction import Redactor


class Archive:
    """``problems``: what could not be had, and why; it is part of the archive."""

    def __init__(self, name: str, redactor: Redactor) -> None:
        self.problems: dict[str, str] = {}
        self._name = name
        self._redactor = redactor
        self._files: dict[str, bytes] = {}

    def __len__(self) -> int:
        return len(self._files)

    def add_text(self, path: str, text: str) -> None:
        self._files[path] = self._redactor.text(text).encode("utf-8", "backslashreplace")

    def add_json(self, path: str, document: Any) -> None:
        self._files[path] = (json.dumps(self._redactor.document(document), indent=1) + "\n").encode()

    def missing(self, path: str, why: str) -> None:
        self.problems[path] = self._redactor.text(why)

    def write(self, file: Path, now: float) -> None:
        """Readable by its owner only. Raises OSError: FileExistsError too, nothing is overwritten."""
        if self.problems:
            self.add_json("problems.json", self.problems)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as raw, tarfile.open(fileobj=raw, mode="w:gz") as archive:
            for path, content in sorted(self._files.items()):
                entry = tarfile.TarInfo(f"{self._name}/{path}")
                entry.size, entry.mtime, entry.mode = len(content), int(now), 0o600
                archive.addfile(entry, io.BytesIO(content))
