"""Waiting for the other side of a stream: ``await stream.when().subscribed().minimum_of(2)``."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from orderbook.groups.waiting import Conditions


class Subscribed:
    """Awaited as it is, it waits for one; ``minimum_of`` for more."""

    def __init__(
        self,
        conditions: Conditions,
        count: Callable[[], int],
        timeout: float | None,
        what: str,
        error: Callable[[], Exception | None],
    ) -> None:
        self._conditions = conditions
        self._count = count
        self._timeout = timeout
        self._what = what
        self._error = error

    def __await__(self) -> Generator[Any, None, None]:
        return self.minimum_of(1).__await__()

    async def minimum_of(self, number: int) -> None:
        """Wait until at least ``number`` are there. TimeoutError if a timeout was given to ``when``; why there will
        never be any, if that is known."""

        def settled() -> bool:
            return self._count() >= number or self._error() is not None

        await self._conditions.until(settled, self._timeout, self._what)
        error = self._error()
        if error is not None and self._count() < number:
            raise error


class When:
    """What ``when()`` of a producer, a consumer or a feed gives."""

    def __init__(
        self,
        conditions: Conditions,
        count: Callable[[], int],
        timeout: float | None,
        what: str,
        error: Callable[[], Exception | None] = lambda: None,
    ) -> None:
        self._subscribed = Subscribed(conditions, count, timeout, what, error)

    def subscribed(self) -> Subscribed:
        return self._subscribed
