"""Raft's messages in frames, with what each member reports beside them: its clock, machine version and newest check."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from orderbook.raft import Message, Outgoing, from_wire, to_wire
from orderbook.wire.frames import Frame


class RaftFrame(NamedTuple):
    clock_ms: int
    version: int
    check: tuple[int, int] | None  # (index, hash)
    messages: list[Message]


def unpack(frame: Frame) -> RaftFrame:
    """Raises ValueError that names the field."""
    clock_ms, version, check, messages = frame.fields[:4]
    if check is not None and [type(field) for field in check] != [int, int]:
        raise ValueError(f"a check is [index, hash], not {check!r:.80}")
    parsed = [from_wire(message) for message in messages]
    return RaftFrame(clock_ms, version, (check[0], check[1]) if check is not None else None, parsed)


def by_member(messages: Iterable[Outgoing]) -> dict[int, list[tuple[Any, ...]]]:
    """What goes to each member in one frame, in order."""
    packed: dict[int, list[tuple[Any, ...]]] = {}
    for to, message in messages:
        packed.setdefault(to, []).append(to_wire(message))
    return packed
