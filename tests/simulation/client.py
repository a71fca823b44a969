"""Simulated clients: sessions over connections that break, and a record of all that they saw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from random import Random
from typing import Any, NamedTuple

import msgpack

from faults.network import FaultyChannel
from orderbook.groups.errors import GroupError, Refused, Unavailable, Uncertain
from orderbook.groups.session_client import Answered, Opened, SessionClient
from orderbook.groups.sessions import Outcome, digest_of
from orderbook.runtime import Runtime, Timer
from simulation.frontend import error_of
from simulation.machine import Kind
from simulation.runtime import SimulatedRuntime


class Fate(Enum):
    OPEN = "open"
    ANSWERED = "answered"
    REFUSED = "refused"  # surely not run, or run and its result gone
    UNCERTAIN = "uncertain"
    UNAVAILABLE = "unavailable"  # surely not run


@dataclass
class Write:
    """One batch, as its client saw it. Times are the world's."""

    client: str
    number: int
    digest: bytes
    invoked: float
    body: bytes = field(default=b"", repr=False)
    fate: Fate = Fate.OPEN
    returned: float = 0.0
    index: int = 0  # where it was run, says the answer
    events: Any = None
    outcome: Outcome = Outcome.OK


@dataclass
class Read:
    client: str
    strong: bool
    invoked: float
    min_index: int = 0  # asked for
    returned: float = 0.0
    index: int = -1  # -1: no answer
    value: Any = None


class _Request(NamedTuple):
    peer: str
    on_reply: Callable[[list[Any]], None]
    on_error: Callable[[GroupError], None]
    timer: Timer


class ClientTransport:
    """A ``SessionTransport`` to one node at a time; another one after a timeout, a break, or a refusal now and then."""

    def __init__(self, runtime: Runtime, channel: FaultyChannel, timeout: float) -> None:
        self.on_reconnected: Callable[[], None] = lambda: None
        self._runtime = runtime
        self._channel = channel
        self._timeout = timeout
        self._node = ""
        self._next = 1
        self._waiting: dict[int, _Request] = {}
        channel.on_frame = self._on_frame
        channel.on_connected = self._on_connected
        channel.on_disconnected = self._leave

    def open_session(
        self, timeout_ms: int, cancel_on_close: bool, done: Callable[[Opened | None, GroupError | None], None]
    ) -> None:
        self._ask(
            ["open", timeout_ms, cancel_on_close], lambda reply: done(Opened(*reply), None), lambda e: done(None, e)
        )

    def send_batch(self, session: int, first: int, commands: int, acked: int, body: bytes, done: Answered) -> None:
        fields = ["batch", session, first, commands, acked, body]
        self._ask(fields, lambda reply: done(reply, None), lambda error: done(None, error))
        if self._runtime.random.random() < 0.02:  # the same bytes once more, and nobody waits for the answer
            self._ask(fields, lambda reply: None, lambda error: None)

    def keep_alive(self, session: int, acked: int, done: Answered) -> None:
        self._ask(["alive", session, acked], lambda reply: done(reply, None), lambda error: done(None, error))

    def close_session(self, session: int, done: Answered) -> None:
        self._ask(["close", session], lambda reply: done(reply, None), lambda error: done(None, error))

    def read(self, strong: bool, min_index: int, done: Callable[[list[Any] | None], None]) -> None:
        self._ask(["read", strong, min_index], done, lambda error: done(None))

    def _ask(
        self, fields: list[Any], on_reply: Callable[[list[Any]], None], on_error: Callable[[GroupError], None]
    ) -> None:
        peers = self._channel.peers()
        if self._node not in peers:
            self._node = self._runtime.random.choice(peers) if peers else ""
        number = self._next
        self._next += 1
        if not self._channel.send(self._node, msgpack.packb([number, *fields])):
            self._runtime.call_soon(on_error, Unavailable("not_online"))
            return
        timer = self._runtime.call_later(self._timeout, self._late, number)
        self._waiting[number] = _Request(self._node, on_reply, on_error, timer)

    def _on_frame(self, node: str, frame: bytes) -> None:
        number, *reply = msgpack.unpackb(frame)
        request = self._waiting.pop(number, None)
        if request is None:
            return
        request.timer.cancel()
        error = error_of(reply)
        if error is None:
            request.on_reply(reply[1:])
        else:
            if isinstance(error, Unavailable) and (error.reason == "not_online" or self._runtime.random.random() < 0.3):
                self._node = ""
            request.on_error(error)

    def _late(self, number: int) -> None:
        request = self._waiting.get(number)
        if request is not None:
            self._leave(request.peer)

    def _on_connected(self, node: str) -> None:
        if not self._node:
            self.on_reconnected()

    def _leave(self, node: str) -> None:
        """Nothing more is expected from ``node``: whatever was sent there may have been run or not."""
        lost = [number for number, request in self._waiting.items() if request.peer == node]
        for number in lost:
            request = self._waiting.pop(number)
            request.timer.cancel()
            request.on_error(Uncertain("no answer came"))
        if node == self._node:
            self._node = ""
            if self._channel.peers():
                self.on_reconnected()


