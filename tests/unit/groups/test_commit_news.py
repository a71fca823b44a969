"""A commit index waits for an append to travel with, unless somebody elsewhere waits for it."""

from __future__ import annotations

from typing import Any, cast

import pytest

from orderbook.groups.commit_news import CommitNews
from orderbook.raft import RawNode
from orderbook.runtime import Runtime
from unit.groups.virtual_runtime import VirtualRuntime

OWN, OTHER = 1, 2
HOLD = 0.002


class Leader:
    """What the driver asks of raft here."""

    id = OWN

    def __init__(self) -> None:
        self.holds_commit = False
        self.announced = 0

    def announce_commit(self) -> None:
        self.announced += 1
        self.holds_commit = False


class Scene:
    def __init__(self) -> None:
        self.runtime = VirtualRuntime()
        self.node = Leader()
        self.turns = 0
        self.news = CommitNews(cast("Runtime", self.runtime), cast("RawNode", self.node), HOLD, self._wake)

    def _wake(self) -> None:
        self.turns += 1

    def commit(self, origin: int) -> None:
        self.news.applied(origin)
        self.node.holds_commit = True
        self.news.turn()


@pytest.fixture
def scene() -> Any:
    return Scene()


def test_an_own_client_s_entry_waits_and_is_then_told_once(scene: Scene) -> None:
    scene.commit(OWN)
    scene.commit(OWN)
    assert scene.node.announced == 0
    scene.runtime.advance(HOLD)
    assert (scene.node.announced, scene.turns) == (1, 1)
    scene.runtime.advance(1.0)
    assert scene.node.announced == 1


@pytest.mark.parametrize("origin", [OTHER, 0])
def test_what_another_member_or_all_of_them_wait_for_is_told_at_once(scene: Scene, origin: int) -> None:
    scene.commit(origin)
    assert (scene.node.announced, scene.turns) == (1, 1)


def test_telling_at_once_ends_the_waiting(scene: Scene) -> None:
    scene.commit(OWN)
    scene.commit(OTHER)
    scene.runtime.advance(1.0)
    assert scene.node.announced == 1


def test_an_append_that_carried_it_leaves_nothing_to_tell_in_the_turn(scene: Scene) -> None:
    scene.news.applied(OTHER)
    scene.news.turn()
    assert scene.node.announced == 0


def test_a_stopped_member_tells_nothing(scene: Scene) -> None:
    scene.commit(OWN)
    scene.news.stop()
    scene.runtime.advance(1.0)
    assert scene.node.announced == 0
