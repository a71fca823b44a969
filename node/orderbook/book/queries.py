"""Questions to the book, and their answers: rows that turn into JSON as they are."""

from __future__ import annotations

from typing import Any, NamedTuple

from orderbook.book import constants as c
from orderbook.book.commands import Side, TimeInForce
from orderbook.book.events import Fill, fill_of
from orderbook.book.orders import LiveOrder
from orderbook.book.sides import BookSide, FillRing, Pair
from orderbook.book.state import Book


class TopOfBook(NamedTuple):
    """The best ``depth`` levels of both sides of a pair: a BookView, None for a pair that is not defined.

    Whoever answers strangers bounds the depth.
    """

    pair: str
    depth: int = 1


class Fills(NamedTuple):
    """The fills that are kept, oldest first: of one pair or all, after the sequence ``since``: a list of Fill."""

    pair: str | None = None
    since: tuple[int, int] | None = None


class OrderCount(NamedTuple):
    """How many orders rest: an int."""


class Orders(NamedTuple):
    """The resting orders of a trader in the order of arrival, in one pair or all: a list of OrderView.

    ``limit``: at most so many, from 1; None: all. ``after`` is (id, arrival) of an OrderView: those behind it. If that
    order has left its place meanwhile, those that arrived after it.
    """

    trader: str
    pair: str | None = None
    limit: int | None = None
    after: tuple[int, int] | None = None


class OrderById(NamedTuple):
    """One resting order: an OrderView, None where there is none."""

    id: int


class Pairs(NamedTuple):
    """All pairs in the order of definition: a list of PairView."""


class Limits(NamedTuple):
    """The limits of a trader, or those of every trader that has none of its own: a LimitsView."""

    trader: str = ""


Query = TopOfBook | Fills | OrderCount | Orders | OrderById | Pairs | Limits


class BookView(NamedTuple):
    """Levels are (price, quantity, orders), best first."""

    pair: str
    bids: list[tuple[int, int, int]]
    asks: list[tuple[int, int, int]]


class OrderView(NamedTuple):
    """``arrival`` counts the orders that came to rest in the group; one that goes to the back gets a new number."""

    id: int
    pair: str
    side: Side
    price: int
    quantity: int
    open: int
    trader: str
    time_in_force: TimeInForce
    expires: int | None
    post_only: bool
    arrival: int


class PairView(NamedTuple):
    pair: str
    tick: str
    lot: str
    fills_kept: int
    max_quantity: int
    min_price: int
    max_price: int
    halted: bool


class LimitsView(NamedTuple):
    """0 is no limit. ``halted`` is the kill switch."""

    max_open_orders: int
    rate_commands: int
    rate_window_ms: int
    halted: bool


class SideStatistics(NamedTuple):
    """Counts of orders by what became of them, since this process started, then what the side holds now.

    ``best`` is 0 where there is no order.
    """

    accepted: int
    filled: int
    cancelled: int
    expired: int
    amended: int
    rejected: int
    orders: int
    levels: int
    quantity: int
    best: int


class PairStatistics(NamedTuple):
    pair: str
    bids: SideStatistics
    asks: SideStatistics
    fills: int
    traded: int


class Statistics(NamedTuple):
    """For a metrics collector. ``rejected`` is by RejectReason code, also counting what named no known pair."""

    pairs: list[PairStatistics]
    rejected: list[int]
    orders: int
    traders: int


def answer(book: Book, query: Any) -> Any:
    """Raises ValueError for what is no query, or has a value that is not allowed."""
    if isinstance(query, TopOfBook):
        return _top_of_book(book, query)
    if isinstance(query, Fills):
        return _fills(book, query)
    if isinstance(query, OrderCount):
        return len(book.orders)
    if isinstance(query, Orders):
        return _orders(book, query)
    if isinstance(query, OrderById):
        order = book.orders.get(query.id)
        return None if order is None else _order_view(order)
    if isinstance(query, Pairs):
        return [_pair_view(pair) for pair in book.pairs.values()]
    if isinstance(query, Limits):
        return _limits(book, query.trader)
    raise ValueError(f"{query!r} is no query of the order book")


