"""The real ``Channel``: the frames of one group (or stream) over whichever connection its peers have."""

from __future__ import annotations

from collections.abc import Callable

from orderbook.network.channel import Frame, OnFrame, OnPeer
from orderbook.network.handshake import Opening
from orderbook.network.link import Link


def _ignore_frame(peer: str, frame: bytes) -> None:
    """Until the owner listens."""


def _ignore_peer(peer: str) -> None:
    """Until the owner listens."""


class MemberChannel:
    """Made by ``Peers.channel``, which tells it whose links come and go. See ``Channel`` for what it promises.

    A send queue belongs to a connection, so all channels with a peer share its bound (``max_queue_bytes``).
    """

    def __init__(self, number: int, group: bytes, key: bytes, on_close: Callable[[MemberChannel], None]) -> None:
        self.on_frame: OnFrame = _ignore_frame
        self.on_connected: OnPeer = _ignore_peer
        self.on_disconnected: OnPeer = _ignore_peer
        self.number = number
        self.group = group
        self._key = key
        self._on_close = on_close
        self._links: dict[str, Link] = {}
        self._peers: tuple[str, ...] = ()

    def send(self, peer: str, frame: Frame) -> bool:
        link = self._links.get(peer)
        if link is None:
            return False
        statistics = link.statistics
        if not link.connection.send(self.number, frame):
            statistics.frames_dropped += 1
            return False
        statistics.frames_out += 1
        statistics.bytes_out += len(frame) if isinstance(frame, bytes) else sum(map(len, frame))
        return True

    def flush(self) -> None:
        for link in self._links.values():
            link.connection.flush()

    def peers(self) -> tuple[str, ...]:
        return self._peers

    def close(self) -> None:
        self.on_frame, self.on_connected, self.on_disconnected = _ignore_frame, _ignore_peer, _ignore_peer
        self._on_close(self)

    # --- for Peers ----------------------------------------------------------------------------------------------------

    def opening(self, link: Link) -> Opening:
        return Opening(self.number, self.group, link.prove(self._key, self.group))

    def is_proven(self, link: Link, opening: Opening) -> bool:
        return link.is_proven(self._key, opening)

    def connect(self, link: Link) -> None:
        """The peer of a live link proved the key."""
        number = link.proven[self.group]
        link.statistics.proven = True
        link.routes[number] = self._deliver
        if self._links.get(link.name) is not link:
            self._links[link.name] = link
            self._peers = tuple(sorted(self._links))
            self.on_connected(link.name)

    def disconnect(self, link: Link) -> None:
        if self._links.get(link.name) is link:
            del self._links[link.name]
            self._peers = tuple(sorted(self._links))
            self.on_disconnected(link.name)

    def _deliver(self, peer: str, frame: bytes) -> None:
        self.on_frame(peer, frame)
