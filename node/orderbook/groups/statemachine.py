"""What a group replicates: any object that is a ``StateMachine``. The order book is one; a user's own is another.

A machine promises determinism: equal state and equal arguments give equal results and equal state, on every member, in
every process, on every supported version. It has no clock, no randomness, no I/O; time is ``context.now_ms``. ``apply``
is total: whatever the bytes of the body, it answers. An exception from it stops the node before ``applied`` moves.

A result is an event: a tuple whose second place is the offset of the command that it answers, counted from 0 in its
batch, or -1 for what no command of the batch asked for (an order that expired). Events of a batch come in order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol, Self

import msgpack

Event = tuple[Any, ...]


class ApplyContext:
    """Where, when and for whom a batch is applied. One object is reused for every entry: do not keep it."""

    __slots__ = ("index", "machine_version", "now_ms", "principal", "role", "session")

    def __init__(self) -> None:
        self.index = 0
        self.now_ms = 0
        self.principal = ""
        self.role = 0
        self.session = 0
        self.machine_version = 1


class StateMachine(Protocol):
    """Inherit from it to get the defaults of what a simple machine does not need.

    ``signature`` names the kind of machine and takes part in the group's identity; ``version`` is the highest version
    of its rules that this code can apply (``context.machine_version`` says which is in force).
    """

    signature: str
    version: int

    @property
    def state_hash(self) -> int:
        """A hash of the whole state, 0 .. 2^63-1, equal on members with equal state. 0: divergence is not checked."""
        return 0

    def fresh(self) -> Self:
        """Another machine of this kind with nothing in it: a snapshot is restored into it beside this one."""
        return type(self)()

    def encode(self, commands: Sequence[Any]) -> bytes:
        """The body of a batch of commands, as ``apply`` reads it."""
        packed: bytes = msgpack.packb(list(commands))
        return packed

    def initial_commands(self) -> Sequence[bytes]:
        """Bodies of one command each that a new leader proposes; applying them again must change nothing."""
        return ()

    def apply(self, context: ApplyContext, body: bytes, count: int) -> list[Event]:
        """Run a batch of ``count`` commands. At least one event for each of them."""
        ...

    def tick(self, context: ApplyContext) -> list[Event]:
        """Time passed: do what is due."""
        return []

    def next_deadline(self) -> int | None:
        """When (log time, ms) something is due next; None for never."""
        return None

    def session_closed(self, context: ApplyContext, cancel: bool) -> list[Event]:
        """Session ``context.session`` of ``context.principal`` ended; ``cancel`` as it asked for when it was opened."""
        return []

    def visible(self, events: Sequence[Event], start: int, principal: str, role: int) -> list[Event | None]:
        """``events[start:]`` as the principal that asked may see them; None in the place of one that it may not."""
        return [event if event[1] >= 0 else None for event in events[start:]]

    def query(self, query: Any) -> Any:
        """Answer from the present state; changes nothing. Raises ValueError for a query that it does not know."""
        ...

    def snapshot(self) -> Iterator[bytes]:
        """The whole state in chunks of at most about 64 KiB. Runs in a forked child: it sees one moment."""
        ...

    def restore(self, chunks: Iterable[bytes]) -> Iterator[None]:
        """Replace the state by a snapshot's. Yields at least every 10 ms of work so that the loop can turn."""
        ...
