"""The order stream as JSON, for browsers and people: the same requests and replies, with names for codes.

A request and a reply are objects with a ``type`` and the ``request``'s number; the models say what else. Of a batch's
events a client is sent those that it may see. As with msgpack, a message that is no request ends the connection with a
reason that names the field and what is allowed there.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from orderbook.book import CancelAll, CancelOrder, to_json
from orderbook.book.codec import encode_commands
from orderbook.book.commands import AmendOrder
from orderbook.groups.sessions import Outcome
from orderbook.server import api_fields as f
from orderbook.server.api_answers import Event
from orderbook.server.api_errors import invalid_by
from orderbook.server.api_requests import MAX_ORDERS, Amendment, NewOrder
from orderbook.streams.connection import Connection
from orderbook.wire.order_frames import ReplyKind, RequestKind, pack, unpack_reply

Number = Annotated[int, Field(ge=0, le=(1 << 63) - 1)]
_OrderId = Annotated[int, Field(ge=1, le=(1 << 63) - 1)]


class Place(NewOrder):
    """An order to place. Left out, ``id`` is assigned and ``trader`` is the principal."""

    op: Literal["place"]


class Cancel(f.Document):
    """``quantity`` left out: all that is open. ``trader`` is for admins."""

    op: Literal["cancel"]
    id: _OrderId
    quantity: f.Quantity | None = None
    trader: f.Name | None = None

    def command(self) -> CancelOrder:
        return CancelOrder(self.id, self.quantity, self.trader or "")


class Amend(Amendment):
    """Price, quantity (the new total) or both."""

    op: Literal["amend"]
    id: _OrderId

    def command(self, id: int | None = None) -> AmendOrder:
        return super().command(self.id if id is None else id)


class CancelAllOrders(f.Document):
    """All orders of the trader, or those in one pair."""

    op: Literal["cancel_all"]
    trader: f.Name | None = None
    pair: f.PairName | None = None

    def command(self) -> CancelAll:
        return CancelAll(self.trader or "", self.pair)


class OpenSession(f.Document):
    """Answered by ``opened``. ``cancel_on_close``: the session's orders leave the book with it."""

    type: Literal["open"]
    request: Number
    timeout_ms: Number
    cancel_on_close: bool = False


class Batch(f.Document):
    """Commands that run as one entry; ``first`` is the number of the first of them in the session, from 1 on without
    gaps. A repeat is answered as before. ``acked``: answers up to this command's arrived."""

    type: Literal["batch"]
    request: Number
    session: Number
    first: Number
    acked: Number = 0
    commands: Annotated[
        list[Annotated[Place | Cancel | Amend | CancelAllOrders, Field(discriminator="op")]],
        Field(min_length=1, max_length=MAX_ORDERS),
    ]


class KeepAlive(f.Document):
    type: Literal["keep_alive"]
    request: Number
    session: Number
    acked: Number = 0


class CloseSession(f.Document):
    type: Literal["close"]
    request: Number
    session: Number


class Opened(f.Document):
    """A session began. ``timeout_ms`` as granted."""

    type: Literal["opened"]
    request: Number
    session: Number
    timeout_ms: Number


class BatchAnswer(f.Document):
    """What each command of the batch did, at ``index`` of the log: the events that the client may see, in order."""

    type: Literal["answer"]
    request: Number
    index: Number
    results: list[list[Event]]


class Done(f.Document):
    type: Literal["done"]
    request: Number


class RefusedReply(f.Document):
    """Answered by the group, and not done: ``reason`` says why, ``detail`` is a number that belongs to it."""

    type: Literal["refused"]
    request: Number
    reason: str
    detail: int


class UnavailableReply(f.Document):
    """Surely not done; trying again, here or at another node, is safe."""

    type: Literal["unavailable"]
    request: Number
    reason: str


class UncertainReply(f.Document):
    """It may have been done or may yet be: only a repeat in the same session is safe."""

    type: Literal["uncertain"]
    request: Number
    message: str


Request = Annotated[OpenSession | Batch | KeepAlive | CloseSession, Field(discriminator="type")]
Reply = Annotated[
    Opened | BatchAnswer | Done | RefusedReply | UnavailableReply | UncertainReply, Field(discriminator="type")
]
_REQUESTS: TypeAdapter[OpenSession | Batch | KeepAlive | CloseSession] = TypeAdapter(Request)


class MalformedText(ValueError):
    """A client sent what is no request; the message names the field and what is allowed."""


def packed_request(text: str) -> bytes:
    """The frame of ``wire.order_frames`` that says the same. Raises MalformedText."""
    try:
        request = _REQUESTS.validate_json(text)
    except ValidationError as error:
        raise MalformedText(str(invalid_by("message", error))) from error
    if isinstance(request, OpenSession):
        return pack(RequestKind.OPEN, request.request, request.timeout_ms, request.cancel_on_close)
    if isinstance(request, KeepAlive):
        return pack(RequestKind.KEEP_ALIVE, request.request, request.session, request.acked)
    if isinstance(request, CloseSession):
        return pack(RequestKind.CLOSE, request.request, request.session)
    body = encode_commands([command.command() for command in request.commands])
    fields = (request.session, request.first, len(request.commands), request.acked, body, None)
    return pack(RequestKind.BATCH, request.request, *fields)


def reply_text(frame: bytes) -> bytes:
    """The JSON of a packed reply, of a book's events."""
    return json.dumps(_reply(frame), separators=(",", ":")).encode()


def _reply(frame: bytes) -> dict[str, Any]:
    kind, number, *fields = unpack_reply(frame)
    name = "answer" if kind == ReplyKind.ANSWER else ReplyKind(kind).name.lower()
    document: dict[str, Any] = {"type": name, "request": number}
    if kind == ReplyKind.OPENED:
        document |= {"session": fields[0], "timeout_ms": fields[1]}
    elif kind == ReplyKind.ANSWER:
        index, start, events = fields[:3]
        document |= {"index": index, "results": _by_command(index, start, events)}
    elif kind == ReplyKind.REFUSED:
        document |= {"reason": Outcome(fields[0]).name.lower(), "detail": fields[1]}
    elif kind == ReplyKind.UNAVAILABLE:
        document["reason"] = fields[0]
    elif kind == ReplyKind.UNCERTAIN:
        document["message"] = fields[0]
    return document


def _by_command(index: int, start: int, events: list[list[Any] | None]) -> list[list[dict[str, Any]]]:
    results: list[list[dict[str, Any]]] = []
    for ordinal, event in enumerate(events, start=start):
        if event is None:
            continue
        while len(results) <= event[1]:
            results.append([])
        results[event[1]].append(to_json(tuple(event), sequence=(index, ordinal)))
    return results


class JsonOrders:
    """A connection as ``OrderEntry`` wants one, over a client's connection that speaks JSON."""

    def __init__(self, connection: Connection) -> None:
        self.principal = connection.principal
        self.role = connection.role
        self._connection = connection

    @property
    def queued_bytes(self) -> int:
        return self._connection.queued_bytes

    def send(self, data: bytes) -> bool:
        return self._connection.send(reply_text(data))

    def close(self, reason: str) -> None:
        self._connection.close(reason)

    def taking(self, on_message: Callable[[bytes], None]) -> Callable[[str], None]:
        """What takes a client's text, for what takes frames."""

        def take(text: str) -> None:
            try:
                frame = packed_request(text)
            except MalformedText as error:
                self.close(f"malformed request: {error}")
            else:
                on_message(frame)

        return take
