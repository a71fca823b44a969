"""Configurations: which changes are legal, the way through the joint state, the history in force, the encoding.

A change of at most one voter is a single step: old and new majorities overlap (dissertation, section 4.1). Any other
goes through the joint state, in which both majorities decide, and leaves it by itself (section 4.3, paper section 6).
A configuration takes effect when it is appended, not when it is committed, and a truncation that removes it brings the
one before it back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar, cast

import msgpack

from orderbook.packing import unpack
from orderbook.raft.errors import MembershipReason, MembershipRefused
from orderbook.raft.quorum import Electorate
from orderbook.raft.types import Configuration, Entry, EntryKind, Member

T = TypeVar("T")

MAX_ID = 2**63 - 1
MAX_NAME = 253  # a DNS name


class InForce(NamedTuple):
    """A configuration with the index it was appended at, and its ids in the shapes that decisions need."""

    since: int
    configuration: Configuration
    electorate: Electorate
    voters: tuple[int, ...]  # of both halves, each once
    members: tuple[int, ...]  # voters, then learners


def in_force(index: int, configuration: Configuration) -> InForce:
    electorate = Electorate(_ids(configuration.voters), _ids(configuration.outgoing))
    voters = tuple(dict.fromkeys(electorate.incoming + electorate.outgoing))
    return InForce(index, configuration, electorate, voters, voters + _ids(configuration.learners))


class History:
    """The configurations of the log, oldest first: from the one where the log begins to the one in force."""

    def __init__(self, index: int, configuration: Configuration, entries: Sequence[Entry]) -> None:
        self._all = [in_force(index, configuration)]
        self.appended(entries)

    @property
    def current(self) -> InForce:
        return self._all[-1]

    @property
    def before(self) -> InForce:
        """What comes back into force if the current one is undone; the current one where the log knows none."""
        return self._all[-2] if len(self._all) > 1 else self._all[-1]

    def ever_had(self, member: int) -> bool:
        """Whether ``member`` is in one of the configurations known."""
        return any(member in known.members for known in self._all)

    def at(self, index: int) -> InForce:
        """What was in force once ``index`` had been appended."""
        return next((known for known in reversed(self._all) if known.since <= index), self._all[0])

    def appended(self, entries: Sequence[Entry]) -> bool:
        """Take the configurations among ``entries`` into force. True if there is one. Raises ValueError (decoding)."""
        before = self._all[-1]
        for entry in entries:
            if entry.kind == EntryKind.CONFIGURATION and entry.index > self._all[-1].since:
                self._all.append(in_force(entry.index, decode(entry.payload)))
        return self._all[-1] is not before

    def truncated(self, index: int) -> None:
        """The log lost ``index`` and all after it."""
        while len(self._all) > 1 and self._all[-1].since >= index:
            self._all.pop()

    def compacted(self, index: int) -> None:
        """Nothing before ``index`` will be asked for again."""
        while len(self._all) > 1 and self._all[1].since <= index:
            del self._all[0]

    def restarted(self, index: int, configuration: Configuration) -> None:
        """A snapshot replaced the log."""
        self._all = [in_force(index, configuration)]


def plan(
    current: Configuration, voters: Sequence[Member], learners: Sequence[Member], caught_up: Callable[[int], bool]
) -> Configuration:
    """The first configuration on the way from ``current`` (not joint) to these voters and learners.

    ``caught_up(id)`` says whether a learner's lag has been below the bound long enough. A voter that takes the name of
    one that leaves replaces it and needn't be caught up: it came back without its disk, and the group loses nothing by
    counting its empty log instead of a lost one. Raises MembershipRefused.
    """
    target = Configuration(tuple(sorted(voters)), (), tuple(sorted(learners)))
    _check_members(target)
    _check_against(current, target)
    entering = [member for member in target.voters if member not in current.voters]
    leaving = [member for member in current.voters if member not in target.voters]
    replaced = {member.name for member in leaving}
    for member in entering:
        if member.name not in replaced and not (member in current.learners and caught_up(member.id)):
            sentence = f"{member.name} ({member.id}) must be a learner that has kept up for an election timeout"
            raise MembershipRefused(MembershipReason.NOT_CAUGHT_UP, sentence)
    if len(entering) + len(leaving) <= 1:
        return target
    return Configuration(
        voters=target.voters,
        outgoing=current.voters,
        learners=tuple(member for member in target.learners if member not in current.voters),
        learners_next=tuple(member for member in target.learners if member in current.voters),
    )


def leave(joint: Configuration) -> Configuration:
    """The configuration that ends a joint one."""
    return Configuration(joint.voters, (), tuple(sorted(joint.learners + joint.learners_next)))


def _check_members(target: Configuration) -> None:
    everyone = target.voters + target.learners
    if not target.voters:
        raise MembershipRefused(MembershipReason.NO_VOTERS, "a configuration needs a voter")
    for member in everyone:
        if not member.name or len(member.name) > MAX_NAME or not 1 <= member.id <= MAX_ID:
            raise MembershipRefused(MembershipReason.INVALID_MEMBER, f"{member!r} has no proper name or id")
    for name in _repeated([member.name for member in everyone]):
        raise MembershipRefused(MembershipReason.DUPLICATE_NAME, f"two members are called {name}")
    for repeated in _repeated([member.id for member in everyone]):
        raise MembershipRefused(MembershipReason.DUPLICATE_ID, f"the id {repeated} is given twice")


def _check_against(current: Configuration, target: Configuration) -> None:
    names = {member.id: member.name for member in current.voters + current.learners}
    for member in target.voters + target.learners:
        known = names.get(member.id, member.name)
        if known != member.name:
            sentence = f"the member {member.id} is called {known}, not {member.name}; a new name is a new member"
            raise MembershipRefused(MembershipReason.RENAMED, sentence)
    if (target.voters, target.learners) == (current.voters, current.learners):
        raise MembershipRefused(MembershipReason.NOTHING_TO_CHANGE, "these are the members already")


def _repeated(values: Sequence[T]) -> list[T]:
    return [value for place, value in enumerate(values) if value in values[:place]]


def encode(configuration: Configuration) -> bytes:
    """The payload of a configuration's entry: four lists of [name, id]."""
    return cast(bytes, msgpack.packb(configuration))


