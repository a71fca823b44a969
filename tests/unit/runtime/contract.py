"""What every ``orderbook.runtime.Runtime`` promises, as functions over a driver.

A driver makes a fresh runtime and turns its loop: the real one waits, a simulated one advances its clock. A test module
of an implementation takes ``CONTRACT`` as parameters (``test_contract.py`` does it for the real one).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import pytest

from orderbook.runtime import Runtime


class Driver(Protocol):
    runtime: Runtime
    failures: list[BaseException]  # what the runtime reported as ending the node

    def start(self, action: Callable[[], object]) -> None:
        """Call ``action`` on the loop, once."""
        ...

    def run_until(self, condition: Callable[[], bool]) -> None:
        """Turn the loop until the condition holds. Fails the test when it never does."""
        ...


class Boom(Exception):
    pass


def calls_run_in_the_order_in_which_they_were_asked_for(driver: Driver) -> None:
    seen: list[int] = []

    def ask() -> None:
        for number in range(5):
            driver.runtime.call_soon(seen.append, number)
        assert seen == []

    driver.start(ask)
    driver.run_until(lambda: len(seen) == 5)
    assert seen == [0, 1, 2, 3, 4]


def timers_run_once_in_the_order_of_their_delays_and_not_early(driver: Driver) -> None:
    runtime = driver.runtime
    seen: list[tuple[str, float]] = []

    def fire(name: str) -> None:
        seen.append((name, runtime.monotonic() - began))

    began = runtime.monotonic()
    driver.start(lambda: (runtime.call_later(0.06, fire, "later"), runtime.call_later(0.02, fire, "sooner")))
    driver.run_until(lambda: len(seen) >= 2)
    assert [name for name, _ in seen] == ["sooner", "later"]
    resolution = 0.002
    assert seen[0][1] >= 0.02 - resolution
    assert seen[1][1] >= 0.06 - resolution


def a_cancelled_timer_never_runs_and_cancelling_again_is_nothing(driver: Driver) -> None:
    seen: list[str] = []

    def ask() -> None:
        timer = driver.runtime.call_later(0.01, seen.append, "cancelled")
        ran = driver.runtime.call_later(0.02, seen.append, "ran")
        timer.cancel()
        timer.cancel()
        driver.runtime.call_later(0.03, ran.cancel)
        driver.runtime.call_later(0.04, seen.append, "last")

    driver.start(ask)
    driver.run_until(lambda: "last" in seen)
    assert seen == ["ran", "last"]


def the_clocks_go_forward(driver: Driver) -> None:
    runtime = driver.runtime
    readings = [(runtime.monotonic(), runtime.wall_ms())]
    driver.start(lambda: runtime.call_later(0.05, lambda: readings.append((runtime.monotonic(), runtime.wall_ms()))))
    driver.run_until(lambda: len(readings) == 2)
    assert readings[1][0] > readings[0][0]
    assert type(readings[1][1]) is int


def a_spawned_coroutine_runs_and_is_done(driver: Driver) -> None:
    seen: list[str] = []
    tasks = []

    async def work() -> None:
        woken = asyncio.get_running_loop().create_future()
        driver.runtime.call_later(0.01, woken.set_result, "woken")
        seen.append(await woken)

    driver.start(lambda: tasks.append(driver.runtime.spawn(work(), "work")))
    driver.run_until(lambda: bool(tasks) and tasks[0].done())
    assert seen == ["woken"]
    assert driver.failures == []


def a_spawned_coroutine_that_fails_is_reported(driver: Driver) -> None:
    async def fail() -> None:
        raise Boom

    driver.start(lambda: driver.runtime.spawn(fail(), "fail"))
    driver.run_until(lambda: bool(driver.failures))
    assert [type(failure) for failure in driver.failures] == [Boom]


def a_cancelled_coroutine_ends_quietly(driver: Driver) -> None:
    tasks = []

    async def wait() -> None:
        await asyncio.get_running_loop().create_future()

    driver.start(lambda: tasks.append(driver.runtime.spawn(wait(), "wait")))
    driver.start(lambda: driver.runtime.call_later(0.01, tasks[0].cancel))
    driver.run_until(lambda: bool(tasks) and tasks[0].done())
    assert driver.failures == []


def a_callback_that_fails_is_reported_and_the_others_still_run(driver: Driver) -> None:
    seen: list[str] = []

    def fail() -> None:
        raise Boom

    driver.start(lambda: (driver.runtime.call_soon(fail), driver.runtime.call_later(0.01, fail)))
    driver.start(lambda: driver.runtime.call_later(0.03, seen.append, "ran"))
    driver.run_until(lambda: bool(seen))
    assert [type(failure) for failure in driver.failures] == [Boom, Boom]


def a_worker_runs_its_jobs_in_order_and_answers_each(driver: Driver) -> None:
    ran: list[int] = []
    answers: list[tuple[object, BaseException | None]] = []

    def job(number: int) -> Callable[[], int]:
        def run() -> int:
            ran.append(number)
            if number == 2:
                raise Boom
            return number * 10

        return run

    def ask() -> None:
        worker = driver.runtime.worker("jobs")
        for number in range(4):
            worker.submit(job(number), lambda result, error: answers.append((result, error)))
        worker.close()
        assert answers == []

    driver.start(ask)
    driver.run_until(lambda: len(answers) == 4)
    assert ran == [0, 1, 2, 3]
    assert [result for result, _ in answers] == [0, 10, None, 30]
    assert [type(error) for _, error in answers] == [type(None), type(None), Boom, type(None)]
    assert driver.failures == []


def a_closed_worker_takes_no_job(driver: Driver) -> None:
    refused: list[bool] = []

    def ask() -> None:
        worker = driver.runtime.worker("closed")
        worker.close()
        worker.close()
        with pytest.raises(RuntimeError):
            worker.submit(lambda: None, lambda result, error: None)
        refused.append(True)

    driver.start(ask)
    driver.run_until(lambda: bool(refused))


def a_failing_answer_of_a_worker_is_reported(driver: Driver) -> None:
    def answer(result: object, error: BaseException | None) -> None:
        raise Boom

    driver.start(lambda: driver.runtime.worker("answers").submit(lambda: None, answer))
    driver.run_until(lambda: bool(driver.failures))
    assert type(driver.failures[0]) is Boom


def a_fork_answers_later_and_once(driver: Driver) -> None:
    answers: list[BaseException | None] = []

    def ask() -> None:
        driver.runtime.fork(lambda: None, answers.append)
        assert answers == []

    driver.start(ask)
    driver.run_until(lambda: bool(answers))
    assert answers == [None]


def a_fork_that_fails_says_so(driver: Driver) -> None:
    answers: list[BaseException | None] = []

    def fail() -> None:
        raise Boom("what went wrong")

    driver.start(lambda: driver.runtime.fork(fail, answers.append))
    driver.run_until(lambda: bool(answers))
    assert answers[0] is not None
    assert "what went wrong" in str(answers[0])
    assert driver.failures == []


def what_a_fork_writes_to_files_stays(driver: Driver, directory: Path) -> None:
    """Only for runtimes whose jobs may touch the real file system."""
    answers: list[BaseException | None] = []
    driver.start(lambda: driver.runtime.fork(lambda: (directory / "file").write_text("kept") and None, answers.append))
    driver.run_until(lambda: bool(answers))
    assert (directory / "file").read_text() == "kept"


CONTRACT: tuple[Callable[[Driver], None], ...] = (
    calls_run_in_the_order_in_which_they_were_asked_for,
    timers_run_once_in_the_order_of_their_delays_and_not_early,
    a_cancelled_timer_never_runs_and_cancelling_again_is_nothing,
    the_clocks_go_forward,
    a_spawned_coroutine_runs_and_is_done,
    a_spawned_coroutine_that_fails_is_reported,
    a_cancelled_coroutine_ends_quietly,
    a_callback_that_fails_is_reported_and_the_others_still_run,
    a_worker_runs_its_jobs_in_order_and_answers_each,
    a_closed_worker_takes_no_job,
    a_failing_answer_of_a_worker_is_reported,
    a_fork_answers_later_and_once,
    a_fork_that_fails_says_so,
)
