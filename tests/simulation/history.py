"""What the clients saw, against what the group did.

The group's log gives every write its place; so the histories are linearizable if real time never contradicts these
places, and every answer is what the state at its place says.

Where a lost majority was recovered, what the survivor did not have is lost, and rightly so: of what was begun before
that moment only those answers count that stand in the part of the log that was kept.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import msgpack

from simulation.client import Client, Fate, Read, Write
from simulation.laws import LawBroken, Laws
from simulation.machine import RecordingMachine, Run

if TYPE_CHECKING:
    from simulation.world import World


class HistoryBroken(LawBroken):
    """A client was told what is not so."""


def check_histories(world: World) -> None:
    """After all is healed and every member holds the same state."""
    leader = world.leader()
    assert leader is not None and leader.replica is not None
    machine = leader.replica.state.machine
    assert isinstance(machine, RecordingMachine)
    runs: dict[bytes, list[Run]] = {}
    for run in machine.runs:
        runs.setdefault(run.digest, []).append(run)
    recovered_at, kept = world.recovery.at, world.laws.kept
    for client in world.clients:
        for write in client.writes:
            if write.invoked <= recovered_at and (write.fate is not Fate.ANSWERED or write.index > kept):
                continue
            _check_write(write, runs.get(write.digest, []), world.laws)
        _check_session_order(client, runs)
        for read in client.reads:
            if read.index >= 0 and not (read.invoked <= recovered_at and read.index > kept):
                _check_read(read, world.laws)
    for began, ended in ((-1.0, recovered_at), (recovered_at, math.inf)):
        _check_real_time(world.clients, began, ended)


def _check_write(write: Write, runs: list[Run], laws: Laws) -> None:
    if len(runs) > 1:
        raise HistoryBroken(f"{write} was run {len(runs)} times: {runs}")
    if write.fate is Fate.OPEN:
        raise HistoryBroken(f"{write} was never answered")
    if write.fate is Fate.UNAVAILABLE and runs:
        raise HistoryBroken(f"{write} was run though its client was told that it surely was not")
    if write.fate is Fate.REFUSED:  # nothing that these clients do deserves it
        raise HistoryBroken(f"{write} was refused; it was run: {runs}")
    if write.fate is Fate.ANSWERED:
        if not runs:
            raise HistoryBroken(f"{write} was answered, and is in no log")
        if runs[0].index != write.index:
            raise HistoryBroken(f"{write} was run at {runs[0].index}")
        ran = laws.answers[write.index]
        if not _equal(write.events, ran.answer[ran.answer_start :]):
            raise HistoryBroken(f"{write} was answered otherwise than by its run: {ran}")


def _check_session_order(client: Client, runs: dict[bytes, list[Run]]) -> None:
    """Within one session, in the order in which they were submitted."""
    last: dict[int, tuple[int, int]] = {}
    for write in client.writes:
        for run in runs.get(write.digest, []):
            index, number = last.get(run.session, (0, -1))
            if run.index <= index:
                raise HistoryBroken(f"{client.name}'s {write.number} ran at {run.index}, {number} before it at {index}")
            last[run.session] = (run.index, write.number)


def _check_read(read: Read, laws: Laws) -> None:
    if read.index < read.min_index:
        raise HistoryBroken(f"{read} asked for {read.min_index} at least")
    if read.index > laws.last_committed:
        raise HistoryBroken(f"{read} saw what is not committed; the last is {laws.last_committed}")
    expected = laws.observed(read.index)
    if expected is not None and not _equal(read.value, expected):
        raise HistoryBroken(f"{read} saw something else than the state at its index: {expected}")


def _check_real_time(clients: list[Client], after: float, before: float) -> None:
    """What began after something else had ended has a later place; a strong read sees all that had ended."""

    def within(each: Write | Read) -> bool:
        return after < each.invoked and each.returned <= before

    writes = [each for client in clients for each in client.writes if each.fate is Fate.ANSWERED and within(each)]
    reads = [each for client in clients for each in client.reads if each.strong and each.index >= 0 and within(each)]
    ended = sorted((each.returned, each.index, str(each)) for each in (*writes, *reads))
    began = [(write.invoked, write.index - 1, str(write)) for write in writes]
    began += [(read.invoked, read.index, str(read)) for read in reads]
    newest, what, place = 0, "", 0
    for invoked, index, name in sorted(began):
        while place < len(ended) and ended[place][0] < invoked:
            if ended[place][1] > newest:
                _, newest, what = ended[place]
            place += 1
        if index < newest:
            raise HistoryBroken(f"{name} began after {what} had ended, and came before it")


def _equal(one: Any, other: Any) -> bool:
    """Tuples became lists on their way."""
    return bool(msgpack.packb(one) == msgpack.packb(other))
