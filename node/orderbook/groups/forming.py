"""How a group begins: unanimously, or not at all. Pure: views in, a decision out.

Every member that has no group yet announces its ``View``: who it is, and whom it sees. It begins a group only when

- it sees exactly ``initial_size`` members, itself among them,
- all of them have no group,
- and all report the same list of (name, id).

All of them then compute the same incarnation and the same first configuration; no message decides. One that comes late
finds a group that has begun: named in its first configuration it adopts it, otherwise it waits until it is added.

Why two groups don't begin side by side, as long as there are only ``initial_size`` names, one process has each, and
what a peer announces arrives in order: identities of a name then succeed each other in the view of every member alike
(another one comes with another directory). Say one list differs from a later one in some identities. Whoever is in
both announced the earlier one first; had it begun a group by that, it would not have announced the later one. So all
that began by the earlier list lost their directories before the later one became unanimous. More than
``initial_size`` empty members in two parts of a network that don't see each other can begin two groups: a member that
was given the incarnation does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from orderbook.groups.identity import MAX_MEMBER_ID, first_incarnation
from orderbook.raft.types import Member


class View(NamedTuple):
    """What one member says of itself. ``incarnation`` is empty while it has no group."""

    member: Member
    initial_size: int
    incarnation: bytes
    first_members: tuple[Member, ...]
    sees: tuple[Member, ...]

    def to_wire(self) -> list[Any]:
        return [
            self.member.name,
            self.member.id,
            self.initial_size,
            self.incarnation,
            [list(member) for member in self.first_members],
            [list(member) for member in self.sees],
        ]


class Wait(NamedTuple):
    """No group yet; ``reason`` says whom this member sees and what it waits for."""

    reason: str


class Begin(NamedTuple):
    """The group of ``incarnation`` exists, and its first configuration is ``voters``."""

    incarnation: bytes
    voters: tuple[Member, ...]


class Join(NamedTuple):
    """The group of ``incarnation`` exists without this member: wait until its leader sends something."""

    incarnation: bytes


def view_from_wire(fields: list[Any]) -> View:
    """Raises ValueError that names the field."""
    if len(fields) < 6:
        raise ValueError(f"a view has six fields, not {len(fields)}")
    name, id, initial_size, incarnation, first, sees = fields[:6]
    if type(initial_size) is not int or not 1 <= initial_size <= 99:
        raise ValueError(f"initial_size is an integer from 1 to 99, not {initial_size!r}")
    if type(incarnation) is not bytes or len(incarnation) not in (0, 16):
        raise ValueError("incarnation is 16 bytes or none")
    return View(_member([name, id]), initial_size, incarnation, _members(first), _members(sees))


def _members(rows: Any) -> tuple[Member, ...]:
    if type(rows) is not list or len(rows) > 99:
        raise ValueError("members are a list of at most 99")
    return tuple(_member(row) for row in rows)


def _member(row: Any) -> Member:
    if type(row) is not list or [type(field) for field in row] != [str, int] or not 1 <= row[1] <= MAX_MEMBER_ID:
        raise ValueError(f"a member is [name, id], the id from 1 to 2^63-1, not {row!r:.80}")
    return Member(row[0], row[1])


def decide(group: bytes, own: View, others: Mapping[str, View], given: bytes = b"") -> Begin | Join | Wait:
    """What a member without a group does next.

    ``others`` are the newest views by name of the members that are connected; ``given`` is the incarnation that was
    recorded elsewhere, empty if none was: a member that was given one never begins another. A member that was added
    later does not know the first configuration, so one peer that knows this member in it counts more than any other.
    """
    begun = [view for _, view in sorted(others.items()) if view.incarnation and given in (b"", view.incarnation)]
    for view in begun:
        if own.member in view.first_members:
            return Begin(view.incarnation, tuple(sorted(view.first_members)))
    if begun:
        return Join(begun[0].incarnation)
    seen = tuple(sorted([own.member, *(view.member for view in others.values())]))
    names = ", ".join(member.name for member in seen)
    if given:
        return Wait(f"sees {names}; waits for one who knows the incarnation {given.hex()}")
    if len(seen) != own.initial_size:
        return Wait(f"sees {len(seen)} members ({names}); begins a group with exactly {own.initial_size}")
    if len({member.name for member in seen}) != len(seen):
        return Wait(f"sees two members of one name ({names})")
    differing = sorted(name for name, view in others.items() if view.sees != seen)
    if differing:
        return Wait(f"sees {names}; waits until {', '.join(differing)} see the same")
    return Begin(first_incarnation(group, seen), seen)
