"""One connection between this process and a peer's: the handshake of ``handshake``, then records in both directions.

``run`` reads, in one task, from the first HELLO to the end. Whether a link may live is its owner's decision
(``LinkOwner.admit``), taken once the peer is known and its proofs are there: by the acceptor at PROVE, by the dialler
at ACCEPT.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from orderbook.network import handshake
from orderbook.network.connection import Connection
from orderbook.network.framing import CONTROL, MalformedMessage, records
from orderbook.network.handshake import ControlKind, Hello, Opening, Reason, Role
from orderbook.network.statistics import PeerStatistics

Deliver = Callable[[str, bytes], None]


class LinkOwner(Protocol):
    """What a link asks of the process that it belongs to."""

    def own_hello(self, dial: int) -> Hello: ...

    def before_proving(self, link: Link) -> tuple[Reason, str] | None:
        """The dialler knows whom it reached and is about to prove itself: None to go on."""
        ...

    def last_connection(self, name: str) -> bytes: ...

    def own_openings(self, link: Link) -> list[Opening]:
        """Of all channels that are open now, with proofs for this link."""
        ...

    def proves(self, link: Link, opening: Opening) -> bool | None:
        """Whether the peer proved our key of that group; None if the group is not ours."""
        ...

    def admit(self, link: Link, last: bytes) -> tuple[Reason, str] | None:
        """None: the link is its peer's only one from now on; else why not."""
        ...

    def went_live(self, link: Link) -> None:
        """The handshake is over: frames may be sent, and will arrive."""
        ...

    def opened(self, link: Link, opening: Opening) -> None: ...

    def closed(self, link: Link, number: int) -> None: ...

    def heard_addresses(self, link: Link, addresses: list[tuple[str, str]]) -> None: ...

    def ended(self, link: Link, reason: Reason, detail: str) -> None:
        """The connection ended, whether or not it was ever admitted."""
        ...

    def unknown_control(self) -> None: ...


