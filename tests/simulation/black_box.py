"""The second oracle: it only sees what clients saw, and asks whether any order of it all explains that.

``history`` compares clients with the group's log, so it trusts that the log is watched rightly. This one trusts
nothing but the clients' clocks (all are the world's) and a model of what the operations mean (``linearizability``).
It is asked in worlds whose machine has a ``Sight``: nothing there depends on log time, which no client sees.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from linearizability.checker import UNKNOWN, Operation, Undecided, linearize
from linearizability.models import Observed
from simulation.client import Client, Fate
from simulation.machine import Sight


def history_of(clients: Iterable[Client], sight: Sight) -> list[Operation]:
    """What surely was not executed is left out; what has no answer has no return."""
    history: list[Operation] = []
    for client in clients:
        for write in client.writes:
            call = sight.call_of(write.body)
            if write.fate is Fate.ANSWERED:
                answer = sight.answer_of(write.events)
                history.append(Operation(client.name, call, answer, write.invoked, write.returned))
            elif write.fate is Fate.UNCERTAIN:
                history.append(Operation(client.name, call, UNKNOWN, write.invoked))
        for read in client.reads:
            if read.strong and read.index >= 0:
                seen = sight.seen(read.value)
                history.append(Operation(client.name, Observed(), seen, read.invoked, read.returned))
    return history


def check_black_box(clients: Iterable[Client], sight: Sight) -> dict[str, int]:
    """Raises NotLinearizable. How many operations were explained, or that the search was too long: statistics."""
    history: list[Any] = history_of(clients, sight)
    try:
        linearize(history, sight.model)
    except Undecided:
        return {"histories undecided": 1}
    return {"histories explained": 1, "operations explained": len(history)}
