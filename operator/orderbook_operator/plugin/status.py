"""``kubectl orderbook status``: members and conditions of a group."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import typer
from rich.text import Text

from orderbook.cli.connection import Call, ask_with, connect
from orderbook.cli.tables import PlainTable, printable, show
from orderbook.groups.errors import GroupError
from orderbook_operator import names
from orderbook_operator.cluster import POD, ClusterError
from orderbook_operator.plugin import story
from orderbook_operator.plugin.entrance import Entrance, find, through
from orderbook_operator.plugin.kubernetes import Problem, open_kubernetes, problem_of, told
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
from orderbook_operator.seen import pods_seen

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
    place, asker = Place(namespace, context), Asker(SUBJECT, "observer", token, token_file, ca)
    resource, pods, documents, problems = look(place, group, asker)
    rows, leader = story.members(resource, pods, documents), story.leader_of(documents)
    if as_json:
        typer.echo(json.dumps(story.document(resource, rows, leader, problems)))
    else:
        _print(resource, rows, leader, problems)
    raise typer.Exit(0 if story.is_ready(resource) else 1)


def look(place: Place, group: str, asker: Asker) -> tuple[Any, Any, dict[str, Any], dict[str, str]]:
    """The resource, its pods, what each node says of itself, and why some don't. Raises Problem, ClusterError."""
    problems: dict[str, str] = {}

    async def seen() -> tuple[Any, Any, Any]:
        async with open_kubernetes(place) as kubernetes:
            resource = await kubernetes.group(group)
            try:
                return resource, None, await find(kubernetes, group, asker)
            except (Problem, ClusterError) as error:
                problem = problem_of(error) if isinstance(error, ClusterError) else error
                problems["nodes"] = str(problem)
            try:
                pods = await kubernetes.cluster.select(POD, kubernetes.namespace, names.selector(group))
                return resource, pods_seen(pods, group, {}), None
            except ClusterError as error:
                problems["pods"] = str(problem_of(error))
                return resource, (), None

    resource, pods, found = asyncio.run(seen())
    if found is None:
        return resource, pods, {}, problems
    try:
        with through(found, asker, everyone=True) as entrance:
            documents, silent = asyncio.run(ask(entrance))
    except Problem as error:
        documents, silent = {}, {"nodes": str(error)}
    return found.resource, found.pods, documents, problems | silent


async def ask(entrance: Entrance) -> tuple[dict[str, Any], dict[str, str]]:
    """What each node says of itself (/v1/group), and of those that don't, why."""
    documents: dict[str, Any] = {}
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


def _print(resource: Any, rows: list[story.MemberRow], leader: Any, problems: dict[str, str]) -> None:
    typer.echo(printable(story.headline(resource, leader)))
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
    for one in resource.status.conditions:
        word = Text(one.status, style="yellow" if story.is_bad(one) else "")
        ago = story.since(one.last_transition_time, now)
        conditions.add_row(one.type, word, ago, one.reason, one.message)
    show(conditions)
    if not story.is_current(resource):
        typer.echo("the operator has not acted on the newest spec yet")
    for what, problem in problems.items():
        typer.echo(printable(f"{what}: {problem}"), err=True)
