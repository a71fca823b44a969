"""Who is where, as far as this process knows: names, the addresses of each, newest first, and addresses without a name.

What comes from whom, in rising trust (an address keeps the highest that it ever had):

========  =====================================================================================================
HEARD     another peer passed it on
ANSWERED  that peer answered there, or said that it listens there
SERVICE   the records of the headless service; back to HEARD when they no longer hold it
STATIC    given by whoever started this node
========  =====================================================================================================

What was only heard never pushes out what is better known, and never moves an address to the front.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum

MAX_NAMES = 1024
MAX_ADDRESSES = 8  # of one name
MAX_PASSED_ON_BYTES = 128 << 10


class Source(IntEnum):
    HEARD = 0
    ANSWERED = 1
    SERVICE = 2
    STATIC = 3


_ROOM = {Source.HEARD: MAX_NAMES, Source.ANSWERED: 2 * MAX_NAMES}  # names; who is configured always has a place


class _Known:
    __slots__ = ("seen", "source")

    def __init__(self, source: Source, seen: int) -> None:
        self.source = source
        self.seen = seen  # a count of events, the larger the later


class AddressBook:
    def __init__(self, own_name: str) -> None:
        self._own_name = own_name
        self._own: dict[str, None] = {}  # addresses that led back to this process
        self._names: dict[str, dict[str, _Known]] = {}
        self._unnamed: dict[str, Source] = {}
        self._aliases: dict[str, str] = {}  # address -> who answers there, where the service's records say another
        self._events = 0

    def names(self) -> tuple[str, ...]:
        return tuple(self._names)

    def addresses(self, name: str) -> tuple[str, ...]:
        """Newest first."""
        known = self._names.get(name, {})
        return tuple(sorted(known, key=lambda address: known[address].seen, reverse=True))

    def unnamed(self) -> tuple[str, ...]:
        """Addresses of which it is not known who listens there."""
        return tuple(self._unnamed)

    def entries(self) -> list[tuple[str, str]]:
        """What is passed on: of each name the two newest addresses, as far as they fit into a message."""
        entries = [(name, address) for name in self._names for address in self.addresses(name)[:2]]
        room = MAX_PASSED_ON_BYTES
        for position, (name, address) in enumerate(entries):
            room -= len(name) + len(address) + 8
            if room < 0:
                return entries[:position]
        return entries

    def name_of(self, address: str) -> str | None:
        if address in self._own:
            return self._own_name
        return next((name for name, known in self._names.items() if address in known), None)

    def is_configured(self, name: str) -> bool:
        """Somebody who is in charge says that this peer exists, and where."""
        return any(known.source >= Source.SERVICE for known in self._names.get(name, {}).values())

    # --- learning -----------------------------------------------------------------------------------------------------

    def learn(self, name: str, address: str, source: Source) -> bool:
        """True if the address is new for that name."""
        if name == self._own_name:
            return False
        known = self._names.get(name)
        if known is None:
            if len(self._names) >= _ROOM.get(source, len(self._names) + 1):
                return False
            known = self._names[name] = {}
        entry = known.get(address)
        if entry is not None:
            entry.source = max(entry.source, source)
            if source is Source.ANSWERED:
                entry.seen = self._next()
            return False
        if len(known) >= MAX_ADDRESSES and not self._make_room(known, source):
            return False
        known[address] = _Known(source, -self._next() if source is Source.HEARD else self._next())
        return True

    def add_unnamed(self, address: str, source: Source) -> bool:
        """True if that address is new."""
        name = self.name_of(address)
        if name is None:
            new = address not in self._unnamed
            self._unnamed[address] = max(source, self._unnamed.get(address, source))
            return new
        if name != self._own_name:
            self.learn(name, address, source)
        return False

    def answered(self, name: str, address: str) -> bool:
        """``name`` was found at an address, whoever was thought to be there. True if that is news."""
        source = self._unnamed.pop(address, Source.ANSWERED)
        for other in self.names():
            if other != name and address in self._names[other]:
                source = max(source, self._names[other][address].source)
                self._drop(other, address)
                if source is Source.SERVICE:
                    self._aliases[address] = name
        if name == self._own_name:
            news = address not in self._own
            self._own[address] = None
            return news
        news = self.learn(name, address, max(source, Source.ANSWERED))
        self.learn(name, address, Source.ANSWERED)
        return news

    def set_service(self, named: Mapping[str, Iterable[str]], unnamed: Iterable[str]) -> bool:
        """What the records of the service hold now. True if an address is new."""
        now = {address for addresses in named.values() for address in addresses} | set(unnamed)
        for known in self._names.values():
            for address, entry in known.items():
                if entry.source is Source.SERVICE and address not in now:
                    entry.source = Source.HEARD
        for address in self.unnamed():
            if self._unnamed[address] is Source.SERVICE and address not in now:
                del self._unnamed[address]
        self._aliases = {address: name for address, name in self._aliases.items() if address in now}
        news = [
            self.learn(self._aliases.get(address, name), address, Source.SERVICE)
            for name in named
            for address in named[name]
        ]
        news += [self.add_unnamed(address, Source.SERVICE) for address in unnamed]
        return any(news)

    def forget(self, name: str) -> None:
        self._names.pop(name, None)

    def _next(self) -> int:
        self._events += 1
        return self._events

    def _make_room(self, known: dict[str, _Known], source: Source) -> bool:
        """Drop the least trusted, oldest address that the new one may push out."""
        worst = min(known, key=lambda address: (known[address].source, known[address].seen))
        if known[worst].source > source or (source is Source.HEARD):
            return False
        del known[worst]
        return True

    def _drop(self, name: str, address: str) -> None:
        del self._names[name][address]
        if not self._names[name]:
            del self._names[name]
