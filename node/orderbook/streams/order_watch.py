"""Lets members watch the orders that this node's clients send: each of them is a producer of ``Order``.

Watching executes nothing; what a client sends is executed once, by the node that it is connected to, whether somebody
watches or not. An order is seen as it came in, before the book's word on it; a batch that is sent again on the same
connection is seen once (one that is sent again to another node is seen there too).

Nothing is decoded while nobody watches, and at most ``most`` orders a second are handed on when somebody does: the
others are skipped, which shows in the sequence.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from orderbook.book import Order, OrderType, SelfTrade, Side, TimeInForce
from orderbook.book import constants as c
from orderbook.book.codec import decode_commands
from orderbook.runtime import Runtime
from orderbook.streams.connection import Connection
from orderbook.streams.members import MemberStreams
from orderbook.streams.producer import Producer
from orderbook.wire.order_frames import MalformedRequest, RequestKind, unpack_request
from orderbook.wire.roles import Role

_DEFAULTS = (None, OrderType.LIMIT, TimeInForce.GTC, None, False, SelfTrade.ALLOW)


class OrderWatch:
    """One per node. ``watched`` puts itself between a connection and its ``OrderEntry``."""

    def __init__(self, runtime: Runtime, streams: MemberStreams, most: int = 5_000) -> None:
        self._runtime = runtime
        self._streams = streams
        self._most = most
        self._window = 0.0
        self._left = most

    def watched(self, connection: Connection, on_message: Callable[[bytes], None]) -> WatchedOrders:
        return WatchedOrders(self, self._streams.produce(Order), connection, on_message)

    def allow(self, wanted: int) -> int:
        """How many of so many orders may be handed on now."""
        now = self._runtime.monotonic()
        if now - self._window >= 1.0:
            self._window, self._left = now, self._most
        allowed = min(wanted, self._left)
        self._left -= allowed
        return allowed


class WatchedOrders:
    """The orders of one client's connection."""

    def __init__(
        self,
        watch: OrderWatch,
        producer: Producer[Order],
        connection: Connection,
        on_message: Callable[[bytes], None],
    ) -> None:
        self._watch = watch
        self._producer = producer
        self._connection = connection
        self._on_message = on_message
        self._seen: tuple[int, int] = (0, 0)  # session, number of the newest command that was handed on

    def on_message(self, data: bytes) -> None:
        if self._producer.consumers and self._connection.role != Role.OBSERVER:
            with suppress(MalformedRequest):  # whoever answers says so
                self._hand_on(unpack_request(data))
        self._on_message(data)

    def close(self) -> None:
        """The connection ended."""
        self._producer.close()

    def _hand_on(self, request: list[Any]) -> None:
        if request[0] != RequestKind.BATCH:
            return
        session, first, commands, _, body = request[2:7]
        if (session, first) <= self._seen:
            return
        self._seen = (session, first + commands - 1)
        rows = decode_commands(body) or ()
        orders = [order for row in rows if (order := order_of(row, self._connection.principal)) is not None]
        allowed = self._watch.allow(len(orders))
        for order in orders[:allowed]:
            self._producer.send_now(order)
        self._producer.skip(len(orders) - allowed)


def order_of(row: Any, principal: str) -> Order | None:
    """The order of a decoded command that places one; None for another command, or one that is none."""
    if type(row) is not tuple or not 6 <= len(row) <= 12 or row[0] != c.PLACE:
        return None
    id, pair, side, price, quantity = row[1:6]
    given: tuple[Any, ...] = (*row[6:], *(None,) * (12 - len(row)))
    terms: list[Any] = [default if value is None else value for value, default in zip(given, _DEFAULTS, strict=True)]
    trader, kind, tif, expires, post_only, self_trade = terms
    integers = [number for number in (id, price, quantity, expires) if number is not None]
    if type(pair) is not str or type(trader or "") is not str or any(type(number) is not int for number in integers):
        return None
    try:
        return Order(
            id,
            pair,
            Side(side),
            price,
            quantity,
            trader or principal,
            OrderType(kind),
            TimeInForce(tif),
            expires,
            bool(post_only),
            SelfTrade(self_trade),
        )
    except ValueError:
        return None
