"""Strong reads: which round each waits for, what follows a failed one, and when it is answered."""

import pytest

from orderbook.groups.reads import Reads


class Desk:
    def __init__(self, **options):
        self.asked = []
        self.ended = {}
        self.reads = Reads(self.asked.append, **options)

    def add(self, name, deadline=10.0):
        def done(error):
            assert name not in self.ended, "ended twice"
            self.ended[name] = "read" if error is None else error.reason

        self.reads.add(deadline, done)


@pytest.fixture
def desk():
    return Desk()


def test_reads_that_came_since_the_last_round_share_the_next(desk):
    desk.add("a")
    desk.add("b")
    assert desk.asked == []
    desk.reads.start_round()
    desk.reads.start_round()
    assert desk.asked == [1]
    desk.reads.confirmed(1, index=7, applied=7)
    assert desk.ended == {"a": "read", "b": "read"}


def test_a_read_never_takes_the_word_of_a_round_that_began_before_it_came(desk):
    desk.add("a")
    desk.reads.start_round()
    desk.add("b")
    desk.reads.confirmed(1, index=7, applied=7)
    assert desk.ended == {"a": "read"}
    desk.reads.start_round()
    assert desk.asked == [1, 2]
    desk.reads.confirmed(2, index=7, applied=7)
    assert desk.ended == {"a": "read", "b": "read"}


def test_a_read_waits_until_its_index_is_applied_here(desk):
    desk.add("a")
    desk.reads.start_round()
    desk.reads.confirmed(1, index=7, applied=5)
    desk.reads.applied(6)
    assert desk.ended == {}
    desk.reads.applied(7)
    assert desk.ended == {"a": "read"}


def test_each_read_waits_for_its_own_index(desk):
    for name, number, index in (("a", 1, 9), ("b", 2, 7)):
        desk.add(name)
        desk.reads.start_round()
        desk.reads.confirmed(number, index, applied=1)
    desk.reads.applied(8)
    assert desk.ended == {"b": "read"}
    assert len(desk.reads) == 1


def test_a_failed_round_is_asked_for_again_at_the_next_tick_until_the_deadline(desk):
    desk.add("a", deadline=1.0)
    for number in range(1, 5):
        desk.reads.start_round()
        desk.reads.failed(number)
        desk.reads.start_round()
        assert desk.asked == list(range(1, number + 1))
        desk.reads.tick(number * 0.1)
    desk.reads.tick(1.0)
    assert desk.ended == {"a": "deadline"}
    desk.reads.start_round()
    assert desk.asked == [1, 2, 3, 4]


def test_what_failed_and_what_came_meanwhile_share_a_round(desk):
    desk.add("a")
    desk.reads.start_round()
    desk.reads.failed(1)
    desk.add("b")
    desk.reads.tick(0.1)
    desk.reads.start_round()
    desk.reads.confirmed(2, index=1, applied=1)
    assert desk.ended == {"a": "read", "b": "read"}


def test_a_late_word_on_a_round_that_failed_is_ignored(desk):
    desk.add("a")
    desk.reads.start_round()
    desk.reads.failed(1)
    desk.reads.confirmed(1, index=1, applied=1)
    desk.reads.failed(1)
    desk.reads.failed(77)
    assert desk.ended == {}
    assert len(desk.reads) == 1


def in_gathering(desk):
    pass


def in_a_round(desk):
    desk.reads.start_round()


def in_a_failed_round(desk):
    desk.reads.start_round()
    desk.reads.failed(1)


def confirmed_and_not_applied(desk):
    desk.reads.start_round()
    desk.reads.confirmed(1, index=9, applied=1)


@pytest.mark.parametrize("bring", [in_gathering, in_a_round, in_a_failed_round, confirmed_and_not_applied])
def test_wherever_a_read_stands_its_deadline_and_the_end_reach_it(desk, bring):
    desk.add("early", deadline=1.0)
    desk.add("late", deadline=2.0)
    bring(desk)
    desk.reads.tick(0.99)
    assert desk.ended == {}
    desk.reads.tick(1.0)
    assert desk.ended == {"early": "deadline"}
    desk.reads.stop("quarantined")
    assert desk.ended == {"early": "deadline", "late": "quarantined"}
    assert len(desk.reads) == 0
    desk.reads.confirmed(1, index=1, applied=9)


def test_a_read_that_comes_from_within_an_answer_is_not_lost(desk):
    desk.reads.add(1.0, lambda error: desk.add("from within", deadline=5.0))
    desk.reads.tick(1.0)
    desk.reads.start_round()
    desk.reads.confirmed(1, index=1, applied=1)
    assert desk.ended == {"from within": "read"}


def test_beyond_the_bound_a_read_is_refused_at_once():
    desk = Desk(most=2)
    for name in ("a", "b", "c"):
        desk.add(name)
        desk.reads.start_round()
    assert desk.ended == {"c": "overloaded"}
    desk.reads.confirmed(1, index=1, applied=1)
    desk.add("d")
    assert "d" not in desk.ended
