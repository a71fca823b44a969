"""The bounds and lifetimes of the replicated state: state themselves, changed only by a logged CONFIGURE."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgpack

from orderbook.packing import unpack


class Settings(NamedTuple):
    """Times are milliseconds of log time."""

    max_sessions: int = 10_000
    max_kept_results: int = 1_024  # results kept for repeats, a session
    max_kept_bytes: int = 128 << 20  # of them, a session
    max_kept_bytes_of_all: int = 1 << 30  # of them, all sessions
    min_session_timeout_ms: int = 1_000
    max_session_timeout_ms: int = 3_600_000
    max_keys: int = 100_000  # idempotency keys
    max_key_bytes: int = 256 << 20  # of their results
    key_lifetime_ms: int = 86_400_000
    version_soak_ms: int = 3_600_000  # how long every member must have supported a machine version
    hold_machine_version: int = 0  # 1: the machine's version is not raised
    max_sessions_of_one: int = 1_000  # of one principal; new ones stand at the end, where old snapshots lack them


ALLOWED: dict[str, tuple[int, int]] = {
    "max_sessions": (1, 1_000_000),
    "max_kept_results": (1, 65_536),
    "max_kept_bytes": (1 << 16, 1 << 33),
    "max_kept_bytes_of_all": (1 << 16, 1 << 36),
    "min_session_timeout_ms": (100, 3_600_000),
    "max_session_timeout_ms": (1_000, 86_400_000),
    "max_keys": (1, 10_000_000),
    "max_key_bytes": (1 << 16, 1 << 36),
    "key_lifetime_ms": (1_000, 30 * 86_400_000),
    "version_soak_ms": (0, 30 * 86_400_000),
    "hold_machine_version": (0, 1),
    "max_sessions_of_one": (1, 1_000_000),
}


def encode_changes(changes: dict[str, int]) -> bytes:
    """The body of a CONFIGURE. Raises ValueError that names the key and what is allowed."""
    problem = _problem(changes)
    if problem:
        raise ValueError(problem)
    packed: bytes = msgpack.packb(changes)
    return packed


def changed(settings: Settings, body: bytes) -> Settings | None:
    """The settings after a CONFIGURE, or None where its body is malformed: then nothing changes, on any member."""
    try:
        changes = unpack(body)
    except Exception:  # noqa: BLE001 - any bytes may stand here, and every member must answer them alike
        return None
    if type(changes) is not dict or _problem(changes):
        return None
    new = settings._replace(**changes)
    return new if new.min_session_timeout_ms <= new.max_session_timeout_ms else None


def _problem(changes: dict[Any, Any]) -> str | None:
    for key, value in changes.items():
        if key not in ALLOWED:
            return f"{key!r} is no setting; there are {', '.join(ALLOWED)}"
        low, high = ALLOWED[key]
        if type(value) is not int or not low <= value <= high:
            return f"{key} is an integer from {low} to {high}, not {value!r}"
    return None
