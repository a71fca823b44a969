"""What /v1 answers. Handlers build plain documents; these models describe them in /openapi.json, strictly.

Events are described from ``book.events`` itself: a model for each kind, names for codes, as ``to_json`` writes them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Union, get_type_hints

from pydantic import Field, create_model

from orderbook.book import CancelReason, EventKind, OrderType, RejectReason, Side, TimeInForce
from orderbook.book.events import VIEWS
from orderbook.server import api_fields as f

ERROR_CODES = (
    "invalid_request", "unauthorized", "forbidden", "not_found", "method_not_allowed", "request_timeout",
    "body_too_large", "unsupported_media_type", "unknown_pair", "unknown_order", "unknown_member", "rejected",
    "refused", "key_reused", "not_leader", "membership_refused", "transfer_refused", "not_transferred",
    "recovery_refused", "snapshot_failed", "unavailable", "uncertain", "upgrade_required", "internal",
)  # fmt: skip


class Problem(f.Document):
    """One thing that is wrong with a request."""

    field: Annotated[str, Field(description="where: body, query or path, then the way down")]
    message: Annotated[str, Field(description="what is allowed")]


class Error(f.Document):
    """``code`` for programs, ``message`` for people; the rest where it says something."""

    code: Literal[ERROR_CODES]  # type: ignore[valid-type]  # a closed set, named once
    message: str
    reason: Annotated[str, Field(description="why, from a closed set of each code")] = ""
    leader: Annotated[str | None, Field(description="name of the leader, where it is another node")] = None
    problems: tuple[Problem, ...] = ()
    index: f.Index = 0
    events: tuple[dict[str, Any], ...] = ()


class Failure(f.Document):
    error: Error


class StreamError(f.Document):
    """``code`` is why; of 503 the reason why this node serves nobody now, or ``unavailable`` with a ``reason``."""

    code: str
    message: str
    reason: str = ""


class StreamFailure(f.Document):
    """A WebSocket was refused before it was opened."""

    error: StreamError


def _names(codes: Any) -> Any:
    return Literal[tuple(code.name.lower() for code in codes)]


def _event_model(code: int) -> Any:
    """The model of one kind of event, as ``book.events.to_json`` writes it."""
    labels: dict[str, Any] = {
        "side": _names(Side),
        "taker_side": _names(Side),
        "type": _names(OrderType),
        "time_in_force": _names(TimeInForce),
        "reason": _names(CancelReason if code == EventKind.CANCELLED else RejectReason),
    }
    view, name = VIEWS[code], EventKind(code).name.lower()
    fields: dict[str, Any] = {"event": (Literal[name], ...), "sequence": (f.Sequence, ...)}
    for place, annotation in list(get_type_hints(view).items())[2:]:
        fields[place] = (labels.get(place, annotation), ...)
    if code in (EventKind.ACCEPTED, EventKind.CANCELLED):
        fields["price"] = (Annotated[int | None, Field(description="null of a market order")], ...)
    return create_model(f"{view.__name__}Event", __base__=f.Document, **fields)


EVENT_MODELS = {code: _event_model(code) for code in VIEWS}
Event: Any = Annotated[Union[tuple(EVENT_MODELS.values())], Field(discriminator="event")]  # noqa: UP007 - made of a tuple
Events: Any = Annotated[list[Event], Field(description="in sequence; at most 10,000 of an answer")]
Omitted = Annotated[int, Field(ge=0, description="events beyond those; the event stream has all")]


class Executed(f.Document):
    """A command was agreed on and done."""

    index: f.Index
    events: Events
    events_omitted: Omitted


class OrderExecuted(Executed):
    order_id: int


class AllCancelled(Executed):
    """No order that rested trades any more. ``more``: some of them leave the book with the entries that follow."""

    orders: Annotated[int, Field(ge=0, description="how many were cancelled so far")]
    more: bool


class OrderResult(f.Document):
    """What became of one order of a list."""

    outcome: Literal["accepted", "rejected"]
    order_id: Annotated[int, Field(ge=0, description="0 where a refused order named none")]
    reason: _names(RejectReason) | None  # type: ignore[valid-type]
    events: Events


class OrderResults(f.Document):
    """In the order of the list."""

    index: f.Index
    results: list[OrderResult]
    events_omitted: Omitted


class RestingOrder(f.Document):
    """``quantity`` is the total, ``open`` what of it is not filled, ``arrival`` its place in the order of arrival."""

    id: int
    pair: f.PairName
    side: f.SideName
    price: f.Price
    quantity: f.Quantity
    open: f.Quantity
    trader: f.Name
    time_in_force: f.TimeInForceName
    expires: f.Time | None
    post_only: bool
    arrival: Annotated[int, Field(ge=1)]


class OrderAnswer(f.Document):
    index: f.Index
    order: RestingOrder


class OrdersAnswer(f.Document):
    """In the order of arrival; ``more``: there are others, ``after`` the last of these."""

    index: f.Index
    orders: list[RestingOrder]
    more: bool


Level = Annotated[list[int], Field(min_length=3, max_length=3, description="[price, quantity, orders]")]


class BookAnswer(f.Document):
    """Levels of both sides, best first."""

    index: f.Index
    pair: f.PairName
    bids: list[Level]
    asks: list[Level]


class Fill(f.Document):
    """A trade at the resting order's price. ``bid_open`` and ``ask_open`` are what is left of both orders."""

    sequence: f.Sequence
    bid_order_id: int
    ask_order_id: int
    pair: f.PairName
    price: f.Price
    quantity: f.Quantity
    taker_side: f.SideName
    bid_open: int
    ask_open: int
    time_ms: int


