"""A group of three members in this process, with an HTTP client of each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from orderbook.server.application import client_application
from unit.server.http_client import CheckedClient
from unit.server.members import Members


class Trio(Members):
    """Three members, a client of each."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, tick=0.03)
        self.clients: dict[str, CheckedClient] = {}

    async def serve(self, name: str) -> None:
        application = client_application(self.runtime, self.groups[name])
        self.clients[name] = await CheckedClient.open(application)

    async def close(self) -> None:
        for client in self.clients.values():
            await client.close()
        await super().close()

    @property
    def follower(self) -> str:
        return next(name for name in sorted(self.groups) if name != self.leader())

    async def group(self, name: str, query: str = "") -> Any:
        return (await self.clients[name].call("GET", f"/v1/group{query}")).document


def identities(document: Any, role: str = "voter") -> list[Any]:
    members = document["configuration"]["members"]
    return [{"name": member["name"], "id": member["id"]} for member in members if member["role"] == role]
