"""Long runs, and single ones again: ``PYTHONPATH=node:tests python -m simulation --seeds 0-999``.

--seed N        one seed; a failure comes with the last lines of what happened
--minimise      leave out faults of a failing seed as long as it still fails in the same way
--faults 0,4,7  only these faults of the seed's schedule
--seeds A-B     many seeds, on all cores, with progress and a summary; what fails is minimised at the end
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

from simulation.minimise import Minimised, minimised
from simulation.schedule import draw_schedule
from simulation.world import Report, World, draw_shape

SHOWN_LINES = 80
PROGRESS_EVERY = 100  # seeds
MINIMISED = 3  # failing seeds of a long run


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
    found = minimised(seed)
    if found is None:
        print(f"seed {seed} doesn't fail")
        return 0
    _print_minimised(found)
    return 1


def _print_minimised(found: Minimised) -> None:
    for number, fault in found.faults:
        print(f"{number:4}  {fault.at:9.4f}  {fault.kind}")
    numbers = ",".join(str(number) for number, _ in found.faults)
    command = repeat_command(found.seed) + (f" --faults {numbers}" if numbers else " --faults none")
    print(f"{found.failure}; {len(found.faults)} faults are enough; again: {command}", flush=True)


class Total:
    """What many runs add up to."""

    def __init__(self) -> None:
        self.failures: list[Outcome] = []
        self.faults: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.hours = 0.0
        self.steps = 0
        self.seeds = 0
        self._began = time.monotonic()

    def add(self, outcome: Outcome) -> None:
        self.seeds += 1
        if outcome.report is None:
            self.failures.append(outcome)
            return
        self.faults += outcome.report.faults
        self.counts += outcome.report.counts
        self.hours += outcome.report.virtual_seconds / 3600
        self.steps += outcome.report.steps

    def line(self) -> str:
        took = time.monotonic() - self._began
        return (
            f"{self.seeds} seeds, {len(self.failures)} failures, {self.hours:.1f} simulated hours, "
            f"{self.steps} steps in {took:.0f} s ({self.steps / took:.0f} steps/s)"
        )


def run_many(first: int, last: int, processes: int) -> int:
    total = Total()
    for outcome in _outcomes(first, last, processes):
        total.add(outcome)
        if outcome.report is None:
            print(f"seed {outcome.seed} fails: {outcome.failure}\n  again: {repeat_command(outcome.seed)}", flush=True)
        if total.seeds % PROGRESS_EVERY == 0:
            print(total.line(), flush=True)
    summary = total.line()
    for outcome in total.failures[:MINIMISED]:
        minimise(outcome.seed)
    print(f"faults: {_in_words(total.faults)}\n{_in_words(total.counts)}\n{summary}, on {processes} processes")
    return 1 if total.failures else 0


def _outcomes(first: int, last: int, processes: int) -> Iterator[Outcome]:
    seeds = range(first, last + 1)
    if processes == 1:
        yield from map(try_seed, seeds)
        return
    with ProcessPoolExecutor(processes) as pool:
        yield from pool.map(try_seed, seeds, chunksize=5)


def _in_words(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in sorted(counter.items()))


def _range_of(text: str) -> tuple[int, int]:
    first, _, last = text.partition("-")
    return int(first), int(last or first)


def _numbers_of(text: str) -> list[int]:
    return [] if text == "none" else [int(number) for number in text.split(",")]


def main() -> int:
    parser = argparse.ArgumentParser(prog="simulation", description=__doc__.split("\n", 1)[0])
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--seed", type=int)
    which.add_argument("--seeds", metavar="A-B", type=_range_of)
    parser.add_argument("--faults", type=_numbers_of, help="comma-separated numbers of faults, or none")
    parser.add_argument("--minimise", action="store_true")
    parser.add_argument("--lines", type=int, default=SHOWN_LINES, help="how much of what happened is shown")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    if options.seeds is not None:
        return run_many(*options.seeds, options.processes)
    if options.minimise:
        return minimise(options.seed)
    return run_one(options.seed, options.faults, options.lines)


if __name__ == "__main__":
    sys.exit(main())
