"""Structured logs: one line an event, for people on a terminal and as JSON elsewhere.

Every line carries the node's name; whoever logs adds fields by ``extra={"fields": {...}}``. ``StatusFields`` lets the
node add its term, index and role to all of them.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

StatusFields = Callable[[], Mapping[str, Any]]


class _Formatter(logging.Formatter):
    def __init__(self, node: str, status: StatusFields) -> None:
        super().__init__()
        self._node = node
        self._status = status

    def _fields(self, record: logging.LogRecord) -> dict[str, Any]:
        fields: dict[str, Any] = {"node": self._node, **self._status(), **getattr(record, "fields", {})}
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return fields


class JsonFormatter(_Formatter):
    def format(self, record: logging.LogRecord) -> str:
        front = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        return json.dumps({**front, **self._fields(record)}, default=str)


class HumanFormatter(_Formatter):
    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S.%f")[:-3]
        fields = self._fields(record)
        exception = fields.pop("exception", None)
        line = f"{time} {record.levelname.lower():7} {record.getMessage()}"
        line += "".join(f"  {name}={value}" for name, value in fields.items())
        return f"{line}\n{exception}" if exception else line


def set_up(
    style: Literal["auto", "human", "json"], node: str, status: StatusFields, stream: TextIO | None = None
) -> None:
    """Send all logs of this process to ``stream`` (standard error if none is given)."""
    out = stream if stream is not None else sys.stderr
    human = style == "human" or (style == "auto" and out.isatty())
    handler = logging.StreamHandler(out)
    handler.setFormatter((HumanFormatter if human else JsonFormatter)(node, status))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    logging.getLogger("aiohttp.websocket").setLevel(logging.ERROR)  # it would write offered subprotocols: tokens