class Link:
    """``peer`` is None until the peer said HELLO. ``routes``: where the frames of the peer's channel numbers go."""

    def __init__(self, owner: LinkOwner, connection: Connection, remote: str, dial: int) -> None:
        self.connection = connection
        self.remote = remote  # the address as seen from here
        self.detail = ""  # of the end, once there is one
        self.shaken: asyncio.Future[None] = asyncio.get_running_loop().create_future()  # admitted, or ended
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.dialled = dial > 0
        self.peer: Hello | None = None
        self.admitted = False
        self.openings: dict[int, Opening] = {}
        self.proven: dict[bytes, int] = {}  # group -> the peer's number of that channel
        self.routes: dict[int, Deliver] = {}
        self.announced: tuple[int, ...] = ()  # the channels that the handshake told the peer of
        self.statistics = PeerStatistics()
        self._owner = owner
        self._own = owner.own_hello(dial)
        self._own_packed = handshake.pack_control(ControlKind.HELLO, *self._own)
        self._peer_packed = b""
        self._last = b""
        self._unread: deque[tuple[int, bytes]] = deque()  # records behind the last one of the handshake
        connection.on_end = self._on_end

    @property
    def name(self) -> str:
        """The peer's, or its address while that is all that is known."""
        return self.peer.name if self.peer is not None else self.remote

    @property
    def dial(self) -> int:
        """The number of the dial, by the count of the process that dialled."""
        if self.dialled or self.peer is None:
            return self._own.dial
        return self.peer.dial

    @property
    def id(self) -> bytes:
        if self.dialled or self.peer is None:
            return self._own.nonce
        return self.peer.nonce

    def prove(self, key: bytes, group: bytes) -> bytes:
        return self._proof(key, group, Role.DIALLER if self.dialled else Role.ACCEPTOR)

    def is_proven(self, key: bytes, opening: Opening) -> bool:
        wanted = self._proof(key, opening.group, Role.ACCEPTOR if self.dialled else Role.DIALLER)
        return handshake.is_proof(opening.proof, wanted)

    def _proof(self, key: bytes, group: bytes, prover: Role) -> bytes:
        hellos = (self._own_packed, self._peer_packed) if self.dialled else (self._peer_packed, self._own_packed)
        return handshake.proof(key, prover, group, *hellos)

    def end(self, reason: Reason, detail: str = "") -> None:
        self.connection.end(reason, detail)

    def _on_end(self, reason: Reason, detail: str) -> None:
        self.detail = detail
        self._owner.ended(self, reason, detail)
        self.admitted = False
        self.routes.clear()

    # --- the handshake ------------------------------------------------------------------------------------------------

    async def shake_hands(self) -> bool:
        """True when the link was admitted; otherwise it has ended."""
        try:
            if self.dialled:
                self.connection.send_packed_control(self._own_packed)
            return await self._expect(ControlKind.HELLO, self._on_hello) and await self._prove_each_other()
        except MalformedMessage as error:
            self.end(Reason.MALFORMED, str(error))
            return False

    async def _prove_each_other(self) -> bool:
        if not self.dialled:
            self.connection.send_packed_control(self._own_packed)
            return await self._expect(ControlKind.PROVE, self._on_prove)
        assert self.peer is not None
        if not self._go_on(self._owner.before_proving(self)):
            return False
        last = self._owner.last_connection(self.peer.name)
        self.connection.send_control(ControlKind.PROVE, last, self._announce())
        return await self._expect(ControlKind.ACCEPT, self._on_accept)

    async def _expect(self, wanted: ControlKind, take: Callable[[list[Any], bytes], bool]) -> bool:
        """Read one record that is a control message of that kind, or REFUSE. Others may follow in the same message."""
        if not self._unread:
            message = await self.connection.read()
            if message is None:
                return False
            self._unread.extend(records(message))
        channel, body = self._unread.popleft()
        if channel != CONTROL:
            raise MalformedMessage(f"{wanted.name} was expected, not a frame")
        kind, fields = handshake.unpack_control(body)
        if kind == ControlKind.REFUSE:
            self._refused(fields)
            return False
        if kind != wanted:
            raise MalformedMessage(f"{wanted.name} was expected, not kind {kind}")
        return take(fields, body)

    def _on_hello(self, fields: list[Any], packed: bytes) -> bool:
        hello = handshake.hello_from(fields)
        self._peer_packed = packed
        own = self._own
        problem: tuple[Reason, str] | None = None
        if handshake.common_version(own.oldest, own.newest, hello) is None:
            spoken = f"{hello.oldest} to {hello.newest}; here it is {own.oldest} to {own.newest}"
            problem = Reason.WRONG_VERSION, f"{hello.name} speaks versions {spoken}"
        elif hello.network != own.network:
            problem = Reason.WRONG_NETWORK, f"{hello.name} is of network {hello.network}, {own.name} of {own.network}"
        elif hello.process == own.process:
            problem = Reason.ITSELF, "this connection leads back to the process that dialled"
        elif hello.name == own.name:
            problem = Reason.NAME_TAKEN, f"both ends are called {own.name}"
        self.peer = hello
        return self._go_on(problem)

    def _on_prove(self, fields: list[Any], packed: bytes) -> bool:
        self._last, openings = handshake.prove_from(fields)
        return self._admit(openings)

    def _on_accept(self, fields: list[Any], packed: bytes) -> bool:
        if not fields:
            raise MalformedMessage("ACCEPT has 1 field, not 0")
        return self._admit(handshake.openings_from(fields[0]))

    def _admit(self, openings: list[Opening]) -> bool:
        for opening in openings:
            self._note(opening)
        if not self._go_on(self._owner.admit(self, self._last)):
            return False
        self.admitted = True
        if not self.dialled:
            self.connection.send_control(ControlKind.ACCEPT, self._announce())
        self._owner.went_live(self)
        return self.connection.reason is None

    def _announce(self) -> list[Opening]:
        openings = self._owner.own_openings(self)
        self.announced = tuple(opening.number for opening in openings)
        return openings

    def _go_on(self, problem: tuple[Reason, str] | None) -> bool:
        if problem is not None:
            self.end(*problem)
        return self.connection.reason is None

    def _note(self, opening: Opening) -> None:
        if opening.number in self.openings or len(self.openings) >= handshake.MAX_OPENINGS:
            raise MalformedMessage(f"channel {opening.number} is opened twice, or is one too many")
        self.openings[opening.number] = opening
        if self._owner.proves(self, opening):
            self.proven[opening.group] = opening.number

    def _refused(self, fields: list[Any]) -> None:
        reason, detail = handshake.refuse_from(fields)
        known = Reason(reason) if reason in Reason.__members__.values() else Reason.LOST
        self.connection.end(known, f"said by the other side: {detail or reason}", tell=False)

    # --- afterwards ---------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Read until the end. Frames go to ``routes``; what a route raises is not caught here."""
        arrived: Iterable[tuple[int, bytes]] = tuple(self._unread)
        self._unread.clear()
        while True:
            try:
                self._take(arrived)
            except MalformedMessage as error:
                self.end(Reason.MALFORMED, str(error))
            message = await self.connection.read()
            if message is None:
                return
            arrived = records(message)

    def _take(self, arrived: Iterable[tuple[int, bytes]]) -> None:
        statistics, name = self.statistics, self.name
        for channel, body in arrived:
            if channel == CONTROL:
                self._on_control(body)
            elif (deliver := self.routes.get(channel)) is not None:
                statistics.frames_in += 1
                statistics.bytes_in += len(body)
                deliver(name, body)
            else:
                statistics.frames_refused += 1
            if self.connection.reason is not None:
                return

    def _on_control(self, body: bytes) -> None:
        kind, fields = handshake.unpack_control(body)
        if kind == ControlKind.PING:
            self.connection.send_urgent(ControlKind.PONG)
        elif kind == ControlKind.PONG:
            pass  # that anything arrived is what counts
        elif kind == ControlKind.OPEN:
            opening = handshake.opening_from(fields)
            self._note(opening)
            self._owner.opened(self, opening)
        elif kind == ControlKind.CLOSE:
            number = handshake.number_from("CLOSE", fields)
            opened = self.openings.pop(number, None)
            if opened is not None and self.proven.get(opened.group) == number:
                del self.proven[opened.group]
            self._owner.closed(self, number)
        elif kind == ControlKind.ADDRESSES:
            self._owner.heard_addresses(self, handshake.addresses_from(fields))
        elif kind == ControlKind.REFUSE:
            self._refused(fields)
        else:
            self._on_unknown(kind)

    def _on_unknown(self, kind: int) -> None:
        assert self.peer is not None
        if kind in ControlKind.__members__.values() or self.peer.newest <= self._own.newest:
            raise MalformedMessage(f"a control message of kind {kind} has no place here")
        self._owner.unknown_control()
