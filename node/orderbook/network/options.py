"""Times (seconds) and bounds of the network of one process. Tests shorten them."""

from __future__ import annotations

import ssl
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NetworkOptions:
    ping_every: float = 1.0
    silent_pings: int = 3  # a connection on which nothing was heard for this many ends
    stalled_pings: int = 10  # and one that took nothing of a waiting message for this many
    dial_timeout: float = 2.0  # for connecting; then as long again for the handshake
    linger: float = 0.5  # how long an ending connection has to say why
    first_backoff: float = 0.05  # doubles with each failure, halved at random
    most_backoff: float = 2.0
    forget_after: float = 600.0  # a peer that nobody configured and nobody reaches
    max_queue_bytes: int = 64 << 20  # by connection; a frame that finds it full is dropped
    max_connections: int = 256
    max_handshakes: int = 64  # of connections that others dialled
    server_tls: ssl.SSLContext | None = None
    client_tls: ssl.SSLContext | None = None
