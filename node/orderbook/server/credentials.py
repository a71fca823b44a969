"""What a node proves itself with, and whom it trusts: read from files at the start, and again whenever they change.

``load`` gives all of it at once or nothing: a certificate whose key is another's, a bundle that does not verify the
node's own certificate, a key set that is none, are refused with the file's name, and what was loaded before stays.
``CredentialWatch`` looks at the content of the files every few seconds, off the event loop (volumes of Kubernetes swap
a directory, and files of one mount change together, so a set that changed while it was read is read once more), and
puts a new set in place of the old for all connections that begin from then on. Open ones go on.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from cryptography import x509

from orderbook.groups.waiting import run_on
from orderbook.network.tls import (
    PEER_NAME,
    ReplaceableContext,
    client_listener_context,
    peer_client_context,
    peer_problem,
    peer_server_context,
    sentence,
    try_handshake,
)
from orderbook.runtime import Runtime, Task, pause
from orderbook.server.configuration import NodeConfiguration
from orderbook.tokens import TokenKeys

REFRESH_SECONDS = 2.0
MAX_FILE_BYTES = 1 << 20
_READS = 3
_LOOKS_BEFORE_A_RETRY = 15  # at a set that was refused: a certificate may have become valid meanwhile
_logger = logging.getLogger("orderbook.credentials")


class CredentialError(ValueError):
    """A file is missing, or does not hold what it should: the message names key, file and what is wrong."""


class CredentialFiles(NamedTuple):
    """Paths, by the configuration's keys; None: not used."""

    certificate: Path | None = None
    key: Path | None = None
    ca: Path | None = None
    client_certificate: Path | None = None
    client_key: Path | None = None
    token_keys: Path | None = None

    @classmethod
    def of(cls, configuration: NodeConfiguration) -> CredentialFiles:
        tls, auth = configuration.tls, configuration.auth
        keys = auth.keys if auth.mode == "tokens" else None
        return cls(tls.certificate, tls.key, tls.ca, tls.client_certificate, tls.client_key, keys)


class CredentialReport(NamedTuple):
    """What is loaded: SHA-256 (hexadecimal) of the files' content, expiry in seconds since the epoch; None: not used.

    ``certificate_expires`` is the first end of a certificate of the chain.
    """

    certificate: str | None = None
    certificate_expires: int | None = None
    client_certificate: str | None = None
    client_certificate_expires: int | None = None
    trust: str | None = None
    token_keys: str | None = None


NOTHING_LOADED = CredentialReport()


@dataclass(frozen=True, slots=True)
class Credentials:
    """One set, loaded whole. ``content`` is a digest of all the files."""

    content: bytes
    report: CredentialReport
    peer_server: ssl.SSLContext | None = None
    peer_client: ssl.SSLContext | None = None
    clients: ssl.SSLContext | None = None
    token_keys: TokenKeys | None = None


def load(files: CredentialFiles) -> Credentials:
    """Read all files. Raises CredentialError."""
    for _ in range(_READS):
        content = _read(files)
        try:
            loaded = _from_content(files, content)
        except CredentialError:
            if _read(files) == content:
                raise
        else:
            if _read(files) == content:
                return loaded
    raise CredentialError("the files of the credentials change faster than they can be read")


def content_of(files: CredentialFiles) -> bytes:
    """A digest of all content; another one when a file is missing."""
    with suppress(CredentialError):
        return _digest(_read(files))
    return b""


def _read(files: CredentialFiles) -> dict[str, bytes]:
    content = {}
    for key, path in files._asdict().items():
        if path is None:
            continue
        try:
            with path.open("rb") as opened:
                content[key] = opened.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            raise CredentialError(f"{_key(key)} = {str(path)!r}: {error.strerror}") from error
        if not 0 < len(content[key]) <= MAX_FILE_BYTES:
            raise CredentialError(f"{_key(key)} = {str(path)!r}: 1 to {MAX_FILE_BYTES} bytes are allowed")
    return content


def _digest(content: dict[str, bytes]) -> bytes:
    return sha256(b"".join(key.encode() + sha256(data).digest() for key, data in content.items())).digest()


def _from_content(files: CredentialFiles, content: dict[str, bytes]) -> Credentials:
    expires = {key: _expiry(files, key, content[key]) for key in _CHAINS if key in content}
    hashes = {key: sha256(data).hexdigest() for key, data in content.items()}
    report = CredentialReport(
        hashes.get("certificate"),
        expires.get("certificate"),
        hashes.get("client_certificate"),
        expires.get("client_certificate"),
        hashes.get("ca"),
        hashes.get("token_keys"),
    )
    keys = _token_keys(files, content) if "token_keys" in content else None
    if files.certificate is None or files.key is None:
        return Credentials(_digest(content), report, token_keys=keys)
    server, client = _peer_contexts(files, content["ca"])
    listener = files.client_certificate or files.certificate, files.client_key or files.key
    own = "certificate" if files.client_certificate is None else "client_certificate"
    try:
        clients = client_listener_context(str(listener[0]), str(listener[1]))
    except (OSError, ValueError) as error:
        raise CredentialError(_sentence(files, own, error)) from error
    return Credentials(_digest(content), report, server, client, clients, keys)


