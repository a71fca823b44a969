"""``orderbook.runtime.Runtime`` of a simulated process: virtual clock, seeded generator, workers with drawn durations.

One runtime is one life of a process. When it ends, everything it had scheduled is gone, and a job that a worker had
under way may be cut short between any two of its operations on the disk.

Jobs of workers run at one virtual moment each, a drawn time after they were submitted and a drawn time before their
answer. A forked job sees the state of the moment of its fork; each of its operations on the disk has its own moment.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any, TypeVar

from faults.disk import SimulatedCrash
from simulation.child import Child
from simulation.loop import VirtualLoop
from simulation.scheduler import Event, Scheduler

T = TypeVar("T")
Done = Callable[[Any, BaseException | None], None]
EPOCH_MS = 1_700_000_000_000


class Clock:
    """A machine's clocks: both run at ``rate`` of true time, and the wall clock is off by ``offset_ms``."""

    def __init__(self, rate: float = 1.0, offset_ms: int = 0, start: float = 0.0) -> None:
        self.rate = rate
        self.offset_ms = offset_ms
        self.start = start
        self._since = 0.0  # true time of the last change of the rate,
        self._passed = 0.0  # and what had passed by then

    def run_at(self, rate: float, now: float) -> None:
        """From now on; nothing jumps."""
        self._passed, self._since = self._elapsed(now), now
        self.rate = rate

    def monotonic(self, now: float) -> float:
        return self.start + self._elapsed(now)

    def wall_ms(self, now: float) -> int:
        return EPOCH_MS + self.offset_ms + int(self._elapsed(now) * 1000)

    def _elapsed(self, now: float) -> float:
        return self._passed + (now - self._since) * self.rate


class Durations:
    """How long things take, in seconds: drawn evenly on a logarithmic scale between two bounds."""

    def __init__(self, random: Random, shortest: float = 50e-6, longest: float = 3e-3) -> None:
        self._random = random
        self._shortest = shortest
        self._ratio = longest / shortest

    def draw(self) -> float:
        return self._shortest * self._ratio ** self._random.random()


class SimulatedRuntime:
    def __init__(
        self,
        scheduler: Scheduler,
        name: str,
        random: Random,
        on_failure: Callable[[BaseException], object],
        on_crash: Callable[[SimulatedCrash], object],
        *,
        clock: Clock | None = None,
        durations: Durations | None = None,
    ) -> None:
        self.random = random
        self.name = name
        self.alive = True
        self.paused = False
        self.stalled_until = 0.0  # jobs that touch the disk wait until then
        self.fork_fails = False  # the next forked job is killed after some of its operations on the disk, or all
        self.scheduler = scheduler
        self._clock = clock or Clock()
        self._durations = durations or Durations(Random(random.getrandbits(64)))
        self._on_failure = on_failure
        self._on_crash = on_crash
        self._loop = VirtualLoop(scheduler, self, self._report)
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._workers: list[SimulatedWorker] = []
        self._children: dict[Child, int | None] = {}  # and after how many more operations each is killed
        self._running_child: Child | None = None

    # --- Runtime ------------------------------------------------------------------------------------------------------

    def monotonic(self) -> float:
        return self._clock.monotonic(self.scheduler.now)

    def wall_ms(self) -> int:
        return self._clock.wall_ms(self.scheduler.now)

    def call_soon(self, callback: Callable[..., object], *args: Any) -> None:
        self.scheduler.at(self.scheduler.now, self, callback, *args)

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> Event:
        return self.scheduler.at(self.scheduler.now + delay / self._clock.rate, self, callback, *args)

    def spawn(self, coroutine: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        task = self._loop.create_task(coroutine, name=name)
        self._tasks[task] = None
        task.add_done_callback(self._ended)
        return task

    def worker(self, name: str) -> SimulatedWorker:
        worker = SimulatedWorker(self, name)
        self._workers.append(worker)
        return worker

    def fork(self, job: Callable[[], None], done: Callable[[BaseException | None], None]) -> None:
        child = Child(job)
        self._children[child] = self.random.randrange(6) if self.fork_fails else None
        self.fork_fails = False
        self._step(child, done)

    def _step(self, child: Child, done: Callable[[BaseException | None], None]) -> None:
        left = self._children[child]
        if left is not None:
            self._children[child] = left - 1
        self._let_go_on(child, child.kill if left == 0 else child.step)
        if not child.ended:
            start = max(self.scheduler.now, self.stalled_until)
            self.scheduler.at(start + self.duration(), self, self._step, child, done)
            return
        del self._children[child]
        if child.crash is not None:
            raise child.crash
        error = child.error or (RuntimeError("killed") if left is not None else None)
        self.call_later(self.duration(), done, error and RuntimeError(f"the child failed: {error!r}"))

    def _let_go_on(self, child: Child, how: Callable[[], None]) -> None:
        self._running_child = child
        try:
            how()
        finally:
            self._running_child = None

    def before_operation(self, number: int, kind: str, path: str) -> None:
        """What the disk calls before each operation: one of a child waits for its moment."""
        if self._running_child is not None:
            self._running_child.before_operation()

    # --- the world's side ---------------------------------------------------------------------------------------------

    def duration(self) -> float:
        return self._durations.draw()

    def run(self, event: Event) -> None:
        try:
            self._loop.run_event(event)
        except SimulatedCrash as crash:
            self._on_crash(crash)
        except Exception as error:  # noqa: BLE001 - the process ends with it
            self._report(error)

    def crashed(self, crash: SimulatedCrash) -> None:
        """The machine stopped within a job."""
        self._on_crash(crash)

    def end(self, cut_short: Callable[[], None] = lambda: None) -> None:
        """The process is gone. ``cut_short`` is called before a job that was under way gets to run a little more."""
        if not self.alive:
            return
        self.alive = False
        self.scheduler.forget(self)
        for child in list(self._children):
            for _ in range(self.random.randrange(4)):
                self._let_go_on(child, child.step)
            self._let_go_on(child, child.kill)
        self._children.clear()
        for worker in self._workers:
            worker.abandon(cut_short)
        tasks, self._tasks = self._tasks, {}
        for task in tasks:
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # asyncio's own way to say that it is known
            if not task.done() and task is not asyncio.current_task(self._loop):
                _close(task)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)
        if task.cancelled():
            return
        error = task.exception()
        if isinstance(error, SimulatedCrash):
            self._on_crash(error)
        elif error is not None:
            self._report(error)

    def _report(self, error: BaseException) -> None:
        if self.alive:
            self._on_failure(error)


