"""``kubectl orderbook trial``: a throw-away group of one node is made, matches an order, and is deleted.

It needs no more than the rights to create groups, to get and delete this one, and to get its two Secrets.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import typer

from orderbook.book import Fill
from orderbook.cli.connection import EXIT_UNAVAILABLE, EXIT_USAGE, Call, ask_with, connect
from orderbook.cli.tokens import seconds_of
from orderbook.client.api import ApiClient
from orderbook.client.credentials import ClientCredentials
from orderbook.client.feed_socket import WebSocketFeedSource
from orderbook.client.feeds import Feed
from orderbook.streams.audience import FeedKind
from orderbook.streams.market import FeedRefused
from orderbook_operator import names
from orderbook_operator.cluster import GROUP, AlreadyExists, ClusterError, Conflict
from orderbook_operator.plugin import story
from orderbook_operator.plugin.entrance import Entrance, Found, find, maker, read_secret, through
from orderbook_operator.plugin.kubernetes import Kubernetes, Problem, open_kubernetes, told
from orderbook_operator.plugin.options import Asker, Context, Namespace, Place
from orderbook_operator.resource import OrderBookGroup

PAIR = "TRY/OUT"
PRICE, QUANTITY = 100, 5
TRIAL = f"{names.API_GROUP}/trial"  # the label of such groups: what an earlier trial left is known by it
LOOK_SECONDS = 0.5
TOKEN_SECONDS = 3600.0
DELETE_SECONDS = 60.0


@told
def trial(
    group: Annotated[str, typer.Argument(metavar="NAME", help="What to call the throw-away group.")] = "trial",
    timeout: Annotated[str, typer.Option(help="How long it may take: a number and s, m, h or d.")] = "180s",
    namespace: Namespace = None,
    context: Context = None,
) -> None:
    """Does it work? Make a group of one node, have two orders match, see the fill as an observer, delete the group.

    Exit codes: 0 it works, 1 it doesn't, or is refused, 2 wrong options, 3 not ready in time.

    Example: kubectl orderbook trial --timeout 120s
    """
    try:
        patience = seconds_of(timeout, "--timeout")
    except ValueError as error:
        raise Problem(str(error), EXIT_USAGE) from error
    place, deadline = Place(namespace, context), Deadline(patience)
    resource = asyncio.run(_in(place, lambda kubernetes: _make(kubernetes, group, deadline)))
    try:
        seconds = _prove(place, group, deadline)
    except BaseException:
        try:
            asyncio.run(_in(place, lambda kubernetes: _remove(kubernetes, resource)))
        except (Problem, ClusterError) as error:
            typer.echo(f"and the group is left behind: {error}", err=True)
        raise
    asyncio.run(_in(place, lambda kubernetes: _remove(kubernetes, resource)))
    typer.echo(f"an order was matched and its fill seen {seconds:.1f} s after the group was asked for; it is deleted")


class Deadline:
    """Of a whole trial."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._began = time.monotonic()

    @property
    def spent(self) -> float:
        return time.monotonic() - self._began

    @property
    def left(self) -> float:
        return max(0.0, self._seconds - self.spent)

    def check(self, waits_for: str) -> None:
        """Raises Problem once the time is over."""
        if self.left == 0:
            raise Problem(f"after {self._seconds:g} s: {waits_for}", EXIT_UNAVAILABLE)


def manifest(name: str, namespace: str) -> dict[str, Any]:
    """The smallest group there is. Pods of its namespace may be its clients, so that a pod can try it."""
    spec = {
        "replicas": 1,
        "pairs": [{"base": "TRY", "quote": "OUT", "tickSize": "1", "lotSize": "1"}],
        "storage": {"size": "1Gi", "retention": "Delete"},
        "networkPolicy": {"clientsFrom": [{"podSelector": {}}]},
    }
    metadata = {"name": name, "namespace": namespace, "labels": {TRIAL: "true"}}
    return {"apiVersion": GROUP.api_version, "kind": GROUP.kind, "metadata": metadata, "spec": spec}


async def _in(place: Place, job: Callable[[Kubernetes], Awaitable[Any]]) -> Any:
    async with open_kubernetes(place) as kubernetes:
        return await job(kubernetes)


