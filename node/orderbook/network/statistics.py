"""Plain integers that a collector reads when it is scraped; nothing is labelled or allocated for a frame."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from orderbook.network.handshake import Reason


@dataclass(slots=True)
class PeerStatistics:
    """Since this process first met the peer. ``frames_dropped``: not sent, since its queue was full."""

    frames_out: int = 0
    bytes_out: int = 0
    frames_in: int = 0
    bytes_in: int = 0
    queue_bytes: int = 0
    frames_dropped: int = 0
    frames_refused: int = 0  # arrived for a channel that is not ours, not proven, or closed
    connections: int = 0  # reconnects are all but the first
    wrong_keys: int = 0
    proven: bool = False  # it shared a channel with this process: its name is one of ours

    def add(self, other: PeerStatistics) -> None:
        """All numbers of another."""
        for name in NUMBERS:
            setattr(self, name, getattr(self, name) + getattr(other, name))


NUMBERS = tuple(field.name for field in fields(PeerStatistics) if field.type == "int")


@dataclass(slots=True)
class NetworkStatistics:
    """``ended``: connections, by why they ended or were refused; a closed set."""

    ended: dict[Reason, int] = field(default_factory=lambda: dict.fromkeys(Reason, 0))
    wrong_keys: int = 0  # proofs that failed, of peers known or not
    no_common_group: int = 0  # connections with peers that open other channels only; the key is a part of a group's id
    never_spoke: int = 0  # accepted connections that got no further than TLS; dials that didn't are in ``ended``, too
    unknown_controls: int = 0  # control messages that only a newer version knows
