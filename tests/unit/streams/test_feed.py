from __future__ import annotations

import json

import pytest

from orderbook.groups.errors import Unavailable
from orderbook.groups.replica import Phase
from orderbook.streams.audience import FeedKind
from orderbook.streams.feed import FeedOptions, NotOffered
from orderbook.streams.market import BookDelta, BookSnapshot, Depth
from orderbook.wire.feed_frames import FeedFrameKind
from orderbook.wire.roles import Role
from unit.groups.counter_machine import Counter
from unit.streams.log_node import INCARNATION, OTHER, PAIR, Log, LogNode, ask, bid


@pytest.fixture
def node() -> LogNode:
    made = LogNode()
    made.define(PAIR, OTHER)
    return made


def logged(node: LogNode, start: tuple[int, int] = (0, 0)) -> list[tuple[tuple[int, int], tuple]]:
    rows = [((index, ordinal), event) for index, events in node.history for ordinal, event in enumerate(events)]
    return [row for row in rows if row[0] >= start]


def test_without_a_sequence_a_feed_begins_with_what_comes_next(node):
    node.do(ask(1, 300))
    reader = node.listen()
    assert reader.frames() == [[FeedFrameKind.SUBSCRIBED, INCARNATION, node.index + 1, 0]]
    node.do(bid(2, 300), bid(3, 299))
    assert reader.rows() == logged(node, (node.index, 0))
    assert len(reader.rows()) == 3


def test_from_a_sequence_everything_comes_in_order_and_once(node):
    for number in range(1, 20):
        node.do(ask(number, 300 + number), ask(100 + number, 300))
    reader = node.listen(start=(5, 1))
    node.do(bid(50, 303, 30))
    assert reader.rows() == logged(node, (5, 1))
    assert reader.rows()[0][0] == (5, 1)


def test_the_whole_log_is_there_from_the_beginning(node):
    assert node.listen(start=(0, 0)).rows() == logged(node)


def test_an_entry_is_packed_once_for_all_who_see_the_same(node):
    readers = [node.listen(role=Role.OBSERVER, principal=f"o{n}") for n in range(5)]
    readers += [node.listen(role=Role.ADMIN, principal=f"a{n}") for n in range(5)]
    audiences = {id(reader.subscription.audience): reader.subscription.audience for reader in readers}
    assert len(audiences) == 2
    for number in range(1, 11):
        node.do(ask(number, 300))
    assert [audience.packed for audience in audiences.values()] == [10, 10]


def test_readers_that_come_back_together_share_what_was_packed(node):
    for number in range(1, 11):
        node.do(ask(number, 300))
    reader = node.listen(start=(3, 0))
    before = reader.subscription.audience.packed
    others = [node.listen(start=(3, 0)) for _ in range(5)]
    assert reader.subscription.audience.packed == before
    assert all(other.rows() == reader.rows() for other in others)


def test_an_entry_with_many_events_is_several_frames_between_which_one_can_resume(node):
    reader = node.listen()
    node.do(*(ask(number, 300) for number in range(1, 2501)))
    frames = reader.frames(FeedFrameKind.EVENTS)
    assert [(len(frame[3]), frame[4]) for frame in frames] == [(1000, True), (1000, True), (500, False)]
    assert reader.rows() == logged(node, (2, 0))
    text = [json.loads(data) for data in node.listen(start=(2, 0), text=True).data]
    assert [frame["next"] for frame in text] == [[2, 0], [2, 1000], [2, 2000], [3, 0]]
    assert node.listen(start=(2, 1000)).rows() == logged(node, (2, 1000))


def test_an_entry_larger_than_a_reader_may_have_waiting_is_sent_as_it_reads(node):
    node = LogNode(node.log, FeedOptions(ahead_bytes=1_000, mark_every=1000.0, leaderless=10_000.0))
    node.follow()
    node.do(*(ask(number, 300) for number in range(1, 3501)))
    reader = node.listen(start=(2, 0), unread=2_000)
    while reader.rows() != logged(node, (2, 0)):
        before = len(reader.frames(FeedFrameKind.EVENTS))
        reader.queued_bytes = 0
        node.runtime.advance(1.0)
        assert len(reader.frames(FeedFrameKind.EVENTS)) == before + 1


def test_nobody_listening_nothing_is_packed_and_nothing_is_scheduled(node):
    reader = node.listen()
    reader.leave()
    node.runtime.advance(60)
    assert not node.runtime._heap
    node.log.write([ask(1, 300)])
    node.follow()
    assert not node.runtime._heap
    assert node.feeds.consumers() == []


