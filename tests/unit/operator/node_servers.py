"""Nodes as the operator sees them: real listeners with real TLS and tokens, whose answers a test writes.

Each is at an address of its own on this machine, since nodes have one port: all of 127.0.0.0/8 is loopback on Linux.
"""

from __future__ import annotations

import asyncio
import random
import ssl
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from orderbook import tokens
from orderbook_operator import credentials, names
from orderbook_operator.actions import CreateSecret
from orderbook_operator.observation import SecretSeen
from unit.operator import resources

Json = dict[str, Any]


def new_address() -> str:
    """One that no other test has, in this process or beside it."""
    drawn = random.SystemRandom()
    return f"127.{drawn.randint(1, 254)}.{drawn.randint(0, 255)}.{drawn.randint(2, 254)}"


def member(name: str, id: int, role: str = "voter", **known: Any) -> Json:
    document = {"name": name, "id": str(id), "role": role, "leader": False, "match": 10}
    return {**document, "lag": 0, "active": True, "caught_up": True, "progress": "replicate", **known}


def status(name: str, id: int, **said: Any) -> Json:
    """What GET /v1/group answers, as far as the operator reads it."""
    return {
        "name": name,
        "id": str(id),
        "phase": "member",
        "waits_for": "",
        "online": True,
        "incarnation": "ab" * 16,
        "role": "follower",
        "term": 3,
        "leader": "eth-0",
        "transferring_to": None,
        "last_index": 40,
        "last_term": 3,
        "commit": 40,
        "configuration": {"index": 12, "committed": True, "joint": False, "members": [member(name, id)]},
        "strangers": [],
        "version": 1,
        "version_supported": 1,
        "credentials": {"certificate": "c1", "trust": "t1", "token_keys": None},
        **said,
    }


class NodeServer:
    """``documents`` by path; ``statuses``: codes to refuse with, by path. ``requests``: method, path, query, body."""

    def __init__(self, address: str, keys: tokens.TokenKeys | None) -> None:
        self.address = address
        self.documents: dict[str, Json] = {}
        self.statuses: dict[str, int] = {}
        self.requests: list[tuple[str, str, Mapping[str, str], Any]] = []
        self.silent = False
        self._keys = keys

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.json() if request.can_read_body else None
        self.requests.append((request.method, request.path, dict(request.query), body))
        if self.silent:
            await asyncio.Event().wait()
        if self._keys is not None:
            claims = self._keys.verify(
                request.headers.get("Authorization", "").removeprefix("Bearer "), "eth.trading", time.time()
            )
            assert claims.role is tokens.ROLES["admin"]
        code = self.statuses.get(request.path, 200)
        if code != 200:
            return web.json_response({"error": {"code": "refused", "message": "the test says so"}}, status=code)
        return web.json_response(self.documents.get(request.path, {}))


def issue(now: float | None = None) -> tuple[SecretSeen, SecretSeen]:
    """Authority and credentials of a new group ``eth`` in ``trading``, as the operator makes them."""
    made = credentials.plan_secrets(resources.group(), None, None, {}, now or time.time(), resources.seeded())
    found = [SecretSeen(action.name, "1", action.data) for action in made if isinstance(action, CreateSecret)]
    authority, trusted = found
    return authority, trusted


def server_context(trusted: SecretSeen) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    with tempfile.TemporaryDirectory() as directory:
        chain, key = Path(directory, "client.crt"), Path(directory, "client.key")
        chain.write_bytes(trusted.data[names.CLIENT_CERTIFICATE])
        key.write_bytes(trusted.data[names.CLIENT_KEY])
        context.load_cert_chain(chain, key)
    return context


@asynccontextmanager
async def running(trusted: SecretSeen | None = None) -> AsyncIterator[NodeServer]:
    """With TLS and tokens of these credentials, or plain."""
    keys = tokens.TokenKeys.parse(trusted.data[names.TOKEN_KEYS].decode()) if trusted is not None else None
    node = NodeServer(new_address(), keys)
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", node.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    context = server_context(trusted) if trusted is not None else None
    await web.TCPSite(runner, node.address, names.CLIENT_PORT, ssl_context=context).start()
    try:
        yield node
    finally:
        await runner.cleanup()
