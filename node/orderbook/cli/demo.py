"""``orderbook demo``: the tutorial's run over three real nodes, and then what a tutorial can't show: the leader dies.

Nothing that is printed is known beforehand: orders are printed when the observer's stream brings them, fills likewise,
and what two nodes say is compared before it is called equal.
"""

from __future__ import annotations

import asyncio
import secrets
import tempfile
from collections.abc import Awaitable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import aiohttp
import typer

from orderbook.book import Fill, Order, Side
from orderbook.book.events import Accepted
from orderbook.cli.connection import EXIT_REFUSED
from orderbook.client.api import ApiClient
from orderbook.client.feeds import Feed
from orderbook.client.local_group import LocalGroup, NodeDied, NodeProcess
from orderbook.groups.errors import GroupError
from orderbook.server.runtime import AsyncioRuntime
from orderbook.streams.market import Event

if TYPE_CHECKING:  # the rest of the command line starts faster without
    from orderbook.client.network import ClientNetwork
    from orderbook.client.order_producer import OrderOutcome, OrderProducer

PAIR = "ETH/USDC"
NODES = 3
WAIT_SECONDS = 60.0

T = TypeVar("T")


class DemoFailed(Exception):
    """Something is not as it must be; the message says what."""


def demo(
    directory: Annotated[
        Path | None, typer.Option("--dir", help="Keep logs and data below it; left out: removed at the end.")
    ] = None,
    auth: Annotated[str, typer.Option(help="none: every client is an admin.")] = "none",
) -> None:
    """Three durable nodes on this machine, two traders, one observer; then the leader is killed.

    Exit codes: 0 all went as it must, 1 something did not.

    Example: orderbook demo --auth none
    """
    if auth != "none":
        raise typer.BadParameter("there are no token keys: only --auth none")
    with tempfile.TemporaryDirectory(prefix="orderbook-demo-", dir=Path.cwd()) as temporary:
        try:
            asyncio.run(_run(directory or Path(temporary)))
        except (DemoFailed, GroupError, NodeDied, TimeoutError, OSError) as error:
            typer.echo(f"orderbook demo: {error or type(error).__name__}", err=True)
            raise typer.Exit(EXIT_REFUSED) from error


async def _run(directory: Path) -> None:
    runtime = AsyncioRuntime(_raise)
    group = LocalGroup(runtime, directory, NODES, ["--pair", PAIR])
    async with AsyncExitStack() as stack:
        stack.push_async_callback(group.stop)
        typer.echo("waiting for matching engine group to come online...")
        await group.start({"ORDERBOOK_KEY": secrets.token_hex(16)})
        http = await stack.enter_async_context(aiohttp.ClientSession())
        show = Demo(group, ApiClient(runtime, http, group.addresses(), patience=WAIT_SECONDS), stack)
        await show.trade()
        await show.lose_the_leader()


