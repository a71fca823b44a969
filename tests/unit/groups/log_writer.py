"""Writes the entries of a log, one after the other, and applies each to some replicas."""

from __future__ import annotations

from typing import Any

import msgpack

from orderbook.groups.replicated import Applied, ReplicatedState
from orderbook.wire.envelope import EntryType, Header, seal, stamp
from orderbook.wire.roles import Role


class LogWriter:
    """Entries of ``principal`` in ``role`` at ``term`` and ``clock_ms``: change them between entries."""

    def __init__(self, *states: ReplicatedState) -> None:
        self.states = list(states)
        self.index = 0
        self.term = 1
        self.clock_ms = 1_000_000
        self.principal = "alice"
        self.role = Role.TRADER
        self.entries: list[tuple[int, int, bytes]] = []  # what replays the log

    def write(
        self, type: EntryType, body: bytes = b"", session: int = 0, first: int = 0, commands: int = 0, acked: int = 0
    ) -> Applied:
        """Append an entry, apply it everywhere, and give what the first replica said; all must say the same."""
        self.index += 1
        header = Header(7, self.index, session, first, commands, acked, self.principal, self.role)
        payload = stamp(seal(type, header, body), self.clock_ms)
        self.entries.append((self.index, self.term, payload))
        results = [state.apply(self.index, self.term, payload) for state in self.states]
        assert all(result == results[0] for result in results)
        return results[0]

    def batch(self, session: int, first: int, *amounts: int, acked: int = 0) -> Applied:
        body = msgpack.packb([["add", amount] for amount in amounts])
        return self.write(EntryType.COMMANDS, body, session, first, len(amounts), acked)

    def plain(self, *commands: list[Any]) -> Applied:
        return self.write(EntryType.PLAIN_COMMANDS, msgpack.packb(commands), commands=len(commands))

    def keyed(self, key: str, *amounts: int, digest: bytes | None = None) -> Applied:
        commands = msgpack.packb([["add", amount] for amount in amounts])
        body = msgpack.packb([key, commands if digest is None else digest, commands])
        return self.write(EntryType.KEYED_COMMANDS, body, commands=len(amounts))

    def open(self, timeout_ms: int = 10_000, cancel: bool = False) -> int:
        """The id of a new session."""
        applied = self.write(EntryType.OPEN_SESSION, msgpack.packb([timeout_ms, cancel]))
        assert applied.outcome == 0, applied
        return applied.opened

    def close(self, session: int) -> Applied:
        return self.write(EntryType.CLOSE_SESSION, session=session)

    def keep_alive(self, session: int, acked: int = 0) -> Applied:
        return self.write(EntryType.KEEP_ALIVE, session=session, acked=acked)

    def tick(self, after_ms: int = 0) -> Applied:
        self.clock_ms += after_ms
        return self.write(EntryType.TICK)

    def by_admin(self, type: EntryType, value: Any) -> Applied:
        """An entry of the role admin with a msgpack body."""
        role, self.role = self.role, Role.ADMIN
        try:
            return self.write(type, msgpack.packb(value))
        finally:
            self.role = role

    def configure(self, **changes: int) -> Applied:
        return self.by_admin(EntryType.CONFIGURE, changes)
