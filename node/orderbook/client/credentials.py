"""What a client proves itself with, and whom it believes to be a node.

A token comes as it is, or from a file that somebody renews before it ends: the file is read again at each call and each
connection, so that a client with a token file goes on for ever, its sessions and sequences with it (they belong to the
``sub`` of the token, not to the token). Who can make tokens gives a function,
which is asked as often. The file of the authorities that a client trusts is read again, too. A file that can't be read
for a moment leaves in place what was read last.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from orderbook.groups.errors import Refused
from orderbook.groups.sessions import Outcome

MAX_TOKEN_BYTES = 16 << 10
UNAUTHORIZED = (401, 403)


class NotAuthorized(Refused):
    """The nodes do not take this client's token: nothing was done. The message is a node's."""

    def __init__(self, message: str) -> None:
        super().__init__(Outcome.NOT_PERMITTED)
        self.args = (message,)


class ClientCredentials:
    """Of one client. ``ca`` is a file (PEM) of the authorities that it trusts; without one, ``tls`` True trusts the
    system's. ``server_name``: the name that the nodes' certificates hold, where it isn't the one that is dialled (a
    port-forward)."""

    def __init__(
        self,
        token: str | Callable[[], str] | None = None,
        token_file: Path | None = None,
        tls: ssl.SSLContext | bool = True,
        server_name: str | None = None,
        ca: Path | None = None,
    ) -> None:
        """Raises ValueError for two tokens, for what no header can hold, and for a file that can't be read."""
        if ca is not None and tls is not True:
            raise ValueError("whom to trust is given by ca or by tls, not both")
        if token is not None and token_file is not None:
            raise ValueError("a token is given as it is or by its file, not both")
        self.tls = tls
        self.server_name = server_name
        self._ca = ca
        self._authorities = b""
        if ca is not None:
            self._trust(ca)
        self._mint = token if callable(token) else None
        given = token() if callable(token) else token
        self._token = _checked(given, "the token") if given is not None else None
        self._file = token_file
        if token_file is not None:
            self._token = _read(token_file)

    @property
    def has_token(self) -> bool:
        return self._token is not None

    @property
    def renewable(self) -> bool:
        """A token that is refused now may be another one soon."""
        return self._file is not None or self._mint is not None

    def request_options(self, headers: dict[str, str] | None = None) -> dict[str, Any]:
        """For a request or WebSocket of aiohttp: headers with the present token, whom to trust, as what."""
        if self._ca is not None:
            with suppress(ValueError):  # as with the token
                self._trust(self._ca)
        options: dict[str, Any] = {"headers": {**self._authorization(), **(headers or {})}, "ssl": self.tls}
        if self.server_name is not None:
            options["server_hostname"] = self.server_name
        return options

    def _trust(self, ca: Path) -> None:
        """Connections are kept by context: it is another one only when the file is."""
        try:
            content = ca.read_bytes()
        except OSError as error:
            raise ValueError(f"{ca}: {error.strerror}") from error
        if content != self._authorities:
            self.tls = trusting(ca)
            self._authorities = content

    def _authorization(self) -> dict[str, str]:
        if self._file is not None:
            with suppress(ValueError):  # it is being replaced, or gone: the last token holds until the nodes refuse it
                self._token = _read(self._file)
        if self._mint is not None:
            self._token = self._mint()
        return {} if self._token is None else {"Authorization": f"Bearer {self._token}"}


ANONYMOUS = ClientCredentials()


def trusting(ca: Path) -> ssl.SSLContext:
    """A client's context that trusts these authorities (PEM) only. Raises ValueError."""
    try:
        return ssl.create_default_context(cafile=ca)
    except OSError as error:
        what = error.strerror if not isinstance(error, ssl.SSLError) else "no certificates in PEM"
        raise ValueError(f"{ca}: {what}") from error


def _read(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            return _checked(opened.read(MAX_TOKEN_BYTES + 1).decode("ascii"), str(file))
    except OSError as error:
        raise ValueError(f"{file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}: a token is ASCII") from error


def _checked(text: str, where: str) -> str:
    token = text.strip()
    if not token or len(token) > MAX_TOKEN_BYTES or not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError(f"{where}: a token is 1 to {MAX_TOKEN_BYTES} printable ASCII characters without a space")
    return token
