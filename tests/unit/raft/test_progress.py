"""What a leader concludes from a follower's answers, which may be late, repeated and out of order."""

from __future__ import annotations

import pytest

from orderbook.raft.progress import Inflight, Progress, ProgressState


def replicating(match: int, sent: int) -> Progress:
    """A follower that has ``match``, with ``sent`` appends of one entry and 10 bytes each on their way."""
    progress = Progress(match + 1, Inflight(100, 1000))
    progress.accepted(match, 1)
    for _ in range(sent):
        progress.sent(1, 10)
    assert (progress.state, progress.next) == (ProgressState.REPLICATE, match + 1 + sent)
    return progress


def test_an_answer_frees_every_append_up_to_it_and_takes_back_no_optimism() -> None:
    progress = replicating(5, 4)
    assert progress.accepted(7, 1)
    assert (progress.match, progress.next, len(progress.inflight), progress.inflight.bytes) == (7, 10, 2, 20)


def test_a_late_answer_is_no_news() -> None:
    progress = replicating(5, 1)
    assert not progress.accepted(4, 1)
    assert (progress.match, progress.next) == (5, 7)


def test_a_rejection_leads_from_replicating_to_probing_behind_what_is_known() -> None:
    progress = replicating(5, 3)
    progress.rejected(8, 3)
    assert (progress.state, progress.next, len(progress.inflight)) == (ProgressState.PROBE, 6, 0)


def test_a_late_rejection_changes_nothing() -> None:
    progress = replicating(5, 3)
    progress.rejected(5, 3)
    assert (progress.state, progress.next) == (ProgressState.REPLICATE, 9)

    probing = Progress(9, Inflight(100, 1000))
    probing.sent(1, 10)
    probing.rejected(6, 4)
    assert (probing.next, probing.waits) == (9, True)


@pytest.mark.parametrize(("hint", "following"), [(4, 4), (8, 8), (20, 8)])
def test_a_rejected_probe_goes_to_the_hint_but_never_forward(hint: int, following: int) -> None:
    probing = Progress(9, Inflight(100, 1000))
    probing.sent(0, 0)
    assert not probing.may_send(20, 20)
    probing.rejected(8, hint)
    assert probing.next == following
    assert probing.may_send(20, 20)


def test_a_probe_never_goes_back_behind_what_is_known() -> None:
    progress = replicating(5, 3)
    progress.probe()
    progress.sent(0, 0)
    progress.rejected(5, 2)
    assert progress.next == 6


def test_a_follower_that_waits_for_a_snapshot_replicates_when_the_log_reaches_it_again() -> None:
    progress = Progress(9, Inflight(100, 1000))
    progress.await_snapshot(20)
    assert not progress.may_send(30, 30)
    progress.accepted(10, 21)
    assert (progress.state, progress.match) == (ProgressState.SNAPSHOT, 10)
    assert progress.accepted(20, 21)
    assert (progress.state, progress.next) == (ProgressState.REPLICATE, 21)


@pytest.mark.parametrize(("reached", "following"), [(20, 21), (0, 6)])
def test_after_a_transfer_the_next_answer_decides(reached: int, following: int) -> None:
    progress = replicating(5, 0)
    progress.await_snapshot(20)
    progress.snapshot_done(reached)
    assert (progress.state, progress.next) == (ProgressState.PROBE, following)
    assert not progress.may_send(30, 30)


def test_a_commit_index_is_sent_once() -> None:
    progress = replicating(5, 0)
    assert progress.may_send(5, 5)
    progress.sent_commit = 5
    assert not progress.may_send(5, 5)
    assert progress.may_send(5, 6)
    assert progress.may_send(6, 5)


@pytest.mark.parametrize(("appends", "size"), [(2, 1000), (100, 20)])
def test_a_full_window_holds_everything_back(appends: int, size: int) -> None:
    window = Inflight(appends, size)
    window.add(1, 10)
    assert not window.full
    window.add(2, 10)
    assert window.full
    window.free_to(1)
    assert not window.full
    assert (len(window), window.bytes) == (1, 10)
