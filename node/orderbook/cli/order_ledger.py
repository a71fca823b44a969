"""What a client was told against what a group did: the check of ``bench --failover``, without any I/O.

Every answer of a batch is noted, and every event of the applied log, as a feed brings them, in whichever order the two
come. At the end each answered command must be in the log where the answer said, with the same events: what is not is
``lost``. No order may have been accepted twice: ids are never used again, so one that was is ``doubled``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from orderbook.book import EventKind
from orderbook.book.events import Event
from orderbook.book.levels import LevelBook

MOST_ORDERS = 1 << 30  # of one run; an id further off is somebody else's


class OrderLedger:
    """``levels`` is the book that the events of the log add up to."""

    def __init__(self, first_id: int = 1) -> None:
        """``first_id`` is the least id of an order that is counted: others below it are somebody else's."""
        self.levels = LevelBook()
        self.acknowledged = 0  # commands that were answered
        self.index = 0  # of the last entry of the log that was seen whole
        self._answers: dict[int, tuple[int, int, Sequence[Any]]] = {}  # index -> (commands, first ordinal, events)
        self._entries: dict[int, list[Event]] = {}  # seen, and not answered yet
        self._reading: tuple[int, list[Event]] | None = None
        self._first_id = first_id
        self._accepted = bytearray(1 << 16)  # by order id from the first: how often, at most 2
        self._differing = 0
        self._doubled = 0

    def answered(self, commands: int, log_index: int, first_ordinal: int, events: Sequence[Any]) -> None:
        """A batch was acknowledged with these events."""
        self.acknowledged += commands
        entry = self._entries.pop(log_index, None)
        if entry is None:
            self._answers[log_index] = (commands, first_ordinal, events)
        else:
            self._compare(commands, first_ordinal, events, entry)

    def seen(self, log_index: int, event: Event) -> None:
        """The next event of the log."""
        if self._reading is None or self._reading[0] != log_index:
            self.read_up_to(log_index - 1)
            self._reading = (log_index, [])
        self._reading[1].append(event)

    def read_up_to(self, log_index: int) -> None:
        """No more events come up to this index."""
        if self._reading is not None and self._reading[0] <= log_index:
            index, entry = self._reading
            self._reading = None
            self._take(index, entry)
        self.index = max(self.index, log_index)

    @property
    def lost(self) -> int:
        """Commands whose answer is not what the log says, as far as it was read."""
        return self._differing + sum(commands for commands, _, _ in self._answers.values())

    @property
    def doubled(self) -> int:
        """Orders that were accepted more than once."""
        return self._doubled

    def _take(self, index: int, entry: list[Event]) -> None:
        for event in entry:
            if event[0] == EventKind.ACCEPTED:
                self._count(event[2])
            self.levels.follow(event)
        answer = self._answers.pop(index, None)
        if answer is None:
            self._entries[index] = entry
        else:
            self._compare(*answer, entry)

    def _compare(self, commands: int, first: int, events: Sequence[Any], entry: list[Event]) -> None:
        if [tuple(event) for event in events] != entry[first:]:
            self._differing += commands

    def _count(self, id: int) -> None:
        place = id - self._first_id
        if not 0 <= place < MOST_ORDERS:
            return
        if place >= len(self._accepted):
            self._accepted.extend(bytes(max(place + 1 - len(self._accepted), len(self._accepted))))
        if self._accepted[place] == 1:
            self._doubled += 1
        self._accepted[place] = min(self._accepted[place] + 1, 2)
