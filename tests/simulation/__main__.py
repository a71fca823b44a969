"""Long runs, and single ones again: ``PYTHONPATH=node:tests python -m simulation --seeds 0-999``.

--seed N        one seed; a failure comes with the last lines of what happened
--minimise      leave out faults of a failing seed as long as it still fails in the same way
--faults 0,4,7  only these faults of the seed's schedule
--seeds A-B     many seeds, on all cores, with a summary
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

from simulation.schedule import draw_schedule
from simulation.world import Report, World, draw_shape

SHOWN_LINES = 80


class Outcome(NamedTuple):
    seed: int
    report: Report | None
    failure: str  # empty if all was well


def try_seed(seed: int) -> Outcome:
    try:
        return Outcome(seed, World(seed).run(), "")
    except Exception as error:  # noqa: BLE001 - that is what is looked for
        return Outcome(seed, None, f"{type(error).__name__}: {error}")


def repeat_command(seed: int) -> str:
    return f"PYTHONPATH=node:tests python -m simulation --seed {seed}"


def run_one(seed: int, numbers: list[int] | None, lines: int) -> int:
    schedule = draw_schedule(seed, draw_shape(seed).seconds)
    faults = schedule if numbers is None else [schedule[number] for number in numbers]
    world = World(seed, faults)
    try:
        report = world.run()
    except Exception as error:  # noqa: BLE001
        for at, who, what in list(world.scheduler.lines)[-lines:]:
            print(f"{at:9.4f}  {who:10}  {what}")
        traceback.print_exception(error)
        print(f"seed {seed} fails; again: {repeat_command(seed)}")
        return 1
    print(f"seed {seed}: {report.steps} steps, {report.virtual_seconds:.1f} virtual s, trace {report.digest}")
    print(f"  {_in_words(report.counts)}\n  faults: {_in_words(report.faults)}")
    return 0


def minimise(seed: int) -> int:
    """Drop faults, the greater parts first, while the failure stays of its kind."""
    schedule = draw_schedule(seed, draw_shape(seed).seconds)
    kind = _failure_of(seed, list(range(len(schedule))))
    if kind is None:
        print(f"seed {seed} doesn't fail")
        return 0
    kept = list(range(len(schedule)))
    size = max(1, len(kept) // 2)
    while size:
        start = 0
        while start < len(kept):
            fewer = kept[:start] + kept[start + size :]
            if _failure_of(seed, fewer) == kind:
                kept = fewer
            else:
                start += size
        size //= 2
    for number in kept:
        print(f"{number:4}  {schedule[number].at:9.4f}  {schedule[number].kind}")
    print(f"{kind}; again: {repeat_command(seed)} --faults {','.join(map(str, kept))}")
    return 1


def _failure_of(seed: int, numbers: list[int]) -> str | None:
    schedule = draw_schedule(seed, draw_shape(seed).seconds)
    try:
        World(seed, [schedule[number] for number in numbers]).run()
    except Exception as error:  # noqa: BLE001
        return type(error).__name__
    return None


def run_many(first: int, last: int, processes: int) -> int:
    began = time.monotonic()
    failures: list[Outcome] = []
    faults: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    seconds = 0.0
    steps = 0
    for done, outcome in enumerate(_outcomes(first, last, processes), 1):
        if outcome.report is None:
            failures.append(outcome)
            print(f"seed {outcome.seed} fails: {outcome.failure}\n  again: {repeat_command(outcome.seed)}", flush=True)
        else:
            faults += outcome.report.faults
            counts += outcome.report.counts
            seconds += outcome.report.virtual_seconds
            steps += outcome.report.steps
        if done % 100 == 0:
            print(f"{done} seeds, {len(failures)} failures, {time.monotonic() - began:.0f} s", flush=True)
    took = time.monotonic() - began
    print(f"faults: {_in_words(faults)}\n{_in_words(counts)}")
    print(
        f"{last - first + 1} seeds, {len(failures)} failures, {seconds / 3600:.1f} simulated hours, {steps} steps "
        f"in {took:.0f} s ({steps / took:.0f} steps/s on {processes} processes)"
    )
    return 1 if failures else 0


def _outcomes(first: int, last: int, processes: int) -> Iterator[Outcome]:
    seeds = range(first, last + 1)
    if processes == 1:
        yield from map(try_seed, seeds)
        return
    with ProcessPoolExecutor(processes) as pool:
        yield from pool.map(try_seed, seeds, chunksize=5)


def _in_words(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in sorted(counter.items()))


def main() -> int:
    parser = argparse.ArgumentParser(prog="simulation", description=__doc__.split("\n", 1)[0])
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--seed", type=int)
    which.add_argument("--seeds", metavar="A-B")
    parser.add_argument("--faults", help="comma-separated numbers of faults")
    parser.add_argument("--minimise", action="store_true")
    parser.add_argument("--lines", type=int, default=SHOWN_LINES, help="how much of what happened is shown")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    if options.seeds is not None:
        first, _, last = options.seeds.partition("-")
        return run_many(int(first), int(last or first), options.processes)
    if options.minimise:
        return minimise(options.seed)
    numbers = [int(number) for number in options.faults.split(",")] if options.faults else None
    return run_one(options.seed, numbers, options.lines)


if __name__ == "__main__":
    sys.exit(main())
