"""What becomes of a request at the edge: each row of the table, and the account of its bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orderbook.groups.errors import Unavailable, Uncertain
from orderbook.groups.proposals import Pending, Proposals
from orderbook.groups.replicated import Applied
from orderbook.groups.sessions import Outcome

ME, LEADER, NEXT_LEADER = 1, 2, 3


class Edge:
    def __init__(self, max_bytes=1000):
        self.proposals = Proposals(max_bytes)
        self.ended = {}

    def accept(self, deadline=10.0, size=10, leader=0):
        """A request, handed to ``leader`` if that is not 0."""
        request = self.proposals.next_request()

        def done(applied, error):
            assert request not in self.ended, "ended twice"
            self.ended[request] = applied if error is None else error

        pending = Pending(request, b"x" * size, deadline, done)
        self.proposals.add(pending)
        pending.leader = leader
        return request

    def how(self, request):
        """(class, reason) of an error, the Applied of an answer, None while it waits."""
        end = self.ended.get(request)
        if isinstance(end, Unavailable):
            return Unavailable, end.reason
        return Uncertain if isinstance(end, Uncertain) else end


def entry(request, index=5):
    return Applied(index, 1, ME, request, Outcome.OK, 0, index, 0, [], [], 0)


@pytest.fixture
def edge():
    return Edge()


@pytest.mark.parametrize("placed", [False, True])
def test_an_entry_applied_here_is_the_answer(edge, placed):
    request = edge.accept(leader=LEADER)
    if placed:
        edge.proposals.placed(request, 1, 5)
        edge.proposals.committed(5, 1)
    edge.proposals.applied(entry(request))
    assert edge.how(request) == entry(request)


def test_an_answer_may_come_before_the_leader_says_where_it_stands(edge):
    request = edge.accept(leader=LEADER)
    edge.proposals.applied(entry(request))
    edge.proposals.placed(request, 1, 5)
    edge.proposals.committed(5, 2)
    assert edge.how(request) == entry(request)


def test_what_the_leader_refused_is_unavailable(edge):
    request = edge.accept(leader=LEADER)
    edge.proposals.refused(request, Unavailable("transferring"))
    assert edge.how(request) == (Unavailable, "transferring")


def test_an_entry_of_another_term_at_its_index_means_that_it_was_overwritten(edge):
    overwritten, stands, elsewhere = (edge.accept(leader=LEADER) for _ in range(3))
    edge.proposals.placed(overwritten, 1, 5)
    edge.proposals.placed(stands, 2, 5)
    edge.proposals.placed(elsewhere, 1, 6)
    edge.proposals.committed(5, 2)
    assert edge.how(overwritten) == (Unavailable, "superseded")
    assert edge.how(stands) is edge.how(elsewhere) is None


def test_a_leader_that_leads_no_more_leaves_what_it_has_not_placed_uncertain(edge):
    unplaced, placed, not_handed, with_the_next = (
        edge.accept(leader=leader) for leader in (LEADER, LEADER, 0, NEXT_LEADER)
    )
    edge.proposals.placed(placed, 1, 5)
    edge.proposals.leader_changed(NEXT_LEADER)
    assert edge.how(unplaced) is Uncertain
    assert [edge.how(request) for request in (placed, not_handed, with_the_next)] == [None, None, None]


def test_without_any_leader_what_was_handed_over_is_uncertain(edge):
    request = edge.accept(leader=LEADER)
    edge.proposals.leader_changed(0)
    assert edge.how(request) is Uncertain


def test_past_its_deadline_a_request_is_uncertain_if_it_was_handed_over(edge):
    handed, placed, kept = edge.accept(1.0, leader=LEADER), edge.accept(1.0, leader=LEADER), edge.accept(1.0)
    late = edge.accept(1.1, leader=LEADER)
    edge.proposals.placed(placed, 1, 5)
    edge.proposals.expire(0.99)
    assert edge.ended == {}
    edge.proposals.expire(1.0)
    assert edge.how(handed) is edge.how(placed) is Uncertain
    assert edge.how(kept) == (Unavailable, "deadline")
    assert edge.how(late) is None


def test_when_the_member_stops_a_request_is_uncertain_if_it_was_handed_over(edge):
    handed, kept = edge.accept(leader=LEADER), edge.accept()
    edge.proposals.stop()
    assert edge.how(handed) is Uncertain
    assert edge.how(kept) == (Unavailable, "stopped")
    assert len(edge.proposals) == 0


def test_a_snapshot_over_its_index_leaves_a_request_uncertain(edge):
    below, at, above, unplaced = (edge.accept(leader=LEADER) for _ in range(4))
    for request, index in ((below, 4), (at, 5), (above, 6)):
        edge.proposals.placed(request, 1, index)
    edge.proposals.skipped_to(5)
    assert edge.how(below) is edge.how(at) is Uncertain
    assert edge.how(above) is edge.how(unplaced) is None


def test_a_place_told_twice_counts_once(edge):
    request = edge.accept(leader=LEADER)
    edge.proposals.placed(request, 1, 5)
    edge.proposals.placed(request, 2, 6)
    edge.proposals.committed(6, 3)
    assert edge.how(request) is None
    edge.proposals.committed(5, 3)
    assert edge.how(request) == (Unavailable, "superseded")


def test_words_about_requests_that_nobody_waits_for_are_ignored(edge):
    edge.proposals.placed(99, 1, 5)
    edge.proposals.refused(99, Unavailable("no_leader"))
    edge.proposals.applied(entry(99))
    edge.proposals.committed(5, 2)
    assert edge.ended == {}


def test_numbers_never_come_again_even_after_those_of_an_earlier_process():
    proposals = Proposals(100)
    assert [proposals.next_request(), proposals.next_request()] == [1, 2]
    proposals.start_at(50)
    proposals.start_at(7)
    assert [proposals.next_request(), proposals.next_request()] == [50, 51]


def test_a_full_edge_refuses_before_anything_is_handed_over_and_takes_more_when_there_is_room():
    edge = Edge(max_bytes=100)
    first = edge.accept(size=60)
    edge.accept(size=40)
    with pytest.raises(Unavailable, match="overloaded"):
        edge.accept(size=1)
    edge.proposals.applied(entry(first))
    edge.accept(size=60)


def test_a_callback_that_ends_other_requests_does_no_harm():
    edge = Edge()
    proposals = edge.proposals

    def stops_all(applied, error):
        proposals.stop()

    for leader in (LEADER, 0):
        pending = Pending(proposals.next_request(), b"", 1.0, stops_all)
        proposals.add(pending)
        pending.leader = leader
        others = [edge.accept(deadline=1.0, leader=LEADER) for _ in range(3)]
        proposals.expire(2.0)
        assert [edge.how(request) for request in others] == [Uncertain] * 3
    assert (len(proposals), proposals.bytes) == (0, 0)


ACTIONS = st.tuples(
    st.sampled_from(["accept", "hand", "place", "apply", "refuse", "commit", "leader", "skip", "expire"]),
    st.integers(1, 8),
    st.integers(1, 4),
)


@given(st.lists(ACTIONS, max_size=60))
def test_whatever_happens_every_request_ends_once_and_no_byte_leaks(actions):
    edge = Edge(max_bytes=100)
    proposals, waiting = edge.proposals, {}
    for what, which, number in actions:
        if what == "accept":
            try:
                waiting[edge.accept(deadline=float(which), size=10 * number)] = 10 * number
            except Unavailable:
                assert sum(waiting.values()) + 10 * number > 100
        elif what == "hand" and which in proposals._pending:
            proposals._pending[which].leader = number
        elif what == "place":
            proposals.placed(which, number, 1 + number % 2)
        elif what == "apply":
            proposals.applied(entry(which))
        elif what == "refuse":
            proposals.refused(which, Unavailable("no_leader"))
        elif what == "commit":
            proposals.committed(1 + which % 2, number)
        elif what == "leader":
            proposals.leader_changed(number)
        elif what == "skip":
            proposals.skipped_to(which)
        elif what == "expire":
            proposals.expire(float(which))
        waiting = {request: size for request, size in waiting.items() if request not in edge.ended}
        assert proposals.bytes == sum(waiting.values())
        assert len(proposals) == len(waiting)
    proposals.stop()
    assert set(edge.ended) >= set(waiting)
    assert (proposals.bytes, proposals._by_index) == (0, {})
