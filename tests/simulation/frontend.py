"""How simulated clients reach a node: requests and replies as msgpack arrays over a connection that may break.

request   [number, "open", timeout, cancel]  ["batch", session, first, commands, acked, body]
          ["alive", session, acked]  ["close", session]  ["read", strong, min index]
reply     [number, "ok", ...]  [number, "unavailable", reason]  [number, "uncertain"]
          [number, "refused", outcome, detail]
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgpack

from faults.network import FaultyChannel
from orderbook.groups.errors import GroupError, NotBootstrapped, Refused, Unavailable, Uncertain
from orderbook.groups.group import Consistency, Group
from orderbook.groups.local import LocalTransport
from orderbook.groups.replica import Replica
from orderbook.groups.replicated import Applied
from orderbook.groups.sessions import Outcome
from orderbook.runtime import Runtime
from simulation.machine import Observe

Reply = Callable[[list[Any]], None]


class Frontend:
    """A node's side."""

    def __init__(self, runtime: Runtime, channel: FaultyChannel, group: Callable[[], Group | None]) -> None:
        self._runtime = runtime
        self._channel = channel
        self._group = group
        self._transports: dict[str, tuple[Replica, LocalTransport]] = {}
        channel.on_frame = self._on_frame

    def _on_frame(self, client: str, frame: bytes) -> None:
        number, kind, *fields = msgpack.unpackb(frame)

        def reply(values: list[Any]) -> None:
            self._channel.send(client, msgpack.packb([number, *values]))

        group = self._group()
        if group is None or group.replica is None:
            reply(["unavailable", "not_online"])
        elif kind == "read":
            self._runtime.spawn(self._read(group, reply, *fields), "read")
        else:
            self._submit(self._transport(client, group.replica), kind, fields, reply)

    def _transport(self, client: str, replica: Replica) -> LocalTransport:
        known = self._transports.get(client)
        if known is None or known[0] is not replica:
            known = self._transports[client] = (replica, LocalTransport(replica, client))
        return known[1]

    def _submit(self, transport: LocalTransport, kind: str, fields: list[Any], reply: Reply) -> None:
        def answered(applied: Applied | None, error: GroupError | None) -> None:
            if applied is None:
                assert error is not None
                reply(_error(error))
            else:
                reply(["ok", applied.answer_index, applied.answer[applied.answer_start :]])

        if kind == "open":
            transport.open_session(*fields, lambda opened, error: reply(_error(error) if error else ["ok", *opened]))
        elif kind == "batch":
            transport.send_batch(*fields, answered)
        elif kind == "alive":
            transport.keep_alive(*fields, answered)
        else:
            transport.close_session(*fields, answered)

    async def _read(self, group: Group, reply: Reply, strong: bool, min_index: int) -> None:
        consistency = Consistency.STRONG if strong else Consistency.WEAK
        try:
            answer = await group.query(Observe(), consistency, min_index=min_index, timeout=5.0)
        except GroupError as error:
            reply(_error(error))
        else:
            reply(["ok", answer.at, answer.value])


def _error(error: GroupError) -> list[Any]:
    if isinstance(error, Unavailable):
        return ["unavailable", error.reason]
    if isinstance(error, NotBootstrapped):
        return ["unavailable", "not_online"]
    if isinstance(error, Refused):
        return ["refused", int(error.outcome), error.detail]
    return ["uncertain"]


def error_of(reply: list[Any]) -> GroupError | None:
    """The error in a reply without its number; None for an answer."""
    status, *fields = reply
    if status == "ok":
        return None
    if status == "unavailable":
        return Unavailable(fields[0])
    if status == "refused":
        return Refused(Outcome(fields[0]), fields[1])
    return Uncertain("said the node")
