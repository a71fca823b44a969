"""``network.streams`` of a member and of a client: ``produce`` and ``consume`` by type.

==============  ===================================================  ==============================================
type            ``produce``                                          ``consume``
==============  ===================================================  ==============================================
Order           executed by the group, each once, with its outcome   watch what is sent anywhere; executes nothing
Fill, Event     (the group does)                                     from the applied log, resumable
BookDelta       (the group does)                                     snapshots and what changes them, resumable
a type of one's a member: to the other members                       from the members, in order, at most once
own
==============  ===================================================  ==============================================
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, TypeVar, overload

import aiohttp

from orderbook.book import Fill, Order
from orderbook.client.credentials import ClientCredentials
from orderbook.client.feed_socket import NodeSockets, WebSocketFeedSource
from orderbook.client.feeds import Feed, FeedSource
from orderbook.client.order_producer import SESSION_TIMEOUT_MS, OrderProducer, client_orders, member_orders
from orderbook.client.order_stream import OrderStream
from orderbook.client.relayed import RelayedConsumer
from orderbook.groups.group import Group
from orderbook.runtime import Runtime
from orderbook.streams.audience import FeedKind
from orderbook.streams.consumer import Consumer
from orderbook.streams.feed import Feeds
from orderbook.streams.local import LocalFeedSource
from orderbook.streams.market import BookDelta, BookSnapshot, Event, Place, Token
from orderbook.streams.members import MemberStreams
from orderbook.streams.producer import Producer

T = TypeVar("T")
_FEEDS: dict[type, FeedKind] = {Fill: FeedKind.FILLS, Event: FeedKind.EVENTS, BookDelta: FeedKind.BOOK}


class NetworkStreams:
    """``streams`` of a member."""

    def __init__(self, runtime: Runtime, members: MemberStreams, name: str) -> None:
        self._runtime = runtime
        self._members = members
        self._name = name
        self._feeds: dict[Group, Feeds] = {}
        self._open: list[Feed[Any] | OrderProducer] = []

    # The last overload is for every type that the others don't name; mypy has no way to say so.

    @overload
    def produce(  # type: ignore[overload-overlap]
        self, datum: type[Order], name: str | None = None, **options: Any
    ) -> OrderProducer: ...

    @overload
    def produce(self, datum: type[T], name: str | None = None) -> Producer[T]: ...

    def produce(self, datum: type[Any], name: str | None = None, **options: Any) -> OrderProducer | Producer[Any]:
        """Of ``Order``: executed through this member's group of the order book; ``cancel_on_disconnect=True`` cancels
        what is open when the session ends, ``session_timeout_ms`` is when that is if this member dies, ``group`` says
        which group if there are several. Raises ValueError where there is none."""
        if datum is not Order:
            return self._members.produce(datum, name)
        group = self._group(options.pop("group", None))
        watched = self._members.produce(Order)

        def announce(order: Order) -> None:
            if watched.consumers:
                with suppress(ValueError):  # the book refuses it, and says why
                    watched.send_now(order)

        producer = member_orders(self._runtime, group, self._name, announce, on_close=watched.close, **options)
        self._open = [*_still_open(self._open), producer]
        return producer

    @overload
    def consume(self, datum: type[Fill], **options: Any) -> Feed[Fill]: ...  # type: ignore[overload-overlap]

    @overload
    def consume(self, datum: type[Event], **options: Any) -> Feed[Event]: ...  # type: ignore[overload-overlap]

    @overload
    def consume(  # type: ignore[overload-overlap]
        self, datum: type[BookDelta], **options: Any
    ) -> Feed[BookSnapshot | BookDelta]: ...

    @overload
    def consume(self, datum: type[T], name: str | None = None) -> Consumer[T]: ...

    def consume(self, datum: type[Any], name: str | None = None, **options: Any) -> Feed[Any] | Consumer[Any]:
        """Of ``Fill``, ``Event`` and ``BookDelta``: of this member's group (``group`` if there are several), from
        ``start`` (a Token, or a sequence) if it is given, of one ``pair`` if it is given. See ``client.feeds.Feed``."""
        if datum not in _FEEDS:
            return self._members.consume(datum, name)
        feeds = self._feeds[self._group(options.pop("group", None))]
        feed = _feed(self._runtime, LocalFeedSource(lambda _: feeds), datum, **options)
        self._open = [*_still_open(self._open), feed]
        return feed

    def add_group(self, group: Group, feeds: Feeds) -> None:
        self._feeds[group] = feeds

    @property
    def groups(self) -> list[Group]:
        return list(self._feeds)

    def feeds_of(self, group: Group) -> Feeds:
        return self._feeds[group]

    async def close(self) -> None:
        for stream in self._open:
            await stream.close()
        for feeds in self._feeds.values():
            feeds.close()

    def _group(self, group: Group | None) -> Group:
        if group is not None:
            return group
        books = [joined for joined in self._feeds if joined.machine.signature == "orderbook"]
        if len(books) != 1:
            raise ValueError(f"this member is in {len(books)} groups of the order book: name one with group=")
        return books[0]


class ClientStreams:
    """``streams`` of a client."""

    def __init__(
        self,
        runtime: Runtime,
        http: aiohttp.ClientSession,
        addresses: Sequence[str],
        credentials: ClientCredentials,
    ) -> None:
        self._runtime = runtime
        self._http = http
        self._addresses = list(addresses)
        self._credentials = credentials
        self._open: list[Feed[Any] | RelayedConsumer[Any] | OrderProducer] = []

    def produce(
        self, datum: type[Order], *, cancel_on_disconnect: bool = False, session_timeout_ms: int = SESSION_TIMEOUT_MS
    ) -> OrderProducer:
        """Orders to the group, through whichever of the nodes is reached. ``cancel_on_disconnect``: what is open is
        cancelled when this client closes, or was not heard of for ``session_timeout_ms``."""
        if datum is not Order:
            raise TypeError(f"clients produce Order; {datum.__qualname__} is for members of the network")
        stream = OrderStream(self._runtime, self._http, self._addresses, self._credentials)
        producer = client_orders(
            self._runtime, stream, session_timeout_ms=session_timeout_ms, cancel_on_disconnect=cancel_on_disconnect
        )
        self._open = [*_still_open(self._open), producer]
        return producer

    @overload
    def consume(self, datum: type[Fill], **options: Any) -> Feed[Fill]: ...  # type: ignore[overload-overlap]

    @overload
    def consume(self, datum: type[Event], **options: Any) -> Feed[Event]: ...  # type: ignore[overload-overlap]

    @overload
    def consume(  # type: ignore[overload-overlap]
        self, datum: type[BookDelta], **options: Any
    ) -> Feed[BookSnapshot | BookDelta]: ...

    @overload
    def consume(self, datum: type[T], name: str | None = None) -> RelayedConsumer[T]: ...

    def consume(self, datum: type[Any], name: str | None = None, **options: Any) -> Feed[Any] | RelayedConsumer[Any]:
        """Of ``Fill``, ``Event`` or ``BookDelta``, from ``start`` (a Token, or a sequence) if it is given, of one
        ``pair`` if it is given: see ``client.feeds.Feed``. Of ``Order`` or a type of the members' own: what they, or
        their clients, send while this one is subscribed."""
        stream: Feed[Any] | RelayedConsumer[Any]
        if datum in _FEEDS:
            source = WebSocketFeedSource(self._http, self._addresses, self._credentials)
            stream = _feed(self._runtime, source, datum, **options)
        else:
            sockets = NodeSockets(self._http, self._addresses, self._credentials)
            stream = RelayedConsumer(self._runtime, sockets, datum, name or datum.__qualname__, **options)
        self._open = [*_still_open(self._open), stream]
        return stream

    async def close(self) -> None:
        for stream in self._open:
            await stream.close()


Stream = TypeVar("Stream", bound=Feed[Any] | RelayedConsumer[Any] | OrderProducer)


def _still_open(streams: list[Stream]) -> list[Stream]:
    return [stream for stream in streams if not stream.closed]


def _feed(
    runtime: Runtime,
    source: FeedSource,
    datum: type[Any],
    *,
    pair: str | None = None,
    start: Token | Place | None = None,
    patience: float = 10.0,
) -> Feed[Any]:
    return Feed(runtime, source, _FEEDS[datum], pair=pair, start=start, patience=patience)