def statistics(book: Book) -> Statistics:
    pairs = [
        PairStatistics(
            pair.name, _side_statistics(pair.bids), _side_statistics(pair.asks), pair.fills.count, pair.traded
        )
        for pair in book.pairs.values()
    ]
    return Statistics(pairs, list(book.refused), len(book.orders), len(book.traders))


def _top_of_book(book: Book, query: TopOfBook) -> BookView | None:
    if type(query.depth) is not int or query.depth < 1:
        raise ValueError(f"depth is an integer from 1, not {query.depth!r}")
    pair = book.pairs.get(query.pair)
    if pair is None:
        return None
    return BookView(pair.name, levels_of(pair.bids, query.depth), levels_of(pair.asks, query.depth))


def levels_of(side: BookSide, depth: int) -> list[tuple[int, int, int]]:
    rows: list[tuple[int, int, int]] = []
    for level in side.best_first():
        if len(rows) == depth:
            break
        rows.append((level.price, level.total, level.count))
    return rows


def _fills(book: Book, query: Fills) -> list[Fill]:
    if query.pair is None:
        rings = [pair.fills for pair in book.pairs.values()]
    else:
        pair = book.pairs.get(query.pair)
        rings = [] if pair is None else [pair.fills]
    found = [fill for ring in rings for fill in _ring_fills(ring, query.since)]
    return sorted(found, key=lambda fill: fill.sequence or (0, 0)) if len(rings) > 1 else found


def _ring_fills(ring: FillRing, since: tuple[int, int] | None) -> list[Fill]:
    kept = ring.oldest_first()
    after = (-1, -1) if since is None else (since[0], since[1])
    return [fill_of(event, (index, place)) for index, place, event in kept if (index, place) > after]


def _orders(book: Book, query: Orders) -> list[OrderView]:
    limit, after = query.limit, query.after
    if limit is not None and (type(limit) is not int or limit < 1):
        raise ValueError(f"limit is an integer from 1, not {limit!r}")
    if after is not None and [*map(_is_place, after)] != [True, True]:
        raise ValueError(f"after is (id, arrival), integers from 1 to {c.MAX_INTEGER}, not {after!r}")
    most = c.MAX_INTEGER if limit is None else min(limit, c.MAX_INTEGER)
    return [_order_view(order) for order in book.orders_of(query.trader, query.pair, after, most)]


def _is_place(value: object) -> bool:
    return type(value) is int and 1 <= value <= c.MAX_INTEGER


def _order_view(order: LiveOrder) -> OrderView:
    return OrderView(
        id=order.key,
        pair=order.side.pair.name,
        side=Side(order.side.code),
        price=order.price,
        quantity=order.quantity,
        open=order.open,
        trader=order.trader.name,
        time_in_force=TimeInForce(order.time_in_force),
        expires=None if order.expiry == c.NEVER else order.expiry,
        post_only=order.post_only,
        arrival=order.arrival,
    )


def _pair_view(pair: Pair) -> PairView:
    limits = (pair.max_quantity, pair.min_price, pair.max_price)
    return PairView(pair.name, pair.tick, pair.lot, pair.fills.capacity, *limits, pair.is_halted)


def _limits(book: Book, name: str) -> LimitsView:
    trader = book.trader_named(name)

    def chosen(own: int, common: int) -> int:
        return own if own >= 0 else common

    return LimitsView(
        chosen(trader.max_open_orders, book.max_open_orders),
        chosen(trader.rate_commands, book.rate_commands),
        chosen(trader.rate_window_ms, book.rate_window_ms),
        book.is_halted,
    )


def _side_statistics(side: BookSide) -> SideStatistics:
    counts = (side.accepted, side.filled, side.cancelled, side.expired, side.amended, side.rejected)
    best = 0 if side.best is None else side.best.price
    return SideStatistics(*counts, side.open_orders, len(side.levels), side.volume, best)