def _peer_contexts(files: CredentialFiles, trust: bytes) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """For both sides of a connection between peers, which this node's own certificate can open."""
    chain = str(files.certificate), str(files.key)
    try:
        bundle = trust.decode("ascii")
        x509.load_pem_x509_certificates(trust)
    except ValueError as error:
        raise CredentialError(f"{_key('ca')} = {str(files.ca)!r}: no certificates in PEM") from error
    try:
        server, client = peer_server_context(*chain, bundle), peer_client_context(*chain, bundle)
    except (OSError, ValueError) as error:
        raise CredentialError(_sentence(files, "certificate", error)) from error
    try:
        problem = peer_problem(try_handshake(server, client, PEER_NAME))
    except ssl.SSLError as error:
        problem = sentence(error)
    if problem:
        where = f"{_key('certificate')} = {str(files.certificate)!r}"
        raise CredentialError(f"{where}: no peer that trusts {str(files.ca)!r} would take it: {problem}")
    return server, client


def _token_keys(files: CredentialFiles, content: dict[str, bytes]) -> TokenKeys:
    try:
        return TokenKeys.parse(content["token_keys"].decode())
    except ValueError as error:
        raise CredentialError(f"{_key('token_keys')} = {str(files.token_keys)!r}: {error}") from error


def _expiry(files: CredentialFiles, key: str, chain: bytes) -> int:
    try:
        certificates = x509.load_pem_x509_certificates(chain)
    except ValueError as error:
        path = getattr(files, key)
        raise CredentialError(f"{_key(key)} = {str(path)!r}: no certificates in PEM") from error
    return int(min(certificate.not_valid_after_utc.timestamp() for certificate in certificates))


def _sentence(files: CredentialFiles, key: str, error: Exception) -> str:
    what = sentence(error) if isinstance(error, ssl.SSLError) else str(error)
    pair = f"{_key(key)} = {str(getattr(files, key))!r} and its key {str(getattr(files, _CHAINS[key]))!r}"
    return f"{pair} can't be used: {what}"


def _key(name: str) -> str:
    return "auth.keys" if name == "token_keys" else f"tls.{name}"


_CHAINS = {"certificate": "key", "client_certificate": "client_key"}


class CredentialWatch:
    """The set in force. ``on_change`` hears of each that came after the first; ``loaded`` and ``refused`` count."""

    def __init__(
        self, runtime: Runtime, files: CredentialFiles, first: Credentials, every: float = REFRESH_SECONDS
    ) -> None:
        self.current = first
        self.loaded = 0
        self.refused = 0
        self.on_change: Callable[[Credentials], object] = lambda credentials: None
        self.peer_server = _replaceable(first.peer_server)
        self.peer_client = _replaceable(first.peer_client)
        self.clients = _replaceable(first.clients)
        self._runtime = runtime
        self._files = files
        self._every = every
        self._looked_at = first.content
        self._worker = runtime.worker("credentials")
        self._task: Task | None = None

    def start(self) -> None:
        if any(path is not None for path in self._files):
            self._task = self._runtime.spawn(self._watch(), "watch the credentials")

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
        self._worker.close()

    async def _watch(self) -> None:
        same = 0
        while True:
            await pause(self._runtime, self._every)
            content = await run_on(self._worker, lambda: content_of(self._files))
            news = content != self._looked_at
            same = 0 if news else same + 1
            self._looked_at = content
            if content != self.current.content and (news or same % _LOOKS_BEFORE_A_RETRY == 0):
                await self._load(told=not news)

    async def _load(self, *, told: bool) -> None:
        try:
            loaded = await run_on(self._worker, lambda: load(self._files))
        except CredentialError as error:
            if not told:
                self.refused += 1
                fields = {"detail": str(error)}
                _logger.error("the new credentials can't be used; the old ones stay", extra={"fields": fields})
        else:
            self._looked_at = loaded.content
            self._take(loaded)

    def _take(self, loaded: Credentials) -> None:
        self.current = loaded
        self.loaded += 1
        for context, new in (
            (self.peer_server, loaded.peer_server),
            (self.peer_client, loaded.peer_client),
            (self.clients, loaded.clients),
        ):
            if context is not None and new is not None:
                context.current = new
        _logger.info("new credentials are in force", extra={"fields": loaded.report._asdict()})
        self.on_change(loaded)


def _replaceable(context: ssl.SSLContext | None) -> ReplaceableContext | None:
    return None if context is None else ReplaceableContext(context)