class Demo:
    def __init__(self, group: LocalGroup, api: ApiClient, stack: AsyncExitStack) -> None:
        self._group = group
        self._api = api
        self._stack = stack
        self._traders: dict[str, OrderProducer] = {}
        self._events: Feed[Event]
        self._fills: Feed[Fill]

    async def trade(self) -> None:
        """The tutorial."""
        leader = await self._leader()
        typer.echo(f"matching engine online, leader: {leader}")
        await self._connect()
        typer.echo("matcher subscribed to both trader order streams")
        typer.echo("submitting orders...")
        orders = [
            Order(1, PAIR, Side.ASK, 300_000, 10, "alice"),
            Order(2, PAIR, Side.ASK, 301_000, 5, "alice"),
            Order(3, PAIR, Side.BID, 299_000, 8, "bob"),
            Order(4, PAIR, Side.BID, 300_500, 15, "bob"),
        ]
        produced = 0
        index = 0
        for order in orders:
            outcome = await self._send(order)
            produced += len(outcome.fills)
            index = outcome.sequence[0]
        fills = [await _within(anext(self._fills), "a fill") for _ in range(produced)]
        typer.echo(f"{len(fills)} fills produced:")
        for fill in fills:
            typer.echo(f"  {fill}")
        await self._compare_a_follower(leader, index)
        typer.echo("orderbook example complete")

    async def lose_the_leader(self) -> None:
        """SIGKILL, an order meanwhile, and the old leader back."""
        old = self._node(await self._leader())
        typer.echo(f"killing the leader {old.name} (SIGKILL)...")
        began = asyncio.get_running_loop().time()
        await self._group.kill(old)
        outcome = await self._send(Order(5, PAIR, Side.BID, 300_200, 3, "bob"))
        taken = asyncio.get_running_loop().time() - began
        self._api.addresses = [address for node in self._others(old) if (address := _clients(node))]
        self._api.address = self._api.addresses[0]
        leader = await self._leader()
        if leader == old.name:
            raise DemoFailed(f"{leader} is dead, and is said to lead")
        index = outcome.sequence[0]
        typer.echo(f"order agreed on at index {index}, {taken * 1000:.0f} ms after the kill; leader: {leader}")
        typer.echo(f"restarting {old.name}...")
        await self._group.start_node(old)
        hashes = await self._agreed(index)
        typer.echo(f"{old.name} is back and caught up at index {hashes.pop('index')}")
        typer.echo(f"state hashes: {', '.join(f'{name} {value}' for name, value in hashes.items())}")
        if len(set(hashes.values())) != 1:
            raise DemoFailed("the state hashes differ")
        typer.echo("all three state hashes are equal")

    # --- steps --------------------------------------------------------------------------------------------------------

    async def _connect(self) -> None:
        """Two traders and an observer, each by another node first."""
        addresses = self._group.addresses()
        for number, name in enumerate(("alice", "bob")):
            network = await self._client(addresses[number:] + addresses[:number])
            self._traders[name] = network.streams.produce(Order)
        observer = await self._client(addresses[2:] + addresses[:2])
        self._events = observer.streams.consume(Event, pair=PAIR)
        self._fills = observer.streams.consume(Fill, pair=PAIR)
        for trader in self._traders.values():
            await trader.when(WAIT_SECONDS).subscribed()
        await self._events.when(WAIT_SECONDS).subscribed()
        await self._fills.when(WAIT_SECONDS).subscribed()

    async def _client(self, addresses: list[str]) -> ClientNetwork:
        from orderbook.client.network import Network

        network = await Network.connect(addresses)
        self._stack.push_async_callback(network.close)
        return network

    async def _send(self, order: Order) -> OrderOutcome:
        """Send an order, and print it when the observer has received it."""
        sent = self._traders[order.trader].send(order)
        while True:
            event = (await _within(anext(self._events), f"{order} at the observer")).view
            if isinstance(event, Accepted):
                seen = Order(event.order_id, event.pair, Side(event.side), event.price, event.quantity, event.trader)
                typer.echo(f"received order: {seen}")
                break
        outcome = await _within(sent, f"the outcome of {order}")
        if outcome.rejected is not None:
            raise DemoFailed(f"{order} was rejected: {outcome.rejected.name.lower()}")
        if seen != order:
            raise DemoFailed(f"the observer received {seen}, not {order}")
        return outcome

    async def _compare_a_follower(self, leader: str, index: int) -> None:
        follower = next(node for node in self._group.nodes if node.name != leader)
        own = (await self._api.fills(PAIR))["fills"]
        query: dict[str, Any] = {"pair": PAIR, "consistency": "weak", "min_index": index}
        theirs = (await self._api.call("GET", "/v1/fills", query=query, address=_clients(follower)))["fills"]
        judged = "consistent" if own == theirs else "NOT consistent"
        typer.echo(f"follower {follower.name} sees {len(theirs)} fills ({judged} with leader)")
        if own != theirs:
            raise DemoFailed(f"{follower.name} and {leader} differ")

    async def _agreed(self, index: int) -> dict[str, Any]:
        """The state hash of each node, and the index that all stand at, from ``index`` on."""
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                statuses = []
                for node in self._group.nodes:
                    with suppress(GroupError):
                        statuses.append(await self._api.group(_clients(node), consistency="weak"))
                applied = {status["applied"] for status in statuses}
                if len(statuses) == NODES and len(applied) == 1 and min(applied) >= index:
                    hashes = {status["name"]: status["state_hash"] for status in statuses}
                    return {"index": applied.pop(), **hashes}
                await asyncio.sleep(0.05)

    async def _leader(self) -> str:
        return str((await self._api.group(consistency="strong"))["leader"])

    def _node(self, name: str) -> NodeProcess:
        return next(node for node in self._group.nodes if node.name == name)

    def _others(self, one: NodeProcess) -> list[NodeProcess]:
        return [node for node in self._group.nodes if node is not one]


async def _within(awaitable: Awaitable[T], what: str) -> T:
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            return await awaitable
    except TimeoutError:
        raise DemoFailed(f"{what} did not come within {WAIT_SECONDS:g} s") from None


def _clients(node: NodeProcess) -> str | None:
    endpoints = node.endpoints()
    return None if endpoints is None else endpoints.clients


def _raise(error: BaseException) -> None:
    raise error
