"""TLS of a process: contexts that can be replaced while it runs, and what a peer's certificate must say.

A peer's certificate is for its group, not for one pod: pods come and go at addresses that no certificate names, so a
dialler asks for one fixed name, ``PEER_NAME``, whatever address it dials. A certificate makes a peer if

- the trust bundle of peers verifies it, and it is valid now;
- it holds the DNS name ``PEER_NAME``; one made for clients' eyes does not;
- its extended key usage, where it has one, allows both sides of a handshake: serverAuth to accept, clientAuth to dial.

Sessions are never resumed between peers: a resumed one would not look at the trust bundle again.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any, Self

PEER_NAME = "peer.orderbook.internal"
_MAX_TURNS = 10


class ReplaceableContext(ssl.SSLContext):
    """Each new connection takes ``current`` as it is then; connections that are open keep theirs.

    asyncio and uvloop make every connection through ``wrap_bio`` of the context that they were given, so that whatever
    is decided by a context changes with it: certificate, trust, versions.
    """

    current: ssl.SSLContext

    def __new__(cls, current: ssl.SSLContext) -> Self:
        made: Self = super().__new__(cls, current.protocol)
        made.current = current
        return made

    def __init__(self, current: ssl.SSLContext) -> None:
        super().__init__()

    def wrap_bio(self, *args: Any, **options: Any) -> ssl.SSLObject:
        return self.current.wrap_bio(*args, **options)


def peer_server_context(certificate: str, key: str, trust: str) -> ssl.SSLContext:
    """To accept peers: the paths of chain and key, and the trust bundle as PEM. Raises OSError, ssl.SSLError."""
    return _for_peers(ssl.Purpose.CLIENT_AUTH, certificate, key, trust)


def peer_client_context(certificate: str, key: str, trust: str) -> ssl.SSLContext:
    """To dial peers; ``server_hostname`` is ``PEER_NAME``."""
    return _for_peers(ssl.Purpose.SERVER_AUTH, certificate, key, trust)


def _for_peers(purpose: ssl.Purpose, certificate: str, key: str, trust: str) -> ssl.SSLContext:
    context = ssl.create_default_context(purpose, cadata=trust)
    context.verify_mode = ssl.CERT_REQUIRED
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.options |= ssl.OP_NO_TICKET
    if purpose is ssl.Purpose.CLIENT_AUTH:
        context.num_tickets = 0
    context.load_cert_chain(certificate, key)
    return context


def client_listener_context(certificate: str, key: str) -> ssl.SSLContext:
    """To accept clients, who prove themselves by tokens."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    return context


def peer_problem(certificate: Mapping[str, Any] | None) -> str:
    """Why the holder of a verified certificate (as ``getpeercert`` gives it) is no peer; empty if it is one."""
    names = [value for kind, value in (certificate or {}).get("subjectAltName", ()) if kind == "DNS"]
    return "" if PEER_NAME in names else f"its certificate is not a peer's: {PEER_NAME} is none of its names"


def tls_failure(error: BaseException | None) -> ssl.SSLError | None:
    """The failure of TLS behind an exception, if that is what it was."""
    for _ in range(_MAX_TURNS):
        # What aiohttp raises is an SSLError by its class alone; the one that says something is inside.
        inner = getattr(error, "certificate_error", None) or getattr(error, "os_error", None)
        if isinstance(inner, BaseException) and inner is not error:
            error = inner
        elif error is None or isinstance(error, ssl.SSLError):
            return error
        else:
            error = error.__cause__ or error.__context__
    return None


def sentence(error: ssl.SSLError) -> str:
    """What OpenSSL says, without its source lines."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate verify failed: {error.verify_message}"
    return _MEANINGS.get(error.reason or "", (error.reason or str(error)).lower().replace("_", " "))


_MEANINGS = {
    "HTTP_REQUEST": "plain text where TLS is spoken",
    "WRONG_VERSION_NUMBER": "no TLS: plain text on one of the two sides?",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "it showed no certificate",
    "TLSV1_ALERT_UNKNOWN_CA": "the other side does not trust this node's certificate",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "the other side wants a certificate",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "the other side says that this node's certificate has expired",
    "SSLV3_ALERT_BAD_CERTIFICATE": "the other side refuses this node's certificate",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "the other side says that this node's certificate is not for this use",
}


def try_handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> Mapping[str, Any]:
    """Let both shake hands in memory; the client's certificate as the server sees it. Raises ssl.SSLError.

    What can't talk to itself can't talk to a peer that holds the same files.
    """
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    accepting = server.wrap_bio(to_server, to_client, server_side=True)
    dialling = client.wrap_bio(to_client, to_server, server_hostname=name)
    done = {accepting: False, dialling: False}
    for _ in range(_MAX_TURNS):
        for side in done:
            if not done[side]:
                try:
                    side.do_handshake()
                    done[side] = True
                except ssl.SSLWantReadError:
                    continue
        if all(done.values()):
            return accepting.getpeercert() or {}
    raise ssl.SSLError("the handshake did not end")
