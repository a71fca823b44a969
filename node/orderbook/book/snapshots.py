"""The book as msgpack rows in chunks of bounded size, and back.

Chunks, each a msgpack array that starts with a letter::

    ["b", format, arrivals, next id, is halted, max open orders, rate commands, rate window]   first, once
    ["p", row...]   pairs: [name, tick, lot, fills kept, max quantity, min price, max price, is halted, fills, chain]
    ["f", place of the pair, row...]   fills, oldest first: [log index, ordinal, event]
    ["t", row...]   traders: [name, max open orders, rate commands, rate window, window end, window count]
    ["o", row...]   orders: [id, pair, side, price, total, open, trader, session, arrival, expiry, terms]
    ["c", row...]   mass cancels under way: ["p", pair], ["s", session], ["t", trader, again, id of the next order, last
                    arrival that goes], each followed by its ["m", pair, last arrival that goes]; only if there are any
    ["e", orders]   last, once: how many there were

Orders come in the order of arrival, which is that of every queue they stand in, and name pairs and traders by place.
Restoring is a generator: it stops between chunks, each of them a millisecond or two of work, but for the chunk in which
the index of orders doubles: about 20 ms where it passes 700,000.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import heappush
from typing import Any

import msgpack

from orderbook.book.constants import BID, GTC, GTD, NEVER
from orderbook.book.orders import LiveOrder, Session, Trader
from orderbook.book.pending_cancels import PendingCancels, TraderCancel
from orderbook.book.sides import Pair
from orderbook.book.state import Book
from orderbook.packing import unpack

FORMAT = 1
_PAIRS_A_CHUNK = 128
_FILLS_A_CHUNK = 80
_TRADERS_A_CHUNK = 160
_ORDERS_A_CHUNK = 600
_CANCELS_A_CHUNK = 50


def dump(book: Book) -> Iterator[bytes]:
    """The state in chunks of at most 64 KiB. The book must not change until the last was taken."""
    settings = (book.max_open_orders, book.rate_commands, book.rate_window_ms)
    yield _packed("b", [FORMAT, book.arrivals, book.next_id, book.is_halted, *settings])
    pairs = list(book.pairs.values())
    yield from _chunks("p", [], map(_pair_row, pairs), _PAIRS_A_CHUNK)
    for pair in pairs:
        yield from _chunks("f", [pair.place], pair.fills.oldest_first(), _FILLS_A_CHUNK)
    traders = list(book.traders.values())
    yield from _chunks("t", [], map(_trader_row, traders), _TRADERS_A_CHUNK)
    places = {trader.name: place for place, trader in enumerate(traders)}
    owners = map(places.__getitem__, map(_owner, book.orders.values()))
    yield from _chunks("o", [], map(_order_row, book.orders.values(), owners), _ORDERS_A_CHUNK)
    yield from _chunks("c", [], _cancel_rows(book.pending), _CANCELS_A_CHUNK)
    yield _packed("e", [len(book.orders)])


def load(book: Book, chunks: Iterable[bytes]) -> Iterator[None]:
    """Fill an empty book. Raises ValueError for chunks that are no whole snapshot."""
    pairs: list[Pair] = []
    traders: list[Trader] = []
    sessions: dict[int, Session] = {}
    letter = ""
    for chunk in chunks:
        letter, *rows = unpack(chunk, arrays=tuple)
        if letter == "o":
            load_orders(book, rows, pairs, traders, sessions)
        elif letter == "t":
            traders += [_load_trader(book, row) for row in rows]
        elif letter == "f":
            pairs[rows[0]].fills.items += rows[1:]
        elif letter == "p":
            pairs += [_load_pair(book, row) for row in rows]
        elif letter == "c":
            _load_cancels(book, rows)
        elif letter == "b":
            _load_settings(book, rows)
        elif letter != "e" or rows[0] != len(book.orders):
            raise ValueError(f"a snapshot of the book has no chunk {letter!r} with {rows[:1]!r} here")
        yield
    if letter != "e":
        raise ValueError("a snapshot of the book that ends early")
    for pair in pairs:
        _turn(pair)


def load_orders(
    book: Book, rows: list[Any], pairs: list[Pair], traders: list[Trader], sessions: dict[int, Session]
) -> None:
    for key, pair, side, price, total, open_, trader, session, arrival, expiry, terms in rows:
        order = LiveOrder(pairs[pair].bids if side == BID else pairs[pair].asks, traders[trader])
        order.key = key
        order.number = key
        order.price = price
        order.price_key = price
        order.quantity = total
        order.open = open_
        order.arrival = arrival
        order.expiry = NEVER if expiry is None else expiry
        order.time_in_force = GTC if expiry is None else GTD
        order.post_only = terms >= 8
        order.self_trade = terms % 8
        if session:
            if session not in sessions:
                sessions[session] = Session(session)
            order.session = sessions[session]
        book.link(order)


def _owner(order: LiveOrder) -> str:
    return order.trader.name


def _order_row(order: LiveOrder, trader: int) -> tuple[Any, ...]:
    side = order.side
    session = 0 if order.session is None else order.session.id
    expiry = None if order.expiry == NEVER else order.expiry
    terms = order.self_trade + (8 if order.post_only else 0)
    where = (order.key, side.pair.place, side.code, order.price, order.quantity, order.open)
    return (*where, trader, session, order.arrival, expiry, terms)


def _load_settings(book: Book, rows: list[Any]) -> None:
    if rows[0] != FORMAT:
        raise ValueError(f"a snapshot of the book of format {rows[0]!r}; this version knows {FORMAT}")
    book.arrivals, book.next_id, book.is_halted = rows[1], rows[2], rows[3]
    book.max_open_orders, book.rate_commands, book.rate_window_ms = rows[4], rows[5], rows[6]


def _pair_row(pair: Pair) -> tuple[Any, ...]:
    limits = (pair.max_quantity, pair.min_price, pair.max_price, pair.is_halted)
    return (pair.name, pair.tick, pair.lot, pair.fills.capacity, *limits, pair.fills.count, pair.fills.chain)


def _load_pair(book: Book, row: Any) -> Pair:
    name, tick, lot, capacity, max_quantity, min_price, max_price, is_halted, count, chain = row
    pair = Pair(name, len(book.pairs), tick, lot, capacity)
    pair.max_quantity = max_quantity
    pair.min_price = min_price
    pair.max_price = max_price
    pair.is_halted = is_halted
    pair.fills.count = count
    pair.fills.chain = chain
    book.pairs[name] = pair
    return pair


def _cancel_rows(pending: PendingCancels) -> Iterator[tuple[Any, ...]]:
    for pair in pending.pairs:
        yield ("p", pair)
    for session in pending.sessions:
        yield ("s", session)
    for cancel in pending.traders.values():
        yield ("t", cancel.trader, cancel.again, 0 if cancel.next is None else cancel.next.key, cancel.last)
        for pair, through in cancel.through.items():
            yield ("m", pair, through)


def _load_cancels(book: Book, rows: list[Any]) -> None:
    pending = book.pending
    for kind, *fields in rows:
        if kind == "p":
            pending.pairs[fields[0]] = book.pairs[fields[0]]
        elif kind == "s":
            pending.sessions[fields[0]] = True
        elif kind == "t":
            name, again, next_id, last = fields
            cancel = TraderCancel(name, book.orders[next_id] if next_id else None)
            cancel.again = again
            cancel.last = last
            pending.traders[name] = cancel
        elif kind == "m":
            next(reversed(pending.traders.values())).through[fields[0]] = fields[1]
        else:
            raise ValueError(f"a snapshot of the book has no mass cancel of kind {kind!r}")


def _turn(pair: Pair) -> None:
    """Kept fills came oldest first; in a full ring fill n stands at n % capacity."""
    ring = pair.fills
    if ring.capacity and ring.count > ring.capacity:
        start = ring.capacity - ring.count % ring.capacity
        ring.items = ring.items[start:] + ring.items[:start]


def _trader_row(trader: Trader) -> tuple[Any, ...]:
    limits = (trader.max_open_orders, trader.rate_commands, trader.rate_window_ms)
    return (trader.name, *limits, trader.window_end, trader.window_count)


def _load_trader(book: Book, row: Any) -> Trader:
    name, max_open_orders, rate_commands, rate_window_ms, window_end, window_count = row
    trader = Trader(name)
    trader.max_open_orders = max_open_orders
    trader.rate_commands = rate_commands
    trader.rate_window_ms = rate_window_ms
    trader.window_end = window_end
    trader.window_count = window_count
    book.touch(trader)
    if trader.window_end:
        heappush(book.windows, (window_end, name))
    return trader


def _chunks(letter: str, front: list[Any], rows: Iterable[Any], limit: int) -> Iterator[bytes]:
    gathered: list[Any] = []
    for row in rows:
        gathered.append(row)
        if len(gathered) == limit:
            yield _packed(letter, front + gathered)
            gathered = []
    if gathered:
        yield _packed(letter, front + gathered)


def _packed(letter: str, rows: list[Any]) -> bytes:
    packed: bytes = msgpack.packb([letter, *rows])
    return packed