@pytest.mark.parametrize("options", [FeedOptions(ring_indexes=5), FeedOptions(ring_bytes=5 * 256)])
def test_the_ring_drops_nothing_that_a_live_reader_was_not_sent(node, options):
    node = LogNode(node.log, options)
    node.follow()
    reader = node.listen()
    for number in range(1, 40):
        node.log.write([ask(number, 300), ask(100 + number, 300)] * (1 + number % 7))
    node.follow()  # all in one turn
    node.runtime.advance(0)
    assert reader.rows() == logged(node, (2, 0))


def test_what_is_older_than_the_ring_is_a_gap_that_names_the_first_available(node):
    node = LogNode(node.log, FeedOptions(ring_indexes=10))
    node.follow()
    for number in range(1, 31):
        node.do(ask(number, 300))
    reader = node.listen(start=(5, 0))
    assert reader.frames() == [[FeedFrameKind.GAP, node.index - 9]]
    assert reader.reason == "gap"
    assert node.feeds.consumers() == []
    assert node.listen(start=(node.index - 9, 0)).rows() == logged(node, (node.index - 9, 0))


def test_a_node_that_began_from_a_snapshot_has_a_gap_before_it(node):
    fresh = LogNode()
    live, old = fresh.listen(), fresh.listen(start=(1, 0))
    fresh.install_snapshot_of(node)
    assert live.kinds() == old.kinds() == ["SUBSCRIBED", "GAP"]
    assert live.frames(FeedFrameKind.GAP) == [[FeedFrameKind.GAP, node.index + 1]]
    assert fresh.listen(start=(node.index, 0)).kinds() == ["GAP"]
    reader = fresh.listen(start=(node.index + 1, 0))
    fresh.log = node.log
    fresh.do(ask(1, 300))
    assert [sequence for sequence, _ in reader.rows()] == [(fresh.index, 0)]


def test_a_snapshot_that_hides_nothing_breaks_no_feed():
    log = Log()
    ahead, node = LogNode(log), LogNode(log)
    ahead.define()
    node.follow()
    reader = node.listen()
    node.install_snapshot_of(ahead)
    ahead.do(ask(1, 300))
    node.follow()
    node.runtime.advance(0)
    assert reader.reason is None
    assert reader.rows() == logged(ahead, (2, 0))


def test_what_was_applied_before_a_snapshot_came_is_still_sent(node):
    other = LogNode(node.log)
    other.follow()
    reader = node.listen()
    node.log.write([ask(1, 300)])
    node.follow()
    other.follow()
    node.install_snapshot_of(other)
    assert len(reader.rows()) == 1
    assert reader.reason is None


def test_a_member_that_applies_its_log_anew_ends_its_feeds_and_serves_the_new_life(node):
    node.do(ask(1, 300))
    reader = node.listen()
    node.group.replica.state = LogNode().group.replica.state  # nobody is told
    node.history.clear()
    node.follow()
    assert reader.reason == "stopped"
    node.do(ask(2, 300))
    assert node.listen(start=(0, 0)).rows() == logged(node)


def test_a_member_that_is_set_back_repeats_nothing_to_who_listens(node):
    for number in range(1, 5):
        node.do(ask(number, 300))
    reader = node.listen()
    before = LogNode(node.log)
    before.follow(3)
    node.group.replica.state = before.group.replica.state
    node.group.changed()
    node.follow()
    node.runtime.advance(0)
    assert reader.rows() == []
    node.do(ask(5, 300))
    assert [sequence for sequence, _ in reader.rows()] == [(6, 0)]
    assert reader.reason is None


def test_a_token_of_another_life_is_reset(node):
    reader = node.listen(start=(1, 0), incarnation=b"another life....")
    assert reader.frames() == [[FeedFrameKind.RESET, INCARNATION, 1]]
    assert reader.reason == "reset"
    assert node.listen(start=(1, 0), incarnation=INCARNATION).rows() == logged(node)


def test_a_reader_from_a_node_that_was_further_waits_for_its_place(node):
    log = node.log
    for number in range(1, 6):
        log.write([ask(number, 300), ask(number + 10, 301)])
    reader = node.listen(start=(4, 1))
    node.follow(3)
    node.runtime.advance(0)
    assert reader.rows() == []
    assert not node.feeds.consumers()[0].live
    node.follow()
    node.runtime.advance(0)
    assert reader.rows() == logged(node, (4, 1))
    assert node.feeds.consumers()[0].live


