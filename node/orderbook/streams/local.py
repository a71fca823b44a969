"""A node's own feeds to a reader in its process: the same frames and the same bounds as over a socket."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from orderbook.groups.errors import Unavailable
from orderbook.streams.feed import FeedRequest, Feeds, NotOffered, Subscription
from orderbook.streams.market import FeedRefused
from orderbook.wire.roles import Role

MAX_QUEUED_BYTES = 32 << 20


class LocalConnection:
    """A ``Connection`` whose other end is ``receive``."""

    def __init__(self, principal: str, role: Role, max_queued: int = MAX_QUEUED_BYTES) -> None:
        self.principal = principal
        self.role = role
        self.queued_bytes = 0
        self.reason: str | None = None  # why it was closed
        self._max_queued = max_queued
        self._queue: deque[bytes] = deque()
        self._idle: asyncio.Future[None] | None = None

    def send(self, data: bytes) -> bool:
        if self.reason is not None:
            return False
        if self.queued_bytes + len(data) > self._max_queued:
            self._queue.clear()
            self.queued_bytes = 0
            self.close("slow_consumer")
            return False
        self.queued_bytes += len(data)
        self._queue.append(data)
        self._wake()
        return True

    def close(self, reason: str) -> None:
        if self.reason is None:
            self.reason = reason
            self._wake()

    async def receive(self) -> bytes | None:
        """The next message; None when it was closed and all that was sent before is read."""
        while not self._queue:
            if self.reason is not None:
                return None
            self._idle = asyncio.get_running_loop().create_future()
            await self._idle
        data = self._queue.popleft()
        self.queued_bytes -= len(data)
        return data

    def _wake(self) -> None:
        if self._idle is not None and not self._idle.done():
            self._idle.set_result(None)


class LocalFeedLink:
    def __init__(self, feeds: Feeds, connection: LocalConnection, subscription: Subscription) -> None:
        self._feeds = feeds
        self._connection = connection
        self._subscription = subscription

    async def receive(self) -> bytes | None:
        return await self._connection.receive()

    async def close(self) -> None:
        self._feeds.unsubscribe(self._subscription)
        self._connection.close("closed")


class LocalFeedSource:
    """A ``client.feeds.FeedSource`` of nodes in this process, by name. ``feeds_of`` gives None for one that is down."""

    def __init__(
        self,
        feeds_of: Callable[[str], Feeds | None],
        addresses: Sequence[str] = ("local",),
        principal: str = "",
        role: Role = Role.ADMIN,
        max_queued: int = MAX_QUEUED_BYTES,
    ) -> None:
        self.addresses = addresses
        self._feeds_of = feeds_of
        self._principal = principal
        self._role = role
        self._max_queued = max_queued

    async def open(self, address: str, request: FeedRequest) -> LocalFeedLink:
        feeds = self._feeds_of(address)
        if feeds is None:
            raise ConnectionError(f"{address} is down")
        connection = LocalConnection(self._principal, self._role, self._max_queued)
        try:
            return LocalFeedLink(feeds, connection, feeds.subscribe(connection, request))
        except Unavailable as error:
            raise ConnectionError(str(error)) from error
        except NotOffered as error:
            raise FeedRefused(error.code, str(error)) from error
