"""One task for each OrderBookGroup: it waits until its group is due, and makes a pass over it.

Level-based: a wake says that something about a group has changed, never what. Wakes that come together, or during a
pass, make one pass. A pass that fails is counted, logged and tried again, later each time; no failure of one group ends
its task, or another's.

Tasks run only while this operator leads. What it knows of groups it keeps meanwhile: the next leader's first pass over
each needs no event.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from random import Random
from typing import Protocol

from orderbook_operator.cluster import ClusterError
from orderbook_operator.credentials import UnreadableSecret
from orderbook_operator.metrics import Metrics, PassResult
from orderbook_operator.observe import Sight
from orderbook_operator.reconcile import Key, Passed
from orderbook_operator.resource import ResourceError
from orderbook_operator.schedule import Schedule
from orderbook_operator.seen import Unreadable

PASS_SECONDS = 60.0
PASSES_AT_ONCE = 8

_logger = logging.getLogger("orderbook.operator.groups")
_current: ContextVar[dict[str, object]] = ContextVar("current_pass", default={})  # noqa: B039 - never changed


def log_fields() -> dict[str, object]:
    """What every line of the log says during a pass: the group, its namespace, the number of the pass."""
    return _current.get()


class Passes(Protocol):
    """What is done in a pass; see ``reconcile.Reconciler``."""

    async def full(self, key: Key) -> Passed: ...

    async def quick(self, key: Key, sight: Sight) -> Passed: ...

    async def unreadable(self, key: Key, problem: str) -> None: ...

    def expect(self, key: Key) -> None: ...

    def ended(self, key: Key) -> None: ...

    def forget(self, key: Key, sight: Sight | None) -> None: ...


class Groups:
    """All groups that the operator knows of."""

    def __init__(
        self, passes: Passes, metrics: Metrics, random: Random, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.ended_at = clock()  # when a pass ended last, well or not
        self.failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()  # never of a group's making
        self._passes = passes
        self._metrics = metrics
        self._random = random
        self._clock = clock
        self._at_once = asyncio.Semaphore(PASSES_AT_ONCE)
        self._woken: dict[Key, asyncio.Event] = {}
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self._is_running = False

    def wake(self, namespace: str, name: str) -> None:
        """Something about this group has changed, or it is new."""
        key = namespace, name
        self._woken.setdefault(key, asyncio.Event()).set()
        if self._is_running and key not in self._tasks:
            self._begin(key)

    def start(self) -> None:
        """From now on this operator acts: a task for each group that is known."""
        self._is_running = True
        for key, woken in self._woken.items():
            woken.set()
            self._begin(key)

    async def stop(self) -> None:
        """It acts no more: every pass is cut off where it stands. Raises nothing."""
        self._is_running = False
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._metrics.forget()

    def stalled_for(self) -> float:
        """Seconds since a pass ended, while there are groups to make passes over."""
        return self._clock() - self.ended_at if self._tasks else 0.0

    def _begin(self, key: Key) -> None:
        if not self._tasks:
            self.ended_at = self._clock()
        self._passes.expect(key)
        task = asyncio.create_task(self._run(key), name="/".join(key))
        self._tasks[key] = task
        task.add_done_callback(lambda ended: self._ended(key, ended))

    def _ended(self, key: Key, task: asyncio.Task[None]) -> None:
        del self._tasks[key]
        if not task.cancelled() and (error := task.exception()) is not None and not self.failure.done():
            self.failure.set_exception(error)
        elif self._is_running and key in self._woken:
            self._begin(key)  # woken while it ended

    async def _run(self, key: Key) -> None:
        """Until the resource is gone."""
        schedule = Schedule(self._random)
        sight: Sight | None = None
        number = 0
        while True:
            woken = await self._due(key, schedule)
            number += 1
            _current.set({"namespace": key[0], "group": key[1], "pass": number})
            now = self._clock()
            full = sight is None or schedule.needs_full(now, woken=woken)
            async with self._at_once:
                passed = await self._pass(key, None if full else sight)
            self._passes.ended(key)
            sight = passed.sight or sight
            if passed.result is PassResult.GONE and not self._woken[key].is_set():
                self._passes.forget(key, sight)
                del self._woken[key]
                return
            schedule.ended(passed.result, passed.about, self._clock(), full=full)

    async def _due(self, key: Key, schedule: Schedule) -> bool:
        """Wait until a pass is due; whether something woke it."""
        woken = self._woken[key]
        while (left := schedule.due(self._clock(), woken=woken.is_set())) > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    if woken.is_set():
                        await asyncio.sleep(left)
                    else:
                        await woken.wait()
        was_woken = woken.is_set()
        woken.clear()
        return was_woken

    async def _pass(self, key: Key, at_rest: Sight | None) -> Passed:
        begun = self._clock()
        try:
            async with asyncio.timeout(PASS_SECONDS):
                passed = await (self._passes.quick(key, at_rest) if at_rest is not None else self._passes.full(key))
        except asyncio.CancelledError:
            self._metrics.passed(key, PassResult.STOPPED, self._clock() - begun)
            raise
        except TimeoutError:
            _logger.warning("the pass took longer than %g s", PASS_SECONDS)
            passed = Passed(PassResult.FAILED, "TimeoutError")
        except ClusterError as error:
            _logger.warning("the pass failed: %s", error)
            passed = Passed(PassResult.FAILED, type(error).__name__)
        except (ResourceError, Unreadable, UnreadableSecret) as error:
            _logger.warning("the group can't be read: %s", error)
            passed = Passed(PassResult.FAILED, str(error))
            await self._passes.unreadable(key, str(error))
        except Exception as error:  # a fault of ours in one group must not stop the others
            _logger.exception("a fault of the operator")
            passed = Passed(PassResult.FAILED, repr(error))
        self.ended_at = self._clock()
        self._metrics.passed(key, passed.result, self.ended_at - begun)
        return passed
