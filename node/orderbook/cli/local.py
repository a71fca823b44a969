"""``orderbook local``: a group on this machine, for whoever tries it out or writes a client."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer

from orderbook.cli.connection import EXIT_REFUSED, EXIT_USAGE
from orderbook.client.api import ApiClient
from orderbook.client.local_group import LocalGroup, NodeDied, NodeProcess, last_lines
from orderbook.groups.errors import GroupError
from orderbook.server.runtime import AsyncioRuntime

KEY_FILE = "group.key"
ONLINE_SECONDS = 60.0


def local(
    nodes: Annotated[int, typer.Option(help="Nodes of the group; a directory that has a group keeps its number.")] = 3,
    directory: Annotated[Path, typer.Option("--dir", help="Logs and data go below it.")] = Path("orderbook-data"),
    pair: Annotated[list[str] | None, typer.Option(help="A pair to define, as BASE/QUOTE; may be repeated.")] = None,
    port: Annotated[
        int, typer.Option(help="Clients find node-1 here, the others behind it; 0 draws.", min=0, max=65500)
    ] = 8443,
    auth: Annotated[str | None, typer.Option(help="none: every client is an admin.")] = None,
    tls: Annotated[bool, typer.Option("--tls", help="With certificates that are made for it.")] = False,
) -> None:
    """Run a group of nodes on this machine until Ctrl-C; started again on the same directory it has its data.

    Exit codes: 0 stopped, 1 a node could not be started or all have ended, 2 wrong options.

    Example: orderbook local --nodes 3 --pair ETH/USDC --auth none
    """
    if auth != "none":
        typer.echo("orderbook local: there are no token keys: say --auth none", err=True)
        raise typer.Exit(EXIT_USAGE)
    found = sorted(path.name for path in directory.glob("node-*")) if directory.is_dir() else []
    if found and len(found) != nodes:
        typer.echo(f"orderbook local: {directory} holds {len(found)} nodes, not {nodes}: say --nodes", err=True)
        raise typer.Exit(EXIT_USAGE)
    raise typer.Exit(asyncio.run(_run(directory, nodes, pair or [], port, tls=tls)))


async def _run(directory: Path, size: int, pairs: list[str], port: int, *, tls: bool) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    runtime = AsyncioRuntime(_raise)
    options = [part for pair in pairs for part in ("--pair", pair)]
    group = LocalGroup(runtime, directory, size, options, port, tls=tls)
    try:
        await _until_stopped(group.start({"ORDERBOOK_KEY": _key(directory)}), stop)
        if not stop.is_set():
            _tell(group)
            await _until_stopped(_tell_leader(runtime, group), stop)
        ended: set[str] = set()
        while not stop.is_set() and len(ended) < size:
            for node in group.nodes:
                if not node.running and node.name not in ended:
                    ended.add(node.name)
                    _tell_end(node)
            await _until_stopped(asyncio.sleep(0.2), stop)
        return 0 if stop.is_set() else EXIT_REFUSED
    except (NodeDied, TimeoutError, OSError) as error:
        typer.echo(f"orderbook local: {error}", err=True)
        return EXIT_REFUSED
    finally:
        if stop.is_set():
            typer.echo("stopping")
        await group.stop()


async def _until_stopped(job: Coroutine[Any, Any, None], stop: asyncio.Event) -> None:
    """Let ``job`` run, but no longer than until ``stop``. Raises what it raises."""
    running = asyncio.ensure_future(job)
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait([running, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if running.done():
        running.result()
    else:
        running.cancel()


async def _tell_leader(runtime: AsyncioRuntime, group: LocalGroup) -> None:
    async with group.http_session() as http:
        api = ApiClient(runtime, http, group.addresses(), patience=ONLINE_SECONDS)
        try:
            status = await api.group(consistency="strong")
        except GroupError as error:
            typer.echo(f"the group is not online yet: {error}", err=True)
            return
        typer.echo(f"online, leader: {status['leader']}")
        typer.echo(f"export ORDERBOOK_NODES={','.join(group.addresses())}")
        if group.ca is not None:
            typer.echo(f"export ORDERBOOK_CA={group.ca}")


def _tell(group: LocalGroup) -> None:
    for node in group.nodes:
        where = node.endpoints()
        if where is not None:
            typer.echo(f"{node.name}: clients {where.clients}, probes {where.probes}, peers {where.peers}")
    typer.echo(f"logs: {group.nodes[0].directory.parent}/node-*/node.log")


def _tell_end(node: NodeProcess) -> None:
    code = node.process.returncode if node.process is not None else None
    typer.echo(f"{node.name} ended with exit code {code}: {last_lines(node.log_file)}", err=True)


def _key(directory: Path) -> str:
    """The key of the group below ``directory``: drawn with it, readable by its owner only."""
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / KEY_FILE
    try:
        writing = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return file.read_text().strip()
    with os.fdopen(writing, "w") as opened:
        key = secrets.token_hex(16)
        opened.write(key + "\n")
    return key


def _raise(error: BaseException) -> None:
    raise error
