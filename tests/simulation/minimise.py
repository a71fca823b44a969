"""Which faults of a failing seed are enough to make it fail: what a failure is reported with.

The schedule is drawn before the run, so that one fault can be left out and the others stay the same. Parts of it are
left out, the greater ones first, as long as the run still fails with an error of the same type (Zeller's delta
debugging). It ends when no single fault can be left out, or after so many runs; then more than needed may be left.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from simulation.schedule import Fault, draw_schedule
from simulation.world import World, draw_shape

RUNS = 200


class Minimised(NamedTuple):
    """``faults``: their numbers in the seed's schedule, and what they are."""

    seed: int
    faults: list[tuple[int, Fault]]
    failure: str


def minimised(seed: int, runs: int = RUNS) -> Minimised | None:
    """None if the seed doesn't fail."""
    schedule = draw_schedule(seed, draw_shape(seed).seconds)
    everything = list(range(len(schedule)))

    def failure(numbers: list[int]) -> Exception | None:
        try:
            World(seed, [schedule[number] for number in numbers]).run()
        except Exception as error:  # noqa: BLE001 - that is what is looked for
            return error
        return None

    first = failure(everything)
    if first is None:
        return None
    kept = fewest(everything, lambda numbers: type(failure(numbers)) is type(first), runs)
    return Minimised(seed, [(number, schedule[number]) for number in kept], f"{type(first).__name__}: {first}")


def fewest(items: list[int], fails: Callable[[list[int]], bool], runs: int) -> list[int]:
    """A part of ``items`` with which ``fails`` still holds, found by leaving out, in at most ``runs`` tries."""
    kept = list(items)
    size = len(kept)
    while size and runs > 0:
        start = 0
        while start < len(kept) and runs > 0:
            fewer = kept[:start] + kept[start + size :]
            runs -= 1
            if fails(fewer):
                kept = fewer
            else:
                start += size
        size //= 2
    return kept
