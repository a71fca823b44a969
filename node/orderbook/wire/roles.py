"""What a principal may do, as carried in every envelope."""

from __future__ import annotations

from enum import IntEnum


class Role(IntEnum):
    """Numbers are part of the log's format and never reused."""

    OBSERVER = 1
    TRADER = 2
    ADMIN = 3
