"""A session's way to its group when both are in one process: straight to the member's replica."""

from __future__ import annotations

from collections.abc import Callable

import msgpack

from orderbook.groups.errors import GroupError, Refused
from orderbook.groups.replica import Replica
from orderbook.groups.replicated import Applied
from orderbook.groups.session_client import Answered, Opened
from orderbook.groups.sessions import Outcome
from orderbook.wire.envelope import MAX_PRINCIPAL_BYTES, EntryType, Header
from orderbook.wire.roles import Role


class LocalTransport:
    """A ``SessionTransport``. Answers are ``Applied``; the session is bound to ``principal``.

    Raises ValueError for a principal that no entry holds.
    """

    def __init__(self, replica: Replica, principal: str = "", role: Role = Role.ADMIN) -> None:
        size = len(principal.encode())
        if size > MAX_PRINCIPAL_BYTES:
            raise ValueError(f"a principal is at most {MAX_PRINCIPAL_BYTES} bytes long, not {size}")
        self._replica = replica
        self._principal = principal
        self._role = role

    def open_session(
        self, timeout_ms: int, cancel_on_close: bool, done: Callable[[Opened | None, GroupError | None], None]
    ) -> None:
        def opened(applied: Applied | None, error: GroupError | None) -> None:
            done(Opened(applied.opened, applied.detail) if applied is not None else None, error)

        body = msgpack.packb([timeout_ms, cancel_on_close])
        self._submit(EntryType.OPEN_SESSION, self._header(0), body, opened)

    def send_batch(self, session: int, first: int, commands: int, acked: int, body: bytes, done: Answered) -> None:
        header = self._header(session)._replace(first=first, commands=commands, acked=acked)
        self._submit(EntryType.COMMANDS, header, body, done)

    def keep_alive(self, session: int, acked: int, done: Answered) -> None:
        self._submit(EntryType.KEEP_ALIVE, self._header(session)._replace(acked=acked), b"", done)

    def close_session(self, session: int, done: Answered) -> None:
        self._submit(EntryType.CLOSE_SESSION, self._header(session), b"", done)

    def _header(self, session: int) -> Header:
        return Header(0, 0, session, 0, 0, 0, self._principal, self._role)

    def _submit(self, entry_type: EntryType, header: Header, body: bytes, done: Answered) -> None:
        def answered(applied: Applied | None, error: GroupError | None) -> None:
            if applied is not None and applied.outcome is not Outcome.OK:
                done(None, Refused(applied.outcome, applied.detail))
            else:
                done(applied, error)

        self._replica.submit(entry_type, header, body, answered)
