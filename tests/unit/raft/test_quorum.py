"""Majorities, against their definition."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from orderbook.raft.quorum import Electorate, VoteResult

ids = st.lists(st.integers(1, 9), min_size=1, max_size=7, unique=True).map(tuple)
electorates = st.one_of(ids.map(Electorate), st.builds(Electorate, ids, ids))


def quorums(electorate: Electorate) -> list[set[int]]:
    """Every set of voters that may decide, by brute force."""
    everyone = sorted({*electorate.incoming, *electorate.outgoing})
    halves = [half for half in electorate if half]
    subsets = [set(chosen) for size in range(len(everyone) + 1) for chosen in combinations(everyone, size)]
    return [chosen for chosen in subsets if all(len(chosen & set(half)) * 2 > len(half) for half in halves)]


@settings(deadline=None)
@given(electorates, st.lists(st.integers(0, 20), min_size=10, max_size=10))
def test_agreed_is_the_greatest_value_that_some_quorum_has_reached(electorate: Electorate, values: list[int]) -> None:
    reached = values.__getitem__
    assert electorate.agreed(reached) == max(min(map(reached, quorum)) for quorum in quorums(electorate))


@settings(deadline=None)
@given(electorates, st.dictionaries(st.integers(1, 9), st.booleans()))
def test_a_vote_is_won_by_a_quorum_and_lost_when_none_is_left(electorate: Electorate, votes: dict[int, bool]) -> None:
    granted = {voter for voter, vote in votes.items() if vote}
    refused = {voter for voter, vote in votes.items() if not vote}
    result = electorate.result(votes)
    assert (result is VoteResult.WON) == any(quorum <= granted for quorum in quorums(electorate))
    assert (result is VoteResult.LOST) == all(quorum & refused for quorum in quorums(electorate))


@settings(deadline=None)
@given(electorates)
def test_two_quorums_of_an_electorate_share_a_voter(electorate: Electorate) -> None:
    decided = quorums(electorate)
    assert all(one & other for one in decided for other in decided)


def test_nobody_decides_nothing() -> None:
    nobody = Electorate(())
    assert nobody.agreed(lambda voter: 9) == 0
    assert nobody.result({}) is not VoteResult.WON
