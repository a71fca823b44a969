"""The body of a log entry: a msgpack array of commands, each a positional array.

It is encoded once, by the client, and carried as bytes; only ``OrderBook.apply`` decodes it. Trailing defaults are left
out. The forms of the commands are in ``trading`` and ``administration``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgpack

from orderbook.book.commands import Command
from orderbook.packing import unpack


def encode_commands(commands: Iterable[Command]) -> bytes:
    """The body of a batch of commands. Raises OverflowError for integers beyond 64 bits; apply checks the rest."""
    return pack([command.encoded() for command in commands])


def pack(rows: Iterable[tuple[Any, ...]]) -> bytes:
    """The body of commands that are in their positional form already."""
    packed: bytes = msgpack.packb(list(rows))
    return packed


def decode_commands(body: bytes) -> tuple[Any, ...] | None:
    """The commands of a body, arrays as tuples; None where the bytes are no msgpack array. Never raises."""
    try:
        commands = unpack(body, arrays=tuple)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - any bytes may stand in the log, and every node must answer them alike
        return None
    return commands if type(commands) is tuple else None
