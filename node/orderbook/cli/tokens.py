"""``orderbook token`` and ``orderbook keys``: what clients prove themselves with, and what nodes know them by."""

from __future__ import annotations

import re
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from orderbook.cli.connection import EXIT_REFUSED, EXIT_USAGE
from orderbook.client.local_tls import write_private
from orderbook.tokens import mint, new_private_key, public_jwks, read_private_key

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class RoleName(StrEnum):
    TRADER = "trader"
    OBSERVER = "observer"
    ADMIN = "admin"


def token(
    key: Annotated[Path, typer.Option(help="PEM: the private key that signs (see: orderbook keys).")],
    subject: Annotated[str, typer.Option(help="Whose token: the trader's name.")],
    role: Annotated[RoleName, typer.Option(help="What it allows.")] = RoleName.TRADER,
    ttl: Annotated[str, typer.Option(help="How long: a number and s, m, h or d.")] = "1h",
    audience: Annotated[str, typer.Option(help="The group's name: auth.audience of its nodes.")] = "orderbook",
) -> None:
    """Print a token for a client, signed with a key that the nodes know the public half of.

    Exit codes: 0 printed, 2 the key or another option is none.

    Example: orderbook token --key signing.pem --subject alice --role trader --ttl 1h
    """
    try:
        print(mint(_private_key(key), subject, role.value, audience, seconds_of(ttl, "--ttl"), time.time()))
    except ValueError as error:
        _wrong("token", str(error))


def keys(
    files: Annotated[list[Path], typer.Argument(help="PEM files of private keys, several during a rotation.")],
    new: Annotated[bool, typer.Option("--new", help="Make the first file: a new key, readable by you only.")] = False,
) -> None:
    """Print the public halves of signing keys as the JWKS that nodes take (auth.keys).

    Exit codes: 0 printed, 1 with --new: the file is there already, 2 a file is no key.

    Example: orderbook keys --new signing.pem > tokens.json
    """
    if new:
        if files[0].exists():
            typer.echo(f"orderbook keys: {files[0]} is there already", err=True)
            raise typer.Exit(EXIT_REFUSED)
        try:
            write_private(files[0], new_private_key())
        except OSError as error:
            _wrong("keys", f"{files[0]}: {error.strerror}")
    print(public_jwks([_private_key(file) for file in files]), end="")


def _private_key(file: Path) -> Ed25519PrivateKey:
    try:
        return read_private_key(file.read_text())
    except OSError as error:
        _wrong("keys", f"{file}: {error.strerror}")
    except ValueError as error:
        _wrong("keys", f"{file}: {error}")


def seconds_of(text: str, option: str) -> int:
    """Raises ValueError."""
    match = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    if match is None:
        raise ValueError(f"{option} is a number and s, m, h or d, as in 1h, not {text!r}")
    return int(match[1]) * _UNITS[match[2]]


def _wrong(command: str, what: str) -> NoReturn:
    typer.echo(f"orderbook {command}: {what}", err=True)
    raise typer.Exit(EXIT_USAGE)
