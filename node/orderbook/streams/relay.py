"""A typed stream between members, relayed to a client of a node, which is no member itself.

The node subscribes in the client's place to every producer of the type, and hands on what comes as it comes, undecoded:
frames of ``wire.datum_frames`` with consumer 0. SUBSCRIBED says that a producer's datums come from now on, WITHDRAW
that they don't any more. A client that does not read is disconnected with reason ``slow_consumer``, and nobody else is.
"""

from __future__ import annotations

from typing import Any

from orderbook.streams.connection import Connection
from orderbook.streams.consumer import Source
from orderbook.wire.datum_frames import DatumFrameKind, pack_datum_frame

CLIENT = 0


class Relay:
    """A consumer, as ``MemberStreams`` sees one."""

    def __init__(self, number: int, name: str, connection: Connection) -> None:
        self.number = number
        self.name = name
        self._connection = connection
        self._sources: dict[Source, None] = {}

    def gained(self, source: Source) -> bool:
        if source in self._sources:
            return False
        self._sources[source] = None
        return True

    def confirmed(self, source: Source) -> None:
        self._say(DatumFrameKind.SUBSCRIBED, source.producer, CLIENT)

    def lost(self, source: Source) -> None:
        if source in self._sources:
            del self._sources[source]
            self._say(DatumFrameKind.WITHDRAW, source.producer)

    def withdrawn(self, source: Source) -> None:
        self.lost(source)

    def ended(self, source: Source, reason: str) -> None:
        """The way between the members was full: the client starts anew, here or elsewhere."""
        self._connection.close(reason)

    def receive(self, source: Source, sequence: int, data: bytes) -> None:
        self._say(DatumFrameKind.DATUM, source.producer, CLIENT, sequence, data)

    def sources(self) -> list[Source]:
        return list(self._sources)

    def close(self) -> None:
        self._connection.close("going_away")

    def _say(self, kind: DatumFrameKind, *fields: Any) -> None:
        self._connection.send(pack_datum_frame(kind, *fields))
