"""``kubectl orderbook status``: members and conditions of a group."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any, NamedTuple

import typer
from rich.text import Text

from orderbook.cli.connection import Call, ask_with, connect
from orderbook.cli.tables import PlainTable, printable, show
from orderbook.groups.errors import GroupError
from orderbook_operator.cluster import ClusterError
from orderbook_operator.observation import PodSeen
from orderbook_operator.plugin import story
from orderbook_operator.plugin.entrance import Entrance, Found, find, pods_of, through
from orderbook_operator.plugin.kubernetes import Problem, open_kubernetes, reason_of, told
from orderbook_operator.plugin.options import (
    SUBJECT,
    AsJson,
    Asker,
    Authorities,
    Context,
    GroupName,
    Namespace,
    Place,
    Token,
    TokenFile,
)
from orderbook_operator.resource import OrderBookGroup

Json = dict[str, Any]

LOOK_SECONDS = 3.0


@told
def status(
    group: GroupName,
    namespace: Namespace = None,
    context: Context = None,
    token: Token = None,
    token_file: TokenFile = None,
    ca: Authorities = None,
    as_json: AsJson = False,
) -> None:
    """Members with roles, lag and zone, and the group's conditions. Where nodes can't be asked, what the resource says.

    Exit codes: 0 the group is Ready, 1 it isn't, or there is none, 2 wrong options, 3 the API server does not answer.

    Example: kubectl orderbook status eth -n trading
    """
    seen = look(Place(namespace, context), group, Asker(SUBJECT, "observer", token, token_file, ca))
    rows, leader = story.members(seen.resource, seen.pods, seen.documents), story.leader_of(seen.documents)
    if as_json:
        typer.echo(json.dumps(story.document(seen.resource, rows, leader, seen.problems)))
    else:
        _print(seen, rows, leader)
    raise typer.Exit(0 if story.is_ready(seen.resource) else 1)


class Seen(NamedTuple):
    """``documents``: what nodes say of themselves (/v1/group), by pod. ``problems``: why there is no more to see."""

    resource: OrderBookGroup
    pods: tuple[PodSeen, ...]
    documents: dict[str, Json]
    problems: dict[str, str]


def look(place: Place, group: str, asker: Asker) -> Seen:
    """As much as whoever asks may see. Raises Problem, ClusterError where that isn't even the resource."""
    seen, found = asyncio.run(_look(place, group, asker))
    if found is None:
        return seen
    try:
        with through(found, asker, everyone=True) as entrance:
            documents, silent = asyncio.run(ask(entrance))
    except Problem as error:
        documents, silent = {}, {"nodes": str(error)}
    return Seen(found.resource, found.pods, documents, silent)


async def _look(place: Place, group: str, asker: Asker) -> tuple[Seen, Found | None]:
    async with open_kubernetes(place) as kubernetes:
        resource = await kubernetes.group(group)
        problems = {}
        try:
            found = await find(kubernetes, group, asker)
            return Seen(found.resource, found.pods, {}, {}), found
        except (Problem, ClusterError) as error:
            problems["nodes"] = reason_of(error)
        pods: tuple[PodSeen, ...] = ()
        try:
            pods = await pods_of(kubernetes, group)
        except ClusterError as error:
            problems["pods"] = reason_of(error)
        return Seen(resource, pods, {}, problems), None


async def ask(entrance: Entrance) -> tuple[dict[str, Json], dict[str, str]]:
    """What each node says of itself (/v1/group), and of those that don't, why."""
    documents: dict[str, Json] = {}
    problems: dict[str, str] = {}
    ask_with(entrance.credentials)

    async def job(call: Call) -> None:
        await asyncio.gather(*(one(call, name, url) for name, url in entrance.nodes.items()))

    async def one(call: Call, name: str, url: str) -> None:
        try:
            documents[name] = await call.api.group(url, consistency="weak")
        except GroupError as error:
            problems[name] = str(error)

    if entrance.nodes:
        await connect(list(entrance.nodes.values()), job, patience=LOOK_SECONDS)
    return documents, problems


def _print(seen: Seen, rows: list[story.MemberRow], leader: Json | None) -> None:
    typer.echo(printable(story.headline(seen.resource, leader)))
    typer.echo()
    table = PlainTable("member", "role", "ready", "lag", "applied", "version", "zone", "machine", "", "id")
    for row in rows:
        ready = {True: Text("yes"), False: Text("no", style="yellow"), None: Text("?")}[row.ready]
        numbers = ["?" if one is None else str(one) for one in (row.lag, row.applied)]
        phase = Text(printable(row.phase), style="" if row.phase == "online" else "yellow")
        table.add_row(row.name, row.role, ready, *numbers, row.version, row.zone, row.machine, phase, row.id)
    show(table)
    typer.echo()
    conditions, now = PlainTable("condition", "", "since", "reason", "message"), time.time()
    for one in seen.resource.status.conditions:
        word = Text(one.status, style="yellow" if story.is_bad(one) else "")
        ago = story.since(one.last_transition_time, now)
        conditions.add_row(one.type, word, ago, one.reason, one.message)
    show(conditions)
    if not story.is_current(seen.resource):
        typer.echo("the operator has not acted on the newest spec yet")
    for what, problem in seen.problems.items():
        typer.echo(printable(f"{what}: {problem}"), err=True)
