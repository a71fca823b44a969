"""The node's side of the order stream: requests of one client in, exactly one reply to each.

A client pipelines: many requests may wait at once, at most ``max_waiting`` of them and ``max_waiting_bytes`` of bodies;
beyond that a request is answered Unavailable(overloaded) before anything enters the log. A message that is no request
closes the connection with a reason, and disturbs nothing else.
"""

from __future__ import annotations

from typing import Any

import msgpack

from orderbook.groups.errors import GroupError, Unavailable
from orderbook.groups.group import Group
from orderbook.groups.replicated import Applied
from orderbook.groups.sessions import Outcome
from orderbook.streams.connection import Connection
from orderbook.wire.envelope import EntryType, Header
from orderbook.wire.order_frames import MalformedRequest, ReplyKind, RequestKind, pack, unpack_request
from orderbook.wire.roles import Role


class OrderEntry:
    def __init__(
        self, group: Group, connection: Connection, max_waiting: int = 1024, max_waiting_bytes: int = 32 << 20
    ) -> None:
        self.requests = 0  # statistics
        self._group = group
        self._connection = connection
        self._max_waiting = max_waiting
        self._max_waiting_bytes = max_waiting_bytes
        self._waiting = 0
        self._waiting_bytes = 0

    def on_message(self, data: bytes) -> None:
        try:
            request = unpack_request(data)
        except MalformedRequest as error:
            self._connection.close(f"malformed request: {error}")
            return
        self.requests += 1
        number = request[1]
        try:
            if self._connection.role is Role.OBSERVER:
                raise _Refusal(Outcome.NOT_PERMITTED)
            if self._waiting >= self._max_waiting or self._waiting_bytes + len(data) > self._max_waiting_bytes:
                raise Unavailable("overloaded")
            self._submit(request, len(data))
        except _Refusal as refusal:
            self._reply(ReplyKind.REFUSED, number, int(refusal.outcome), 0)
        except Unavailable as error:
            self._reply(ReplyKind.UNAVAILABLE, number, error.reason)

    def _submit(self, request: list[Any], size: int) -> None:
        kind, number = request[:2]
        header = Header(0, 0, 0, 0, 0, 0, self._connection.principal, self._connection.role)
        body = b""
        if kind == RequestKind.OPEN:
            entry_type = EntryType.OPEN_SESSION
            body = msgpack.packb(request[2:4])
        elif kind == RequestKind.BATCH:
            entry_type = EntryType.COMMANDS
            body = request[6]
            session, first, commands, acked = request[2:6]
            header = header._replace(session=session, first=first, commands=commands, acked=acked)
        elif kind == RequestKind.KEEP_ALIVE:
            entry_type = EntryType.KEEP_ALIVE
            header = header._replace(session=request[2], acked=request[3])
        else:
            entry_type = EntryType.CLOSE_SESSION
            header = header._replace(session=request[2])
        replica = self._group.replica
        if replica is None:
            raise Unavailable("not_online")
        self._waiting += 1
        self._waiting_bytes += size

        def done(applied: Applied | None, error: GroupError | None) -> None:
            self._waiting -= 1
            self._waiting_bytes -= size
            self._answer(kind, number, applied, error)

        replica.submit(entry_type, header, body, done)

    def _answer(self, kind: int, number: int, applied: Applied | None, error: GroupError | None) -> None:
        if applied is None:
            if isinstance(error, Unavailable):
                self._reply(ReplyKind.UNAVAILABLE, number, error.reason)
            else:
                self._reply(ReplyKind.UNCERTAIN, number, str(error))
        elif applied.outcome is not Outcome.OK:
            self._reply(ReplyKind.REFUSED, number, int(applied.outcome), applied.detail)
        elif kind == RequestKind.OPEN:
            self._reply(ReplyKind.OPENED, number, applied.opened, applied.detail)
        elif kind == RequestKind.BATCH:
            machine = self._group.machine
            events = machine.visible(
                applied.answer, applied.answer_start, self._connection.principal, self._connection.role
            )
            self._reply(ReplyKind.ANSWER, number, applied.answer_index, applied.answer_start, events)
        else:
            self._reply(ReplyKind.DONE, number)

    def _reply(self, kind: ReplyKind, number: int, *fields: Any) -> None:
        self._connection.send(pack(kind, number, *fields))


class _Refusal(Exception):
    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.name)
        self.outcome = outcome