async def _make(kubernetes: Kubernetes, name: str, deadline: Deadline) -> OrderBookGroup:
    cluster, namespace = kubernetes.cluster, kubernetes.namespace
    while True:
        try:
            created = await cluster.create(manifest(name, namespace), namespace)
        except AlreadyExists:
            found = await cluster.get(GROUP, namespace, name)
            if found is not None and TRIAL not in (found["metadata"].get("labels") or {}):
                raise Problem(f"there is a group {namespace}/{name}, and it is no trial: choose another name") from None
            if found is not None:
                typer.echo(f"deleting the group {name} that an earlier trial left")
                await _delete(kubernetes, name, found["metadata"]["uid"])
            deadline.check(f"the group {name} of an earlier trial is still being deleted")
            await asyncio.sleep(LOOK_SECONDS)
            continue
        typer.echo(f"made the group {namespace}/{name}")
        return OrderBookGroup.from_object(created)


async def _remove(kubernetes: Kubernetes, resource: OrderBookGroup) -> None:
    """Delete it and see it go. Raises Problem, ClusterError."""
    await _delete(kubernetes, resource.name, resource.uid)
    deadline = Deadline(DELETE_SECONDS)
    while (found := await kubernetes.cluster.get(GROUP, kubernetes.namespace, resource.name)) is not None:
        if found["metadata"]["uid"] != resource.uid:
            return
        deadline.check(f"{resource.name} is deleted, and still there; is the operator running?")
        await asyncio.sleep(LOOK_SECONDS)


async def _delete(kubernetes: Kubernetes, name: str, uid: str) -> None:
    try:
        await kubernetes.cluster.delete(GROUP.key(name), kubernetes.namespace, uid)
    except Conflict:
        return  # another one by now


def _prove(place: Place, group: str, deadline: Deadline) -> float:
    """Seconds until the fill was seen."""
    resource = asyncio.run(_in(place, lambda kubernetes: _ready(kubernetes, group, deadline)))
    typer.echo(f"ready after {deadline.spent:.1f} s, leader {resource.status.leader}")
    asker = Asker("trial-observer", "observer")
    found, tokens = asyncio.run(_in(place, lambda kubernetes: _tokens(kubernetes, group, asker)))
    with through(found, asker) as entrance:
        fill = asyncio.run(_trade(entrance, tokens, deadline))
    seen = (fill.pair, fill.price, fill.quantity)
    if seen != (PAIR, PRICE, QUANTITY):
        raise Problem(f"the observer saw another fill than the one that was to be: {fill}")
    return deadline.spent


async def _ready(kubernetes: Kubernetes, group: str, deadline: Deadline) -> OrderBookGroup:
    while True:
        resource = await kubernetes.group(group)
        if story.is_ready(resource):
            return resource
        bad = [f"{one.reason}: {one.message}" for one in resource.status.conditions if story.is_bad(one)]
        deadline.check(f"{group} is not ready; {'; '.join(bad) or 'no operator looks at it: is one running?'}")
        await asyncio.sleep(LOOK_SECONDS)


async def _tokens(kubernetes: Kubernetes, group: str, observer: Asker) -> tuple[Found, dict[str, str]]:
    """A way in as an observer, and a token of each trader."""
    found = await find(kubernetes, group, observer)
    authority = await read_secret(kubernetes, names.authority_secret(group), "there is no other way to try it")
    now = time.time()
    made = {
        trader: maker(authority, trader, "trader", found.resource)(TOKEN_SECONDS, now)
        for trader in ("trial-maker", "trial-taker")
    }
    return found, made


async def _trade(entrance: Entrance, tokens: dict[str, str], deadline: Deadline) -> Fill:
    """Raises GroupError, Problem."""
    observer = entrance.credentials
    ask_with(observer)

    async def job(call: Call) -> Fill:
        feed: Feed[Fill] = Feed(
            call.runtime, WebSocketFeedSource(call.http, entrance.addresses, observer), FeedKind.FILLS, pair=PAIR
        )
        try:
            async with asyncio.timeout(deadline.left):
                await feed.when().subscribed()
                for trader, side in (("trial-maker", "ask"), ("trial-taker", "bid")):
                    own = ClientCredentials(tokens[trader], tls=observer.tls, server_name=observer.server_name)
                    api = ApiClient(call.runtime, call.http, entrance.addresses, own, patience=deadline.left)
                    await api.place({"pair": PAIR, "side": side, "price": PRICE, "quantity": QUANTITY})
                    typer.echo(f"{trader}: {side} {QUANTITY} {PAIR} at {PRICE}")
                fill = await anext(feed)
                typer.echo(f"trial-observer: filled {fill.quantity} {fill.pair} at {fill.price}")
                return fill
        except TimeoutError:
            raise Problem("the fill was not seen in time", EXIT_UNAVAILABLE) from None
        except FeedRefused as error:
            raise Problem(f"the observer is refused: {error}") from error
        finally:
            await feed.close()

    return await connect(entrance.addresses, job, patience=deadline.left)
