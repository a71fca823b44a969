"""One member by itself: the test plays the others, and its disk is fast unless the test says otherwise."""

from __future__ import annotations

from orderbook.raft.messages import (
    AppendReply,
    Message,
    PreVoteReply,
    VoteReply,
)
from orderbook.raft.node import RaftConfig, RawNode
from orderbook.raft.types import Configuration, Entry, EntryKind, HardState, Ready, Role
from unit.raft.cluster import configuration

THREE = configuration([1, 2, 3])
FIVE = configuration([1, 2, 3, 4, 5])


def log(*terms: int) -> list[Entry]:
    """Entries 1, 2, ... of these terms."""
    return [Entry(index, term, EntryKind.NORMAL, b"%d/%d" % (index, term)) for index, term in enumerate(terms, 1)]


def node(
    entries: list[Entry] | None = None,
    term: int | None = None,
    vote: int = 0,
    commit: int = 0,
    voters: Configuration = THREE,
    node_id: int = 1,
) -> RawNode:
    """A member as it is after a restart."""
    entries = entries or []
    term = term if term is not None else (entries[-1].term if entries else 0)
    return RawNode(
        RaftConfig(id=node_id, draw=lambda low, high: low),
        hard_state=HardState(term, vote, commit),
        configuration=voters,
        configuration_index=0,
        snapshot=None,
        entries=entries,
        applied=0,
    )


def finish(raw: RawNode) -> Ready | None:
    """Take one Ready and let all its writes reach the disk."""
    if not raw.has_ready():
        return None
    ready = raw.ready()
    if ready.hard_state:
        raw.persisted_hard_state(ready.hard_state)
    if ready.entries:
        raw.persisted(ready.entries[-1].index, ready.entries[-1].term)
    if ready.committed:
        raw.applied(ready.committed[-1].index)
    return ready


def sent(raw: RawNode) -> list[tuple[int, Message]]:
    """Everything it sends, its disk being fast."""
    messages: list[tuple[int, Message]] = []
    while ready := finish(raw):
        messages += ready.messages
    return messages


def elect(raw: RawNode) -> None:
    """Let it campaign and get every vote."""
    raw.campaign()
    others = [member.id for member in raw.configuration.voters if member.id != raw.id]
    finish(raw)
    for other in others:
        raw.step(other, PreVoteReply(raw.term + 1, True))
    finish(raw)
    for other in others:
        raw.step(other, VoteReply(raw.term, True))
    assert raw.role is Role.LEADER


def confirm(raw: RawNode, *others: int) -> None:
    """Let these followers have everything."""
    for other in others:
        raw.step(other, AppendReply(raw.term, raw.last_index))
