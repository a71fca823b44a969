"""Who sees what of an entry on which feed, and its bytes, packed once for all who see the same.

======  ==========================================  =====================================  =======================
feed    an admin                                    a trader                               an observer
======  ==========================================  =====================================  =======================
FILLS   every fill with both names                  every fill, its own name where it is   every fill, no names
EVENTS  every event                                 its own events, those that concern all  what is public, no names
BOOK    changes of levels, the same for everybody
======  ==========================================  =====================================  =======================

Of a machine that is no order book there is only EVENTS, and for admins only: nothing says who else may see what.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import NamedTuple

from orderbook.book.constants import FILL
from orderbook.book.events import VIEWS, public, traders_of
from orderbook.book.levels import level_changes
from orderbook.book.visibility import private
from orderbook.groups.statemachine import Event
from orderbook.streams.ring import RingEntry
from orderbook.wire.feed_frames import FeedFrameKind, pack_feed_frame
from orderbook.wire.roles import Role

Rows = list[tuple[int, Event]]
Encode = Callable[[bytes], bytes]
MAX_KEPT_BYTES = 256 << 10
MAX_ROWS = 1000  # of a frame: an entry that leads to more events is more than one
_KEPT_BYTES = 64  # what a kept frame takes beside its bytes

_PAIR_PLACES = {kind: view._fields.index("pair") for kind, view in VIEWS.items() if "pair" in view._fields}


class FeedKind(StrEnum):
    FILLS = "fills"
    EVENTS = "events"
    BOOK = "book"


class View(NamedTuple):
    """What one reader asked for, and who it is. ``pair`` None is every pair; ``text`` asks for JSON."""

    kind: FeedKind
    pair: str | None
    principal: str
    role: Role
    text: bool

    def narrowed(self) -> View:
        """The same for all who see the same."""
        if self.kind is FeedKind.BOOK:
            return self._replace(principal="", role=Role.OBSERVER)
        return self if self.role == Role.TRADER else self._replace(principal="")


class Frame(NamedTuple):
    """Bytes, and the first sequence that is not in them nor in those before."""

    data: bytes
    next: tuple[int, int]


Frames = tuple[Frame, ...]


class Scene:
    """One entry while it is looked at by its audiences: what several of them need is computed once."""

    def __init__(self, entry: RingEntry) -> None:
        self.entry = entry
        self._by_trader: dict[str, Rows] | None = None
        self._fills: Rows | None = None

    @property
    def rows(self) -> Rows:
        return list(enumerate(self.entry.events))

    @property
    def fills(self) -> Rows:
        if self._fills is None:
            self._fills = [row for row in enumerate(self.entry.events) if row[1][0] == FILL]
        return self._fills

    def of(self, trader: str) -> Rows:
        """The events that are the trader's own or concern all, in order."""
        if self._by_trader is None:
            self._by_trader = {}
            for row in enumerate(self.entry.events):
                for owner in traders_of(row[1]) or ("",):
                    self._by_trader.setdefault(owner, []).append(row)
        own, common = self._by_trader.get(trader, []), self._by_trader.get("", [])
        return sorted(own + common) if own and common and trader else own or common


class Audience:
    """All readers with the same view, and the frames that were packed for them."""

    def __init__(self, view: View, is_book: bool, encode: Encode) -> None:
        self.view = view
        self.packed = 0  # statistics
        self._is_book = is_book
        self._encode = encode
        self._kept: dict[int, Frames] = {}  # of the newest entries whole, for who comes behind
        self._kept_bytes = 0

    def frames(self, scene: Scene) -> Frames:
        """The entry as this audience sees it; none where it sees nothing of it."""
        index = scene.entry.log_index
        if index in self._kept:
            return self._kept[index]
        frames = self._pack(scene, 0)
        self._kept[index] = frames
        self._kept_bytes += _size(frames)
        while self._kept_bytes > MAX_KEPT_BYTES:
            self._kept_bytes -= _size(self._kept.pop(next(iter(self._kept))))
        return frames

    def frames_from(self, scene: Scene, ordinal: int) -> Frames:
        """The same without the events before ``ordinal``: for one reader who has these."""
        return self._pack(scene, ordinal) if ordinal else self.frames(scene)

    def _pack(self, scene: Scene, ordinal: int) -> Frames:
        rows = self._rows(scene)
        if ordinal:
            rows = [row for row in rows if row[0] >= ordinal]
        index, time_ms = scene.entry.log_index, scene.entry.time_ms
        if self.view.kind is FeedKind.BOOK:
            changes = net_changes((row[1] for row in rows), self.view.pair)
            if not changes:
                return ()
            self.packed += 1
            return (
                Frame(self._encode(pack_feed_frame(FeedFrameKind.LEVELS, index, time_ms, changes)), (index + 1, 0)),
            )
        self.packed += bool(rows)
        frames = []
        for start in range(0, len(rows), MAX_ROWS):
            part, more = rows[start : start + MAX_ROWS], start + MAX_ROWS < len(rows)
            packed = pack_feed_frame(FeedFrameKind.EVENTS, index, time_ms, part, more)
            frames.append(Frame(self._encode(packed), (index, part[-1][0] + 1) if more else (index + 1, 0)))
        return tuple(frames)

    def _rows(self, scene: Scene) -> Rows:
        kind, pair, principal, role, _ = self.view
        if kind is FeedKind.BOOK or (kind is FeedKind.EVENTS and role == Role.ADMIN):
            rows = scene.rows
        elif kind is FeedKind.FILLS:
            rows = scene.fills
            if role != Role.ADMIN:
                rows = [(ordinal, _fill_seen_by(event, principal)) for ordinal, event in rows]
        elif role == Role.TRADER:
            rows = _seen(scene.of(principal), lambda event: private(event, principal))
        else:
            rows = _seen(scene.rows, public)
        if pair is None or not self._is_book:
            return rows
        return [row for row in rows if concerns(row[1], pair)]


def _size(frames: Frames) -> int:
    return _KEPT_BYTES + sum(len(frame.data) for frame in frames)


def _seen(rows: Rows, look: Callable[[Event], Event | None]) -> Rows:
    looked = ((ordinal, look(event)) for ordinal, event in rows)
    return [(ordinal, event) for ordinal, event in looked if event is not None]


def _fill_seen_by(event: Event, principal: str) -> Event:
    return (private(event, principal) if principal else None) or (*event[:11], "", "")


def concerns(event: Event, pair: str) -> bool:
    """Whether an event is the pair's or of all pairs."""
    place = _PAIR_PLACES.get(event[0])
    return place is None or event[place] in (pair, "")


def net_changes(events: Iterable[Event], pair: str | None) -> list[tuple[str, int, int, int, int]]:
    """What events do together to each level: (pair, side, price, quantity, orders), levels that stay left out."""
    changes: dict[tuple[str, int, int], tuple[int, int]] = {}
    for event in events:
        for change in level_changes(event):
            if pair is None or change.pair == pair:
                key = change[:3]
                quantity, orders = changes.get(key, (0, 0))
                changes[key] = (quantity + change.quantity, orders + change.orders)
    return [(*key, *change) for key, change in changes.items() if change != (0, 0)]
