"""Certificates of tests, made by one authority or another, and members that use them."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.x509.oid import ExtendedKeyUsageOID

from orderbook.network.certificates import Issued, _leaf, issue_peer, issue_server, new_authority
from orderbook.network.tls import ReplaceableContext, peer_client_context, peer_server_context

HOUR = 3600.0
HOSTS = ("localhost", "127.0.0.1")


class Chain(NamedTuple):
    """Paths of a certificate and its key, and the trust bundle as PEM."""

    certificate: str
    key: str
    trust: str


class Authority:
    """Issues into ``directory``."""

    def __init__(self, directory: Path, name: str = "ca") -> None:
        self.own = new_authority(name, time.time(), HOUR)
        self.pem = self.own.certificate
        self._directory = directory
        self._name = name
        self._issued = 0

    def peer(self, trust: str | None = None, lifetime: float = HOUR) -> Chain:
        return self._written(issue_peer(self.own, "a peer", HOSTS, time.time(), lifetime), trust)

    def server(self, trust: str | None = None) -> Chain:
        """For the eyes of clients: no peer."""
        return self._written(issue_server(self.own, "a listener", HOSTS, time.time(), HOUR), trust)

    def nameless(self) -> Chain:
        """Both uses are allowed to it, but the name of peers is none of its names."""
        uses = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        return self._written(_leaf(self.own, "somebody", HOSTS, uses, time.time(), HOUR, os.urandom), None)

    def _written(self, issued: Issued, trust: str | None) -> Chain:
        self._issued += 1
        certificate = self._directory / f"{self._name}-{self._issued}.crt"
        key = certificate.with_suffix(".key")
        certificate.write_text(issued.certificate)
        key.write_text(issued.key)
        return Chain(str(certificate), str(key), trust if trust is not None else self.pem)


class Contexts:
    """Both of a member, replaced together."""

    def __init__(self, chain: Chain) -> None:
        self.server = ReplaceableContext(peer_server_context(*chain))
        self.client = ReplaceableContext(peer_client_context(*chain))

    def replace(self, chain: Chain) -> None:
        self.server.current = peer_server_context(*chain)
        self.client.current = peer_client_context(*chain)

    @property
    def options(self) -> dict[str, Any]:
        return {"server_tls": self.server, "client_tls": self.client}
