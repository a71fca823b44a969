"""The replicated state of a group: log time, sessions, idempotency keys, settings, and the user's state machine.

``ReplicatedState.apply`` is the one function that turns a committed entry into state, the same on every member. It is
pure: entries in, results out. The order within one entry is fixed:

1. log time: ``now = max(now, stamp)``;
2. sessions whose timeout passed are closed, by (deadline, id), the machine being told of each: a bounded number, the
   others by the next entries (the leader proposes a TICK as long as some are due), and until then nobody can use them;
3. the entry itself.

Log time for sessions stands still while there is no leader: where an entry's term differs from that of the stamp before
it, the time between the two stamps is taken out of every session's clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import msgpack

from orderbook.groups.keys import MAX_DIGEST_BYTES, MAX_KEY_BYTES, IdempotencyKeys
from orderbook.groups.sessions import HASH_MASK, KeepBounds, Kept, Outcome, Session, Sessions, mix
from orderbook.groups.settings import Settings, changed
from orderbook.groups.statemachine import ApplyContext, Event, StateMachine
from orderbook.packing import unpack
from orderbook.wire.envelope import EntryType, Envelope, UnknownFormat, unseal
from orderbook.wire.roles import Role

SNAPSHOT_FORMAT = 1
LIFE_SHIFT = 43  # a session's id: the life of the group above, the log index of its opening below
MAX_LIFE = (1 << 20) - 1
_CHUNK_BYTES = 64 << 10
_NO_EVENTS: list[Event] = []


class Applied(NamedTuple):
    """What became of one entry.

    ``answer_index`` and ``answer`` hold the events that answer the caller: those of this entry, or for a repeat those
    of the entry that ran it. ``events`` are all that are new here, in sequence: the sequence of ``events[n]`` is
    (log_index, n). ``closed`` are sessions that ended, ``opened`` is the one that began, 0 for none.
    """

    log_index: int
    type: int
    origin: int
    request: int
    outcome: Outcome
    detail: int
    answer_index: int
    answer_start: int
    answer: list[Event]
    events: list[Event]
    now_ms: int
    closed: tuple[int, ...] = ()
    opened: int = 0


class Verdict(NamedTuple):
    """What the leader logged about a check: the hash that a majority has, None where there is no majority."""

    check_index: int
    hash: int | None


class ReplicatedState:
    def __init__(self, machine: StateMachine) -> None:
        self.machine = machine
        self.index = 0  # of the last entry applied
        self.term = 0  # of the last stamped entry
        self.now_ms = 0
        self.machine_version = 1
        self.settings = Settings()
        self.sessions = Sessions()
        self.keys = IdempotencyKeys()
        self.checks: dict[int, int] = {}  # index of a CHECK -> own hash there; not replicated, the last 16
        self.verdict: Verdict | None = None  # the newest one; not replicated
        self.life = 0  # which life of the group this is: 0 until a lost majority was recovered
        self._paused_ms = 0  # how much of log time sessions did not see
        self._context = ApplyContext()

    @property
    def state_hash(self) -> int:
        """0 .. 2^62-1: of machine, sessions, keys, settings and time."""
        rest = mix(self.now_ms, self._paused_ms, self.machine_version, self.life, *self.settings)
        return (self.machine.state_hash + self.sessions.hash + self.keys.hash + rest) & HASH_MASK

    @property
    def session_now_ms(self) -> int:
        return self.now_ms - self._paused_ms

    def next_deadline(self) -> int | None:
        """The log time at which a TICK has something to do; None for never."""
        session = self.sessions.next_deadline()
        machine = self.machine.next_deadline()
        if session is None:
            return machine
        session += self._paused_ms
        return session if machine is None else min(session, machine)

    def newest_check(self) -> tuple[int, int] | None:
        """(index, own hash) of the newest CHECK that was applied here; None before the first."""
        return next(reversed(self.checks.items()), None)

    def skip(self, index: int) -> None:
        """An entry of raft's own (no-op, configuration) took a place in the log."""
        self.index = index

    def apply(self, index: int, term: int, payload: bytes) -> Applied:
        """Apply one entry. Raises UnknownFormat, before any change, for what a newer version wrote."""
        envelope = unseal(payload)
        self._check_known(envelope)
        header = envelope.header
        if envelope.stamp > self.now_ms:
            if term != self.term and self.term:
                self._paused_ms += envelope.stamp - self.now_ms
            self.now_ms = envelope.stamp
        self.term = term
        self.index = index
        context = self._context
        context.index = index
        context.now_ms = self.now_ms
        context.machine_version = self.machine_version
        closed, before = self._close_due(context)
        context.principal = header.principal
        context.role = header.role
        context.session = header.session
        applied = _HANDLERS[envelope.type](self, envelope, context, before)
        return applied._replace(closed=closed + applied.closed) if closed else applied

    def _check_known(self, envelope: Envelope) -> None:
        if envelope.type == EntryType.SET_MACHINE_VERSION and envelope.header.role == Role.ADMIN:
            version = _unpacked(envelope.body)
            if type(version) is int and version > self.machine.version:
                raise UnknownFormat(
                    f"version {version} of the state machine {self.machine.signature!r}; "
                    f"this node knows up to {self.machine.version}"
                )

    def _close_due(self, context: ApplyContext) -> tuple[tuple[int, ...], list[Event]]:
        deadline = self.sessions.next_deadline()
        if deadline is None or deadline > self.session_now_ms:
            return (), _NO_EVENTS
        due = self.sessions.take_due(self.session_now_ms)
        events: list[Event] = []
        for session in due:
            events += self._closed(context, session)
        return tuple(session.id for session in due), events

    def _closed(self, context: ApplyContext, session: Session) -> list[Event]:
        """Tell the machine of a session that was removed."""
        context.principal = session.principal
        context.role = session.role
        context.session = session.id
        return self.machine.session_closed(context, session.cancel_on_close)

    def _run(self, context: ApplyContext, body: bytes, count: int, before: list[Event]) -> tuple[list[Event], int]:
        events = self.machine.apply(context, body, count)
        start = 0
        while start < len(events) and events[start][1] < 0:
            start += 1
        return (before + events, start + len(before)) if before else (events, start)

    def _commands(self, envelope: Envelope, context: ApplyContext, before: list[Event]) -> Applied:
        header = envelope.header
        session = self.sessions.find(header.session, header.principal, self.session_now_ms)
        if isinstance(session, Outcome):
            return self._refused(envelope, session, header.session, self._tick(context, before))
        verdict = self.sessions.judge(session, header.first, header.commands, envelope.body)
        if verdict is None:
            events, start = self._run(context, envelope.body, header.commands, before)
            body = envelope.body
            kept = Kept(header.first, header.commands, body, False, self.index, start, events, len(body))
            settings = self.settings
            bounds = KeepBounds(settings.max_kept_results, settings.max_kept_bytes, settings.max_kept_bytes_of_all)
            self.sessions.keep(session, kept, bounds)
            applied = self._answer(envelope, self.index, start, events, events)
        elif isinstance(verdict, Kept):
            applied = self._answer(
                envelope, verdict.log_index, verdict.start, verdict.events, self._tick(context, before)
            )
        else:
            applied = self._refused(envelope, *verdict, self._tick(context, before))
        self.sessions.touch(session, header.acked, self.session_now_ms)
        self.sessions.rehash(session)
        return applied

    def _plain_commands(self, envelope: Envelope, context: ApplyContext, before: list[Event]) -> Applied:
        events, start = self._run(context, envelope.body, envelope.header.commands, before)
        return self._answer(envelope, self.index, start, events, events)

    def _keyed_commands(self, envelope: Envelope, context: ApplyContext, before: list[Event]) -> Applied:
        header = envelope.header
        fields = _unpacked(envelope.body)
        if type(fields) is not list or [type(field) for field in fields] != [str, bytes, bytes]:
            return self._refused(envelope, Outcome.MALFORMED, 0, self._tick(context, before))
        key, digest, body = fields
        if len(key.encode()) > MAX_KEY_BYTES or len(digest) > MAX_DIGEST_BYTES:
            return self._refused(envelope, Outcome.MALFORMED, 0, self._tick(context, before))
        self.keys.expire(self.now_ms - self.settings.key_lifetime_ms)
        kept = self.keys.find(header.principal, key)
        if kept is not None and kept.body != digest:
            return self._refused(envelope, Outcome.KEY_REUSED, kept.log_index, self._tick(context, before))
        if kept is not None:
            return self._answer(envelope, kept.log_index, kept.start, kept.events, self._tick(context, before))
        events, start = self._run(context, body, header.commands, before)
        kept = Kept(1, header.commands, digest, True, self.index, start, events, len(body))
        self.keys.keep(header.principal, key, kept, self.now_ms, self.settings.max_keys, self.settings.max_key_bytes)
        return self._answer(envelope, self.index, start, events, events)

    def _open_session(self, envelope: Envelope, context: ApplyContext, before: list[Event]) -> Applied:
        before = self._tick(context, before)
        fields = _unpacked(envelope.body)
        if type(fields) is not list or [type(field) for field in fields] != [int, bool]:
            return self._refused(envelope, Outcome.MALFORMED, 0, before)
        if len(self.sessions.by_id) >= self.settings.max_sessions:
            return self._refused(envelope, Outcome.TOO_MANY_SESSIONS, self.settings.max_sessions, before)
        allowed = self.settings.max_sessions_of_one
        if self.sessions.of_principal.get(envelope.header.principal, 0) >= allowed:
            return self._refused(envelope, Outcome.TOO_MANY_OF_PRINCIPAL, allowed, before)
        timeout = min(max(fields[0], self.settings.min_session_timeout_ms), self.settings.max_session_timeout_ms)
        header = envelope.header
        id = self.life << LIFE_SHIFT | self.index
        self.sessions.open(Session(id, header.principal, header.role, timeout, fields[1], self.session_now_ms))
        return self._answer(envelope, self.index, 0, _NO_EVENTS, before, detail=timeout)._replace(opened=id)

    def _close_session(self, envelope: Envelope, context: ApplyContext, before: list[Event]) -> Applied:
        before = self._tick(context, before)
        session = self.sessions.find(envelope.header.session, envelope.header.principal, self.session_now_ms)
        if isinstance(session, Outcome):
            return self._refused(envelope, session, envelope.header.session, before)
        self.sessions.remove(session)
        events = before + self._closed(context, session)
        applied = self._answer(envelope, self.index, len(events), events, events)
        return applied._replace(closed=(session.id,))

    def _keep_alive(self, envelope: Envelope, context: ApplyContext, before: list[Event]) -> Applied:
        before = self._tick(context, before)
        session = self.sessions.find(envelope.header.session, envelope.header.principal, self.session_now_ms)
        if isinstance(session, Outcome):
            return self._refused(envelope, session, envelope.header.session, before)
        self.sessions.touch(session, envelope.header.acked, self.session_now_ms)
        self.sessions.rehash(session)
        return self._answer(envelope, self.index, 0, _NO_EVENTS, before)

    def _only_time(self, envelope: Envelope, context: ApplyContext, before: list[Event]) -> Applied:
        return self._answer(envelope, self.index, 0, _NO_EVENTS, self._tick(context, before))

    def _check(self, envelope: Envelope, context: ApplyContext, before: list[Event]) -> Applied:
        applied = self._only_time(envelope, context, before)
        self.checks[self.index] = self.state_hash
        while len(self.checks) > 16:
            del self.checks[next(iter(self.checks))]
        return applied

    def _verdict(self, envelope: Envelope, context: ApplyContext, before: list[Event]) -> Applied:
        before = self._tick(context, before)
        if envelope.header.role != Role.ADMIN:
            return self._refused(envelope, Outcome.NOT_PERMITTED, 0, before)
        fields = _unpacked(envelope.body)
        if type(fields) is not list or [type(field) for field in fields] not in ([int, int], [int, type(None)]):
            return self._refused(envelope, Outcome.MALFORMED, 0, before)
        self.verdict = Verdict(*fields)
        return self._answer(envelope, self.index, 0, _NO_EVENTS, before)

    def _configure(self, envelope: Envelope, context: ApplyContext, before: list[Event]) -> Applied:
        before = self._tick(context, before)
        if envelope.header.role != Role.ADMIN:
            return self._refused(envelope, Outcome.NOT_PERMITTED, 0, before)
        settings = changed(self.settings, envelope.body)
        if settings is None:
            return self._refused(envelope, Outcome.MALFORMED, 0, before)
        self.settings = settings
        return self._answer(envelope, self.index, 0, _NO_EVENTS, before)

    def _set_machine_version(self, envelope: Envelope, context: ApplyContext, before: list[Event]) -> Applied:
        before = self._tick(context, before)
        if envelope.header.role != Role.ADMIN:
            return self._refused(envelope, Outcome.NOT_PERMITTED, 0, before)
        version = _unpacked(envelope.body)
        if type(version) is not int:
            return self._refused(envelope, Outcome.MALFORMED, 0, before)
        self.machine_version = max(self.machine_version, version)
        return self._answer(envelope, self.index, 0, _NO_EVENTS, before)

    def _reborn(self, envelope: Envelope, context: ApplyContext, before: list[Event]) -> Applied:
        before = self._tick(context, before)
        if envelope.header.role != Role.ADMIN:
            return self._refused(envelope, Outcome.NOT_PERMITTED, 0, before)
        life = _unpacked(envelope.body)
        if type(life) is not int or not 1 <= life <= MAX_LIFE:
            return self._refused(envelope, Outcome.MALFORMED, 0, before)
        self.life = life
        closed = list(self.sessions.by_id.values())
        events = list(before)
        for session in closed:
            self.sessions.remove(session)
            events += self._closed(context, session)
        self.keys = IdempotencyKeys()
        applied = self._answer(envelope, self.index, 0, _NO_EVENTS, events)
        return applied._replace(closed=tuple(session.id for session in closed))

    def _tick(self, context: ApplyContext, before: list[Event]) -> list[Event]:
        events = self.machine.tick(context)
        return before + events if before else events

    def _answer(
        self, envelope: Envelope, index: int, start: int, answer: list[Event], events: list[Event], detail: int = 0
    ) -> Applied:
        header = envelope.header
        return Applied(
            self.index,
            envelope.type,
            header.origin,
            header.request,
            Outcome.OK,
            detail,
            index,
            start,
            answer,
            events,
            self.now_ms,
        )

    def _refused(self, envelope: Envelope, outcome: Outcome, detail: int, events: list[Event]) -> Applied:
        applied = self._answer(envelope, self.index, 0, _NO_EVENTS, events, detail)
        return applied._replace(outcome=outcome)

    def snapshot(self) -> Iterator[bytes]:
        """All of it in chunks of bounded size.

        The first byte says whose: ``g`` the group's, ``s`` sessions, ``r`` their kept results, ``k`` idempotency keys,
        ``m`` the machine's.
        """
        front = [SNAPSHOT_FORMAT, self.machine.signature, self.index, self.term, self.now_ms, self._paused_ms]
        yield b"g" + msgpack.packb([*front, self.machine_version, list(self.settings), self.life])
        yield from _in_chunks(b"s", self.sessions.dump())
        yield from _in_chunks(b"r", self.sessions.dump_kept())
        yield from _in_chunks(b"k", self.keys.dump())
        for chunk in self.machine.snapshot():
            yield b"m" + chunk

    def restore(self, chunks: Iterable[bytes]) -> Iterator[None]:
        """Replace everything by a snapshot. Yields between slices of work. Raises UnknownFormat, ValueError."""
        stream = iter(chunks)
        self._restore_front(next(stream, b""))
        self.sessions = Sessions()
        self.keys = IdempotencyKeys()
        pending: bytes | None = None
        for chunk in stream:
            if chunk[:1] == b"s":
                self.sessions.load(unpack(chunk[1:]))
            elif chunk[:1] == b"r":
                self.sessions.load_kept(unpack(chunk[1:]))
            elif chunk[:1] == b"k":
                self.keys.load(unpack(chunk[1:]))
            else:
                pending = chunk
                break
            yield
        yield from self.machine.restore(_machine_chunks(pending, stream))

    def _restore_front(self, chunk: bytes) -> None:
        if chunk[:1] != b"g":
            raise ValueError("a snapshot begins with the group's part")
        fields = unpack(chunk[1:])
        if fields[0] != SNAPSHOT_FORMAT:
            raise UnknownFormat(f"snapshot format {fields[0]}; this version knows {SNAPSHOT_FORMAT}")
        if fields[1] != self.machine.signature:
            raise ValueError(f"a snapshot of machine {fields[1]!r}; this group runs {self.machine.signature!r}")
        if fields[6] > self.machine.version:
            raise UnknownFormat(f"machine version {fields[6]}; this node knows up to {self.machine.version}")
        self.index, self.term, self.now_ms, self._paused_ms, self.machine_version = fields[2:7]
        self.settings = Settings(*fields[7])
        self.life = fields[8]


