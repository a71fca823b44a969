"""Clients of real nodes that write down what they saw, for the black-box oracle: nothing else judges.

Every client places, cancels and amends orders of one pair and reads its book, through whichever node answers. All
times are of one clock, this process's. A call that ends as Unavailable was surely not executed and is no part of the
history; one that ends Uncertain has no return.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from random import Random
from typing import Any

from linearizability.checker import NEVER, UNKNOWN, Operation, linearize
from linearizability.models import BookModel, Observed
from orderbook.client.api import ApiClient, ApiRefused
from orderbook.groups.errors import Unavailable, Uncertain
from process.processes import SECONDS, Running

PAIR = "ETH/USDC"
DEPTH = 1000
PATIENCE = 4.0  # of a client, until it gives a call up
PAUSE = 0.05

SIDES = {1: "bid", 2: "ask"}


class HttpBookModel(BookModel):
    """A reader over HTTP sees the levels, and not how many orders there are."""

    def observed(self, state: Any) -> Any:
        return super().observed(state)[1:]


class RecordingClient:
    """Does one thing after another until it is told to stop."""

    def __init__(self, running: Running, number: int, history: list[Operation], counts: Counter[str]) -> None:
        self.name = f"c{number}"
        addresses = running.group.addresses()
        first = number % len(addresses)
        addresses = addresses[first:] + addresses[:first]
        self._api = ApiClient(running.runtime, running.http, addresses, attempt_timeout=1.5, patience=PATIENCE)
        self._random = Random(number)
        self._next_id = number * 1_000_000
        self._history = history
        self._counts = counts

    async def run(self, ended: asyncio.Event) -> None:
        while not ended.is_set():
            await self._do(self._draw())
            await asyncio.sleep(self._random.random() * PAUSE)

    def _draw(self) -> Any:
        random = self._random
        kind = random.random()
        earlier = random.randint(self._next_id - 5, self._next_id)
        if kind < 0.3:
            return Observed()
        if kind < 0.4:
            return ((2, earlier, random.choice((None, 1))),)
        if kind < 0.5:
            return ((3, earlier, random.randrange(95, 106), None),)
        self._next_id += 1
        side, price, quantity = random.randrange(1, 3), random.randrange(95, 106), random.randrange(1, 9)
        return ((1, self._next_id, PAIR, side, price, quantity, self.name, None, None, None, None, None),)

    async def _do(self, call: Any) -> None:
        invoked = time.monotonic()
        try:
            answer = await self._ask(call)
        except Unavailable:
            self._counts["unavailable"] += 1
        except Uncertain:
            self._counts["uncertain"] += 1
            if call != Observed():
                self._history.append(Operation(self.name, call, UNKNOWN, invoked, NEVER))
        else:
            self._counts["answered"] += 1
            self._history.append(Operation(self.name, call, answer, invoked, time.monotonic()))

    async def _ask(self, call: Any) -> Any:
        if call == Observed():
            book = await self._api.book(PAIR, depth=DEPTH, consistency="strong")
            return tuple(tuple(map(tuple, book[side])) for side in ("bids", "asks"))
        ((kind, id, *fields),) = call
        try:
            if kind == 1:
                _, side, price, quantity, trader = fields[:5]
                order = {"id": id, "pair": PAIR, "side": SIDES[side], "price": price, "quantity": quantity}
                document = await self._api.place({**order, "trader": trader})
            elif kind == 2:
                document = await self._api.cancel(id, fields[0])
            else:
                document = await self._api.amend(id, {"price": fields[0]})
        except ApiRefused as refusal:
            document = refusal.document
        return tuple(in_words(event) for event in document["events"])


def in_words(event: dict[str, Any]) -> str:
    """An event of the JSON surface as ``unit.book.market.short`` says it."""
    kind = event["event"]
    if kind == "accepted":
        return f"accepted {event['order_id']} rests {event['resting']}"
    if kind == "rejected":
        return f"rejected {event['order_id']} {event['reason']}"
    if kind == "fill":
        return f"fill {event['bid_order_id']}x{event['ask_order_id']} {event['quantity']}@{event['price']}"
    if kind == "cancelled":
        left = f" leaves {event['open']}" if event["open"] else ""
        return f"cancelled {event['order_id']} {event['quantity']} {event['reason']}{left}"
    place = ", keeps its place" if event["kept_place"] else ""
    return f"amended {event['order_id']} {event['quantity']}@{event['price']} rests {event['resting']}{place}"


class Recording:
    """Clients at work, between ``start`` and ``judge``."""

    def __init__(self, running: Running, clients: int = 4) -> None:
        self.history: list[Operation] = []
        self.counts: Counter[str] = Counter()
        self._ended = asyncio.Event()
        self._clients = [
            RecordingClient(running, number, self.history, self.counts) for number in range(1, clients + 1)
        ]
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [asyncio.create_task(client.run(self._ended)) for client in self._clients]

    async def answered(self, more: int) -> None:
        """Until so many more calls were answered."""
        wanted = self.counts["answered"] + more
        async with asyncio.timeout(SECONDS):
            while self.counts["answered"] < wanted:
                for task in self._tasks:
                    if task.done():
                        task.result()
                await asyncio.sleep(0.01)

    async def judge(self) -> None:
        """No more calls; then an order must explain all that was seen."""
        self._ended.set()
        await asyncio.gather(*self._tasks)
        order = linearize(self.history, HttpBookModel(DEPTH))
        print(f"{len(self.history)} operations, {len(order)} in order: {dict(self.counts)}")

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