class SimulatedWorker:
    """A thread that blocks: its jobs run one at a time, in order, each at one virtual moment."""

    def __init__(self, runtime: SimulatedRuntime, name: str) -> None:
        self._runtime = runtime
        self._name = name
        self._jobs: deque[tuple[Callable[[], Any], Done]] = deque()
        self._begun: tuple[Callable[[], Any], Done] | None = None
        self._closed = False
        self._answered_at = 0.0

    def submit(self, job: Callable[[], T], done: Callable[[T | None, BaseException | None], None]) -> None:
        if self._closed:
            raise RuntimeError(f"worker {self._name} is closed")
        self._jobs.append((job, done))
        if self._begun is None:
            self._begin()

    def close(self) -> None:
        self._closed = True

    def abandon(self, cut_short: Callable[[], None]) -> None:
        """The process ends. The job under way may have got a part of its work done, or all of it."""
        self._jobs.clear()
        if self._begun is not None:
            job, _ = self._begun
            self._begun = None
            cut_short()
            try:
                job()
            except (SimulatedCrash, Exception):  # noqa: BLE001 - nobody is left to be told
                return

    def _begin(self) -> None:
        runtime = self._runtime
        self._begun = self._jobs.popleft()
        start = max(runtime.scheduler.now, runtime.stalled_until)
        runtime.scheduler.at(start + runtime.duration(), runtime, self._run)

    def _run(self) -> None:
        assert self._begun is not None
        job, done = self._begun
        result, error = None, None
        loop = asyncio._get_running_loop()
        asyncio._set_running_loop(None)
        try:
            result = job()
        except SimulatedCrash:
            self._begun = None
            raise
        except BaseException as problem:  # noqa: BLE001 - it belongs to the submitter
            error = problem
        finally:
            asyncio._set_running_loop(loop)
        self._begun = None
        runtime = self._runtime
        self._answered_at = max(self._answered_at, runtime.scheduler.now + runtime.duration() / 2)
        runtime.scheduler.at(self._answered_at, runtime, done, result, error)
        if self._jobs:
            self._begin()


def _close(task: asyncio.Task[Any]) -> None:
    """Drop a coroutine of a process that is gone; what its ``finally`` blocks do reaches nobody."""
    try:
        task.get_coro().close()  # type: ignore[union-attr]
    except (SimulatedCrash, Exception):  # noqa: BLE001
        return
