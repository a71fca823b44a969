"""What the one who gave a command may see of its events: an admin all, a trader its own. (``events.public``: the rest.)

The name of the other side of a trade is private: it is empty in what a trader sees.
"""

from __future__ import annotations

from collections.abc import Sequence

from orderbook.book import constants as c
from orderbook.book.events import Event, Filled, traders_of

_BID_TRADER_AT = Filled._fields.index("bid_trader")


def visible(events: Sequence[Event], start: int, principal: str, role: int) -> list[Event | None]:
    """``events[start:]`` as ``principal`` may see them; None in the place of another's, so that places still count.

    A refusal is always its own: it names the trader that was given, which need not be the one who gave it.
    """
    if role == c.ADMIN:
        return list(events[start:])
    return [event if event[0] == c.REJECTED else private(event, principal) for event in events[start:]]


def private(event: Event, principal: str) -> Event | None:
    """The event if it is this trader's own or concerns all, without the other side's name; None otherwise."""
    owners = traders_of(event)
    if not owners:
        return event
    if principal not in owners:
        return None
    if event[0] == c.FILL:
        return (*event[:_BID_TRADER_AT], *(name if name == principal else "" for name in event[_BID_TRADER_AT:]))
    return event
