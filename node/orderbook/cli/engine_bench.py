"""Matching alone: encoded batches through ``OrderBook.apply``, decoding, all checks and the state hash included."""

from __future__ import annotations

import gc
from time import perf_counter
from typing import Any

from orderbook.book import DefinePair, OrderBook, Role
from orderbook.book import constants as c
from orderbook.book.codec import encode_commands, pack
from orderbook.cli.order_flow import MIX, PAIRS, OrderFlow

__all__ = ["MIX", "measure"]


class _Context:
    now_ms = 0
    principal = "bench"
    role = int(Role.ADMIN)
    session = 0
    machine_version = 1
    index = 0


def measure(commands: int, batch: int) -> dict[str, Any]:
    """Run about ``commands`` commands in entries of ``batch``. Garbage collection is off, as in a node."""
    context = _Context()
    bodies = _bodies(context, commands // batch or 1, batch)
    book = _open_book(context)
    gc.collect()
    gc.disable()
    fills = 0
    rejected = 0
    spent = 0.0
    for body in bodies:
        context.index += 1
        context.now_ms += 1
        start = perf_counter()
        events = book.apply(context, body, batch)
        spent += perf_counter() - start
        fills += sum(event[0] == c.FILL for event in events)
        rejected += sum(event[0] == c.REJECTED for event in events)
        del events
    gc.enable()
    done = len(bodies) * batch
    return {
        "commands_per_second": int(done / spent),
        "commands": done,
        "batch": batch,
        "fills": fills,
        "rejected": rejected,
        "resting": book.statistics().orders,
        "mix": MIX,
        "state_hash": f"{book.state_hash:016x}",
    }


def _open_book(context: _Context) -> OrderBook:
    book = OrderBook()
    book.apply(context, encode_commands([DefinePair(pair) for pair in PAIRS]), len(PAIRS))
    return book


def _bodies(context: _Context, batches: int, batch: int) -> list[bytes]:
    """The encoded entries. A book of their own tells which orders are still there to be cancelled."""
    flow = OrderFlow(seed=1)
    book = _open_book(context)
    bodies = []
    for _ in range(batches):
        body = pack(flow.batch(batch))
        flow.follow(book.apply(context, body, batch))
        bodies.append(body)
    return bodies
