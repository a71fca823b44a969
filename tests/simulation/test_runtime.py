"""The simulated runtime keeps the promises of ``orderbook.runtime``, and a few of its own."""

import asyncio
from random import Random

import pytest

from faults.disk import FaultyDisk, SimulatedCrash
from simulation.runtime import Clock, SimulatedRuntime
from simulation.scheduler import OutOfSteps, Scheduler
from unit.runtime.contract import CONTRACT


class VirtualDriver:
    def __init__(self, seed=0, **options):
        self.scheduler = Scheduler()
        self.failures = []
        self.crashes = []
        self.runtime = SimulatedRuntime(
            self.scheduler, "p", Random(seed), self.failures.append, self.crashes.append, **options
        )

    def start(self, action):
        self.runtime.call_soon(action)

    def run_until(self, condition):
        assert self.scheduler.run_until(condition, until=self.scheduler.now + 60, max_steps=100_000)

    def run_out(self):
        self.scheduler.run_until(lambda: False, until=float("inf"), max_steps=100_000)


@pytest.mark.parametrize("promise", CONTRACT, ids=lambda promise: promise.__name__)
def test_the_simulated_runtime_keeps(promise):
    promise(VirtualDriver())


def test_a_clock_that_runs_fast_sees_its_timers_early_by_true_time():
    driver = VirtualDriver(clock=Clock(rate=2.0, offset_ms=5000, start=100.0))
    seen = []
    before = driver.runtime.wall_ms()
    driver.runtime.call_later(1.0, lambda: seen.append(driver.runtime.monotonic()))
    driver.run_until(lambda: seen)
    assert driver.scheduler.now == pytest.approx(0.5)
    assert seen == [pytest.approx(101.0)]
    assert driver.runtime.wall_ms() - before == pytest.approx(1000, abs=1)


def test_a_process_that_ended_does_nothing_more():
    driver = VirtualDriver()
    seen = []

    async def wait():
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            seen.append("closed")

    driver.start(lambda: driver.runtime.spawn(wait(), "wait"))
    driver.runtime.call_later(1.0, seen.append, "timer")
    driver.scheduler.step()
    driver.scheduler.step()
    driver.runtime.end()
    driver.run_out()
    assert seen == ["closed"]
    assert driver.failures == []


def test_a_paused_process_does_everything_later_and_in_order():
    driver = VirtualDriver()
    seen = []
    for number in range(3):
        driver.runtime.call_later(number, seen.append, number)
    driver.runtime.paused = True
    driver.run_out()
    assert seen == []
    driver.scheduler.resume(driver.runtime)
    driver.run_out()
    assert seen == [0, 1, 2]


def test_a_job_under_way_is_cut_short_at_any_operation_when_the_process_ends():
    found = set()
    for seed in range(60):
        driver = VirtualDriver(seed)
        disk = FaultyDisk(Random(seed))
        disk.make_directory("/d")

        def job(disk=disk):
            for name in "abc":
                disk.create(f"/d/{name}").close()

        driver.start(lambda driver=driver, job=job: driver.runtime.worker("disk").submit(job, lambda *_: None))
        driver.scheduler.step()

        def cut(disk=disk, seed=seed):
            disk.crash_at = disk.operations + seed % 5

        driver.runtime.end(cut)
        found.add(tuple(disk.list_directory("/d")))
        assert driver.crashes == []
    assert found == {(), ("a",), ("a", "b"), ("a", "b", "c")}


def test_a_crash_in_a_job_or_a_callback_is_the_worlds_business_and_nobody_elses():
    driver = VirtualDriver()
    answers = []

    def crash():
        raise SimulatedCrash("here")

    driver.start(lambda: driver.runtime.worker("disk").submit(crash, lambda *answer: answers.append(answer)))
    driver.start(crash)
    driver.run_out()
    assert [type(crash) for crash in driver.crashes] == [SimulatedCrash] * 2
    assert (answers, driver.failures) == ([], [])


def test_a_job_waits_while_the_disk_stalls():
    driver = VirtualDriver()
    ran = []
    driver.runtime.stalled_until = 7.0
    driver.start(lambda: driver.runtime.worker("disk").submit(lambda: ran.append(driver.scheduler.now), lambda *_: 0))
    driver.run_until(lambda: ran)
    assert 7.0 <= ran[0] < 7.1


def forking(seed, end_after=None, fails=False):
    """A parent that changes its state while its child writes three files: what the child wrote, and its answers."""
    driver = VirtualDriver(seed)
    disk = FaultyDisk(Random(seed))
    disk.make_directory("/d")
    disk.before = driver.runtime.before_operation
    state, moments, answers = [7], [], []
    driver.runtime.fork_fails = fails

    def job():
        seen = state[0]
        for name in "abc":
            disk.create(f"/d/{name}{seen}").close()
            moments.append(driver.scheduler.now)

    def change():
        state[0] += 1
        driver.runtime.call_later(0.0001, change)

    driver.start(lambda: (driver.runtime.fork(job, answers.append), change()))
    if end_after is not None:
        driver.scheduler.run_until(lambda: len(moments) > end_after, until=10.0, max_steps=100_000)
        driver.runtime.end()
    else:
        driver.run_until(lambda: answers)
        driver.runtime.end()
    return disk.list_directory("/d"), moments, answers


def test_a_forked_job_sees_one_moment_and_each_of_its_operations_has_its_own():
    files, moments, answers = forking(1)
    assert files == ["a7", "b7", "c7"]
    assert len(set(moments)) == 3
    assert answers == [None]


def test_a_forked_job_that_is_killed_has_done_a_part_of_its_work_or_all_and_is_told():
    found = set()
    for seed in range(40):
        files, _, answers = forking(seed, fails=True)
        found.add(len(files))
        assert "killed" in str(answers[0])
    assert found == {0, 1, 2, 3}


def test_a_forked_job_ends_with_its_parent_or_a_little_later():
    found = {len(forking(seed, end_after=0)[0]) for seed in range(40)}
    assert found == {1, 2, 3}


def test_a_crash_in_an_operation_of_a_forked_job_stops_the_machine():
    driver = VirtualDriver()
    disk = FaultyDisk(Random(1))
    disk.make_directory("/d")
    disk.before = driver.runtime.before_operation
    disk.crash_at = 1
    answers = []
    driver.start(lambda: driver.runtime.fork(lambda: [disk.create(f"/d/{n}") for n in "abc"] and None, answers.append))
    driver.run_until(lambda: driver.crashes)
    assert answers == []


def test_a_clock_that_changes_its_pace_does_not_jump():
    clock = Clock(rate=1.0, start=100.0)
    clock.run_at(2.0, now=10.0)
    assert clock.monotonic(10.0) == 110.0
    assert clock.monotonic(11.0) == 112.0
    clock.run_at(0.5, now=11.0)
    assert clock.monotonic(13.0) == 113.0


def test_the_same_seed_gives_the_same_run_and_another_one_another():
    def run(seed):
        driver = VirtualDriver(seed)
        worker = driver.runtime.worker("disk")

        async def work():
            for _ in range(20):
                answered = asyncio.get_running_loop().create_future()
                worker.submit(driver.runtime.random.random, lambda number, _, to=answered: to.set_result(number))
                driver.scheduler.note("p", repr(await answered))

        driver.runtime.spawn(work(), "work")
        driver.run_out()
        return driver.scheduler.digest()

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_a_world_that_spins_is_stopped():
    driver = VirtualDriver()

    def again():
        driver.runtime.call_soon(again)

    again()
    with pytest.raises(OutOfSteps):
        driver.scheduler.run_until(lambda: False, until=1.0, max_steps=1000)
