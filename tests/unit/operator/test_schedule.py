"""When a group is looked at next."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest

from orderbook_operator import schedule as s
from orderbook_operator.metrics import PassResult
from orderbook_operator.schedule import Schedule


def fresh() -> Schedule:
    return Schedule(Random(1))


def test_a_new_group_is_due_at_once_and_in_full() -> None:
    group = fresh()
    assert group.due(1000.0, woken=True) <= 0
    assert group.needs_full(1000.0, woken=True)


def test_a_group_at_rest_is_asked_every_ten_seconds_and_looked_at_every_five_minutes() -> None:
    group, now = fresh(), 1000.0
    group.ended(PassResult.CONVERGED, None, now, full=True)
    for _ in range(200):
        pause = group.due(now, woken=False)
        assert 9.0 <= pause <= 11.0
        now += pause
        if group.needs_full(now, woken=False):
            break
        group.ended(PassResult.CONVERGED, None, now, full=False)
    assert 1300.0 <= now <= 1311.0


def test_groups_that_began_together_do_not_stay_in_step() -> None:
    random = Random(1)
    pauses = set()
    for _ in range(10):
        group = Schedule(random)
        group.ended(PassResult.CONVERGED, None, 0.0, full=True)
        pauses.add(group.due(0.0, woken=False))
    assert len(pauses) == 10


def test_an_event_brings_a_waiting_group_forward_and_asks_for_all() -> None:
    group = fresh()
    for _ in range(5):
        group.ended(PassResult.WAITING, ("Forming",), 1000.0, full=True)
    assert group.due(1000.0, woken=False) > 5
    assert group.due(1000.0, woken=True) == pytest.approx(s.COALESCED)
    assert group.needs_full(1000.0, woken=True)


@pytest.mark.parametrize("result", [PassResult.ACTED, PassResult.STALE, PassResult.REFUSED, PassResult.FAILED])
def test_what_comes_back_unchanged_is_tried_less_and_less_often_whatever_the_events(result: PassResult) -> None:
    group = fresh()
    pauses = []
    for _ in range(12):
        group.ended(result, "the same", 0.0, full=True)
        pauses.append(group.due(0.0, woken=True))
        assert pauses[-1] == group.due(0.0, woken=False)
    assert pauses[0] <= 2.2
    assert pauses[-1] >= 9.0
    assert all(later > 1.5 * earlier for earlier, later in pairwise(pauses[:4]))


def test_progress_is_followed_at_once() -> None:
    group = fresh()
    for step in range(10):
        group.ended(PassResult.ACTED, f"step {step}", 0.0, full=True)
        assert group.due(0.0, woken=False) < 0.3


def test_after_anything_but_rest_everything_is_read_anew() -> None:
    for result in PassResult:
        group = fresh()
        group.ended(result, None, 0.0, full=True)
        assert group.needs_full(1.0, woken=False) is (result is not PassResult.CONVERGED)
