"""A listening socket, with or without TLS, that knows who failed to speak its language, and says so.

The event loop's own servers drop a connection whose TLS handshake fails without a word. This one accepts by itself and
hands a connection to its protocol when the handshake is over; what fails is told to ``on_failure`` with the address it
came from. Without TLS it looks at the first byte: a client that begins a TLS handshake is told apart from a broken one.

Handshakes are bounded in number and time, and so is the silence of who has said nothing yet. So are connections in
number: one more is closed at once, so that descriptors are left for everything else. A connection whose other side
takes nothing of what was written for ``UNTAKEN_SECONDS`` ends. Nothing that one client does disturbs another.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from typing import Any

from orderbook.network.tls import sentence, tls_failure
from orderbook.runtime import Runtime, Task, Timer, pause

BACKLOG = 256
MAX_HANDSHAKES = 256
MAX_CONNECTIONS = 1024
HANDSHAKE_SECONDS = 10.0
UNTAKEN_SECONDS = 30.0
_ACCEPTED_AT_ONCE = 32
_ACCEPT_AGAIN_SECONDS = 0.5  # when no file descriptor is left
_TLS_HANDSHAKE = 0x16
_logger = logging.getLogger("orderbook.network")

ProtocolFactory = Callable[[], asyncio.Protocol]
OnFailure = Callable[[str, str], object]


class Listener:
    """``on_failure(address, what)`` is called for each connection that came to nothing. Close it before its protocols.

    ``handshake_seconds`` are for the TLS handshake, or without TLS for the first byte. ``open_now`` counts the
    connections that were handed over and are open still: with those in a handshake there are at most ``most``.

    All of it is for the event loop's thread.
    """

    def __init__(
        self,
        runtime: Runtime,
        factory: ProtocolFactory,
        context: ssl.SSLContext | None,
        on_failure: OnFailure,
        handshake_seconds: float = HANDSHAKE_SECONDS,
        open_now: Callable[[], int] = lambda: 0,
        most: int = MAX_CONNECTIONS,
        untaken_seconds: float = UNTAKEN_SECONDS,
    ) -> None:
        self.host = ""
        self.port = 0
        self._runtime = runtime
        self._factory = factory
        self._context = context
        self._on_failure = on_failure
        self._seconds = handshake_seconds
        self._open_now = open_now
        self._most = most
        self._untaken_seconds = untaken_seconds
        self._sockets: list[socket.socket] = []
        self._closed = False
        self._shaking: dict[socket.socket, Task] = {}
        self._silent: dict[_FirstByte, None] = {}

    async def start(self, host: str, port: int) -> None:
        """Listen at every address that ``host`` names; port 0 draws one. Raises OSError."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        try:
            for family, kind, _, _, address in dict.fromkeys(found):
                self._sockets.append(_listening(family, kind, (address[0], self.port or port, *address[2:])))
                self.host, self.port = self._sockets[0].getsockname()[:2]
        except OSError:
            for listening in self._sockets:
                listening.close()
            raise
        for listening in self._sockets:
            loop.add_reader(listening.fileno(), self._accept, listening)

    async def close(self) -> None:
        """Accept no more; connections that have not shown what they are end. Those that were handed over stay."""
        self._closed = True
        for listening in self._sockets:
            asyncio.get_running_loop().remove_reader(listening.fileno())
            listening.close()
        self._sockets.clear()
        tasks = list(self._shaking.values())
        for task in tasks:
            task.cancel()
        while not all(task.done() for task in tasks):
            await pause(self._runtime, 0)
        for accepted in self._shaking:  # a task that is cancelled before it began closes nothing
            accepted.close()
        self._shaking.clear()
        for protocol in list(self._silent):
            protocol.abort()

    def _accept(self, listening: socket.socket) -> None:
        """The kernel has connections for us: take a few, then let the loop turn."""
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                accepted, address = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                _logger.error("no connection can be accepted now: %s", error.strerror or error)
                asyncio.get_running_loop().remove_reader(listening.fileno())
                self._runtime.call_later(_ACCEPT_AGAIN_SECONDS, self._accept_again, listening)
                return
            accepted.setblocking(False)
            if len(self._shaking) >= MAX_HANDSHAKES:
                accepted.close()
                self._on_failure(_text(address), "too many connections are shaking hands")
            elif len(self._shaking) + len(self._silent) + self._open_now() >= self._most:
                accepted.close()
                self._on_failure(_text(address), f"{self._most} connections are open")
            else:
                self._shaking[accepted] = self._runtime.spawn(self._begin(accepted, _text(address)), "shake hands")

    def _accept_again(self, listening: socket.socket) -> None:
        if not self._closed:
            asyncio.get_running_loop().add_reader(listening.fileno(), self._accept, listening)

    async def _begin(self, accepted: socket.socket, address: str) -> None:
        """Ends when the connection belongs to its protocol, or is over."""
        loop = asyncio.get_running_loop()
        try:
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(self._untaken_seconds * 1000))
            if self._context is None:
                await loop.connect_accepted_socket(lambda: _FirstByte(self, address), accepted)
            else:
                await loop.connect_accepted_socket(
                    self._factory, accepted, ssl=self._context, ssl_handshake_timeout=self._seconds
                )
        except (OSError, TimeoutError) as error:
            failure = tls_failure(error)
            self._on_failure(address, sentence(failure) if failure else str(error) or "it left in the handshake")
            accepted.close()
        except asyncio.CancelledError:
            accepted.close()
            raise
        finally:
            del self._shaking[accepted]


class _FirstByte(asyncio.Protocol):
    """Stands in for the real protocol until the client has said something: in HTTP it speaks first."""

    def __init__(self, listener: Listener, address: str) -> None:
        self._listener = listener
        self._address = address
        self._transport: Any = None  # a TCP transport of the loop's; uvloop's share no class with asyncio's
        self._waiting: Timer | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._listener._silent[self] = None
        self._waiting = self._listener._runtime.call_later(self._listener._seconds, self._said_nothing)

    def _said_nothing(self) -> None:
        self._over()
        self._listener._on_failure(self._address, f"it said nothing for {self._listener._seconds:g} s")
        self._transport.abort()

    def _over(self) -> None:
        self._listener._silent.pop(self, None)
        if self._waiting is not None:
            self._waiting.cancel()

    def data_received(self, data: bytes) -> None:
        self._over()
        if data[0] == _TLS_HANDSHAKE:
            self._listener._on_failure(self._address, "TLS where plain text is spoken")
            self._transport.abort()
            return
        protocol = self._listener._factory()
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        protocol.data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._over()

    def abort(self) -> None:
        self._transport.abort()


def _listening(family: int, kind: int, address: tuple[Any, ...]) -> socket.socket:
    listening = socket.socket(family, kind)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.setblocking(False)
        listening.bind(address)
        listening.listen(BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening


def _text(address: Any) -> str:
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
