"""Legal changes, and the way through the joint state."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orderbook.raft.errors import MembershipReason, MembershipRefused
from orderbook.raft.membership import History, configuration_from, decode, encode, in_force, leave, plan
from orderbook.raft.types import Configuration, Entry, EntryKind, Member
from unit.raft.cluster import configuration, members
from unit.raft.test_quorum import quorums

NOBODY: Callable[[int], bool] = lambda member: False  # noqa: E731
EVERYONE: Callable[[int], bool] = lambda member: True  # noqa: E731


def refused(reason: MembershipReason) -> pytest.RaisesExc[MembershipRefused]:
    return pytest.raises(MembershipRefused, check=lambda error: error.reason is reason)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("voters", "learners"),
    [([1, 2], []), ([1, 2, 3], [4]), ([1, 2, 3, 4], []), ([1, 2], [3])],
    ids=["a voter less", "a learner more", "a learner promoted", "a voter demoted"],
)
def test_a_change_of_at_most_one_voter_is_one_step(voters: list[int], learners: list[int]) -> None:
    current = configuration([1, 2, 3], [4])
    if (voters, learners) == ([1, 2, 3], [4]):
        current = configuration([1, 2, 3])
    change = plan(current, members(voters), members(learners), EVERYONE)
    assert change == configuration(voters, learners)


def test_any_other_change_goes_through_the_joint_state() -> None:
    current = configuration([1, 2, 3], [4, 5])
    joint = plan(current, members([1, 4]), members([2, 6]), EVERYONE)
    assert joint == Configuration(members([1, 4]), members([1, 2, 3]), members([6]), members([2]))
    assert leave(joint) == configuration([1, 4], [2, 6])


def test_the_order_in_which_members_are_named_does_not_matter() -> None:
    change = plan(configuration([1, 2]), (Member("n2", 2), Member("n1", 1)), (Member("n3", 3),), NOBODY)
    assert change == configuration([1, 2], [3])


def test_a_voter_that_lost_its_disk_is_replaced_without_having_caught_up() -> None:
    current = configuration([1, 2, 3])
    newcomer = Member("n3", 33)
    joint = plan(current, (*members([1, 2]), newcomer), (), NOBODY)
    assert (joint.voters, joint.outgoing) == ((*members([1, 2]), newcomer), members([1, 2, 3]))


@pytest.mark.parametrize(
    ("voters", "learners", "reason"),
    [
        (members([]), members([1, 2, 3]), MembershipReason.NO_VOTERS),
        (members([1, 2, 3]), members([4]), MembershipReason.NOTHING_TO_CHANGE),
        (members([1, 2, 3, 4]), (), MembershipReason.NOT_CAUGHT_UP),
        (members([1, 2, 3, 5]), members([4]), MembershipReason.NOT_CAUGHT_UP),
        ((*members([1, 2, 3]), Member("n3", 9)), (), MembershipReason.DUPLICATE_NAME),
        (members([1, 2, 3]), (Member("n3", 9),), MembershipReason.DUPLICATE_NAME),
        (members([1, 2, 3]), members([3]), MembershipReason.DUPLICATE_NAME),
        ((*members([1, 2, 3]), Member("x", 3)), (), MembershipReason.DUPLICATE_ID),
        ((*members([1, 2]), Member("x", 3)), (), MembershipReason.RENAMED),
        ((*members([1, 2]), Member("x", 4)), (), MembershipReason.RENAMED),
        (members([1, 2, 3]), (Member("", 9),), MembershipReason.INVALID_MEMBER),
        (members([1, 2, 3]), (Member("x" * 254, 9),), MembershipReason.INVALID_MEMBER),
        (members([1, 2, 3]), (Member("x", 0),), MembershipReason.INVALID_MEMBER),
        (members([1, 2, 3]), (Member("x", 2**63),), MembershipReason.INVALID_MEMBER),
    ],
)
def test_an_illegal_change_is_refused_with_its_reason(
    voters: tuple[Member, ...], learners: tuple[Member, ...], reason: MembershipReason
) -> None:
    with refused(reason):
        plan(configuration([1, 2, 3], [4]), voters, learners, NOBODY)


ids = st.sets(st.integers(1, 7), min_size=1)


@settings(deadline=None)
@given(ids, ids, ids, ids)
def test_majorities_overlap_along_the_whole_way(a: set[int], b: set[int], c: set[int], d: set[int]) -> None:
    """No two steps next to each other can decide apart: that is what makes a change of membership safe."""
    before, target = configuration(a, b - a), configuration(c, d - c)
    current = Configuration(before.voters, (), members((b | c) - a))
    try:
        first = plan(current, target.voters, target.learners, EVERYONE)
    except MembershipRefused as refusal:
        assert refusal.reason is MembershipReason.NOTHING_TO_CHANGE
        return
    way = [current, first]
    if first.outgoing:
        way.append(leave(first))
    assert way[-1] == target
    for one, other in pairwise(way):
        left, right = (quorums(in_force(0, step).electorate) for step in (one, other))
        assert all(these & those for these in left for those in right)
    for step in way:
        assert decode(encode(step)) == step
        assert configuration_from(tuple(step)) == step


def entry(index: int, value: Configuration) -> Entry:
    return Entry(index, 1, EntryKind.CONFIGURATION, encode(value))


def test_the_last_configuration_of_the_log_is_in_force_and_a_truncation_undoes_it() -> None:
    one, two, three = configuration([1]), configuration([1, 2]), configuration([1, 2, 3])
    history = History(0, one, [Entry(1, 1, EntryKind.NORMAL, b""), entry(2, two)])
    assert history.appended([entry(4, three)])
    assert not history.appended([Entry(5, 1, EntryKind.NORMAL, b"x")])
    assert (history.current.since, history.current.configuration, history.before.configuration) == (4, three, two)
    assert [history.at(index).configuration for index in range(6)] == [one, one, two, two, three, three]
    history.truncated(5)
    assert history.current.configuration == three
    history.truncated(4)
    assert history.current.configuration == two
    history.truncated(1)
    assert (history.current.configuration, history.before.configuration) == (one, one)


def test_compaction_keeps_the_configuration_in_force_at_its_place() -> None:
    one, two, three = configuration([1]), configuration([1, 2]), configuration([1, 2, 3])
    history = History(0, one, [entry(2, two), entry(4, three)])
    history.compacted(3)
    assert history.at(3).configuration == two
    history.truncated(4)
    assert history.current.configuration == two
    assert not history.ever_had(3)
    assert history.ever_had(2)
