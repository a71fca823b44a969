"""Sessions make retries exact: a command that was answered once is never run twice.

A session is opened by a log entry, whose index is its id, and bound to a principal. Its commands are numbered from 1
without gaps and arrive in batches. A batch

- runs if its first number is the last one + 1;
- is answered from the kept results if it was run before with the same bytes;
- is refused, and changes nothing, if it leaves a gap, repeats a number with other bytes, or repeats a batch whose
  result was dropped because the client had said that it has it (``acked``) or because too many were kept.

All of this is replicated state. Only log time ends a session, and the time in which no leader stamped the log does not
count: see ``Sessions.close_due``.
"""

from __future__ import annotations

from collections import deque
from enum import IntEnum
from hashlib import blake2b
from heapq import heappop, heappush
from typing import Any, NamedTuple

import msgpack

from orderbook.groups.statemachine import Event

HASH_MASK = (1 << 62) - 1


class Outcome(IntEnum):
    """How an entry was answered. All but OK changed nothing. Numbers are part of the wire's format."""

    OK = 0
    SEQUENCE_GAP = 1  # detail: the number that was expected
    REPEAT_DIFFERS = 2  # a number came again with other bytes
    RESULT_DROPPED = 3  # run before, but its result is no longer kept
    SESSION_UNKNOWN = 4  # expired, closed, or never opened
    NOT_OWNER = 5  # the session belongs to another principal
    TOO_MANY_SESSIONS = 6  # detail: how many are allowed
    KEY_REUSED = 7  # an idempotency key came again with another body
    MALFORMED = 8  # the body of the entry is not what its type says
    NOT_PERMITTED = 9  # the role may not do this


class Kept(NamedTuple):
    """The result of a batch: ``events[start:]`` of the entry at ``log_index`` answer it."""

    first: int
    commands: int
    body: bytes  # the batch itself, or after a restore its digest
    is_digest: bool
    log_index: int
    start: int
    events: list[Event]

    def digest(self) -> bytes:
        return self.body if self.is_digest else digest_of(self.body)


class Session:
    __slots__ = (
        "acked",
        "active_ms",
        "cancel_on_close",
        "id",
        "kept",
        "last",
        "mix",
        "principal",
        "role",
        "timeout_ms",
    )

    def __init__(self, id: int, principal: str, role: int, timeout_ms: int, cancel_on_close: bool, now_ms: int) -> None:
        self.id = id
        self.principal = principal
        self.role = role
        self.timeout_ms = timeout_ms
        self.cancel_on_close = cancel_on_close
        self.active_ms = now_ms
        self.last = 0
        self.acked = 0
        self.kept: deque[Kept] = deque()
        self.mix = 0

    @property
    def deadline_ms(self) -> int:
        return self.active_ms + self.timeout_ms


def digest_of(body: bytes) -> bytes:
    return blake2b(body, digest_size=16).digest()


def mix(*fields: Any) -> int:
    """A hash of plain values that no interpreter setting changes, 0 .. 2^62-1."""
    return int.from_bytes(blake2b(msgpack.packb(fields), digest_size=8).digest(), "big") & HASH_MASK


class Sessions:
    """All sessions of a group. ``hash`` covers them: the sum of one mix each, kept up incrementally."""

    def __init__(self) -> None:
        self.by_id: dict[int, Session] = {}
        self.hash = 0
        self._deadlines: list[tuple[int, int]] = []  # a heap; an entry may be early, never late

    def open(self, session: Session) -> None:
        self.by_id[session.id] = session
        heappush(self._deadlines, (session.deadline_ms, session.id))
        self.rehash(session)

    def remove(self, session: Session) -> None:
        del self.by_id[session.id]
        self.hash = (self.hash - session.mix) & HASH_MASK

    def rehash(self, session: Session) -> None:
        """After any change to a session."""
        new = mix(session.id, session.principal, session.last, session.acked, session.active_ms, len(session.kept))
        self.hash = (self.hash - session.mix + new) & HASH_MASK
        session.mix = new

    def next_deadline(self) -> int | None:
        """When the next session may be due; never late, possibly early."""
        while self._deadlines and self._deadlines[0][1] not in self.by_id:
            heappop(self._deadlines)
        if not self._deadlines:
            return None
        deadline, id = self._deadlines[0]
        actual = self.by_id[id].deadline_ms
        if actual > deadline:
            heappop(self._deadlines)
            heappush(self._deadlines, (actual, id))
            return self.next_deadline()
        return deadline

    def due(self, now_ms: int) -> list[Session]:
        """Sessions whose timeout has passed, by (deadline, id). The caller closes each."""
        due: list[Session] = []
        while True:
            deadline = self.next_deadline()
            if deadline is None or deadline > now_ms:
                return due
            _, id = heappop(self._deadlines)
            due.append(self.by_id[id])

    def find(self, id: int, principal: str) -> Session | Outcome:
        session = self.by_id.get(id)
        if session is None:
            return Outcome.SESSION_UNKNOWN
        return session if session.principal == principal else Outcome.NOT_OWNER

    def judge(self, session: Session, first: int, commands: int, body: bytes) -> Kept | tuple[Outcome, int] | None:
        """None: the batch is next, run it. A Kept: it was run, this was its result. Otherwise why it is refused."""
        if first == session.last + 1 and commands > 0:
            return None
        if first > session.last + 1 or first < 1 or commands < 1:
            return Outcome.SEQUENCE_GAP, session.last + 1
        for kept in session.kept:
            if kept.first == first:
                same = kept.commands == commands and (
                    kept.body == body if not kept.is_digest else kept.body == digest_of(body)
                )
                return kept if same else (Outcome.REPEAT_DIFFERS, first)
        if session.kept and first > session.kept[0].first:
            return Outcome.REPEAT_DIFFERS, first
        return Outcome.RESULT_DROPPED, first

    def touch(self, session: Session, acked: int, now_ms: int) -> None:
        """The client was heard: it lives, and has the results up to ``acked``."""
        session.active_ms = now_ms
        if acked > session.acked:
            session.acked = min(acked, session.last)
            kept = session.kept
            while kept and kept[0].first + kept[0].commands - 1 <= session.acked:
                kept.popleft()

    def keep(self, session: Session, kept: Kept, most: int) -> None:
        """A batch ran: remember its result, at most ``most`` of them."""
        session.last = kept.first + kept.commands - 1
        session.kept.append(kept)
        while len(session.kept) > most:
            session.kept.popleft()

    def dump(self) -> list[list[Any]]:
        """For a snapshot, in the order in which they were opened."""
        return [
            [
                *(s.id, s.principal, s.role, s.timeout_ms, s.cancel_on_close, s.active_ms, s.last, s.acked),
                [[k.first, k.commands, k.digest(), k.log_index, k.start, k.events] for k in s.kept],
            ]
            for s in self.by_id.values()
        ]

    def load(self, rows: list[list[Any]]) -> None:
        """Add sessions of a snapshot."""
        for id, principal, role, timeout_ms, cancel, active_ms, last, acked, kept in rows:
            session = Session(id, principal, role, timeout_ms, cancel, active_ms)
            session.last, session.acked = last, acked
            for first, commands, digest, index, start, events in kept:
                session.kept.append(
                    Kept(first, commands, digest, True, index, start, [tuple(event) for event in events])
                )
            self.open(session)
