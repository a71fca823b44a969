"""How a command of this program reaches a group: the nodes it asks, and its exit code when that fails.

Exit codes: 0 done, 1 refused or rejected (nothing changed), 2 asked for wrongly, 3 unavailable (surely not done),
4 uncertain (it may have been done).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, NoReturn, TypeVar
from urllib.parse import urlsplit

import aiohttp
import typer

from orderbook.client.api import ApiClient, ApiRefused
from orderbook.groups.errors import GroupError, Unavailable, Uncertain
from orderbook.server.runtime import AsyncioRuntime

EXIT_REFUSED = 1
EXIT_USAGE = 2
EXIT_UNAVAILABLE = 3
EXIT_UNCERTAIN = 4
DEFAULT_NODES = "http://127.0.0.1:8443"

T = TypeVar("T")

Nodes = Annotated[
    str,
    typer.Option("--node", envvar="ORDERBOOK_NODES", help="URLs of nodes, with commas between: any of them will do."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]
Patience = Annotated[float, typer.Option(help="Seconds to go on trying.", min=0.0)]


class Call:
    """What a command may use while it runs."""

    def __init__(self, runtime: AsyncioRuntime, http: aiohttp.ClientSession, api: ApiClient) -> None:
        self.runtime = runtime
        self.http = http
        self.api = api


def addresses_of(nodes: str) -> list[str]:
    """The URLs in ``nodes``; host:port is one, too. Raises typer.BadParameter."""
    addresses = []
    for text in nodes.split(","):
        if not text.strip():
            continue
        parts = urlsplit(text.strip() if "://" in text else f"http://{text.strip()}")
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or parts.query:
            raise typer.BadParameter(f"a node is http://host:port, not {text.strip()!r}")
        addresses.append(f"{parts.scheme}://{parts.netloc}")
    if not addresses:
        raise typer.BadParameter("at least one node is needed")
    return addresses


async def connect(addresses: list[str], job: Callable[[Call], Awaitable[T]], *, patience: float = 15.0) -> T:
    """Run ``job`` with a client for these nodes."""
    runtime = AsyncioRuntime(_raise)
    async with aiohttp.ClientSession() as http:
        return await job(Call(runtime, http, ApiClient(runtime, http, addresses, patience=patience)))


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
