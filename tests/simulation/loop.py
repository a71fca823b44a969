"""An asyncio event loop on the virtual clock: coroutines, futures and tasks of one process run in scheduled order.

Only what tasks and futures need is there; sockets, threads and signals are not, and asking for them raises
NotImplementedError.
"""

from __future__ import annotations

import asyncio
from asyncio import AbstractEventLoop
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any

from simulation.scheduler import Event, Host, Scheduler


class VirtualLoop(AbstractEventLoop):
    def __init__(self, scheduler: Scheduler, host: Host, unhandled: Callable[[BaseException], object]) -> None:
        self._scheduler = scheduler
        self._host = host
        self._unhandled = unhandled

    def run_event(self, event: Event) -> None:
        """Run an event as this loop's turn."""
        outside = asyncio._get_running_loop()
        asyncio._set_running_loop(self)
        try:
            if event.context is not None:
                event.context.run(event.call, *event.args)
            else:
                event.call(*event.args)
        finally:
            asyncio._set_running_loop(outside)

    def time(self) -> float:
        return self._scheduler.now

    def call_soon(self, callback: Callable[..., object], *args: Any, context: Context | None = None) -> Event:
        return self.call_at(self._scheduler.now, callback, *args, context=context)

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Event:
        return self.call_at(self._scheduler.now + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Event:
        event = self._scheduler.at(when, self._host, callback, *args)
        event.context = context
        return event

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(
        self, coroutine: Coroutine[Any, Any, Any], *, name: str | None = None, context: Context | None = None
    ) -> asyncio.Task[Any]:
        return asyncio.Task(coroutine, loop=self, name=name, context=context)

    def is_running(self) -> bool:
        return asyncio._get_running_loop() is self

    def is_closed(self) -> bool:
        return not self._host.alive

    def get_debug(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """A future's error that nobody took, at the time of its collection: told only while the process lives."""
        error = context.get("exception")
        if self._host.alive and error is not None:
            self._unhandled(error)
