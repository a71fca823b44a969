"""What the leader concludes from the reports of the members: the stamp, the verdict, the machine's version."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orderbook.groups.replicated import Verdict
from orderbook.groups.reports import KEPT_CHECKS, Reports

LEAD = 500
VOTERS = (1, 2, 3)


def heard_clocks(clocks, own=1, at=0.0):
    reports = Reports(own)
    for member, clock in clocks.items():
        reports.heard(member, clock, at, 1, 0, None)
    return reports


# --- the stamp --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "others", "stamp"),
    [
        (10_000, {2: 10_010, 3: 9_990}, 10_000),
        (10_000, {2: 90_000, 3: 90_000}, 10_000),  # never ahead of its own clock
        (99_000, {2: 10_000, 3: 20_000}, 20_500),  # ahead: half a second before the median
        (20_400, {2: 10_000, 3: 20_000}, 20_400),
        (99_000, {2: 10_000}, 10_500),  # one unheard counts as behind
        (10_000, {2: 99_000}, 10_000),
        (99_000, {}, 0),  # no majority was heard: log time stands still
    ],
)
def test_a_stamp_is_the_own_clock_but_not_far_ahead_of_the_median(own, others, stamp):
    assert heard_clocks(others).stamp(own, 0.0, VOTERS, LEAD) == stamp


def test_a_group_of_one_takes_its_own_clock():
    assert Reports(1).stamp(12_345, 0.0, (1,), LEAD) == 12_345


def test_of_two_the_earlier_clock_counts():
    assert heard_clocks({2: 10_000}).stamp(99_000, 0.0, (1, 2), LEAD) == 10_500
    assert Reports(1).stamp(99_000, 0.0, (1, 2), LEAD) == 0


def test_clocks_run_on_between_two_reports():
    reports = heard_clocks({2: 10_000, 3: 10_000}, at=5.0)
    assert reports.stamp(99_000, 7.5, VOTERS, LEAD) == 13_000
    reports.heard(2, 50_000, 8.0, 1, 0, None)
    assert reports.stamp(99_000, 8.0, VOTERS, LEAD) == 50_500


def test_those_who_do_not_vote_have_no_say_not_even_the_leader():
    reports = heard_clocks({2: 10_000, 3: 10_000, 4: 99_000, 5: 99_000})
    assert reports.stamp(99_000, 0.0, VOTERS, LEAD) == 10_500
    assert reports.stamp(99_000, 0.0, (2, 3), LEAD) == 10_500


def test_a_new_leadership_keeps_the_clocks_for_log_time_must_not_run_ahead_then_either():
    reports = heard_clocks({2: 10_000, 3: 10_000})
    reports.forget()
    assert reports.stamp(99_000, 0.0, VOTERS, LEAD) == 10_500


@given(
    st.integers(0, 3).flatmap(
        lambda bad: st.tuples(
            st.lists(st.integers(100_000, 10**9), min_size=bad, max_size=bad),
            st.lists(st.integers(9_000, 11_000), min_size=bad + 1, max_size=bad + 1),
        )
    ),
    st.data(),
)
def test_a_minority_of_clocks_that_are_ahead_never_takes_log_time_along(clocks, data):
    """Whoever leads, and whichever majority it has heard."""
    ahead, sound = clocks
    by_member = dict(enumerate(data.draw(st.permutations([*ahead, *sound])), start=1))
    leader = data.draw(st.sampled_from(sorted(by_member)))
    heard = data.draw(st.lists(st.sampled_from(sorted(by_member)), unique=True))
    reports = heard_clocks({member: by_member[member] for member in heard if member != leader}, own=leader)
    stamp = reports.stamp(by_member[leader], 0.0, list(by_member), LEAD)
    assert stamp <= 11_000 + LEAD
    if len({*heard, leader}) <= len(by_member) // 2:
        assert stamp == 0


# --- the verdict ------------------------------------------------------------------------------------------------------


def reported(*checks):
    """(member, index, hash) each."""
    reports = Reports(1)
    for member, index, hash in checks:
        reports.check(member, index, hash)
    return reports


@pytest.mark.parametrize(
    ("checks", "verdict"),
    [
        ([], None),
        ([(1, 5, 77)], None),
        ([(1, 5, 77), (2, 5, 77)], Verdict(5, 77)),
        ([(2, 5, 77), (3, 5, 77), (1, 5, 66)], Verdict(5, 77)),  # the leader itself may be the one that differs
        ([(1, 5, 77), (2, 5, 66)], None),  # the third decides
        ([(1, 5, 77), (2, 5, 66), (3, 5, 55)], Verdict(5, None)),
        ([(1, 5, 77), (4, 5, 77)], None),  # who does not vote does not count
        ([(1, 5, 77), (2, 5, 77), (1, 6, 88)], Verdict(5, 77)),
        ([(1, 5, 77), (2, 5, 77), (1, 6, 88), (3, 6, 88)], Verdict(6, 88)),
        ([(1, 5, 77), (1, 5, 77)], None),
    ],
)
def test_a_verdict_is_the_hash_of_a_majority_of_voters_at_the_newest_check_that_has_one(checks, verdict):
    assert reported(*checks).verdict(VOTERS) == verdict


def test_half_of_the_voters_is_no_majority():
    four = (1, 2, 3, 4)
    reports = reported((1, 5, 77), (2, 5, 77), (3, 5, 66))
    assert reports.verdict(four) is None
    reports.check(4, 5, 66)
    assert reports.verdict(four) == Verdict(5, None)


def test_a_check_is_judged_once():
    reports = reported((1, 5, 77), (2, 5, 77), (1, 4, 7), (2, 4, 7))
    reports.judged(5)
    reports.check(3, 5, 66)
    reports.check(3, 4, 66)
    assert reports.verdict(VOTERS) is None
    reports.check(2, 6, 88)
    reports.check(3, 6, 88)
    assert reports.verdict(VOTERS) == Verdict(6, 88)
    reports.judged(3)
    assert reports.verdict(VOTERS) == Verdict(6, 88)


def test_checks_come_with_what_is_heard():
    reports = Reports(1)
    reports.heard(2, 0, 0.0, 1, 0, (5, 77))
    reports.heard(3, 0, 0.0, 1, 0, (5, 77))
    assert reports.verdict(VOTERS) == Verdict(5, 77)
    reports.forget()
    assert reports.verdict(VOTERS) is None


def test_of_checks_without_a_verdict_the_newest_are_remembered():
    reports = reported(*((1, index, 7) for index in range(1, KEPT_CHECKS + 5)))
    for index in (4, 5):
        reports.check(2, index, 7)
    assert reports.verdict(VOTERS) == Verdict(5, 7)


# --- the machine's version --------------------------------------------------------------------------------------------

SOAK = 1_000


def version_of(heard, log_ms, members=(1, 2, 3), own=2):
    reports = Reports(1)
    for member, version, at in heard:
        reports.heard(member, 0, 0.0, version, at, None)
    return reports.supported_version(members, own, log_ms, SOAK)


@pytest.mark.parametrize(
    ("heard", "log_ms", "version"),
    [
        ([(2, 2, 0), (3, 2, 0)], 1_000, 2),
        ([(2, 2, 0), (3, 2, 0)], 999, 0),
        ([(2, 2, 0), (3, 2, 1)], 1_000, 0),  # each of them for so long
        ([(2, 2, 0), (3, 1, 0)], 1_000, 1),  # the lowest
        ([(2, 9, 0), (3, 9, 0)], 1_000, 2),  # not more than the leader's own
        ([(2, 2, 0)], 5_000, 0),  # one was not heard
        ([(2, 2, 0), (3, 1, 0), (3, 2, 500)], 1_000, 0),  # a new version begins to soak anew
        ([(2, 2, 0), (3, 2, 0), (3, 1, 500), (3, 2, 600)], 1_000, 0),
        ([(2, 2, 0), (3, 2, 0), (3, 2, 900)], 1_000, 2),
        ([(2, 2, 0), (3, 2, 0), (4, 1, 0)], 1_000, 2),  # one that left has no say
    ],
)
def test_a_version_counts_when_every_member_has_supported_it_for_long_enough(heard, log_ms, version):
    assert version_of(heard, log_ms) == version


def test_a_group_of_one_needs_nobody():
    assert version_of([], 0, members=(1,)) == 2


def test_a_new_leadership_begins_to_soak_anew():
    reports = Reports(1)
    for member in (2, 3):
        reports.heard(member, 0, 0.0, 2, 0, None)
    reports.forget()
    assert reports.supported_version((1, 2, 3), 2, 5_000, SOAK) == 0