class Habits(NamedTuple):
    """How a client behaves."""

    pause: float  # between two operations, on average
    window: int  # operations that it waits for at a time
    reads: float  # the share of reads
    session_ms: int
    leaves: float  # the chance that it closes its session before an operation, and opens another one
    cancels: float  # the chance that a session's orders end with it
    request_timeout: float


class Client:
    """Writes and reads until it is told to stop; then waits for its answers."""

    def __init__(
        self,
        name: str,
        number: int,
        runtime: SimulatedRuntime,
        channel: FaultyChannel,
        kind: Kind,
        random: Random,
        habits: Habits,
    ) -> None:
        self.name = name
        self.writes: list[Write] = []
        self.reads: list[Read] = []
        self._number = number
        self._runtime = runtime
        self._kind = kind
        self._machine = kind.machine(1)
        self._random = random
        self._habits = habits
        self._transport = ClientTransport(runtime, channel, habits.request_timeout)
        self._stopped = False
        self._open = 0  # writes without an answer
        self._seen = 0  # the highest index of any answer
        self._session = self._new_session()
        runtime.call_later(random.random(), self._next)

    def _new_session(self) -> SessionClient:
        habits = self._habits
        session = SessionClient(
            self._runtime,
            self._transport,
            timeout_ms=habits.session_ms,
            window=habits.window,
            cancel_on_close=self._random.random() < habits.cancels,
        )
        self._transport.on_reconnected = session.reconnected
        return session

    @property
    def waits(self) -> bool:
        return self._open > 0

    def stop(self) -> None:
        self._stopped = True

    def now(self) -> float:
        """The world's time: the one in which histories are compared."""
        return self._runtime.scheduler.now

    def _next(self) -> None:
        if self._stopped:
            return
        random, habits = self._random, self._habits
        if random.random() < habits.reads:
            self.read(random.random() < 0.7)
        elif self._session.unanswered < habits.window:
            if random.random() < habits.leaves:
                self._session.close()
                self._session = self._new_session()
            self.write()
        self._runtime.call_later(random.expovariate(1 / habits.pause), self._next)

    def write(self) -> Write:
        number = len(self.writes)
        commands = self._kind.batch(self._random, self._number, number)
        body = self._machine.encode(commands)
        write = Write(self.name, number, digest_of(body), self.now(), body)
        self.writes.append(write)
        self._open += 1

        def done(answer: Any, error: GroupError | None) -> None:
            assert write.fate is Fate.OPEN, f"{write} was answered twice"
            write.returned = self.now()
            self._open -= 1
            if error is None:
                write.fate = Fate.ANSWERED
                write.index, write.events = answer
                self._seen = max(self._seen, write.index)
            elif isinstance(error, Refused):
                write.fate, write.outcome = Fate.REFUSED, error.outcome
            else:
                write.fate = Fate.UNCERTAIN if isinstance(error, Uncertain) else Fate.UNAVAILABLE

        self._session.submit(len(commands), body, done)
        return write

    def read_at_last(self) -> None:
        """A strong read, asked for again until it is answered."""
        read = self.read(strong=True)

        def look() -> None:
            if read.returned and read.index < 0:
                self.read_at_last()
            elif not read.returned:
                self._runtime.call_later(0.1, look)

        look()

    def read(self, strong: bool) -> Read:
        read = Read(self.name, strong, self.now(), 0 if strong or self._random.random() < 0.5 else self._seen)
        self.reads.append(read)

        def done(reply: list[Any] | None) -> None:
            read.returned = self.now()
            if reply is not None:
                read.index, read.value = reply

        self._transport.read(strong, read.min_index, done)
        return read
