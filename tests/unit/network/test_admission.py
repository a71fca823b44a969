"""The table of ``admission``, row by row, and that both sides of every race agree."""

import itertools

from orderbook.network.admission import Claim, our_dial_wins, rival_problem
from orderbook.network.handshake import Reason

PROCESS, RESTARTED = b"process", b"restarted"
LIVE_BY_PEER = Claim(b"live", PROCESS, dialled=False, dial=5, proven=())
LIVE_BY_US = LIVE_BY_PEER._replace(dialled=True)
NEW = Claim(b"new", PROCESS, dialled=False, dial=6, proven=(), last=b"")


def reason(new, live):
    problem = rival_problem(new, live)
    return problem and problem[0]


def test_who_proves_less_than_the_live_one_is_refused_whoever_it_is():
    live = LIVE_BY_PEER._replace(proven=(b"g", b"h"))
    assert reason(NEW._replace(proven=(b"g",)), live) is Reason.NOT_PROVEN
    assert reason(NEW._replace(proven=(b"g",), process=RESTARTED), live) is Reason.NOT_PROVEN
    assert reason(NEW._replace(proven=(b"h", b"g", b"i")), live) is None


def test_a_process_that_started_anew_replaces_the_old_one():
    assert reason(NEW._replace(process=RESTARTED, dial=1), LIVE_BY_PEER) is None
    assert reason(NEW._replace(process=RESTARTED, dialled=True), LIVE_BY_US) is None


def test_a_later_dial_of_the_peer_replaces_its_earlier_one_and_not_the_other_way_round():
    assert reason(NEW, LIVE_BY_PEER) is None
    assert reason(NEW._replace(dial=4), LIVE_BY_PEER) is Reason.DUPLICATE


def test_a_peer_that_had_our_connection_and_lost_it_may_come_anew():
    assert reason(NEW._replace(last=b"live"), LIVE_BY_US) is None


def test_a_dial_from_before_our_connection_was_live_is_refused():
    assert reason(NEW, LIVE_BY_US) is Reason.DUPLICATE
    assert reason(NEW._replace(last=b"an older one"), LIVE_BY_US) is Reason.DUPLICATE


def test_our_own_second_connection_to_the_same_process_is_refused():
    assert reason(NEW._replace(dialled=True), LIVE_BY_PEER) is Reason.DUPLICATE
    assert reason(NEW._replace(dialled=True), LIVE_BY_US) is Reason.DUPLICATE


def test_of_two_dials_exactly_one_side_waits_for_its_own():
    for one, other in itertools.permutations(["a", "b", "node-10", "node-2"], 2):
        assert our_dial_wins(one, other) != our_dial_wins(other, one)
