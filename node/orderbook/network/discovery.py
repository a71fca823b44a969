"""Finding the peers of this network: from addresses that were given, from each other, from a headless service.

One known peer suffices: on every new connection both sides say whom they know, and whoever is met later is passed on
to all. What is learnt goes to the address book; the dialler seeks whoever is missing. A member whose address changes is
found again because it dials the others, because they pass its new address on, and because the service is asked again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from orderbook.network import service_records
from orderbook.network.addresses import AddressBook, Source
from orderbook.network.dialler import Answer, Dialler
from orderbook.network.handshake import Reason, is_address
from orderbook.network.options import NetworkOptions
from orderbook.network.service_records import ServiceLookup, ServiceRecords
from orderbook.runtime import Runtime, Task


class PeerUnreachable(ConnectionError):
    """No peer of this network answered at an address in time: the message says what was tried and why it failed."""


class Discovery:
    def __init__(
        self,
        runtime: Runtime,
        options: NetworkOptions,
        own_name: str,
        dial: Callable[[str], Awaitable[Answer]],
        is_linked: Callable[[str], bool],
    ) -> None:
        self._runtime = runtime
        self._own_name = own_name
        self._book = AddressBook(own_name)
        self._dialler = Dialler(runtime, options, self._book, dial, is_linked, self._answered)
        self._told_us: dict[str, None] = {}  # peers that said on their live connection whom they know
        self._answers: dict[str, Answer] = {}  # the last one of each address that somebody waits for
        self._waiting: list[tuple[str, asyncio.Future[None]]] = []
        self._watches: list[Task] = []

    # --- for users ----------------------------------------------------------------------------------------------------

    def add(self, address: str) -> None:
        """Seek whoever listens at ``host:port``, for as long as it takes. Raises ValueError on anything else."""
        if not is_address(address):
            raise ValueError(f"an address is host:port, not {address!r}")
        self._book.add_unnamed(address, Source.STATIC)
        self._dialler.look()

    async def sync_with(self, address: str, timeout: float = 10.0) -> None:
        """Meet the peer at ``host:port``, learn whom it knows, tell it whom we know. Raises PeerUnreachable after
        ``timeout`` seconds; the address is tried further even then."""
        self.add(address)
        synced: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = (address, synced)
        self._waiting.append(waiting)

        def give_up() -> None:
            if not synced.done():
                last = self._answers.get(address)
                why = f"{last.reason}: {last.detail}" if last is not None and last.reason else "no answer yet"
                synced.set_exception(PeerUnreachable(f"nobody of this network answers at {address}: {why}"))

        timer = self._runtime.call_later(timeout, give_up)
        self._check_waiting()
        try:
            await synced
        finally:
            timer.cancel()
            self._waiting.remove(waiting)
            self._answers.pop(address, None)

    def watch_service(self, lookup: ServiceLookup, every: float = 5.0) -> None:
        """Ask a headless service for the members, now and about every so many seconds."""
        self._watches.append(
            self._runtime.spawn(
                service_records.watch(self._runtime, lookup, every, self._found), f"watch {lookup.service}"
            )
        )

    def known(self) -> dict[str, tuple[str, ...]]:
        """Names and their addresses, newest first."""
        return {name: self._book.addresses(name) for name in sorted(self._book.names())}

    # --- for Peers ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """From here on whoever is known is dialled."""
        self._dialler.start()

    def entries(self) -> list[tuple[str, str]]:
        return self._book.entries()

    def met(self, name: str, address: str) -> bool:
        """A peer with a live connection says that it listens there. True if that is news, worth passing on."""
        news = self._book.learn(name, address, Source.ANSWERED)
        self._dialler.look()
        return news

    def heard(self, teller: str, entries: list[tuple[str, str]]) -> None:
        for name, address in entries:
            self._book.learn(name, address, Source.HEARD)
        self._told_us[teller] = None
        self._dialler.look()
        self._check_waiting()

    def lost(self, name: str) -> None:
        self._told_us.pop(name, None)
        self._dialler.look()

    def close(self) -> None:
        self._dialler.close()
        for watch in self._watches:
            watch.cancel()

    # --- inside -------------------------------------------------------------------------------------------------------

    def _answered(self, address: str, answer: Answer) -> None:
        if answer.reason is Reason.ITSELF:
            self._book.answered(self._own_name, address)
        elif answer.name is not None and answer.reason in (None, Reason.DUPLICATE):
            self._book.answered(answer.name, address)
        if any(waited == address for waited, _ in self._waiting):
            self._answers[address] = answer
        self._dialler.look()
        self._check_waiting()

    def _found(self, records: ServiceRecords) -> None:
        self._book.set_service(records.named, records.unnamed)
        self._dialler.look()

    def _check_waiting(self) -> None:
        for address, synced in self._waiting:
            name = self._book.name_of(address)
            if not synced.done() and (name == self._own_name or name in self._told_us):
                synced.set_result(None)
