"""Matching alone: encoded batches through ``OrderBook.apply``, decoding, all checks and the state hash included, the
events made and dropped."""

from __future__ import annotations

import gc
from time import perf_counter, process_time
from typing import Any

from orderbook.book import FORM, DefinePair, OrderBook, Role
from orderbook.book.codec import encode_commands, pack
from orderbook.cli.order_flow import MIX, PAIRS, OrderFlow

__all__ = ["MIX", "measure"]


class EntryContext:
    """Where a benchmark pretends to be in the log."""

    now_ms = 0
    principal = "bench"
    role = int(Role.ADMIN)
    session = 0
    machine_version = 1
    index = 0


def measure(commands: int, batch: int) -> dict[str, Any]:
    """Run about ``commands`` commands in entries of ``batch``. Garbage collection is off, as in a node."""
    context = EntryContext()
    bodies = _bodies(context, commands // batch or 1, batch)
    book = open_book(context)
    gc.collect()
    gc.disable()
    start, start_cpu = perf_counter(), process_time()
    for body in bodies:
        context.index += 1
        context.now_ms += 1
        book.apply(context, body, batch)
    spent, spent_cpu = perf_counter() - start, process_time() - start_cpu
    gc.enable()
    counts = book.statistics()
    done = len(bodies) * batch
    return {
        "commands_per_second": int(done / spent),
        "cpu_ns_per_command": int(1e9 * spent_cpu / done),
        "commands": done,
        "batch": batch,
        "form": FORM,
        "fills": sum(pair.fills for pair in counts.pairs),
        "rejected": sum(counts.rejected),
        "resting": counts.orders,
        "mix": MIX,
        "state_hash": f"{book.state_hash:016x}",
    }


def open_book(context: EntryContext) -> OrderBook:
    """A book with the pairs of ``order_flow``."""
    book = OrderBook()
    book.apply(context, encode_commands([DefinePair(pair) for pair in PAIRS]), len(PAIRS))
    return book


def _bodies(context: EntryContext, batches: int, batch: int) -> list[bytes]:
    """The encoded entries. A book of their own tells which orders are still there to be cancelled."""
    flow = OrderFlow(seed=1)
    book = open_book(context)
    bodies = []
    for _ in range(batches):
        body = pack(flow.batch(batch))
        flow.follow(book.apply(context, body, batch))
        bodies.append(body)
    return bodies
