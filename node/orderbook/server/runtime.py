"""The real ``orderbook.runtime.Runtime``: this machine's clocks and generator, an asyncio (or uvloop) event loop,
threads and forked children.

Nothing that fails is lost: an exception that leaves a spawned coroutine or a callback goes to ``on_failure``, with
which the node logs it and ends. Times are as fine as the loop's: uvloop's timers count whole milliseconds.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import signal
import stat
import time
import traceback
import warnings
from collections.abc import Callable, Coroutine
from contextlib import suppress
from queue import SimpleQueue
from random import Random
from threading import Thread
from typing import Any, NoReturn, TypeVar

from orderbook.runtime import Timer, Worker

T = TypeVar("T")
OnFailure = Callable[[BaseException], object]
Deliver = Callable[..., None]
_PR_SET_PDEATHSIG = 1


class ForkedJobFailed(RuntimeError):
    """A forked job raised (the message is the child's traceback) or was killed (the message names the signal)."""


class AsyncioRuntime:
    """One node's world on the running loop. Make it there; everything in it is for that loop's thread only."""

    def __init__(self, on_failure: OnFailure) -> None:
        self.random = Random()  # seeded by the operating system
        self._loop = asyncio.get_running_loop()
        self._on_failure = on_failure
        self._tasks: dict[asyncio.Task[Any], None] = {}  # the loop itself keeps only weak references
        self._set_death_signal = getattr(ctypes.CDLL(None), "prctl", None)  # found here: a child should load nothing

    def monotonic(self) -> float:
        return time.monotonic()

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def call_soon(self, callback: Callable[..., object], *args: Any) -> None:
        self._loop.call_soon(self._guarded, callback, args)

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> Timer:
        return self._loop.call_later(delay, self._guarded, callback, args)

    def spawn(self, coroutine: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        task = self._loop.create_task(coroutine, name=name)
        self._tasks[task] = None
        task.add_done_callback(self._ended)
        return task

    def worker(self, name: str) -> Worker:
        return ThreadWorker(name, self._deliver)

    def fork(self, job: Callable[[], None], done: Callable[[BaseException | None], None]) -> None:
        """See ``Runtime.fork``. The child has this thread only, so ``job`` must not take a lock that another may hold
        (it must not log); it runs without sockets, dies with this process, and leaves without any exit handler."""
        reading, writing = os.pipe()
        parent = os.getpid()
        try:
            with warnings.catch_warnings():
                # From 3.12 on Python warns of locks that other threads hold: hence the rule above.
                warnings.simplefilter("ignore", DeprecationWarning)
                child = os.fork()
        except OSError as error:
            os.close(reading)
            os.close(writing)
            self.call_soon(done, error)
            return
        if child == 0:
            _run_in_child(job, writing, parent, self._set_death_signal)
        os.close(writing)
        Thread(target=self._wait_for, args=(child, reading, done), name="fork", daemon=True).start()

    def _wait_for(self, child: int, reading: int, done: Callable[[BaseException | None], None]) -> None:
        with open(reading, "rb") as pipe:
            report = pipe.read()
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        error: BaseException | None = None
        if code < 0:
            error = ForkedJobFailed(f"killed by {signal.Signals(-code).name}")
        elif code != 0 or report:
            error = ForkedJobFailed(report.decode(errors="replace") or f"ended with exit code {code}")
        self._deliver(done, error)

    def _deliver(self, callback: Callable[..., object], *args: Any) -> None:
        """Called by threads. When the loop is closed nobody is left to be told."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._guarded, callback, args)

    def _guarded(self, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
        try:
            callback(*args)
        except Exception as error:  # noqa: BLE001 - whatever it is, the node must not go on without knowing
            self._on_failure(error)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        del self._tasks[task]
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_failure(error)


class ThreadWorker:
    """One daemon thread and its queue. Measured: about 50 µs from ``submit`` to ``done`` around an empty job."""

    def __init__(self, name: str, deliver: Deliver) -> None:
        self._deliver = deliver
        self._jobs: SimpleQueue[tuple[Callable[[], Any], Callable[[Any, BaseException | None], None]] | None]
        self._jobs = SimpleQueue()
        self._closed = False
        Thread(target=self._run, name=name, daemon=True).start()

    def submit(self, job: Callable[[], T], done: Callable[[T | None, BaseException | None], None]) -> None:
        if self._closed:
            raise RuntimeError("this worker is closed")
        self._jobs.put((job, done))

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._jobs.put(None)

    def _run(self) -> None:
        while (entry := self._jobs.get()) is not None:
            job, done = entry
            try:
                result = job()
            except BaseException as error:  # noqa: BLE001 - it belongs to the submitter
                self._deliver(done, None, error)
            else:
                self._deliver(done, result, None)
            del entry, job, done  # an idle thread must not keep the last job's memory


def _run_in_child(
    job: Callable[[], None], writing: int, parent: int, set_death_signal: Callable[[int, int], int] | None
) -> NoReturn:
    code = 1
    try:
        if set_death_signal is not None:  # Linux
            set_death_signal(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(code)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which decides
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        gc.disable()  # a collection would touch, and so copy, every page
        _close_sockets()
        job()
        code = 0
    except BaseException:  # noqa: BLE001 - the parent is told
        with suppress(OSError):
            os.write(writing, traceback.format_exc().encode(errors="replace")[-32_768:])
    finally:
        os._exit(code)


def _close_sockets() -> None:
    """A connection that the parent closes must end then, not when the last child that inherited it does."""
    for entry in os.listdir("/dev/fd"):
        with suppress(OSError):
            if stat.S_ISSOCK(os.fstat(int(entry)).st_mode):
                os.close(int(entry))
