"""A request to /v1 as its handler sees it, checked and typed; what it may do with the group; and the table's ``Route``.

A handler gets a ``Call`` and gives an ``Answer``, or raises ``ApiError`` or an error of the group.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Generic, Literal, NamedTuple, TypeVar

import msgpack
from pydantic import BaseModel

from orderbook.book import EventKind, RejectReason, to_json, view
from orderbook.groups.errors import GroupError, NotBootstrapped, Refused, Uncertain
from orderbook.groups.group import Answer as QueryAnswer
from orderbook.groups.group import Consistency, Group
from orderbook.groups.replicated import Applied
from orderbook.groups.sessions import Outcome
from orderbook.groups.statemachine import Event
from orderbook.server.api_errors import ApiError
from orderbook.server.api_fields import NoParameters, Parameters
from orderbook.server.api_requests import Reading
from orderbook.server.credentials import NOTHING_LOADED, CredentialReport
from orderbook.wire.envelope import EntryType, Header
from orderbook.wire.roles import Role

INDEX_HEADER = "Orderbook-Index"
REPLAYED_HEADER = "Idempotent-Replayed"
MAX_EVENTS = 10_000
_MANY = (EventKind.FILL, EventKind.CANCELLED, EventKind.EXPIRED)  # a command may lead to any number of these

P = TypeVar("P", bound=Parameters)
Q = TypeVar("Q", bound=Parameters)
B = TypeVar("B")


class Principal(NamedTuple):
    """Who asks. ``name`` is the trader that it acts as."""

    name: str
    role: Role


class Security(NamedTuple):
    """How this node knows its clients, and what it proves itself with."""

    auth: Literal["none", "tokens"] = "none"
    credentials: CredentialReport = NOTHING_LOADED


class Answer(NamedTuple):
    document: Mapping[str, Any]
    status: int = 200
    headers: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Outcomes:
    """The events of a batch of commands that the principal may see, by command, each with its sequence.

    ``index`` is that of the entry that ran them. ``omitted`` events were too many to answer.
    """

    index: int
    by_command: list[list[tuple[Event, tuple[int, int]]]]
    omitted: int
    replayed: bool

    @property
    def headers(self) -> dict[str, str]:
        headers = {INDEX_HEADER: str(self.index)}
        return {**headers, REPLAYED_HEADER: "true"} if self.replayed else headers

    def documents(self, command: int = 0) -> list[dict[str, Any]]:
        return [to_json(event, sequence=sequence) for event, sequence in self.by_command[command]]


_MORE = {"invalid_expiry": ": gtd needs expires, a time in milliseconds, and nothing else takes it"}


@dataclass(frozen=True, slots=True)
class Call(Generic[P, Q, B]):
    group: Group
    principal: Principal
    key: str | None
    path: P
    query: Q
    body: B
    security: Security

    # --- reading ------------------------------------------------------------------------------------------------------

    async def ask(self, query: Any, reading: Reading) -> QueryAnswer:
        """Ask the book as fresh as the request wants it."""
        consistency = Consistency(reading.consistency)
        return await self.group.query(query, consistency, min_index=reading.min_index or 0)

    def trader(self, named: str | None) -> str:
        """The trader that a request is about: the principal, unless an admin names another."""
        if named is None or named == self.principal.name:
            return self.principal.name
        if self.principal.role is not Role.ADMIN:
            raise ApiError(403, "forbidden", "trader is another than the principal", reason="not_owner")
        return named

    # --- executing ----------------------------------------------------------------------------------------------------

    async def run(self, commands: Sequence[Any]) -> Outcomes:
        """Have commands agreed on and applied; under an Idempotency-Key if the request has one.

        Raises Refused, Unavailable, Uncertain.
        """
        body = self.group.machine.encode(commands)
        entry_type = EntryType.PLAIN_COMMANDS
        if self.key is not None:
            entry_type = EntryType.KEYED_COMMANDS
            body = msgpack.packb([self.key, blake2b(body, digest_size=32).digest(), body])
        applied = await self.submit(entry_type, body, len(commands))
        return self._outcomes(applied, len(commands))

    async def run_one(self, command: Any) -> Outcomes:
        """``run``, and raise what the book rejects as an error."""
        outcomes = await self.run([command])
        rejection = rejection_of(outcomes, 0)
        if rejection is not None:
            message = f"rejected: {rejection.replace('_', ' ')}{_MORE.get(rejection, '')}"
            events, index = outcomes.documents(), outcomes.index
            raise ApiError(422, "rejected", message, outcomes.headers, reason=rejection, index=index, events=events)
        return outcomes

    async def submit(self, entry_type: EntryType, body: bytes, count: int) -> Applied:
        """Have an entry agreed on and applied, in the principal's name. Raises as ``run``."""
        replica = self.group.replica
        if replica is None:
            raise NotBootstrapped(self.group.waits_for)
        future: asyncio.Future[Applied] = asyncio.get_running_loop().create_future()

        def done(applied: Applied | None, error: GroupError | None) -> None:
            if future.done():
                return
            if applied is None:
                future.set_exception(error if error is not None else Uncertain("no answer"))
            else:
                future.set_result(applied)

        header = Header(0, 0, 0, 0, count, 0, self.principal.name, self.principal.role)
        replica.submit(entry_type, header, body, done)
        applied = await future
        if applied.outcome is not Outcome.OK:
            raise Refused(applied.outcome, applied.detail)
        return applied

    def _outcomes(self, applied: Applied, count: int) -> Outcomes:
        by_command: list[list[tuple[Event, tuple[int, int]]]] = [[] for _ in range(count)]
        start = applied.answer_start
        visible = self.group.machine.visible(applied.answer, start, *self.principal)
        kept = omitted = 0
        for ordinal, seen in enumerate(visible, start):
            event = seen
            if applied.answer[ordinal][0] == EventKind.REJECTED:
                event = applied.answer[ordinal]  # it says nothing but what this principal sent
            if event is None or event[1] < 0:
                continue
            own = by_command[event[1]]
            if kept >= MAX_EVENTS and own and event[0] in _MANY:
                omitted += 1
                continue
            kept += 1
            own.append((event, (applied.answer_index, ordinal)))
        replayed = applied.answer_index != applied.log_index
        return Outcomes(applied.answer_index, by_command, omitted, replayed)


