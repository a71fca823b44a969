"""A client that holds every answer against /openapi.json: route, status, headers and body must be as it says."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from orderbook.server.api_answers import ERROR_CODES
from unit.server.json_schema import Schema


class Reply(NamedTuple):
    status: int
    document: Any
    headers: Any

    @property
    def error(self) -> Any:
        return self.document["error"]


class CheckedClient:
    """Made by ``open``. ``seen`` are (method, path template, status) of all answers."""

    def __init__(self, client: TestClient[Any, Any], described: dict[str, Any]) -> None:
        self.client = client
        self.described = described
        self.seen: set[tuple[str, str, int]] = set()

    @classmethod
    async def open(cls, application: web.Application) -> CheckedClient:
        client = TestClient(TestServer(application))
        await client.start_server()
        answer = await client.get("/openapi.json")
        assert answer.status == 200
        return cls(client, await answer.json())

    async def close(self) -> None:
        await self.client.close()

    async def call(self, method: str, path: str, body: Any = None, expect: int = 200, **options: Any) -> Reply:
        """``body`` is sent as JSON; ``data`` in its place as it is."""
        if body is not None:
            options["json"] = body
        answer = await self.client.request(method, path, **options)
        document = await answer.json()
        assert answer.status == expect, (method, path, answer.status, document)
        self.check(method, path, answer.status, answer.headers, document)
        return Reply(answer.status, document, answer.headers)

    def check(self, method: str, path: str, status: int, headers: Any, document: Any) -> None:
        failure = Schema(self.described, {"$ref": "#/components/schemas/Failure"})
        template = self.template(path.split("?")[0])
        described = self.described["paths"].get(template, {}).get(method.lower())
        if described is None:
            assert status in (404, 405, 413), (method, path, status)
            failure.check(document)
            return
        self.seen.add((method, template, status))
        fitting = [key for key in (str(status), f"{status // 100}XX") if key in described["responses"]]
        assert fitting, f"{method} {template} is not described to answer {status}"
        response = described["responses"][fitting[0]]
        Schema(self.described, response["content"]["application/json"]["schema"]).check(document)
        if status < 400 and "index" in document:
            assert int(headers["Orderbook-Index"]) == document["index"]
        if status == 503:
            assert int(headers["Retry-After"]) >= 1
        if status >= 400:
            assert document["error"]["code"] in ERROR_CODES
            assert document["error"]["message"]

    def template(self, path: str) -> str:
        fitting = [
            template
            for template in self.described["paths"]
            if re.fullmatch(re.sub(r"\{[a-z]+\}", "[^/]+", template), path)
        ]
        return fitting[0] if fitting else path
