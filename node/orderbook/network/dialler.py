"""Seeks a connection with every peer that the address book names, and a name for every address that has none.

A peer without a live connection is sought by one task: its addresses are tried newest first, then it rests for a time
that doubles up to a bound, halved at random, and starts over. A new address starts it anew at once. Peers dial each
other from both sides; ``admission`` leaves one connection.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from orderbook.network.addresses import AddressBook
from orderbook.network.handshake import Reason
from orderbook.network.options import NetworkOptions
from orderbook.runtime import Runtime, Task, pause

_MAX_TOLD = 1024
_logger = logging.getLogger("orderbook.network")


class Answer(NamedTuple):
    """Who answered a dial (None: nobody said who), and why there is no connection (None: there is)."""

    name: str | None
    reason: Reason | None = None
    detail: str = ""


class _Search:
    """For a name: the addresses that were its turn already, and the task, which may have been followed by another."""

    __slots__ = ("task", "tried")

    def __init__(self, first: str) -> None:
        self.tried = {first: None}
        self.task: Task | None = None


class Dialler:
    """``dial(address)`` never raises. ``answered(address, answer)`` is told of each dial's end."""

    def __init__(
        self,
        runtime: Runtime,
        options: NetworkOptions,
        book: AddressBook,
        dial: Callable[[str], Awaitable[Answer]],
        is_linked: Callable[[str], bool],
        answered: Callable[[str, Answer], None],
    ) -> None:
        self._runtime = runtime
        self._options = options
        self._book = book
        self._dial = dial
        self._is_linked = is_linked
        self._answered = answered
        self._seeking: dict[str, _Search] = {}  # by name
        self._probing: dict[str, Task] = {}  # by address
        self._told: dict[str, tuple[Reason | None, str]] = {}  # address -> what was last logged of it
        self._running = False

    def start(self) -> None:
        self._running = True
        self.look()

    def look(self) -> None:
        """The address book changed, or a connection ended: seek whoever is missing and not sought."""
        if not self._running:
            return
        for name in self._book.names():
            addresses = self._book.addresses(name)
            if self._is_linked(name) or not addresses:
                continue
            search = self._seeking.get(name)
            if search is not None:
                if addresses[0] in search.tried:
                    continue
                _cancel(search.task)
            search = self._seeking[name] = _Search(addresses[0])
            search.task = self._runtime.spawn(self._seek(name, search), f"seek {name}")
        for address in self._book.unnamed():
            if address not in self._probing:
                self._probing[address] = self._runtime.spawn(self._probe(address), f"ask who is at {address}")

    def close(self) -> None:
        self._running = False
        for task in (*(search.task for search in self._seeking.values()), *self._probing.values()):
            _cancel(task)

    async def _seek(self, name: str, search: _Search) -> None:
        missing_since = self._runtime.monotonic()
        failures = 0
        await self._rest(-1)  # both sides of a lost connection notice at once: dial one after the other
        while True:
            for address in self._book.addresses(name):
                if self._is_linked(name):
                    break
                search.tried[address] = None
                await self._attempt(address)
            if self._is_linked(name) or not self._book.addresses(name):
                break
            missing_for = self._runtime.monotonic() - missing_since
            if missing_for > self._options.forget_after and not self._book.is_configured(name):
                self._book.forget(name)
                break
            await self._rest(failures)
            failures += 1
        if self._seeking.get(name) is search:
            del self._seeking[name]
            self.look()

    async def _probe(self, address: str) -> None:
        failures = 0
        while True:
            await self._attempt(address)
            if address not in self._book.unnamed():
                break
            await self._rest(failures)
            failures += 1
        del self._probing[address]
        self.look()

    async def _attempt(self, address: str) -> None:
        answer = await self._dial(address)
        said = answer.reason, answer.name or ""
        if answer.reason is None or answer.reason is Reason.DUPLICATE:
            self._told.pop(address, None)
        elif self._told.get(address) != said:
            if len(self._told) >= _MAX_TOLD:
                self._told.clear()
            self._told[address] = said
            fields = {"address": address, "peer": answer.name, "reason": str(answer.reason), "detail": answer.detail}
            _logger.info("a dial failed; it is tried again, quietly", extra={"fields": fields})
        self._answered(address, answer)

    async def _rest(self, failures: int) -> None:
        longest = min(self._options.first_backoff * 2.0 ** min(failures, 30), self._options.most_backoff)
        await pause(self._runtime, longest * (0.5 + 0.5 * self._runtime.random.random()))


def _cancel(task: Task | None) -> None:
    if task is not None:
        task.cancel()
