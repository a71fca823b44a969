"""A forked job in the simulator: it sees one moment, and its operations on the disk take their time.

The job runs on a thread of its own, but only while the world waits for it: it stops before each operation on the disk
and goes on when its next event comes. So all is in one order, the same in every run, and between two operations of the
child the parent lives on, fails, or ends.

A real child has a copy of all memory. This one reads the parent's, so it must have read all that it needs before its
first operation on the disk: it does as long as a snapshot is smaller than the buffer of its writer.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Semaphore, Thread

from faults.disk import SimulatedCrash


class _Killed(BaseException):
    """The child is gone. No ``except Exception`` gets to see it."""


class Child:
    def __init__(self, job: Callable[[], None]) -> None:
        self.ended = False
        self.error: BaseException | None = None  # what the job raised
        self.crash: SimulatedCrash | None = None  # the machine stopped in an operation of the child
        self._job = job
        self._killed = False
        self._go = Semaphore(0)
        self._stopped = Semaphore(0)
        self._thread = Thread(target=self._run, name="child", daemon=True)
        self._thread.start()

    def step(self) -> None:
        """Let it go on until it is about to do something to the disk, or ends."""
        if not self.ended:
            self._go.release()
            self._stopped.acquire()

    def before_operation(self) -> None:
        """Called on the child's thread: the world goes on first."""
        if self._killed:
            raise _Killed
        self._stopped.release()
        self._go.acquire()
        if self._killed:
            raise _Killed

    def kill(self) -> None:
        self._killed = True
        self.step()
        self._thread.join()

    def _run(self) -> None:
        self._go.acquire()
        try:
            if not self._killed:
                self._job()
        except SimulatedCrash as crash:
            self.crash = crash
        except _Killed:
            self.error = RuntimeError("killed")
        except BaseException as error:  # noqa: BLE001 - the parent is told
            self.error = error
        self.ended = True
        self._stopped.release()