class FillsAnswer(f.Document):
    """Oldest first: after ``since`` the first ones, without it the newest ones. ``more``: the limit left some out."""

    index: f.Index
    fills: list[Fill]
    more: bool


class Pair(f.Document):
    pair: f.PairName
    tick: f.Decimal
    lot: f.Decimal
    fills_kept: int
    max_quantity: int
    min_price: int
    max_price: int
    halted: bool


class PairsAnswer(f.Document):
    """In the order of definition. ``halted`` is the kill switch."""

    index: f.Index
    halted: bool
    pairs: list[Pair]


class Limits(f.Document):
    max_open_orders: f.Limit
    rate_commands: f.Limit
    rate_window_ms: f.Window


class ConfigurationAnswer(f.Document):
    """Settings of the group; limits of ``trader``, or of all that have none of their own."""

    index: f.Index
    settings: dict[str, int]
    trader: str | None
    limits: Limits


class Identity(f.Document):
    name: str
    id: f.MemberId


class GroupMember(f.Document):
    """``match`` and what follows is known by the leader, and null elsewhere. ``lag``: entries it lacks on disk."""

    name: str
    id: f.MemberId
    role: Literal["voter", "outgoing", "learner"]
    leader: bool
    match: f.Index | None
    lag: Annotated[int, Field(ge=0)] | None
    active: Annotated[bool | None, Field(description="heard from within an election timeout")]
    caught_up: Annotated[bool | None, Field(description="may be made a voter")]
    progress: Literal["probe", "replicate", "snapshot"] | None


class GroupConfiguration(f.Document):
    """``committed`` is false and ``joint`` may be true while a change is under way."""

    index: f.Index
    committed: bool
    joint: bool
    members: list[GroupMember]


Digest = Annotated[str | None, Field(description="SHA-256 of the file, hexadecimal", pattern="^[0-9a-f]{64}$")]
Expiry = Annotated[int | None, Field(description="seconds since the epoch")]


class GroupCredentials(f.Document):
    """What this node has loaded and uses; null: it uses none. ``client_``: another certificate for clients to see."""

    certificate: Digest
    certificate_expires: Expiry
    client_certificate: Digest
    client_certificate_expires: Expiry
    trust: Digest
    token_keys: Digest


class GroupAnswer(f.Document):
    """One moment of this member. ``index`` is what it has applied, ``state_hash`` (hexadecimal) the state there."""

    index: f.Index
    name: str
    id: f.MemberId
    phase: Literal["joining", "member", "restoring", "quarantined", "halted", "stopped"]
    waits_for: Annotated[str, Field(description="why it belongs to no group yet")]
    online: bool
    incarnation: Annotated[str, Field(description="hexadecimal; empty while it belongs to no group")]
    role: Literal["follower", "pre_candidate", "candidate", "leader", "learner"]
    term: int
    leader: str | None
    transferring_to: str | None
    first_index: int
    last_index: f.Index
    last_term: int
    commit: f.Index
    applied: f.Index
    state_hash: str
    log_time_ms: int
    snapshot_index: f.Index
    configuration: GroupConfiguration
    strangers: Annotated[list[Identity], Field(description="connected, without a group, may be added")]
    machine: str
    version: Annotated[int, Field(description="of the machine's rules, in force")]
    version_supported: int
    auth: Annotated[Literal["none", "tokens"], Field(description="none: every client is an admin")]
    credentials: GroupCredentials


class MembershipAnswer(f.Document):
    configuration_index: f.Index


class LeadershipAnswer(f.Document):
    leader: str


class RecoveryAnswer(f.Document):
    incarnation: Annotated[str, Field(description="hexadecimal; of the life that begins")]


class SnapshotAnswer(f.Document):
    index: f.Index
