"""Is there an order of all operations that explains what every client saw, and contradicts no clock?

That is linearizability (Herlihy and Wing), decided by search: Wing and Gong's algorithm with Lowe's two improvements
("Testing for linearizability"). An operation is placed just in time: only when one has to return, it and those that it
depends on are given their places. And what was searched once is not searched again: a configuration is the moment, the
state of the model, and which open operations have their places already.

An operation whose fate is not known (its client gave up) has no return: it may have its place anywhere after its
call, or none. One that surely was not executed does not belong into the history at all.

Two more rules make the search short, and lose nothing:

- A read that is open and fits here takes its place at once: whatever order explains the history with it later explains
  it with it here. (Not so a write that happens to leave the state as it is: its effect may be needed later.)
- One whose fate is not known takes no place where it would leave the state as it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

State = TypeVar("State", bound=Hashable)
NEVER = math.inf
MOST_CONFIGURATIONS = 300_000


class Unknown:
    """The answer of an operation that got none."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN = Unknown()


class Operation(NamedTuple):
    """What one client did, on one clock for all: from ``invoked`` to ``returned``, NEVER where it got no answer."""

    client: str
    call: Any
    answer: Any
    invoked: float
    returned: float = NEVER

    def __str__(self) -> str:
        until = "?" if self.returned == NEVER else f"{self.returned:.6f}"
        return f"{self.client} [{self.invoked:.6f}, {until}] {self.call!r} -> {self.answer!r}"


class Model(Protocol[State]):
    """What the operations mean, one after the other."""

    def start(self) -> State:
        """The state before the first one."""
        ...

    def step(self, state: State, call: Any, answer: Any) -> State | None:
        """The state after ``call``; None if it would not give ``answer`` here. UNKNOWN is given by every call."""
        ...

    def is_read(self, call: Any) -> bool:
        """It leaves every state as it is."""
        ...


class NotLinearizable(AssertionError):
    """No order explains the history. ``stuck`` is the operation up to whose return some order still does."""

    def __init__(self, stuck: Operation, before: Sequence[Operation], open_then: Sequence[Operation]) -> None:
        lines = ["no order of these operations explains what the clients saw", "  the longest one that does:"]
        lines += [f"    {operation}" for operation in before[-20:]]
        lines += ["  then this one returns, and fits nowhere:", f"    {stuck}", "  while these are open:"]
        super().__init__("\n".join([*lines, *(f"    {operation}" for operation in open_then)]))
        self.stuck = stuck


class Undecided(Exception):
    """The search was given up after so many configurations."""


class _Configuration(NamedTuple):
    position: int  # events that are behind
    state: Any
    placed: int  # bit n: the open operation n has its place


def linearize(history: Iterable[Operation], model: Model[Any], most: int = MOST_CONFIGURATIONS) -> list[Operation]:
    """An order that explains the history. Raises NotLinearizable, Undecided, ValueError for times that run backwards.

    Operations of unknown fate that have no place in the order were not needed to explain it.
    """
    return _Search(list(history), model, most).run()


def by_part(history: Iterable[Operation], part_of: Callable[[Any], Hashable]) -> dict[Hashable, list[Operation]]:
    """The history of each part alone, by ``part_of(call)``.

    Linearizability is local: the whole is linearizable if every part is, and the other way round. That holds only
    where each operation touches one part and what it answers depends on nothing of another.
    """
    parts: dict[Hashable, list[Operation]] = {}
    for operation in history:
        parts.setdefault(part_of(operation.call), []).append(operation)
    return parts


class _Search:
    def __init__(self, history: list[Operation], model: Model[Any], most: int) -> None:
        for operation in history:
            if operation.returned < operation.invoked:
                raise ValueError(f"it returns before it is invoked: {operation}")
        self._history = history
        self._model = model
        self._most = most
        self._events = sorted(  # of one moment, calls first: they overlap
            [(operation.invoked, 0, number) for number, operation in enumerate(history)]
            + [
                (operation.returned, 1, number)
                for number, operation in enumerate(history)
                if operation.returned < NEVER
            ]
        )
        self._open = self._open_at_returns()
        self._came: dict[_Configuration, tuple[_Configuration, int] | None] = {}

    def _open_at_returns(self) -> dict[int, list[int]]:
        """For each return, the operations that are open then: the one that returns, others by their returns."""
        found = {}
        open_now: dict[int, None] = {}
        for position, (_, is_return, number) in enumerate(self._events):
            if is_return:
                found[position] = sorted(open_now, key=lambda other: (self._history[other].returned, other))
                del open_now[number]
            else:
                open_now[number] = None
        return found

    def run(self) -> list[Operation]:
        first = _Configuration(0, self._model.start(), 0)
        self._came[first] = None
        stack = [first]
        furthest = (0, first)
        while stack:
            found = stack.pop()
            position, placed = self._advance(found)
            if position == len(self._events):
                return self._order(found)
            if position > furthest[0]:
                furthest = (position, found)
            for number, state in self._choices(position, found.state, placed):
                following = _Configuration(position, state, placed | 1 << number)
                if following not in self._came:
                    self._came[following] = (found, number)
                    stack.append(following)
            if len(self._came) > self._most:
                raise Undecided(f"after {self._most} configurations of {len(self._history)} operations")
        position, found = furthest
        stuck = self._history[self._events[position][2]]
        open_then = [self._history[number] for number in self._open[position] if self._history[number] is not stuck]
        raise NotLinearizable(stuck, self._order(found), open_then)

    def _advance(self, found: _Configuration) -> tuple[int, int]:
        """Up to the next return of an operation that has no place yet."""
        position, placed = found.position, found.placed
        while position < len(self._events):
            _, is_return, number = self._events[position]
            if is_return:
                if not placed >> number & 1:
                    break
                placed &= ~(1 << number)
            position += 1
        return position, placed

    def _choices(self, position: int, state: Any, placed: int) -> list[tuple[int, Any]]:
        """What may have its place next, the likeliest last: the search goes on with that one."""
        choices = []
        for number in self._open[position]:
            if placed >> number & 1:
                continue
            operation = self._history[number]
            after = self._model.step(state, operation.call, operation.answer)
            if after is None:
                continue
            if self._model.is_read(operation.call):
                return [(number, after)]
            if after != state or operation.returned < NEVER:
                choices.append((number, after))
        choices.reverse()
        return choices

    def _order(self, found: _Configuration) -> list[Operation]:
        order = []
        step = self._came[found]
        while step is not None:
            found, number = step
            order.append(self._history[number])
            step = self._came[found]
        order.reverse()
        return order
