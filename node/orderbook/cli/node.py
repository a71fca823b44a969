"""``orderbook node``: one node of a group."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orderbook.server.configuration import ConfigurationError, load


def node(
    config: Annotated[Path | None, typer.Option("--config", help="A TOML file with any of the keys.")] = None,
    name: Annotated[str | None, typer.Option(help="Stable name of this node.")] = None,
    data: Annotated[Path | None, typer.Option(help="Directory of its log and snapshots.")] = None,
    key: Annotated[str | None, typer.Option(help="The group's key; better in ORDERBOOK_KEY or a file.")] = None,
    key_file: Annotated[Path | None, typer.Option(help="A file that holds the group's key.")] = None,
    network: Annotated[str | None, typer.Option(help="Name of the network of nodes.")] = None,
    initial_size: Annotated[int | None, typer.Option(help="How many nodes begin the group.")] = None,
    pair: Annotated[list[str] | None, typer.Option(help="A pair to define, as BASE/QUOTE; may be repeated.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    peer_port: Annotated[int | None, typer.Option(help="Port for peers; 0 draws one.")] = None,
    client_port: Annotated[int | None, typer.Option(help="Port for clients; 0 draws one.")] = None,
    probe_port: Annotated[int | None, typer.Option(help="Port for probes and metrics; 0 draws one.")] = None,
    peer: Annotated[list[str] | None, typer.Option(help="Address (host:port) of a node; one is enough.")] = None,
    tls: Annotated[str | None, typer.Option(help="mutual: certificates for peers and clients; none: none.")] = None,
    tls_certificate: Annotated[Path | None, typer.Option(help="PEM: this node's certificate and its chain.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM: the certificate's key.")] = None,
    tls_ca: Annotated[Path | None, typer.Option(help="PEM: whom peers' certificates are trusted from.")] = None,
    auth: Annotated[str | None, typer.Option(help="tokens, or none: every client is an admin.")] = None,
    auth_keys: Annotated[Path | None, typer.Option(help="JWKS: the public keys of clients' tokens.")] = None,
    log: Annotated[str | None, typer.Option(help="auto, human or json.")] = None,
) -> None:
    """Run one node until SIGTERM.

    Values come from the flags, else from the environment (ORDERBOOK_NAME, ORDERBOOK_RAFT__TICK, ...), else from the
    file. Exit codes: 0 stopped, 2 wrong configuration, 3 the directory is in use, 4 it is damaged, 5 the log holds
    what only a newer version knows, 6 the disk failed, 1 anything else.

    Example: ORDERBOOK_KEY=a-secret-key orderbook node --name node-1 --data ./node-1 --initial-size 1 --auth none
    """
    flags = {
        "name": name,
        "data": data,
        "key": key,
        "key_file": key_file,
        "network": network,
        "initial_size": initial_size,
        "pairs": tuple(pair) if pair else None,
        "host": host,
        "peer_port": peer_port,
        "client_port": client_port,
        "probe_port": probe_port,
        "discovery.addresses": tuple(peer) if peer else None,
        "tls.mode": tls,
        "tls.certificate": tls_certificate,
        "tls.key": tls_key,
        "tls.ca": tls_ca,
        "auth.mode": auth,
        "auth.keys": auth_keys,
        "log": log,
    }
    try:
        configuration = load(config, flags=flags)
    except ConfigurationError as error:
        typer.echo(f"orderbook node: {error}", err=True)
        raise typer.Exit(2) from error
    from orderbook.server.node import run  # the rest of the command line starts faster without it

    raise typer.Exit(run(configuration))
