"""``orderbook watch``: a pair's ladder and tape, live, from the streams of any node."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from contextlib import suppress
from typing import Annotated, Any

import typer
from rich.columns import Columns
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from orderbook.book import Fill, Side
from orderbook.cli.connection import DEFAULT_NODES, EXIT_REFUSED, Call, Nodes, Patience, run
from orderbook.cli.increments import Increments, increments_of
from orderbook.cli.market import ladder, time_of
from orderbook.client.feed_socket import WebSocketFeedSource
from orderbook.client.feeds import Feed
from orderbook.streams.audience import FeedKind
from orderbook.streams.market import BookDelta, BookSnapshot, Depth, FeedBroken, FeedRefused

TAPE = 1000
REFRESH_SECONDS = 0.1


def watch(
    pair: Annotated[str, typer.Argument(help="BASE/QUOTE.")],
    depth: Annotated[int, typer.Option(help="Levels a side.", min=1, max=100)] = 10,
    seconds: Annotated[float | None, typer.Option(help="End after this time; left out: at Ctrl-C.", min=0)] = None,
    node: Nodes = DEFAULT_NODES,
    patience: Patience = 15.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print each fill and each new ladder as a line.")] = False,
) -> None:
    """The ladder of a pair and its tape of trades, as they change. When a node dies it goes on with the next.

    Exit codes: 0 ended, 1 refused, 2 no such pair or wrong options, 3 unavailable.

    Example: orderbook watch ETH/USDC --depth 8
    """

    async def job(call: Call) -> None:
        units = await increments_of(call, pair)
        view = MarketView(units, depth)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await (_print_lines(call, view) if as_json else _show(call, view))

    try:
        run(node, job, patience=patience)
    except FeedRefused as error:
        typer.echo(f"refused: {error}", err=True)
        raise typer.Exit(EXIT_REFUSED) from error
    except KeyboardInterrupt:
        pass


class MarketView:
    """What is known of one pair: levels and the newest trades."""

    def __init__(self, units: Increments, depth: int) -> None:
        self.units = units
        self.tape: deque[Fill] = deque(maxlen=TAPE)
        self.notes = ""  # what broke last
        self._depth = depth
        self._book = Depth()

    def follow(self, item: BookSnapshot | BookDelta | Fill | FeedBroken) -> None:
        if isinstance(item, Fill):
            self.tape.appendleft(item)
        elif isinstance(item, FeedBroken):
            self.notes = str(item)
        else:
            self._book.follow(item)

    def levels(self, side: Side) -> list[list[int]]:
        return [list(level) for level in self._book.side(self.units.pair, side)[: self._depth]]

    def rendered(self, address: str, height: int) -> Group:
        tape = Table("time", "price", "quantity", title="trades", box=None, title_justify="left")
        for fill in list(self.tape)[: max(1, min(height, 2 * self._depth))]:
            colour = "green" if fill.taker_side == Side.BID else "red"
            price = Text(self.units.price(fill.price), style=colour)
            tape.add_row(time_of(fill.time_ms), price, self.units.quantity(fill.quantity))
        sides = Columns([ladder(self.units, self.levels(Side.BID), self.levels(Side.ASK)), tape], padding=(0, 4))
        return Group(sides, Text(f"{address or 'connecting...'} {self.notes}", style="dim"))

    def document(self, item: BookSnapshot | BookDelta | Fill | FeedBroken) -> dict[str, Any]:
        """The item as a line of ``--json``, in decimals."""
        units = self.units
        if isinstance(item, Fill):
            own = {"price": units.price(item.price), "quantity": units.quantity(item.quantity)}
            return {"fill": {**item._asdict(), **own, "taker_side": item.taker_side.name.lower()}}
        if isinstance(item, FeedBroken):
            return {"broken": str(item)}
        sides = {"bids": self.levels(Side.BID), "asks": self.levels(Side.ASK)}
        rows = {name: [[units.price(p), units.quantity(q), n] for p, q, n in levels] for name, levels in sides.items()}
        return {"book": {"sequence": item.sequence, **rows}}


class Watching:
    """Both feeds of a pair, read into one queue."""

    def __init__(self, call: Call, pair: str) -> None:
        self._items: asyncio.Queue[Any] = asyncio.Queue(1000)
        self._feeds: list[Feed[Any]] = [
            Feed(call.runtime, WebSocketFeedSource(call.http, call.api.addresses, call.credentials), kind, pair=pair)
            for kind in (FeedKind.BOOK, FeedKind.FILLS)
        ]
        self._tasks = [asyncio.create_task(self._read(feed)) for feed in self._feeds]

    @property
    def address(self) -> str:
        return self._feeds[0].address

    async def next(self) -> BookSnapshot | BookDelta | Fill | FeedBroken:
        """Raises FeedRefused."""
        item = await self._items.get()
        if isinstance(item, FeedRefused):
            raise item
        known: BookSnapshot | BookDelta | Fill | FeedBroken = item
        return known

    def waiting(self) -> bool:
        return not self._items.empty()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        for feed in self._feeds:
            await feed.close()

    async def _read(self, feed: Feed[Any]) -> None:
        while True:
            try:
                await self._items.put(await anext(feed))
            except FeedBroken as error:
                await self._items.put(error)
            except FeedRefused as error:
                await self._items.put(error)
                return
            except StopAsyncIteration:
                return


async def _show(call: Call, view: MarketView) -> None:
    watching = Watching(call, view.units.pair)
    console = Console()
    try:
        with Live(console=console, auto_refresh=False, screen=console.is_terminal) as live:
            while True:
                live.update(view.rendered(watching.address, console.height - 4), refresh=True)
                view.follow(await watching.next())
                await asyncio.sleep(REFRESH_SECONDS)  # what came meanwhile is drawn together
                while watching.waiting():
                    view.follow(await watching.next())
    finally:
        await watching.close()


async def _print_lines(call: Call, view: MarketView) -> None:
    watching = Watching(call, view.units.pair)
    try:
        while True:
            item = await watching.next()
            view.follow(item)
            typer.echo(json.dumps(view.document(item)))
    finally:
        await watching.close()
