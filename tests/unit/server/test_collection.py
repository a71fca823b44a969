"""A node frees what refers to itself, in steps that stay small however much lives."""

from __future__ import annotations

import gc
import weakref
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from orderbook.server import collection
from orderbook.server.collection import FREEZE_ABOVE, YOUNG_LEAST, Collector
from orderbook.server.runtime import AsyncioRuntime
from unit.server.members import until


class Knot:
    def __init__(self) -> None:
        self.itself = self


@pytest_asyncio.fixture
async def runtime() -> AsyncIterator[AsyncioRuntime]:
    """The collector is the process's: it is put back."""
    failures: list[BaseException] = []
    yield AsyncioRuntime(failures.append)
    gc.unfreeze()
    gc.enable()
    assert failures == []


async def test_many_small_knots_are_freed_soon(runtime: AsyncioRuntime) -> None:
    collector = Collector(runtime)
    assert not gc.isenabled()
    last = [weakref.ref(Knot()) for _ in range(2 * YOUNG_LEAST)][-1]
    assert last() is not None
    await until(lambda: last() is None, "it is found")
    collector.close()


async def test_a_lone_knot_is_freed_in_the_end(runtime: AsyncioRuntime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collection, "LOOKS_BETWEEN_ALL", 3)
    collector = Collector(runtime)
    one = weakref.ref(Knot())
    await until(lambda: one() is None, "it is found")
    collector.close()


async def test_what_lives_in_masses_is_searched_no_more(runtime: AsyncioRuntime) -> None:
    collector = Collector(runtime)
    frozen = gc.get_freeze_count()
    living = [[number] for number in range(FREEZE_ABOVE + 1)]
    await until(lambda: collector.freezes, "it is frozen")
    assert gc.get_freeze_count() >= frozen + len(living)
    collector.close()
