"""What a group, or a stream, sees of the network: named peers that proved that they belong, and opaque frames."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

Frame = bytes | tuple[bytes, ...]
OnFrame = Callable[[str, bytes], object]
OnPeer = Callable[[str], object]


class Channel(Protocol):
    """Frames of one group between this member and its peers.

    - Everything is called on the event loop, in its thread.
    - Frames of one peer arrive in the order sent, each at most once. A frame is lost only when its connection breaks
      or when ``send`` returned False; nothing says that a frame arrived.
    - ``on_connected(peer)`` comes before the first frame from that peer, ``on_disconnected(peer)`` after its last, and
      they alternate. A peer that started anew is disconnected first.
    - Frames of peers that did not prove the group's key never arrive, and none is sent to them.
    - ``close`` is not told to the owner: no callback is called after it, and ``send`` returns False.
    """

    on_frame: OnFrame
    on_connected: OnPeer
    on_disconnected: OnPeer

    def send(self, peer: str, frame: Frame) -> bool:
        """Queue a frame, given whole or in parts that are joined, for a peer; never blocks.

        False, and the frame is dropped, when the peer is not connected or proven, when its queue is full (it is
        bounded in bytes), or when the frame is larger than a message may be. Consensus needs no more: it probes again.
        """
        ...

    def flush(self) -> None:
        """The owner's turn is over: what is queued may leave now. Without it, it leaves soon."""
        ...

    def peers(self) -> tuple[str, ...]:
        """The peers that are connected and proven, sorted."""
        ...

    def close(self) -> None: ...
