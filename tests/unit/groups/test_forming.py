"""The decision of a member without a group, case by case."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orderbook.groups.forming import Begin, Join, View, Wait, decide, view_from_wire
from orderbook.groups.identity import first_incarnation, group_id, recovered_incarnation
from orderbook.raft.types import Member

GROUP = b"g" * 16
A, B, C, D = Member("a", 11), Member("b", 22), Member("c", 33), Member("d", 44)
B_ANEW = Member("b", 99)
THREE = (A, B, C)
SOME = b"i" * 16
OTHER = b"o" * 16


def empty(member, *sees, initial_size=3):
    return View(member, initial_size, b"", (), tuple(sorted(sees)))


def begun(member, first=THREE, incarnation=SOME):
    return View(member, 3, incarnation, first, (member,))


def decision(own, *others, given=b""):
    return decide(GROUP, own, {view.member.name: view for view in others}, given)


def test_a_group_begins_when_all_members_see_the_same_all_of_them():
    begin = decision(empty(A, *THREE), empty(B, *THREE), empty(C, *THREE))
    assert begin == Begin(first_incarnation(GROUP, THREE), THREE)


def test_every_member_comes_to_the_same_decision():
    views = [empty(member, *THREE) for member in THREE]
    decisions = {decision(own, *(view for view in views if view is not own)) for own in views}
    assert len(decisions) == 1


def test_a_group_of_one_begins_alone():
    assert decision(empty(A, A, initial_size=1)) == Begin(first_incarnation(GROUP, (A,)), (A,))


@pytest.mark.parametrize(
    ("own", "others", "says"),
    [
        (empty(A, A), (), r"sees 1 members \(a\); begins a group with exactly 3"),
        (empty(A, A, B), (empty(B, A, B),), r"sees 2 members \(a, b\)"),
        (empty(A, *THREE, D), [empty(m, *THREE, D) for m in (B, C, D)], r"sees 4 members \(a, b, c, d\)"),
        (empty(A, *THREE), (empty(B, *THREE), empty(C, A, C)), "waits until c see the same"),
        (empty(A, *THREE), (empty(B, B), empty(C, A, B_ANEW, C)), "waits until b, c see the same"),
        (empty(A, *THREE), (empty(B, *THREE), empty(C, *THREE, D)), "waits until c see the same"),
    ],
)
def test_otherwise_a_member_waits_and_says_whom_it_sees(own, others, says):
    waiting = decision(own, *others)
    assert isinstance(waiting, Wait)
    assert waiting.reason
    with pytest.raises(AssertionError, match=says):
        raise AssertionError(waiting.reason)


def test_two_members_of_one_name_begin_nothing():
    twice = tuple(sorted((A, B, B_ANEW)))
    others = {"b": empty(B, *twice), "b, anew": empty(B_ANEW, *twice)}
    waiting = decide(GROUP, empty(A, *twice), others)
    assert waiting == Wait("sees two members of one name (a, b, b)")


def test_a_member_named_in_the_first_configuration_adopts_a_group_that_began():
    assert decision(empty(C, A, C), begun(A)) == Begin(SOME, THREE)
    assert decision(empty(C, *THREE), empty(B, *THREE), begun(A)) == Begin(SOME, THREE)


def test_a_member_that_came_later_waits_to_be_added():
    assert decision(empty(D, A, D), begun(A)) == Join(SOME)


def test_a_member_that_lost_its_directory_is_another_one_and_waits_to_be_added():
    assert decision(empty(B_ANEW, A, B_ANEW, C), begun(A), empty(C, A, B_ANEW, C)) == Join(SOME)


def test_a_group_that_began_is_never_begun_again_beside_it():
    everyone = (A, B_ANEW, C)
    views = (begun(A)._replace(sees=everyone), empty(C, *everyone))
    assert decision(empty(B_ANEW, *everyone), *views) == Join(SOME)


def test_one_peer_that_knows_the_member_counts_more_than_one_that_was_added_later():
    added_later = begun(A, first=())
    assert decision(empty(C, *THREE), added_later, begun(B)) == Begin(SOME, THREE)
    assert decision(empty(C, *THREE), added_later) == Join(SOME)


def test_a_member_that_was_given_the_incarnation_never_begins_another():
    waiting = decision(empty(A, *THREE), empty(B, *THREE), empty(C, *THREE), given=SOME)
    assert waiting == Wait(f"sees a, b, c; waits for one who knows the incarnation {SOME.hex()}")


def test_a_member_that_was_given_the_incarnation_follows_only_that():
    assert isinstance(decision(empty(C, A, C), begun(A, incarnation=OTHER), given=SOME), Wait)
    assert decision(empty(C, *THREE), begun(A, incarnation=OTHER), begun(B), given=SOME) == Begin(SOME, THREE)
    assert decision(empty(D, A, D), begun(A), given=SOME) == Join(SOME)


# --- identities -------------------------------------------------------------------------------------------------------


def test_the_incarnation_depends_on_the_group_and_on_who_began_it_and_on_nothing_else():
    same = {first_incarnation(GROUP, order) for order in ((A, B, C), (C, A, B))}
    assert len(same) == 1
    others = [
        first_incarnation(b"h" * 16, THREE),
        first_incarnation(GROUP, (A, B)),
        first_incarnation(GROUP, (A, B_ANEW, C)),
        recovered_incarnation(SOME, A, 1, 2),
        recovered_incarnation(SOME, A, 2, 1),
        recovered_incarnation(SOME, B, 1, 2),
        recovered_incarnation(OTHER, A, 1, 2),
    ]
    assert len({*same, *others}) == 8
    assert all(len(incarnation) == 16 for incarnation in others)


def test_a_repeated_recovery_makes_the_same_life():
    assert recovered_incarnation(SOME, A, 3, 7) == recovered_incarnation(SOME, A, 3, 7)


def test_the_group_id_depends_on_key_and_machine():
    assert len({group_id(b"k", "orderbook"), group_id(b"l", "orderbook"), group_id(b"k", "counter")}) == 3


# --- the wire ---------------------------------------------------------------------------------------------------------

MEMBERS = st.builds(Member, st.text(max_size=5), st.integers(1, 2**63 - 1))
VIEWS = st.builds(
    View,
    MEMBERS,
    st.integers(1, 99),
    st.just(b"") | st.binary(min_size=16, max_size=16),
    st.lists(MEMBERS, max_size=5).map(tuple),
    st.lists(MEMBERS, max_size=5).map(tuple),
)


@given(VIEWS)
def test_a_view_comes_back_from_the_wire_whole(view):
    assert view_from_wire(view.to_wire()) == view
    assert view_from_wire([*view.to_wire(), "of a later version"]) == view


GOOD = begun(A)._replace(sees=THREE).to_wire()


@pytest.mark.parametrize(
    ("position", "value", "says"),
    [
        (0, 5, "a member is"),
        (1, "11", "a member is"),
        (1, 0, "a member is"),
        (1, 1 << 63, "a member is"),
        (1, True, "a member is"),
        (2, 0, "initial_size"),
        (2, 100, "initial_size"),
        (2, 3.0, "initial_size"),
        (2, True, "initial_size"),
        (3, "", "incarnation"),
        (3, b"short", "incarnation"),
        (4, None, "at most 99"),
        (4, [["a"]], "a member is"),
        (4, [["a", 1]] * 100, "at most 99"),
        (5, [[b"a", 1]], "a member is"),
        (5, ["a"], "a member is"),
    ],
)
def test_each_field_of_a_view_is_checked(position, value, says):
    fields = list(GOOD)
    fields[position] = value
    with pytest.raises(ValueError, match=says):
        view_from_wire(fields)


def test_a_view_that_is_too_short_is_refused():
    with pytest.raises(ValueError, match="six fields"):
        view_from_wire(GOOD[:5])
