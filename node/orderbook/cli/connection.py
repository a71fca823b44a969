"""How a command of this program reaches a group: the nodes it asks, and its exit code when that fails.

Exit codes: 0 done, 1 refused or rejected (nothing changed), 2 asked for wrongly, 3 unavailable (surely not done),
4 uncertain (it may have been done).
"""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar
from urllib.parse import urlsplit

import aiohttp
import typer

from orderbook.client.api import ApiClient, ApiRefused
from orderbook.client.credentials import ANONYMOUS, ClientCredentials
from orderbook.groups.errors import GroupError, Unavailable, Uncertain
from orderbook.server.configuration import LOOPBACK
from orderbook.server.runtime import AsyncioRuntime

EXIT_REFUSED = 1
EXIT_USAGE = 2
EXIT_UNAVAILABLE = 3
EXIT_UNCERTAIN = 4
DEFAULT_NODES = "127.0.0.1:8443"

T = TypeVar("T")

Nodes = Annotated[
    str,
    typer.Option("--node", envvar="ORDERBOOK_NODES", help="URLs of nodes, with commas between: any of them will do."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]
Patience = Annotated[float, typer.Option(help="Seconds to go on trying.", min=0.0)]
_PANEL = "Who asks"
_CREDENTIAL_OPTIONS: dict[str, Any] = {
    "token": Annotated[
        str | None, typer.Option(envvar="ORDERBOOK_TOKEN", help="A token (JWT).", rich_help_panel=_PANEL)
    ],
    "token_file": Annotated[
        Path | None,
        typer.Option(
            envvar="ORDERBOOK_TOKEN_FILE",
            help="A file with a token; read again as it is renewed.",
            rich_help_panel=_PANEL,
        ),
    ],
    "ca": Annotated[
        Path | None,
        typer.Option(
            envvar="ORDERBOOK_CA", help="PEM: the authorities of the nodes' certificates.", rich_help_panel=_PANEL
        ),
    ],
    "server_name": Annotated[
        str | None,
        typer.Option(
            envvar="ORDERBOOK_SERVER_NAME",
            help="The name in the nodes' certificates, if another than in their URLs (a port-forward).",
            rich_help_panel=_PANEL,
        ),
    ],
}
_credentials: ContextVar[ClientCredentials] = ContextVar("credentials", default=ANONYMOUS)


class Call:
    """What a command may use while it runs. ``credentials`` are for connections that it opens itself."""

    def __init__(
        self, runtime: AsyncioRuntime, http: aiohttp.ClientSession, api: ApiClient, credentials: ClientCredentials
    ) -> None:
        self.runtime = runtime
        self.http = http
        self.api = api
        self.credentials = credentials


def addresses_of(nodes: str) -> list[str]:
    """The URLs in ``nodes``; host:port is one, too, of https where there is a --ca. Raises typer.BadParameter."""
    addresses = []
    scheme = "http" if _credentials.get().tls is True else "https"
    for text in nodes.split(","):
        if not text.strip():
            continue
        parts = urlsplit(text.strip() if "://" in text else f"{scheme}://{text.strip()}")
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or parts.query:
            raise typer.BadParameter(f"a node is http://host:port, not {text.strip()!r}")
        addresses.append(f"{parts.scheme}://{parts.netloc}")
    if not addresses:
        raise typer.BadParameter("at least one node is needed")
    if _credentials.get().has_token:
        for address in addresses:
            if address.startswith("http://") and urlsplit(address).hostname not in LOOPBACK:
                raise typer.BadParameter(f"a token is sent to https:// only, or to this machine, not to {address}")
    return addresses


def with_credentials(command: Callable[..., Any]) -> Callable[..., Any]:
    """``command`` with the options that say who asks and whom it believes; ``connect`` takes them from there."""
    signature = inspect.signature(command, eval_str=True)

    @wraps(command)
    def called(**values: Any) -> Any:
        token, token_file, ca, server_name = (values.pop(name) for name in _CREDENTIAL_OPTIONS)
        try:
            ask_with(ClientCredentials(token, token_file, server_name=server_name, ca=ca))
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error
        return command(**values)

    more = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in _CREDENTIAL_OPTIONS.items()
    ]
    called.__signature__ = signature.replace(parameters=[*signature.parameters.values(), *more])  # type: ignore[attr-defined]
    called.__annotations__ = {**{p.name: p.annotation for p in signature.parameters.values()}, **_CREDENTIAL_OPTIONS}
    return called


def ask_with(credentials: ClientCredentials) -> None:
    """What ``run`` and ``connect`` prove themselves with from now on."""
    _credentials.set(credentials)


async def connect(addresses: list[str], job: Callable[[Call], Awaitable[T]], *, patience: float = 15.0) -> T:
    """Run ``job`` with a client for these nodes."""
    runtime = AsyncioRuntime(_raise)
    credentials = _credentials.get()
    async with aiohttp.ClientSession() as http:
        api = ApiClient(runtime, http, addresses, credentials, patience=patience)
        return await job(Call(runtime, http, api, credentials))


def run(nodes: str, job: Callable[[Call], Awaitable[T]], *, patience: float = 15.0, as_json: bool = False) -> T:
    """Run ``job`` against a group; where the group says no, or nothing, end with that exit code."""
    try:
        return asyncio.run(connect(addresses_of(nodes), job, patience=patience))
    except GroupError as error:
        fail(error, as_json=as_json)


def fail(error: GroupError, *, as_json: bool = False) -> NoReturn:
    """Say what went wrong, on standard error (with ``as_json``, as JSON on standard output), and end."""
    code = exit_code_of(error)
    if as_json:
        typer.echo(json.dumps({"error": _document(error)}))
    else:
        typer.echo(f"{_LABELS[code]}: {error}", err=True)
    raise typer.Exit(code) from error


def exit_code_of(error: GroupError) -> int:
    if isinstance(error, Unavailable):
        return EXIT_UNAVAILABLE
    return EXIT_UNCERTAIN if isinstance(error, Uncertain) else EXIT_REFUSED


_LABELS = {EXIT_REFUSED: "refused", EXIT_UNAVAILABLE: "unavailable", EXIT_UNCERTAIN: "uncertain"}


def _document(error: GroupError) -> dict[str, Any]:
    if isinstance(error, ApiRefused):
        return error.document
    code = _LABELS[exit_code_of(error)]
    return {"code": code, "message": str(error), "reason": getattr(error, "reason", "")}


def _raise(error: BaseException) -> None:
    raise error
