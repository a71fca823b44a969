"""What a leader proposes of its own: the machine's initial commands, ticks, checks, verdicts, a newer version.

``due`` is asked once a raft tick, and right after entries were applied where that can matter; it is pure but for the
memory of what was already proposed in this leadership. A proposal that is lost is made again.
"""

from __future__ import annotations

from typing import NamedTuple

import msgpack

from orderbook.groups.replicated import ReplicatedState, Verdict
from orderbook.wire.envelope import EntryType


class Duty(NamedTuple):
    type: EntryType
    body: bytes = b""
    commands: int = 0


class LeaderDuties:
    def __init__(self, state: ReplicatedState, check_every: int) -> None:
        self._state = state
        self._check_every = check_every
        self.term = 0  # the leadership that ``due`` speaks for
        self._initial_done = False
        self._waiting: set[int] = set()  # types proposed and not applied yet
        self._last_check = 0

    def begin(self, term: int) -> None:
        """Leadership of ``term`` began and its no-op is committed."""
        if term != self.term:
            self.term = term
            self._initial_done = False
            self._waiting.clear()
            self._last_check = self._state.index

    def applied(self, type: int) -> None:
        """An entry of this type was applied: one like it may be proposed again."""
        self._waiting.discard(type)
        if type == EntryType.CHECK:
            self._last_check = self._state.index

    @property
    def initial_done(self) -> bool:
        """The machine's initial commands were handed out in this leadership, and none was to be said again."""
        return self._initial_done

    def retry(self) -> None:
        """Something that ``due`` said could not be proposed: it says all of it again."""
        self._initial_done = False
        self._waiting.clear()

    def due(self, stamp_ms: int, verdict: Verdict | None, version: int) -> list[Duty]:
        """What to propose now. ``verdict`` and ``version`` are what the members' reports say; None and 0: nothing."""
        state = self._state
        duties: list[Duty] = []
        if not self._initial_done:
            self._initial_done = True
            duties += [Duty(EntryType.PLAIN_COMMANDS, body, 1) for body in state.machine.initial_commands()]
        deadline = state.next_deadline()
        if deadline is not None and deadline <= max(stamp_ms, state.now_ms):
            self._once(duties, Duty(EntryType.TICK))
        if state.index - self._last_check >= self._check_every:
            self._once(duties, Duty(EntryType.CHECK))
        if verdict is not None:
            self._once(duties, Duty(EntryType.VERDICT, msgpack.packb([verdict.check_index, verdict.hash])))
        if version > state.machine_version and not state.settings.hold_machine_version:
            self._once(duties, Duty(EntryType.SET_MACHINE_VERSION, msgpack.packb(version)))
        return duties

    def _once(self, duties: list[Duty], duty: Duty) -> None:
        if duty.type not in self._waiting:
            self._waiting.add(duty.type)
            duties.append(duty)
