"""The order book: price-time priority matching as a deterministic state machine. Pure; imports nothing else of ours.

=================  ==================================================================================
commands           orders and commands as users write them
codec              their bytes in the log
machine            OrderBook: apply, tick, query, snapshot, restore, state hash
events, levels     what a command leads to; the level book as a sum over it
queries            questions and answers
visibility         who may see what of an event
constants          every number of the formats
engine, trading,   a batch; place, cancel, amend; pairs, limits, halts; trades and expiries
administration,
matching
state, sides,      all state; sides and pairs; orders and the lists that run through them; the state hash
orders, mixing
snapshots          state as bytes
_form              compiled or interpreted
=================  ==================================================================================
"""

from __future__ import annotations

from orderbook.book._form import FORM  # first: it decides what the next lines import
from orderbook.book.codec import encode_commands
from orderbook.book.commands import (
    AmendOrder,
    CancelAll,
    CancelOrder,
    ChangePair,
    Command,
    Configure,
    DefinePair,
    Halt,
    HaltPair,
    Order,
    OrderType,
    PairSpec,
    PlaceOrder,
    Resume,
    ResumePair,
    Role,
    SelfTrade,
    Side,
    TimeInForce,
)
from orderbook.book.events import CancelReason, Event, EventKind, Fill, RejectReason, fill_of, to_json, view
from orderbook.book.machine import OrderBook
from orderbook.book.queries import Fills, Limits, OrderById, OrderCount, Orders, Pairs, TopOfBook

__all__ = [
    "OrderBook",
    "FORM",
    # orders and commands
    "Order",
    "PlaceOrder",
    "CancelOrder",
    "AmendOrder",
    "CancelAll",
    "PairSpec",
    "DefinePair",
    "ChangePair",
    "HaltPair",
    "ResumePair",
    "Configure",
    "Halt",
    "Resume",
    "Command",
    "encode_commands",
    # their fields
    "Role",
    "Side",
    "OrderType",
    "TimeInForce",
    "SelfTrade",
    # events
    "Event",
    "EventKind",
    "RejectReason",
    "CancelReason",
    "Fill",
    "fill_of",
    "view",
    "to_json",
    # queries
    "TopOfBook",
    "Fills",
    "OrderCount",
    "Orders",
    "OrderById",
    "Pairs",
    "Limits",
]
