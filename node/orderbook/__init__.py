"""A replicated limit order book: typed streams, groups that agree through Raft, price-time priority matching.

What programs import stands here; each name is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orderbook.book import (
        AmendOrder,
        CancelAll,
        CancelOrder,
        DefinePair,
        Fill,
        Fills,
        Order,
        OrderBook,
        OrderById,
        OrderCount,
        Orders,
        OrderType,
        PairSpec,
        PlaceOrder,
        RejectReason,
        SelfTrade,
        Side,
        TimeInForce,
        TopOfBook,
    )
    from orderbook.client.network import ClientNetwork, Network
    from orderbook.client.order_producer import OrderOutcome
    from orderbook.groups.errors import GroupError, NotBootstrapped, Refused, Unavailable, Uncertain
    from orderbook.groups.group import Answer, Consistency, Group
    from orderbook.groups.options import ReplicaOptions
    from orderbook.groups.statemachine import ApplyContext, StateMachine
    from orderbook.streams.consumer import Disconnected
    from orderbook.streams.market import BookDelta, BookSnapshot, Depth, Event, FeedRefused, Gap, Reset, Token

_MODULES = {
    "book": (
        "AmendOrder", "CancelAll", "CancelOrder", "DefinePair", "Fill", "Fills", "Order", "OrderBook", "OrderById",
        "OrderCount", "Orders", "OrderType", "PairSpec", "PlaceOrder", "RejectReason", "SelfTrade", "Side",
        "TimeInForce", "TopOfBook",
    ),
    "client.network": ("ClientNetwork", "Network"),
    "client.order_producer": ("OrderOutcome",),
    "groups.errors": ("GroupError", "NotBootstrapped", "Refused", "Unavailable", "Uncertain"),
    "groups.group": ("Answer", "Consistency", "Group"),
    "groups.options": ("ReplicaOptions",),
    "groups.statemachine": ("ApplyContext", "StateMachine"),
    "streams.consumer": ("Disconnected",),
    "streams.market": (
        "BookDelta", "BookSnapshot", "Depth", "Event", "FeedRefused", "Gap", "Reset", "Token",
    ),
}  # fmt: skip
_HOME = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "AmendOrder", "Answer", "ApplyContext", "BookDelta", "BookSnapshot", "CancelAll", "CancelOrder", "ClientNetwork",
    "Consistency", "DefinePair", "Depth", "Disconnected", "Event", "FeedRefused", "Fill", "Fills", "Gap", "Group",
    "GroupError", "Network", "NotBootstrapped", "Order", "OrderBook", "OrderById", "OrderCount", "OrderOutcome",
    "OrderType", "Orders", "PairSpec", "PlaceOrder", "Refused", "RejectReason", "ReplicaOptions", "Reset", "SelfTrade",
    "Side", "StateMachine", "TimeInForce", "Token", "TopOfBook", "Unavailable", "Uncertain",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
