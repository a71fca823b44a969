"""What an operator does by hand: ``orderbook status``, ``members``, ``halt``, ``transfer``, ``recover`` and so on."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

import typer
from rich.text import Text

from orderbook.cli.connection import DEFAULT_NODES, AsJson, Call, Nodes, Patience, run
from orderbook.cli.tables import PlainTable, printable, show
from orderbook.client.api import ApiRefused
from orderbook.groups.errors import GroupError, Unavailable
from orderbook.raft.errors import TransferReason

_AFTER_RECOVERY = (
    "what the other members hold is of the old life: with their processes stopped remove their data, start them, "
    "and add each with orderbook members --add NAME"
)
CATCH_UP_SECONDS = 60.0
LOOK_SECONDS = 0.1


def status(
    node: Nodes = DEFAULT_NODES,
    patience: Annotated[float, typer.Option(help="Seconds to wait for a node.", min=0.0)] = 2.0,
    as_json: AsJson = False,
) -> None:
    """How each of the nodes is, as it says itself.

    Exit codes: 0 all serve, 1 some do not, or they are not of one group, 2 wrong options, 3 none answers.

    Example: orderbook status --node http://127.0.0.1:8443,http://127.0.0.1:8444
    """

    async def ask(call: Call, address: str) -> dict[str, Any]:
        try:
            return {"address": address, **await call.api.group(address, consistency="weak")}
        except GroupError as error:
            return {"address": address, "online": False, "error": str(error)}

    async def job(call: Call) -> list[dict[str, Any]]:
        return list(await asyncio.gather(*(ask(call, address) for address in call.api.addresses)))

    found = run(node, job, patience=patience)
    if as_json:
        typer.echo(json.dumps(found))
    else:
        _print_status(found)
    if all("error" in one for one in found):
        raise typer.Exit(3)
    apart = _apart(found)
    if apart:
        typer.echo(apart, err=True)
    raise typer.Exit(0 if all(one["online"] for one in found) and not apart else 1)


def _apart(found: list[dict[str, Any]]) -> str:
    """Who is of which group, where the nodes are of several; empty where they are not."""
    groups: dict[str, list[str]] = {}
    for one in found:
        if one.get("incarnation"):
            groups.setdefault(one["incarnation"], []).append(one["name"])
    told = "; ".join(f"{', '.join(names)}: incarnation {incarnation}" for incarnation, names in groups.items())
    return f"these nodes are not of one group, or of different lives of it: {told}" if len(groups) > 1 else ""


def _print_status(found: list[dict[str, Any]]) -> None:
    table = PlainTable("node", "address", "role", "term", "leader", "applied", "state hash", "log end", "phase", "id")
    for one in found:
        if "error" in one:
            table.add_row("", one["address"], "", "", "", "", "", "", Text("does not answer", style="red"))
            continue
        absent = one["waits_for"] or one["phase"] + ", not online"
        phase = Text(one["phase"]) if one["online"] else Text(printable(absent), style="yellow")
        state = (one["role"], str(one["term"]), one["leader"] or "none", str(one["applied"]), one["state_hash"])
        table.add_row(one["name"], one["address"], *state, f"{one['last_term']}/{one['last_index']}", phase, one["id"])
    show(table)


def members(
    add: Annotated[str | None, typer.Option(help="Make this node, which has no group, a voter.")] = None,
    remove: Annotated[str | None, typer.Option(help="Take this member out of the group.")] = None,
    node: Nodes = DEFAULT_NODES,
    patience: Patience = 15.0,
    as_json: AsJson = False,
) -> None:
    """Who votes and who learns, as the leader knows it; or add a node (it learns first), or remove a member.

    Exit codes: 0 done, 1 refused, 2 wrong options, 3 unavailable, 4 uncertain (look again).

    Example: orderbook members --add node-4 --node http://127.0.0.1:8443
    """

    async def job(call: Call) -> dict[str, Any]:
        if add is not None:
            await _add(call, add)
        if remove is not None:
            await _remove(call, remove)
        return await _led(call)

    document = run(node, job, patience=patience, as_json=as_json)
    if as_json:
        keys = ("leader", "term", "configuration", "strangers")
        typer.echo(json.dumps({key: document[key] for key in keys}))
        return
    table = PlainTable("member", "id", "role", "match", "lag", "")
    for member in document["configuration"]["members"]:
        lag = ["" if member[key] is None else str(member[key]) for key in ("match", "lag")]
        table.add_row(member["name"], member["id"], member["role"], *lag, "leads" if member["leader"] else "")
    for stranger in document["strangers"]:
        table.add_row(stranger["name"], stranger["id"], "none", "", "", "may be added")
    show(table)


async def _led(call: Call) -> dict[str, Any]:
    """The group as its leader knows it: with the lag of each member."""
    document = await call.api.group(consistency="strong")
    for address in call.api.addresses:
        if document["role"] == "leader":
            break
        try:
            seen = await call.api.group(address, consistency="strong")
        except GroupError:
            continue
        document = seen if seen["role"] == "leader" else document
    return document


async def _change(call: Call, seen: dict[str, Any], voters: list[Any], learners: list[Any]) -> None:
    def named(rows: list[Any]) -> list[dict[str, str]]:
        return [{"name": row["name"], "id": row["id"]} for row in rows]

    await call.api.change_members(named(voters), named(learners), seen["configuration"]["index"])


def _by_role(seen: dict[str, Any], role: str) -> list[Any]:
    return [member for member in seen["configuration"]["members"] if member["role"] == role]


async def _add(call: Call, name: str) -> None:
    """Have a stranger learn, and vote when it has caught up."""
    await _learn(call, name)
    until = call.runtime.monotonic() + CATCH_UP_SECONDS
    while True:
        seen = await _led(call)
        learners = _by_role(seen, "learner")
        learner = next((row for row in learners if row["name"] == name), None)
        if learner is None:
            raise typer.BadParameter(f"{name} is no learner any more")
        if learner["caught_up"]:
            break
        if call.runtime.monotonic() > until:
            raise Unavailable("deadline")
        await asyncio.sleep(LOOK_SECONDS)
    others = [row for row in learners if row["name"] != name]
    await _change(call, seen, [*_by_role(seen, "voter"), learner], others)


async def _learn(call: Call, name: str) -> None:
    """Make a stranger a learner; it may have been started just now, and the leader be about to see it."""
    until = call.runtime.monotonic() + call.api.patience
    while True:
        seen = await _led(call)
        members = {row["name"]: row["role"] for row in seen["configuration"]["members"]}
        if members.get(name) == "learner":
            return
        if name in members:
            raise typer.BadParameter(f"{name} is a {members[name]} already")
        stranger = next((row for row in seen["strangers"] if row["name"] == name), None)
        if stranger is not None:
            await _change(call, seen, _by_role(seen, "voter"), [*_by_role(seen, "learner"), stranger])
            return
        if call.runtime.monotonic() > until:
            names = ", ".join(row["name"] for row in seen["strangers"]) or "none"
            raise typer.BadParameter(f"{name} is no node that waits to be added; there are: {names}")
        await asyncio.sleep(LOOK_SECONDS)


async def _remove(call: Call, name: str) -> None:
    seen = await _led(call)
    voters, learners = ([row for row in _by_role(seen, role) if row["name"] != name] for role in ("voter", "learner"))
    if len(voters) + len(learners) == len(_by_role(seen, "voter")) + len(_by_role(seen, "learner")):
        raise typer.BadParameter(f"{name} is no member of the group")
    await _change(call, seen, voters, learners)


def halt(
    pair: Annotated[str | None, typer.Argument(help="BASE/QUOTE.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every pair: the kill switch.")] = False,
    cancel: Annotated[bool, typer.Option("--cancel", help="Cancel the orders that rest, too.")] = False,
    node: Nodes = DEFAULT_NODES,
    patience: Patience = 15.0,
    as_json: AsJson = False,
) -> None:
    """No new orders and amends in a pair, or in all; cancels go on.

    Exit codes: 0 done, 1 rejected, 2 wrong options, 3 unavailable, 4 uncertain.

    Example: orderbook halt ETH/USDC --cancel
    """
    _one_or_all(pair, every)
    document = run(node, lambda call: call.api.halt(pair, cancel=cancel), patience=patience, as_json=as_json)
    _print_executed(document, f"halted {pair or 'all pairs'}", as_json)


def resume(
    pair: Annotated[str | None, typer.Argument(help="BASE/QUOTE.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Undo the kill switch.")] = False,
    node: Nodes = DEFAULT_NODES,
    patience: Patience = 15.0,
    as_json: AsJson = False,
) -> None:
    """Let a halted pair trade again, or undo the kill switch; pairs halted by themselves stay halted then.

    Exit codes: 0 done, 1 rejected, 2 wrong options, 3 unavailable, 4 uncertain.

    Example: orderbook resume ETH/USDC
    """
    _one_or_all(pair, every)
    document = run(node, lambda call: call.api.resume(pair), patience=patience, as_json=as_json)
    _print_executed(document, f"resumed {pair or 'trading'}", as_json)


def transfer(
    to: Annotated[str, typer.Argument(help="Name of a voter.")],
    node: Nodes = DEFAULT_NODES,
    patience: Patience = 15.0,
    as_json: AsJson = False,
) -> None:
    """Give the leadership to another voter.

    Exit codes: 0 it leads, 1 refused, 2 wrong options, 3 unavailable, 4 uncertain (look at status).

    Example: orderbook transfer node-2 --node http://127.0.0.1:8443,http://127.0.0.1:8444
    """

    async def job(call: Call) -> dict[str, Any]:
        try:
            return await call.api.transfer(to)
        except ApiRefused as error:
            if error.reason != TransferReason.ALREADY_LEADER:
                raise
            return {"leader": to}  # as it was asked for

    document = run(node, job, patience=patience, as_json=as_json)
    typer.echo(json.dumps(document) if as_json else f"leader: {document['leader']}")


def snapshot(
    node: Nodes = DEFAULT_NODES,
    every: Annotated[bool, typer.Option("--all", help="Each of the nodes, not only the first that answers.")] = False,
    patience: Patience = 15.0,
    as_json: AsJson = False,
) -> None:
    """Have a node write a snapshot of its state.

    Exit codes: 0 written, 1 refused, 2 wrong options, 3 unavailable, 4 uncertain.

    Example: orderbook snapshot --node http://127.0.0.1:8443
    """

    async def job(call: Call) -> list[dict[str, Any]]:
        if every:
            return [{"address": one, **await call.api.snapshot(one)} for one in call.api.addresses]
        document = await call.api.snapshot()
        return [{"address": call.api.address, **document}]

    for document in run(node, job, patience=patience, as_json=as_json):
        done = f"{document['address']}: snapshot at index {document['index']}"
        typer.echo(json.dumps(document) if as_json else done)


def recover(
    survivor: Annotated[str, typer.Argument(help="The member, as NAME/ID; see status.")],
    last_term: Annotated[int, typer.Option(help="Of the last entry of its log; see status.", min=0)],
    last_index: Annotated[int, typer.Option(help="Of the last entry of its log; see status.", min=0)],
    node: Annotated[str, typer.Option("--node", help="URL of the survivor, and of nobody else.")],
    patience: Patience = 15.0,
    as_json: AsJson = False,
) -> None:
    """After the loss of a majority for good: go on with one member's data alone. What only others had is lost.

    It begins a new life of the group: members of the old one are refused, sessions end, streams are told. Stop the
    other members before: two of them that start again would go on with the old life.

    Exit codes: 0 done, 1 refused, 2 wrong options, 3 unavailable, 4 uncertain (look at status).

    Example: orderbook recover node-2/8123 --last-term 7 --last-index 5012 --node http://127.0.0.1:8444
    """
    name, _, id = survivor.rpartition("/")
    if not name or not id.isdecimal():
        raise typer.BadParameter(f"a member is NAME/ID, not {survivor!r}")
    document = run(
        node,
        lambda call: call.api.recover(call.api.addresses[0], name, id, last_term, last_index),
        patience=patience,
        as_json=as_json,
    )
    typer.echo(json.dumps(document) if as_json else f"incarnation: {document['incarnation']}")
    if not as_json:
        typer.echo(_AFTER_RECOVERY, err=True)


def _one_or_all(pair: str | None, every: bool) -> None:
    if every == (pair is not None):
        raise typer.BadParameter("say either a pair or --all")


def _print_executed(document: dict[str, Any], done: str, as_json: bool) -> None:
    cancelled = sum(event["event"] == "cancelled" for event in document["events"]) + document["events_omitted"]
    told = f"{done}; cancelled {cancelled} orders" if cancelled else done
    typer.echo(json.dumps(document) if as_json else told)
