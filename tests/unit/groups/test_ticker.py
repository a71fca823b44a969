"""Ticks are steady; after a stall what arrived comes first, and what was missed stays missed."""

from __future__ import annotations

from typing import cast

from orderbook.groups.ticker import Ticker
from orderbook.runtime import Runtime
from unit.groups.virtual_runtime import VirtualRuntime

PERIOD = 0.05


def test_ticks_come_at_a_steady_pace_until_it_is_stopped() -> None:
    runtime, ticks = VirtualRuntime(), list[float]()
    ticker = Ticker(cast("Runtime", runtime), PERIOD, lambda: ticks.append(round(runtime.now, 3)))
    ticker.start()
    runtime.advance(4.5 * PERIOD)
    assert ticks == [0.05, 0.1, 0.15, 0.2]
    ticker.stop()
    runtime.advance(1.0)
    assert len(ticks) == 4


def test_after_a_stall_what_arrived_is_taken_before_one_tick() -> None:
    runtime, seen = VirtualRuntime(), list[str]()
    ticker = Ticker(cast("Runtime", runtime), PERIOD, lambda: seen.append("tick"))
    ticker.start()
    runtime.now += 20 * PERIOD  # the loop was held up; then it finds the timer due, and a frame that waited
    runtime.call_soon(lambda: seen.append("frame"))
    runtime.advance(0.5 * PERIOD)
    assert seen == ["frame", "tick"]


def test_a_tick_may_stop_it() -> None:
    runtime, ticks = VirtualRuntime(), list[int]()
    ticker = Ticker(cast("Runtime", runtime), PERIOD, lambda: (ticks.append(1), ticker.stop())[0])
    ticker.start()
    runtime.advance(1.0)
    assert ticks == [1]
