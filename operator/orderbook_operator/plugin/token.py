"""``kubectl orderbook token``: a token for a client, signed with the group's own key."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Annotated

import typer

from orderbook.cli.connection import EXIT_USAGE
from orderbook.cli.tokens import RoleName, seconds_of
from orderbook_operator import names
from orderbook_operator.plugin.entrance import maker, read_secret
from orderbook_operator.plugin.kubernetes import Problem, open_kubernetes, told
from orderbook_operator.plugin.options import AsJson, Context, GroupName, Namespace, Place


@told
def token(
    group: GroupName,
    subject: Annotated[str, typer.Option(help="Whose token: the trader's name.")],
    role: Annotated[RoleName, typer.Option(help="What it allows.")] = RoleName.TRADER,
    ttl: Annotated[str, typer.Option(help="How long: a number and s, m, h or d; at most 30d.")] = "1h",
    namespace: Namespace = None,
    context: Context = None,
    as_json: AsJson = False,
) -> None:
    """Print a token for a client of the group. It needs the right to get the Secret GROUP-authority.

    Whoever has it can use the group until the token ends: it can't be taken back by itself.

    Exit codes: 0 printed, 1 refused, 2 wrong options, 3 the API server does not answer.

    Example: kubectl orderbook token eth --subject alice --role trader --ttl 1h
    """
    try:
        lifetime = seconds_of(ttl, "--ttl")
    except ValueError as error:
        raise Problem(str(error), EXIT_USAGE) from error

    async def job() -> tuple[str, float]:
        async with open_kubernetes(Place(namespace, context)) as kubernetes:
            resource = await kubernetes.group(group)
            if resource.spec.auth.mode == "none":
                raise Problem(f"{group} asks nobody for a token: its spec.auth.mode is none")
            name = names.authority_secret(group)
            authority = await read_secret(kubernetes, name, "a token from somebody who has it")
            now = time.time()
            return maker(authority, subject, role.value, resource)(lifetime, now), now + lifetime

    minted, expires = asyncio.run(job())
    typer.echo(json.dumps({"token": minted, "expires": int(expires)}) if as_json else minted)
