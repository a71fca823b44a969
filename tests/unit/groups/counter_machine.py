"""A small state machine of the tests: a counter with alarms, in two versions of its rules.

Commands are ``["add", n]`` and ``["alarm", delay_ms]``. Every entry first rings at most two due alarms. Version 2 of
the rules adds every amount twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from typing import Any, Self

import msgpack

from orderbook.groups.statemachine import ApplyContext, Event, StateMachine

RINGS_PER_ENTRY = 2


class Counter(StateMachine):
    signature = "counter"

    def __init__(self, version: int = 2, initial: Sequence[bytes] = ()) -> None:
        self.version = version
        self.total = 0
        self.alarms: list[int] = []
        self.closed: list[list[Any]] = []  # [session, principal, role, cancel], in the order in which they were closed
        self.runs: list[list[Any]] = []  # [log index, principal, role, session, amount] of each "add"
        self._initial = initial

    @property
    def state_hash(self) -> int:
        return int.from_bytes(blake2b(self._packed(), digest_size=8).digest(), "big") >> 1

    def fresh(self) -> Self:
        return type(self)(self.version)

    def initial_commands(self) -> Sequence[bytes]:
        return self._initial

    def apply(self, context: ApplyContext, body: bytes, count: int) -> list[Event]:
        events = self.tick(context)
        commands = self._decoded(body, count)
        if commands is None:
            return events + [("rejected", offset) for offset in range(count)]
        for offset, (kind, amount) in enumerate(commands):
            if kind == "add":
                self.total += amount * (2 if context.machine_version >= 2 else 1)
                self.runs.append([context.index, context.principal, context.role, context.session, amount])
                events.append(("added", offset, self.total))
            else:
                self.alarms = sorted([*self.alarms, context.now_ms + amount])
                events.append(("alarm_set", offset, context.now_ms + amount))
        return events

    def tick(self, context: ApplyContext) -> list[Event]:
        due = [at for at in self.alarms if at <= context.now_ms][:RINGS_PER_ENTRY]
        self.alarms = self.alarms[len(due) :]
        return [("rang", -1, at) for at in due]

    def next_deadline(self) -> int | None:
        return self.alarms[0] if self.alarms else None

    def session_closed(self, context: ApplyContext, cancel: bool) -> list[Event]:
        self.closed.append([context.session, context.principal, context.role, cancel])
        return [("closed", -1, context.session)]

    def query(self, query: Any) -> Any:
        if query != "total":
            raise ValueError(f"no such query: {query!r}")
        return self.total

    def snapshot(self) -> Iterator[bytes]:
        packed = self._packed()
        for start in range(0, len(packed), 64):
            yield packed[start : start + 64]

    def restore(self, chunks: Iterable[bytes]) -> Iterator[None]:
        packed = b""
        for chunk in chunks:
            packed += chunk
            yield
        self.total, self.alarms, self.closed, self.runs = msgpack.unpackb(packed)

    def _packed(self) -> bytes:
        packed: bytes = msgpack.packb([self.total, self.alarms, self.closed, self.runs])
        return packed

    @staticmethod
    def _decoded(body: bytes, count: int) -> list[tuple[str, int]] | None:
        try:
            commands = msgpack.unpackb(body)
        except Exception:  # noqa: BLE001 - a machine is total for any bytes
            return None
        if type(commands) is not list or len(commands) != count:
            return None
        for command in commands:
            if type(command) is not list or [type(field) for field in command] != [str, int]:
                return None
            if command[0] not in ("add", "alarm") or not 0 <= command[1] < 1 << 32:
                return None
        return [(kind, amount) for kind, amount in commands]
