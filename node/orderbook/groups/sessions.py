"""Sessions make retries exact: a command that was answered once is never run twice.

A session is opened by a log entry, whose index (with the life of the group: an index of a life that ended can come
again) is its id, and bound to a principal. Its commands are numbered from 1
without gaps and arrive in batches. A batch

- runs if its first number is the last one + 1;
- is answered from the kept results if it was run before with the same bytes;
- is refused, and changes nothing, if it leaves a gap, repeats a number with other bytes, or repeats a batch whose
  result was dropped because the client had said that it has it (``acked``) or because too many were kept.

All of this is replicated state. Only log time ends a session, and the time in which no leader stamped the log does not
count: see ``ReplicatedState``.

Kept results are bounded in number and in bytes, by session and in all. Beyond a bound a session loses its own oldest
results first; its newest one is always kept, so that a client with one batch in flight never misses an answer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from enum import IntEnum
from hashlib import blake2b
from heapq import heapify, heappop, heappush, heapreplace
from typing import Any, NamedTuple

import msgpack

from orderbook.groups.statemachine import Event

HASH_MASK = (1 << 62) - 1
CLOSED_PER_ENTRY = 256  # sessions that end by their timeout; others that are due wait for the next entry
CLOSED_BYTES_PER_ENTRY = 4 << 20  # of kept results that go with them
EVENT_BYTES = 100  # what an event counts against the bounds of kept results


class KeepBounds(NamedTuple):
    """How much of past results is kept: batches and bytes of one session, bytes of all sessions."""

    batches: int
    size: int
    size_of_all: int


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
    TOO_MANY_OF_PRINCIPAL = 10  # detail: how many sessions one principal is allowed


class Kept(NamedTuple):
    """The result of a batch: ``events[start:]`` of the entry at ``log_index`` answer it."""

    first: int
    commands: int
    body: bytes  # the batch itself, or after a restore its digest
    is_digest: bool
    log_index: int
    start: int
    events: list[Event]
    body_bytes: int  # of the batch itself

    @property
    def size(self) -> int:
        """About how many bytes it takes: the same on every member, whether it holds the body or a digest."""
        return self.body_bytes + EVENT_BYTES * len(self.events)

    def digest(self) -> bytes:
        return self.body if self.is_digest else digest_of(self.body)


class Session:
    __slots__ = (
        "acked",
        "active_ms",
        "cancel_on_close",
        "id",
        "kept",
        "kept_bytes",
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
        self.kept_bytes = 0
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
        self.of_principal: dict[str, int] = {}  # how many each has open
        self.hash = 0
        self.kept_bytes = 0
        self._deadlines: list[tuple[int, int]] = []  # a heap; an entry may be early, never late

    def open(self, session: Session) -> None:
        self.by_id[session.id] = session
        self.of_principal[session.principal] = self.of_principal.get(session.principal, 0) + 1
        heappush(self._deadlines, (session.deadline_ms, session.id))
        self.rehash(session)

    def remove(self, session: Session) -> None:
        del self.by_id[session.id]
        left = self.of_principal[session.principal] - 1
        if left:
            self.of_principal[session.principal] = left
        else:
            del self.of_principal[session.principal]
        self.kept_bytes -= session.kept_bytes
        self.hash = (self.hash - session.mix) & HASH_MASK
        if len(self._deadlines) > 2 * len(self.by_id) + 64:  # most are of closed sessions: they would pile up
            self._deadlines = [(open.deadline_ms, open.id) for open in self.by_id.values()]
            heapify(self._deadlines)

    def rehash(self, session: Session) -> None:
        """After any change to a session."""
        s, kept = session, session.kept
        places = (kept[0].log_index, kept[-1].log_index) if kept else ()
        terms = (s.id, s.principal, s.role, s.timeout_ms, s.cancel_on_close)
        new = mix(*terms, s.active_ms, s.last, s.acked, len(kept), s.kept_bytes, *places)
        self.hash = (self.hash - session.mix + new) & HASH_MASK
        session.mix = new

    def next_deadline(self) -> int | None:
        """When the next session is due; None without sessions."""
        heap = self._deadlines
        while heap:
            deadline, id = heap[0]
            session = self.by_id.get(id)
            if session is None:
                heappop(heap)
            elif session.deadline_ms > deadline:
                heapreplace(heap, (session.deadline_ms, id))
            else:
                return deadline
        return None

    def take_due(self, now_ms: int) -> list[Session]:
        """Remove sessions whose timeout has passed, by (deadline, id): a bounded number, with a bounded part of the
        kept results. Where some are left the next deadline has passed."""
        taken: list[Session] = []
        left = CLOSED_BYTES_PER_ENTRY
        while len(taken) < CLOSED_PER_ENTRY:
            deadline = self.next_deadline()
            if deadline is None or deadline > now_ms:
                break
            session = self.by_id[self._deadlines[0][1]]
            left -= self._drop_results(session, left)
            if session.kept:
                self.rehash(session)
                break
            self.remove(session)
            taken.append(session)
        return taken

    def find(self, id: int, principal: str, now_ms: int) -> Session | Outcome:
        """A session that is due, and will be taken by a later entry, is unknown already."""
        session = self.by_id.get(id)
        if session is None or session.deadline_ms <= now_ms:
            return Outcome.SESSION_UNKNOWN
        return session if session.principal == principal else Outcome.NOT_OWNER

    def judge(self, session: Session, first: int, commands: int, body: bytes) -> Kept | tuple[Outcome, int] | None:
        """None: the batch is next, run it. A Kept: it was run, this was its result. Otherwise why it is refused."""
        if first < 1 or commands < 1:
            return Outcome.MALFORMED, first
        if first == session.last + 1:
            return None
        if first > session.last:
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
                self._drop_oldest(session)

    def keep(self, session: Session, kept: Kept, bounds: KeepBounds) -> None:
        """A batch ran: remember its result."""
        session.last = kept.first + kept.commands - 1
        self._append(session, kept)
        while len(session.kept) > 1 and (
            len(session.kept) > bounds.batches
            or session.kept_bytes > bounds.size
            or self.kept_bytes > bounds.size_of_all
        ):
            self._drop_oldest(session)

    def _append(self, session: Session, kept: Kept) -> None:
        session.kept.append(kept)
        session.kept_bytes += kept.size
        self.kept_bytes += kept.size

    def _drop_results(self, session: Session, most: int) -> int:
        """Its oldest results, until none is left or ``most`` bytes are passed; how many bytes went."""
        before = session.kept_bytes
        while session.kept and before - session.kept_bytes < most:
            self._drop_oldest(session)
        return before - session.kept_bytes

    def _drop_oldest(self, session: Session) -> None:
        size = session.kept.popleft().size
        session.kept_bytes -= size
        self.kept_bytes -= size

    def dump(self) -> Iterator[tuple[list[Any], int]]:
        """For a snapshot: the sessions, in the order in which they were opened, each with about its size."""
        for s in self.by_id.values():
            row = [s.id, s.principal, s.role, s.timeout_ms, s.cancel_on_close, s.active_ms, s.last, s.acked]
            yield row, EVENT_BYTES

    def load(self, rows: list[list[Any]]) -> None:
        """Add sessions of a snapshot."""
        for id, principal, role, timeout_ms, cancel, active_ms, last, acked in rows:
            session = Session(id, principal, role, timeout_ms, cancel, active_ms)
            session.last, session.acked = last, acked
            self.open(session)

    def dump_kept(self) -> Iterator[tuple[list[Any], int]]:
        """For a snapshot: the kept results, each with about its size."""
        for session in self.by_id.values():
            for k in session.kept:
                row = [session.id, k.first, k.commands, k.digest(), k.log_index, k.start, k.events, k.body_bytes]
                yield row, k.size

    def load_kept(self, rows: list[list[Any]]) -> None:
        """Add kept results of a snapshot, after their sessions."""
        for id, first, commands, digest, index, start, events, body_bytes in rows:
            session = self.by_id[id]
            events = [tuple(event) for event in events]
            self._append(session, Kept(first, commands, digest, True, index, start, events, body_bytes))
            self.rehash(session)
