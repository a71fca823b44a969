"""``kubectl orderbook connect``: the way into a group kept open, for ``orderbook`` and every other client."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from orderbook.cli.connection import EXIT_USAGE
from orderbook.cli.tokens import RoleName
from orderbook.client.local_tls import write_private
from orderbook_operator.plugin.entrance import TOKEN_SECONDS, Entrance, entered
from orderbook_operator.plugin.kubernetes import Problem, told
from orderbook_operator.plugin.options import SUBJECT, Asker, Context, GroupName, Namespace, Place

RENEWED_SECONDS = TOKEN_SECONDS / 4


@told
def connect(
    group: GroupName,
    command: Annotated[list[str] | None, typer.Argument(help="What to run with it; left out: until Ctrl-C.")] = None,
    subject: Annotated[str, typer.Option(help="As whom: the trader's name.")] = SUBJECT,
    role: Annotated[RoleName, typer.Option(help="What it allows.")] = RoleName.OBSERVER,
    namespace: Namespace = None,
    context: Context = None,
) -> None:
    """Keep a way into the group open and print the variables by which orderbook finds it; or run a command with them.

    The token is made anew before it ends. What was written for it is removed at the end.

    Exit codes: 0 ended, or the command's own; 1 refused, 2 wrong options, 3 unavailable.

    Example: kubectl orderbook connect eth --role admin -- orderbook soak --seconds 30
    """
    asker = Asker(subject, role.value)
    with (
        entered(Place(namespace, context), group, asker, everyone=True) as entrance,
        tempfile.TemporaryDirectory() as directory,
    ):
        variables = write(entrance, Path(directory))
        ended = threading.Event()
        renewing = threading.Thread(target=_renew, args=(entrance, Path(directory), ended), daemon=True)
        renewing.start()
        try:
            code = _run(command, variables) if command else _wait(variables)
        finally:
            ended.set()
            renewing.join()
    raise typer.Exit(code)


def write(entrance: Entrance, directory: Path) -> dict[str, str]:
    """Authorities and token as files below ``directory``; the variables that name them."""
    variables = {"ORDERBOOK_NODES": ",".join(entrance.addresses)}
    if entrance.found.trust.pem:
        authorities = directory / "ca.crt"
        authorities.write_text(entrance.found.trust.pem)
        variables["ORDERBOOK_CA"] = str(authorities)
        if entrance.credentials.server_name is not None:
            variables["ORDERBOOK_SERVER_NAME"] = entrance.credentials.server_name
    if entrance.found.mint is not None:
        variables["ORDERBOOK_TOKEN_FILE"] = str(_write_token(entrance.found.mint(), directory))
    return variables


def _write_token(token: str, directory: Path) -> Path:
    """Whole at any time: a reader sees the old one or the new one."""
    file, new = directory / "token", directory / "token.new"
    write_private(new, token + "\n")
    return new.replace(file)


def _renew(entrance: Entrance, directory: Path, ended: threading.Event) -> None:
    mint = entrance.found.mint
    while mint is not None and not ended.wait(RENEWED_SECONDS):
        _write_token(mint(), directory)


def _wait(variables: dict[str, str]) -> int:
    for name, value in variables.items():
        typer.echo(f"export {name}={shlex.quote(value)}")
    typer.echo("open until Ctrl-C; in another terminal paste the lines above", err=True)
    with suppress(KeyboardInterrupt):
        signal.pause()
    return 0


def _run(command: list[str], variables: dict[str, str]) -> int:
    try:
        process = subprocess.Popen(command, env={**os.environ, **variables})
    except OSError as error:
        raise Problem(f"{command[0]}: {error.strerror}", EXIT_USAGE) from error
    try:
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:  # the command got it, too, and ends in its own way
                continue
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
