"""Speaks the peers' protocol by hand, well or badly, to one member."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType

from orderbook.network import handshake
from orderbook.network.framing import CONTROL, pack_header, records
from orderbook.network.handshake import ControlKind, Hello, Role, pack_control, unpack_control
from unit.network.members import GROUP, KEY, NETWORK


class Stranger:
    """A connection that the test dialled. ``async with Stranger(address) as stranger``."""

    def __init__(self, address: str, name: str = "stranger", **changed: Any) -> None:
        self._address = address
        hello = Hello(1, 1, NETWORK, name, b"\1" * 8, b"\2" * 32, ":1", 1)
        self.hello = pack_control(ControlKind.HELLO, *hello._replace(**changed))
        self.member_hello = b""
        self.unread: list[tuple[int, bytes]] = []

    async def __aenter__(self) -> Stranger:
        self._session = ClientSession()
        self.socket: ClientWebSocketResponse[Any] = await self._session.ws_connect(
            f"http://{self._address}/peers", max_msg_size=0
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        # Leave without a word: the member's end is what tests are about.
        response = self.socket._response
        if response.connection is not None and response.connection.transport is not None:
            response.connection.transport.abort()
        response.close()
        await self._session.close()

    # --- sending ------------------------------------------------------------------------------------------------------

    async def send(self, *bodies: tuple[int, bytes]) -> None:
        await self.socket.send_bytes(b"".join(pack_header(len(body), channel) + body for channel, body in bodies))

    async def control(self, kind: int, *fields: Any) -> None:
        await self.send((CONTROL, pack_control(kind, *fields)))

    async def say_hello(self) -> None:
        await self.send((CONTROL, self.hello))
        channel, self.member_hello = await self.receive()
        assert channel == CONTROL
        assert unpack_control(self.member_hello)[0] == ControlKind.HELLO

    def proof(self, group: bytes = GROUP, key: bytes = KEY, role: Role = Role.DIALLER) -> bytes:
        return handshake.proof(key, role, group, self.hello, self.member_hello)

    async def join(self, number: int = 1, group: bytes = GROUP, key: bytes = KEY, last: bytes = b"") -> list[Any]:
        """The whole handshake; gives the fields of ACCEPT."""
        await self.say_hello()
        await self.control(ControlKind.PROVE, last, [[number, group, self.proof(group, key)]])
        kind, fields = await self.receive_control()
        assert kind == ControlKind.ACCEPT, fields
        return fields

    # --- receiving ----------------------------------------------------------------------------------------------------

    async def receive(self) -> tuple[int, bytes]:
        async with asyncio.timeout(15):
            if not self.unread:
                message = await self.socket.receive()
                assert message.type is WSMsgType.BINARY, message
                self.unread.extend(records(message.data))
        return self.unread.pop(0)

    async def receive_control(self, *kinds: int) -> tuple[int, list[Any]]:
        """The next control message, of those kinds if any are given."""
        while True:
            channel, body = await self.receive()
            if channel == CONTROL:
                kind, fields = unpack_control(body)
                if not kinds or kind in kinds:
                    return kind, fields

    async def refusal(self) -> str:
        """The reason for which the member ends this connection."""
        _, fields = await self.receive_control(ControlKind.REFUSE)
        reason: str = fields[0]
        return reason