def rejection_of(outcomes: Outcomes, command: int) -> str | None:
    """Why a command was rejected; None if it was not."""
    for event, _ in outcomes.by_command[command]:
        if event[0] == EventKind.REJECTED:
            return RejectReason(view(event).reason).name.lower()  # type: ignore[union-attr]  # of a rejected one
    return None


@dataclass(frozen=True, slots=True)
class Route:
    """One line of the table: everything that dispatch and /openapi.json need to know of a route.

    ``answers`` are the models of its good answers by status. ``body_list``: a list of bodies may come in the place of
    one. ``executes``: it goes through the log, and takes an Idempotency-Key if it is ``keyed``. ``missing``: what its
    404 speaks of. ``errors`` are other statuses of its own.
    """

    method: str
    path: str
    summary: str
    handler: Callable[[Call[Any, Any, Any]], Awaitable[Answer]]
    answers: Mapping[int, type[BaseModel]]
    role: Role = Role.OBSERVER
    path_model: type[Parameters] = NoParameters
    query_model: type[Parameters] = NoParameters
    body: type[BaseModel] | None = None
    body_list: Any = None
    body_optional: bool = False
    executes: bool = False
    keyed: bool = False
    missing: str = ""
    errors: tuple[int, ...] = ()

    @property
    def statuses(self) -> tuple[int, ...]:
        """All that it may be answered with."""
        statuses = {*self.answers, *self.errors, 400, 401, 403, 500, 503}
        if self.body is not None:
            statuses |= {408, 413, 415}
        if self.executes:
            statuses |= {422, 504}
        if self.missing:
            statuses.add(404)
        return tuple(sorted(statuses))