def decode(payload: bytes) -> Configuration:
    """Read a payload back. Raises ValueError, naming what is wrong, for anything that ``encode`` can't have written."""
    try:
        fields = unpack(payload, arrays=tuple)
    except ValueError as error:
        raise ValueError(f"configuration: {error}") from error
    return configuration_from(fields)


def configuration_from(fields: object) -> Configuration:
    """Four sequences of (name, id) as a Configuration; ValueError naming the part that isn't as types.py describes."""
    if not isinstance(fields, tuple | list) or len(fields) != len(Configuration._fields):
        raise ValueError("configuration: not four lists of members")
    parts = {name: _members_from(name, part) for name, part in zip(Configuration._fields, fields, strict=True)}
    configuration = Configuration(**parts)
    deciding = configuration.voters + configuration.learners + configuration.learners_next
    names, ids = [member.name for member in deciding], [member.id for member in deciding]
    if len(set(names)) < len(names) or len(set(ids)) < len(ids):
        raise ValueError("configuration: a name or id has two roles")
    if any(member in configuration.outgoing for member in configuration.learners):
        raise ValueError("configuration.learners: one of them still votes in outgoing")
    if any(member not in configuration.outgoing for member in configuration.learners_next):
        raise ValueError("configuration.learners_next: one of them doesn't vote in outgoing")
    return configuration


def _members_from(part: str, values: object) -> tuple[Member, ...]:
    if not isinstance(values, tuple | list):
        raise ValueError(f"configuration.{part}: not a list")
    members = []
    for value in values:
        if not isinstance(value, tuple | list) or len(value) != len(Member._fields):
            raise ValueError(f"configuration.{part}: {value!r} isn't a pair of name and id")
        name, member_id = value
        if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME:
            raise ValueError(f"configuration.{part}: {name!r} isn't a name")
        if type(member_id) is not int or not 1 <= member_id <= MAX_ID:
            raise ValueError(f"configuration.{part}: {member_id!r} isn't an id")
        members.append(Member(name, member_id))
    if members != sorted(members) or _repeated([member.id for member in members]):
        raise ValueError(f"configuration.{part}: not sorted, or an id twice")
    return tuple(members)


def _ids(members: Sequence[Member]) -> tuple[int, ...]:
    return tuple(member.id for member in members)
