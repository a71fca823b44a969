"""A name server on loopback: SRV and A records over UDP, changed at will by the test."""

from __future__ import annotations

import asyncio
from struct import pack, unpack_from

A, SRV, CNAME = 1, 33, 5
_NAME_ERROR, _SERVER_FAILURE = 3, 2


class DnsServer(asyncio.DatagramProtocol):
    """``a``: name -> IPv4 addresses; ``srv``: name -> (target, port). Answers may be kept for ``ttl`` seconds."""

    def __init__(self) -> None:
        self.a: dict[str, list[str]] = {}
        self.srv: dict[str, list[tuple[str, int]]] = {}
        self.cname: dict[str, str] = {}
        self.ttl = 300
        self.failing = False
        self.silent = False
        self.asked: list[tuple[str, int]] = []

    async def start(self) -> DnsServer:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
        self.port: int = self._transport.get_extra_info("sockname")[1]
        return self

    def close(self) -> None:
        self._transport.close()

    def datagram_received(self, data: bytes, sender: tuple[str, int]) -> None:
        labels, at = [], 12
        while data[at]:
            labels.append(data[at + 1 : at + 1 + data[at]].decode())
            at += 1 + data[at]
        kind, _ = unpack_from(">HH", data, at + 1)
        name = ".".join(labels).lower()
        self.asked.append((name, kind))
        if self.silent:
            return
        found, known = self._find(name, kind)
        code = _SERVER_FAILURE if self.failing else 0 if known else _NAME_ERROR
        answers = [] if self.failing else found
        head = data[:2] + pack(">HHHHH", 0x8580 | code, 1, len(answers), 0, 0)
        self._transport.sendto(head + data[12 : at + 5] + b"".join(answers), sender)

    def _find(self, name: str, kind: int) -> tuple[list[bytes], bool]:
        answers = []
        if kind == A and name in self.cname:
            answers.append(self._record(name, CNAME, _encode(self.cname[name])))
            name = self.cname[name]
        if kind == A:
            for address in self.a.get(name, []):
                answers.append(self._record(name, A, bytes(map(int, address.split(".")))))
        if kind == SRV:
            for target, port in self.srv.get(name, []):
                answers.append(self._record(name, SRV, pack(">HHH", 0, 10, port) + _encode(target)))
        return answers, bool(answers) or name in self.a or name in self.srv

    def _record(self, name: str, kind: int, data: bytes) -> bytes:
        return _encode(name) + pack(">HHIH", kind, 1, self.ttl, len(data)) + data


def _encode(name: str) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"
