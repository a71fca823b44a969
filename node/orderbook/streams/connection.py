"""What a stream needs of a connection to a client; ``server.websocket`` is the real one, the simulator has a double."""

from __future__ import annotations

from typing import Protocol

from orderbook.wire.roles import Role


class Connection(Protocol):
    """One client. ``send`` never blocks: what waits is bounded in bytes, and a client that lets it fill is
    disconnected with reason ``slow_consumer``."""

    principal: str
    role: Role

    @property
    def queued_bytes(self) -> int:
        """What waits to be written."""
        ...

    def send(self, data: bytes) -> bool:
        """Queue a message; False if the connection is closed or was closed by this."""
        ...

    def close(self, reason: str) -> None:
        """Say why, then close."""
        ...
