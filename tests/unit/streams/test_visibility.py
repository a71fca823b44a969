"""Who sees what, and: whoever listens, from wherever, with whatever node dying, saw what the log says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orderbook.book import CancelAll, CancelOrder, Configure, HaltPair, ResumePair, Side
from orderbook.book import constants as c
from orderbook.book.events import public, traders_of
from orderbook.book.visibility import private, visible
from orderbook.streams.audience import FeedKind
from orderbook.streams.feed import FeedOptions
from orderbook.streams.market import BookDelta, BookSnapshot, Depth
from orderbook.wire.feed_frames import FeedFrameKind
from orderbook.wire.roles import Role
from unit.streams.log_node import OTHER, PAIR, Log, LogNode, Reader, ask, bid, order

TRADERS = ("alice", "bob", "carol")


@pytest.fixture
def node() -> LogNode:
    made = LogNode()
    made.define(PAIR, OTHER)
    return made


def events_of(reader: Reader) -> list[tuple]:
    return [event for _, event in reader.rows()]


def test_a_refusal_is_shown_to_the_one_who_asked_whomever_it_named():
    refused = (c.REJECTED, 0, 7, c.NOT_OWNER, "bob", PAIR)
    rested = (c.ACCEPTED, 1, 8, PAIR, c.BID, 300, 5, 5, "bob", c.LIMIT, c.GTC)
    assert visible([refused, rested], 0, "alice", Role.TRADER) == [refused, None]
    assert visible([refused, rested], 1, "", Role.ADMIN) == [rested]


def test_a_trader_sees_its_own_events_with_its_own_name_only(node):
    alice = node.listen(principal="alice", role=Role.TRADER)
    node.do(ask(1, 300), bid(2, 300, 4), bid(3, 290))
    node.do(bid(4, 300, 1, trader="carol"))
    seen = events_of(alice)
    assert [(event[0], event[2]) for event in seen] == [(c.ACCEPTED, 1), (c.FILL, 2), (c.FILL, 4)]
    assert [event[11:] for event in seen if event[0] == c.FILL] == [("", "alice"), ("", "alice")]


def test_a_trader_sees_what_concerns_all_in_its_place(node):
    alice = node.listen(principal="alice", role=Role.TRADER)
    node.do(ask(1, 300), HaltPair(PAIR), bid(2, 300), ResumePair(PAIR), ask(3, 300))
    assert [event[0] for event in events_of(alice)] == [c.ACCEPTED, c.HALTED, c.RESUMED, c.ACCEPTED]
    assert [sequence[1] for sequence, _ in alice.rows()] == [0, 1, 3, 4]


def test_a_refusal_is_nobody_elses_business(node):
    alice, bob, observer = (
        node.listen(principal=name, role=role)
        for name, role in (("alice", Role.TRADER), ("bob", Role.TRADER), ("eve", Role.OBSERVER))
    )
    node.do(order(1, Side.BID, 0, 5, trader="alice"))
    assert [event[0] for event in events_of(alice)] == [c.REJECTED]
    assert events_of(bob) == events_of(observer) == []


def test_an_observer_sees_no_names(node):
    observer = node.listen(principal="eve", role=Role.OBSERVER)
    node.do(ask(1, 300), bid(2, 300, 4), CancelOrder(1), Configure(max_open_orders=5, trader="alice"))
    for event in events_of(observer):
        assert not set(TRADERS) & set(event)
    assert [event[0] for event in events_of(observer)] == [c.ACCEPTED, c.FILL, c.CANCELLED]


def test_everybody_sees_every_fill_and_a_trader_its_own_name_in_it(node):
    roles = {"root": Role.ADMIN, "alice": Role.TRADER, "carol": Role.TRADER, "eve": Role.OBSERVER}
    readers = {name: node.listen(FeedKind.FILLS, principal=name, role=role) for name, role in roles.items()}
    node.do(ask(1, 300), bid(2, 300, 4), bid(3, 300, 4, trader="alice"))
    names = {name: [event[11:] for event in events_of(reader)] for name, reader in readers.items()}
    assert names["root"] == [("bob", "alice"), ("alice", "alice")]
    assert names["alice"] == [("", "alice"), ("alice", "alice")]
    assert names["carol"] == names["eve"] == [("", ""), ("", "")]
    public_parts = {name: [event[:11] for event in events_of(reader)] for name, reader in readers.items()}
    assert all(part == public_parts["root"] for part in public_parts.values())


def test_a_pair_shows_its_own_and_what_concerns_every_pair(node):
    reader = node.listen(pair=PAIR)
    node.do(ask(1, 300), ask(2, 300, pair=OTHER), HaltPair(OTHER), CancelAll("alice"))
    assert [event[0] for event in events_of(reader)] == [c.ACCEPTED, c.CANCELLED, c.CANCELLED_ALL]
    assert OTHER not in {field for event in events_of(reader) for field in event}


# --- whatever flows ---------------------------------------------------------------------------------------------------

_ids = st.integers(1, 30)
_placed = st.builds(
    order,
    _ids,
    st.sampled_from(list(Side)),
    st.integers(0, 6),
    st.integers(1, 9),
    st.sampled_from(TRADERS),
    st.sampled_from([PAIR, OTHER]),
)
_commands = st.one_of(
    _placed, _placed, _placed, st.builds(CancelOrder, _ids), st.builds(CancelAll, st.sampled_from(TRADERS))
)
_flows = st.lists(st.lists(_commands, min_size=1, max_size=6), min_size=1, max_size=25)
_audiences = st.tuples(
    st.sampled_from([FeedKind.FILLS, FeedKind.EVENTS]),
    st.sampled_from([(Role.ADMIN, "root"), (Role.OBSERVER, "eve"), *((Role.TRADER, name) for name in TRADERS)]),
    st.sampled_from([None, PAIR]),
)


def expected(log: list, kind: FeedKind, role: Role, name: str, pair: str | None) -> list:
    """What a reader from the beginning sees, by the words of the table in ``audience``."""
    seen = []
    for sequence, event in log:
        if pair is not None and OTHER in event:
            continue
        if role is Role.ADMIN:
            shown = event
        elif role is Role.TRADER and (kind is FeedKind.EVENTS or name in traders_of(event)):
            shown = private(event, name)
        else:
            shown = public(event)
        if shown is not None and (kind is FeedKind.EVENTS or event[0] == c.FILL):
            seen.append((sequence, shown))
    return seen


@given(_flows, st.lists(_audiences, min_size=1, max_size=6, unique=True), st.data())
def test_what_readers_saw_is_what_the_log_says(flow, audiences, data):
    """Readers change the node at any entry, to one that may be behind or ahead, and resume with their token."""
    log = Log()
    nodes = [LogNode(log, FeedOptions(mark_every=0.01)) for _ in range(2)]
    nodes[0].define(PAIR, OTHER)
    nodes[1].follow()
    readers = [
        [nodes[0].listen(kind, principal=name, role=role, pair=pair, start=(0, 0))]
        for kind, (role, name), pair in audiences
    ]
    for entry in flow:
        log.write(entry)
        for node in nodes:
            if data.draw(st.booleans()):
                node.follow(data.draw(st.integers(node.index, len(log.entries))))
            node.runtime.advance(data.draw(st.sampled_from([0.0, 0.02])))
        for (kind, (role, name), pair), lives in zip(audiences, readers, strict=True):
            if data.draw(st.integers(0, 4)) == 0:
                lives[-1].leave()
                node = data.draw(st.sampled_from(nodes))
                lives.append(node.listen(kind, principal=name, role=role, pair=pair, start=next_of(lives)))
    for node in nodes:
        node.follow()
        node.runtime.advance(1.0)
    logged = [((index, n), event) for index, events in nodes[0].history for n, event in enumerate(events)]
    for (kind, (role, name), pair), lives in zip(audiences, readers, strict=True):
        assert [row for life in lives for row in life.rows()] == expected(logged, kind, role, name, pair)
        assert lives[-1].reason is None


def next_of(lives: list[Reader]) -> tuple[int, int]:
    """What a reader that was told this much asks for next, on whichever node."""
    after = (0, 0)
    for life in lives:
        for frame in life.frames():
            if frame[0] == FeedFrameKind.EVENTS:
                after = max(after, (frame[1], frame[3][-1][0] + 1))
            elif frame[0] == FeedFrameKind.MARK:
                after = max(after, (frame[1], 0))
    return after


@given(_flows, st.integers(0, 10), st.sampled_from([None, PAIR]))
def test_a_followed_book_is_the_book(flow, joined, pair):
    node = LogNode()
    node.define(PAIR, OTHER)
    readers = []
    for place, entry in enumerate(flow):
        if place == joined:
            readers.append(node.listen(FeedKind.BOOK, pair=pair))
        node.do(*entry)
    readers.append(node.listen(FeedKind.BOOK, pair=pair))
    depths = [Depth() for _ in readers]
    for reader, depth in zip(readers, depths, strict=True):
        for frame in reader.frames(FeedFrameKind.BOOK, FeedFrameKind.LEVELS):
            if frame[0] == FeedFrameKind.BOOK:
                depth.follow(BookSnapshot((0, 0), *frame[1:]))
            else:
                assert all(any(change[3:]) for change in frame[3])
                depth.follow(BookDelta((frame[1], 0), frame[2], frame[3]))
    for name in (PAIR, OTHER) if pair is None else (pair,):
        for side in Side:
            assert depths[0].side(name, side) == depths[-1].side(name, side)