def test_marks_tell_a_reader_how_far_it_is_although_it_sees_nothing(node):
    reader = node.listen(principal="carol", role=Role.TRADER)
    node.do(ask(1, 300))
    node.log.quiet()
    node.follow()
    node.runtime.advance(1.0)
    assert reader.rows() == []
    assert reader.frames(FeedFrameKind.MARK)[-1] == [FeedFrameKind.MARK, node.index + 1]


def test_a_live_reader_that_does_not_read_is_disconnected_and_nobody_else_is(node):
    slow, other = node.listen(room=2_000), node.listen()
    slow.reading = False
    for number in range(1, 101):
        node.do(ask(number, 300))
    assert slow.reason == "slow_consumer"
    assert other.rows() == logged(node, (2, 0))
    assert node.feeds.statistics.slow_consumers == 1
    assert len(node.feeds.consumers()) == 1


def test_a_reader_that_comes_back_far_behind_is_sent_no_more_than_it_reads(node):
    options = FeedOptions(ahead_bytes=1_000, mark_every=1000.0, leaderless=10_000.0)
    node = LogNode(node.log, options)
    node.follow()
    for number in range(1, 201):
        node.do(ask(number, 300))
    reader = node.listen(start=(2, 0), unread=2_000)
    node.runtime.advance(1.0)
    assert reader.rows() == []
    while reader.rows() != logged(node, (2, 0)):
        before = len(reader.data)
        reader.queued_bytes = 0
        node.runtime.advance(1.0)
        assert len(reader.data) > before
        assert reader.queued_bytes < 2_000
    assert node.feeds.consumers()[0].live


def test_a_reader_that_the_ring_overtakes_is_a_slow_consumer(node):
    node = LogNode(node.log, FeedOptions(ring_indexes=10, ahead_bytes=0))
    node.follow()
    node.do(ask(1, 300))
    reader = node.listen(start=(2, 0), unread=100)
    for number in range(2, 30):
        node.do(ask(number, 300))
    assert reader.reason == "slow_consumer"
    assert reader.rows() == []
    assert node.feeds.statistics.slow_consumers == 1


@pytest.mark.parametrize("phase", [Phase.QUARANTINED, Phase.HALTED, Phase.STOPPED])
def test_a_member_that_left_the_stage_ends_its_feeds_and_takes_no_more(node, phase):
    reader = node.listen()
    node.log.write([ask(1, 300)])
    node.follow()
    node.group.replica.phase = phase
    node.group.changed()
    node.runtime.advance(5)
    assert reader.reason == phase.value
    assert reader.rows() == []
    with pytest.raises(Unavailable, match=phase.value):
        node.listen()


def test_a_member_without_a_group_serves_nobody(node):
    node.group.replica = None
    with pytest.raises(Unavailable, match="not_online"):
        node.listen()


def test_without_a_leader_for_long_readers_are_sent_elsewhere(node):
    reader = node.listen()
    node.group.replica.leader = 0
    node.runtime.advance(4.9)
    assert reader.reason is None
    node.group.replica.leader = 2
    node.runtime.advance(1.0)
    node.group.replica.leader = 0
    node.runtime.advance(4.0)
    assert reader.reason is None
    node.runtime.advance(3.0)
    assert reader.reason == "not_online"


def test_closing_says_where_to_go_on(node):
    reader = node.listen()
    node.log.write([ask(1, 300)])
    node.follow()
    node.feeds.close()
    assert reader.reason == "going_away"
    assert len(reader.rows()) == 1
    assert reader.frames()[-1] == [FeedFrameKind.MARK, node.index + 1]
    node.runtime.advance(5)
    assert not node.runtime._heap


def test_an_unknown_pair_is_refused_by_name(node):
    for kind in FeedKind:
        with pytest.raises(NotOffered, match="XRP/USDC is no pair") as refused:
            node.listen(kind, pair="XRP/USDC")
        assert refused.value.code == "unknown_pair"


def test_a_machine_that_is_no_book_has_events_for_admins_only():
    node = LogNode(machine=Counter())
    with pytest.raises(NotOffered, match="counter"):
        node.listen(FeedKind.FILLS)
    with pytest.raises(NotOffered, match="admins only"):
        node.listen(role=Role.TRADER)
    assert node.listen().kinds() == ["SUBSCRIBED"]


