from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from orderbook.server.application import client_application
from unit.server.http_client import CheckedClient
from unit.server.members import Members
from unit.server.trio import Trio


@pytest_asyncio.fixture
async def alone(tmp_path: Path) -> AsyncIterator[Members]:
    """A group of one member, ``a``."""
    members = Members(tmp_path, tick=0.01)
    await members.begin("a")
    yield members
    await members.close()


@pytest_asyncio.fixture
async def http(alone: Members) -> AsyncIterator[CheckedClient]:
    """A client of it."""
    client = await CheckedClient.open(client_application(alone.runtime, alone.groups["a"]))
    yield client
    await client.close()


@pytest_asyncio.fixture
async def trio(tmp_path: Path) -> AsyncIterator[Trio]:
    members = Trio(tmp_path)
    await members.begin("a", "b", "c")
    for name in ("a", "b", "c"):
        await members.serve(name)
    yield members
    await members.close()
