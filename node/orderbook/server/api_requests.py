"""What clients may send to /v1: bodies, paths and queries. /openapi.json describes exactly these models.

The edge refuses (400) what no order can be: a missing field, a value out of its range, an unknown key. What depends on
the state of the book, and which fields go together, is decided by the book itself, on every node alike (422).
"""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, create_model, model_validator

from orderbook.book import AmendOrder, ChangePair, Configure, DefinePair, Order, OrderType, PairSpec, PlaceOrder, Side
from orderbook.book.commands import SelfTrade, TimeInForce
from orderbook.book.constants import MAX_FILLS_KEPT
from orderbook.groups.settings import ALLOWED
from orderbook.server import api_fields as f

MAX_ORDERS = 4096
_SIDES = {side.name.lower(): side for side in Side}
_TYPES = {type.name.lower(): type for type in OrderType}
_TIMES_IN_FORCE = {time.name.lower(): time for time in TimeInForce}
_SELF_TRADES = {mode.name.lower(): mode for mode in SelfTrade}


class NewOrder(f.Document):
    """An order to place. Left out, ``id`` is assigned and ``trader`` is the principal. A market order has no price."""

    id: f.ClientOrderId | None = None
    pair: f.PairName
    side: f.SideName
    price: f.Price | None = None
    quantity: f.Quantity
    trader: f.Name | None = None
    type: f.TypeName = "limit"
    time_in_force: f.TimeInForceName = "gtc"
    expires: Annotated[f.Time | None, Field(description="with gtd, and only with it")] = None
    post_only: bool = False
    self_trade: f.SelfTradeName = "allow"

    def command(self) -> PlaceOrder:
        return PlaceOrder(
            Order(
                self.id,
                self.pair,
                _SIDES[self.side],
                self.price,
                self.quantity,
                self.trader or "",
                _TYPES[self.type],
                _TIMES_IN_FORCE[self.time_in_force],
                self.expires,
                self.post_only,
                _SELF_TRADES[self.self_trade],
            )
        )


NewOrders = Annotated[list[NewOrder], Field(min_length=1, max_length=MAX_ORDERS)]


class Amendment(f.Document):
    """What is to change of an order. ``quantity`` is its new total, filled and open together."""

    price: f.Price | None = None
    quantity: f.Quantity | None = None
    trader: f.Name | None = None

    @model_validator(mode="after")
    def _changes(self) -> Self:
        if self.price is None and self.quantity is None:
            raise ValueError("price, quantity or both are to be given")
        return self

    def command(self, id: int) -> AmendOrder:
        return AmendOrder(id, self.price, self.quantity, self.trader or "")


class NewPair(f.Document):
    """A pair to be traded. ``tick`` and ``lot`` say what one unit of price and quantity is worth; they never change."""

    pair: f.PairName
    tick: f.Decimal = "1"
    lot: f.Decimal = "1"
    fills_kept: Annotated[int, Field(ge=0, le=MAX_FILLS_KEPT)] = 1000
    max_quantity: f.Quantity | None = None
    min_price: f.Price | None = None
    max_price: f.Price | None = None

    def command(self) -> DefinePair:
        return DefinePair(PairSpec(**self.model_dump()))


class PairLimits(f.Document):
    """Other limits of a pair; what is left out stays."""

    max_quantity: f.Quantity | None = None
    min_price: f.Price | None = None
    max_price: f.Price | None = None

    @model_validator(mode="after")
    def _changes(self) -> Self:
        if self.max_quantity is None and self.min_price is None and self.max_price is None:
            raise ValueError("one of max_quantity, min_price and max_price is to be given")
        return self

    def command(self, pair: str) -> ChangePair:
        return ChangePair(pair, **self.model_dump())


class HaltOrders(f.Document):
    """``cancel`` also cancels every order that rests."""

    cancel: bool = False


class LeadershipTransfer(f.Document):
    to: Annotated[f.MemberName, Field(description="name of a voter")]


class MemberIdentity(f.Document):
    name: f.MemberName
    id: f.MemberId


class Membership(f.Document):
    """Of whom the group is to consist. ``expected_configuration_index`` is the one that /v1/group said."""

    voters: Annotated[list[MemberIdentity], Field(min_length=1, max_length=99)]
    learners: Annotated[list[MemberIdentity], Field(max_length=99, default_factory=list)]
    expected_configuration_index: f.Index


class Recovery(f.Document):
    """The survivor of a lost majority and the end of its log, as /v1/group said of it."""

    name: f.MemberName
    id: f.MemberId
    last_term: Annotated[int, Field(ge=0)]
    last_index: f.Index


class TraderLimits(f.Document):
    """Limits of every trader without its own, or of one ``trader``; what is left out stays. All three left out of a
    trader's: it gives its own limits up."""

    max_open_orders: f.Limit | None = None
    rate_commands: f.Limit | None = None
    rate_window_ms: f.Window | None = None
    trader: f.Name | None = None

    def command(self) -> Configure:
        return Configure(self.max_open_orders, self.rate_commands, self.rate_window_ms, self.trader or "")


def _setting(low: int, high: int) -> Any:
    return (Annotated[int, Field(ge=low, le=high)] | None, None)


GroupSettings: Any = create_model(
    "GroupSettings",
    __base__=f.Document,
    __doc__="Bounds and lifetimes of the group's replicated state; what is left out stays.",
    **{name: _setting(low, high) for name, (low, high) in ALLOWED.items()},
)


class Configuration(f.Document):
    """What to change of the replicated configuration: ``settings`` or ``limits``, since each is an entry of its own."""

    settings: GroupSettings | None = None
    limits: TraderLimits | None = None

    @model_validator(mode="after")
    def _changes(self) -> Self:
        if (self.settings is None) == (self.limits is None):
            raise ValueError("either settings or limits are to be given")
        return self


class OrderPath(f.Parameters):
    id: f.PathId


class PairPath(f.Parameters):
    base: f.Asset
    quote: f.Asset

    @property
    def pair(self) -> str:
        return f"{self.base}/{self.quote}"


class Reading(f.Parameters):
    """How fresh an answer is. ``strong`` is linearizable, from any node; ``weak`` is this node's state as it is."""

    consistency: f.ConsistencyName = "strong"
    min_index: Annotated[
        f.QueryIndex | None, Field(description="with weak: wait until this node has applied this index")
    ] = None

    @model_validator(mode="after")
    def _min_index_is_for_weak(self) -> Self:
        if self.min_index is not None and self.consistency != "weak":
            raise ValueError("min_index goes with consistency=weak")
        return self


class BookReading(Reading):
    depth: f.QueryDepth = 10


class FillsReading(Reading):
    pair: f.PairName | None = None
    since: f.QuerySequence | None = None
    limit: f.QueryLimit = 1000


class OrdersReading(Reading):
    trader: f.Name | None = None
    pair: f.PairName | None = None
    limit: f.QueryLimit = 1000
    after: f.QueryPlace | None = None


class ConfigurationReading(Reading):
    trader: f.Name | None = None


class GroupReading(Reading):
    consistency: f.ConsistencyName = "weak"


class CancelAllOf(f.Parameters):
    trader: f.Name | None = None
    pair: f.PairName | None = None


class CancelOf(f.Parameters):
    quantity: Annotated[f.QueryQuantity | None, Field(description="lots to take away; left out: all")] = None
    trader: f.Name | None = None