def test_a_book_feed_begins_with_all_levels_and_goes_on_from_there(node):
    node.do(ask(1, 300), ask(2, 300, 5), ask(3, 310), bid(4, 290), bid(5, 300, 3))
    reader = node.listen(FeedKind.BOOK, pair=PAIR)
    assert reader.frames(FeedFrameKind.BOOK) == [
        [FeedFrameKind.BOOK, PAIR, [[290, 10, 1]], [[300, 12, 2], [310, 10, 1]]]
    ]
    node.do(bid(6, 310, 13), ask(7, 305))
    assert reader.frames(FeedFrameKind.LEVELS) == [
        [
            FeedFrameKind.LEVELS,
            node.index,
            1_000_002,
            [[PAIR, 2, 300, -12, -2], [PAIR, 2, 310, -1, 0], [PAIR, 2, 305, 10, 1]],
        ]
    ]
    node.do(ask(8, 305, pair=OTHER))
    assert len(reader.frames(FeedFrameKind.LEVELS)) == 1


def test_a_book_feed_of_all_pairs_has_a_snapshot_of_each(node):
    reader = node.listen(FeedKind.BOOK)
    assert [frame[1] for frame in reader.frames(FeedFrameKind.BOOK)] == [PAIR, OTHER]


def test_a_book_feed_that_resumes_has_no_snapshot_and_all_changes(node):
    whole, depth, resumed = node.listen(FeedKind.BOOK), Depth(), Depth()
    node.do(ask(1, 300), bid(2, 290))
    token = node.index + 1
    middle = whole.frames()
    node.do(bid(3, 301, 4))
    node.do(ask(4, 290, 5))
    for frame in whole.frames():
        follow(depth, frame)
    for frame in middle + node.listen(FeedKind.BOOK, start=(token, 0)).frames(FeedFrameKind.LEVELS):
        follow(resumed, frame)
    assert depth.side(PAIR, 1) == resumed.side(PAIR, 1) == [(290, 5, 1)]
    assert depth.side(PAIR, 2) == resumed.side(PAIR, 2) == [(300, 6, 1)]


def follow(depth: Depth, frame: list) -> None:
    if frame[0] == FeedFrameKind.BOOK:
        depth.follow(BookSnapshot((0, 0), *frame[1:]))
    elif frame[0] == FeedFrameKind.LEVELS:
        depth.follow(BookDelta((frame[1], 0), frame[2], frame[3]))


def test_json_has_the_same_content_with_names(node):
    text = [node.listen(kind, text=True) for kind in (FeedKind.EVENTS, FeedKind.BOOK)]
    node.do(ask(1, 300))
    node.do(bid(2, 300, 4))
    node.runtime.advance(0.6)
    events, book = ([json.loads(data) for data in reader.data] for reader in text)
    assert events[0] == {"type": "subscribed", "incarnation": INCARNATION.hex(), "next": [2, 0]}
    assert events[1]["events"][0]["event"] == "accepted"
    assert events[1]["events"][0]["side"] == "ask"
    assert events[2]["events"][1]["sequence"] == [3, 1]
    assert events[2]["next"] == [4, 0]
    assert events[-1] == {"type": "mark", "next": [4, 0]}
    assert book[1] == {"type": "book", "pair": PAIR, "bids": [], "asks": []}
    assert book[-2]["changes"] == [{"pair": PAIR, "side": "ask", "price": 300, "quantity": -4, "orders": 0}]
    gap = node.listen(text=True, start=(1, 0), incarnation=b"another life....")
    assert json.loads(gap.data[0]) == {"type": "reset", "incarnation": INCARNATION.hex(), "first": [1, 0]}


def test_statistics_say_who_listens_and_how_far_behind_it_is(node):
    node.listen(FeedKind.FILLS, principal="alice", role=Role.TRADER, pair=PAIR)
    node.do(ask(1, 300))
    node.listen(start=(1, 0))
    node.do(bid(2, 300))
    alice, root = sorted(node.feeds.consumers())
    assert (alice.principal, alice.kind, alice.pair, alice.live, alice.lag) == ("alice", "fills", PAIR, True, 0)
    assert (root.kind, root.live) == ("events", True)
    assert (node.feeds.statistics.subscribed, node.feeds.statistics.resumes) == (2, 1)
    node.log.write([ask(3, 300)])
    node.follow()
    assert [consumer.lag for consumer in node.feeds.consumers()] == [1, 1]