def _in_chunks(kind: bytes, rows: Iterable[tuple[list[Any], int]]) -> Iterator[bytes]:
    """Rows of about known sizes in chunks of one row or at most about _CHUNK_BYTES."""
    chunk: list[list[Any]] = []
    total = 0
    for row, size in rows:
        if chunk and total + size > _CHUNK_BYTES:
            yield kind + msgpack.packb(chunk)
            chunk, total = [], 0
        chunk.append(row)
        total += size
    if chunk:
        yield kind + msgpack.packb(chunk)


def _machine_chunks(first: bytes | None, rest: Iterator[bytes]) -> Iterator[bytes]:
    if first is not None:
        yield first[1:]
    for chunk in rest:
        yield chunk[1:]


def _unpacked(body: bytes) -> Any:
    """The value of a small msgpack body, None where it does not decode."""
    try:
        return unpack(body)
    except Exception:  # noqa: BLE001 - any bytes may stand here, and every member must answer them alike
        return None


_HANDLERS: dict[int, Callable[[ReplicatedState, Envelope, ApplyContext, list[Event]], Applied]] = {
    EntryType.COMMANDS: ReplicatedState._commands,
    EntryType.PLAIN_COMMANDS: ReplicatedState._plain_commands,
    EntryType.KEYED_COMMANDS: ReplicatedState._keyed_commands,
    EntryType.OPEN_SESSION: ReplicatedState._open_session,
    EntryType.CLOSE_SESSION: ReplicatedState._close_session,
    EntryType.KEEP_ALIVE: ReplicatedState._keep_alive,
    EntryType.TICK: ReplicatedState._only_time,
    EntryType.CHECK: ReplicatedState._check,
    EntryType.VERDICT: ReplicatedState._verdict,
    EntryType.CONFIGURE: ReplicatedState._configure,
    EntryType.SET_MACHINE_VERSION: ReplicatedState._set_machine_version,
    EntryType.REBORN: ReplicatedState._reborn,
}
