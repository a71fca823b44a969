"""A group of processes with mutual TLS and tokens: orders flow, and everything that proves anything is replaced under
load, without a restart and without an error that a client sees."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from orderbook.book import Order, Side
from orderbook.client.api import ApiClient, ApiRefused
from orderbook.client.credentials import ClientCredentials
from orderbook.client.local_group import LocalGroup, last_lines
from orderbook.client.network import Network
from orderbook.network.certificates import Issued, issue_peer, new_authority
from orderbook.server.runtime import AsyncioRuntime
from orderbook.tokens import public_jwks
from process.processes import KEY, SECONDS, finish, free_ports, start_command
from unit.server.tokens import Minter

PAIR = "ETH/USDC"
AUDIENCE = "eth.trading"
HOUR = 3600.0


class Secured:
    """Three nodes whose credentials lie in one directory, and clients that have a file of their own."""

    def __init__(self, root: Path) -> None:
        self.runtime = AsyncioRuntime(_raise)
        self.directory = root / "credentials"
        self.directory.mkdir()
        self.minter = Minter(AUDIENCE)
        self.authority = new_authority("first", time.time(), HOUR)
        self.trust = root / "trust.crt"  # of clients
        self.token = root / "token"
        self.write(ca=self.authority.certificate, issued=self.issue(self.authority), jwks=self.minter.jwks)
        self.trust.write_text(self.authority.certificate)
        self.token.write_text(self.minter.token("trader", "alice"))
        options = ["--pair", PAIR, "--auth", "tokens", "--auth-keys", str(self.directory / "tokens.json")]
        self.group = LocalGroup(self.runtime, root, 3, options, free_ports(3))
        self.environment = {
            "ORDERBOOK_KEY": KEY,
            "ORDERBOOK_AUTH__AUDIENCE": AUDIENCE,
            "ORDERBOOK_TLS__MODE": "mutual",
            "ORDERBOOK_TLS__CERTIFICATE": str(self.directory / "tls.crt"),
            "ORDERBOOK_TLS__KEY": str(self.directory / "tls.key"),
            "ORDERBOOK_TLS__CA": str(self.directory / "ca.crt"),
        }

    def issue(self, authority: Issued) -> Issued:
        return issue_peer(authority, "g", ["127.0.0.1", "localhost"], time.time(), HOUR)

    def write(self, *, ca: str | None = None, issued: Issued | None = None, jwks: str | None = None) -> None:
        pairs = {"ca.crt": ca, "tokens.json": jwks}
        if issued is not None:
            pairs |= {"tls.crt": issued.certificate, "tls.key": issued.key}
        for name, text in pairs.items():
            if text is not None:
                fresh = self.directory / f".{name}"
                fresh.write_text(text)
                fresh.rename(self.directory / name)

    def credentials(self, role: str = "trader", subject: str = "alice") -> ClientCredentials:
        return ClientCredentials(self.minter.token(role, subject), ca=self.trust)

    def api(self, http: aiohttp.ClientSession, role: str = "admin", patience: float = SECONDS) -> ApiClient:
        return ApiClient(self.runtime, http, self.group.addresses(), self.credentials(role, role), patience=patience)

    async def loaded(self, http: aiohttp.ClientSession, key: str, file: str) -> None:
        """Every node reports that it has loaded this file."""
        api = self.api(http)
        for address in self.group.addresses():
            wanted = sha256((self.directory / file).read_bytes()).hexdigest()
            while (await api.group(address, consistency="weak"))["credentials"][key] != wanted:  # noqa: ASYNC110
                await asyncio.sleep(0.1)


@asynccontextmanager
async def secured(root: Path) -> AsyncIterator[tuple[Secured, aiohttp.ClientSession]]:
    made = Secured(root)
    async with asyncio.timeout(2 * SECONDS), aiohttp.ClientSession() as http:
        try:
            await made.group.start(made.environment)
            await made.api(http).pairs(consistency="strong")
            yield made, http
        except BaseException:
            for node in made.group.nodes:
                print(f"--- {node.name}: {last_lines(node.log_file, 20)}")
            raise
        finally:
            await asyncio.shield(made.group.stop())


async def test_orders_flow_and_roles_hold(tmp_path: Path) -> None:
    async with secured(tmp_path) as (made, http):
        order: dict[str, Any] = {"pair": PAIR, "side": "bid", "price": 5, "quantity": 9}
        trader = made.api(http, "trader")
        placed = await trader.place(order)
        assert placed["events"][0]["trader"] == "trader"
        with pytest.raises(ApiRefused, match="this is for the role admin, not trader"):
            await trader.halt()
        with pytest.raises(ApiRefused, match="this is for the role trader, not observer"):
            await made.api(http, "observer").place(order)
        stranger = ApiClient(made.runtime, http, made.group.addresses(), ClientCredentials(ca=made.trust))
        with pytest.raises(ApiRefused, match="wants a token"):
            await stranger.pairs()
        status = await made.api(http).group()
        assert status["auth"] == "tokens" and all(member["active"] in (True, None) for member in _members(status))
        command = ["orders", "--node", ",".join(made.group.addresses()), "--ca", made.trust, "--token-file", made.token]
        done = await finish(await start_command(*command, "--json"))
        assert done.code == 0 and json.loads(done.out)["orders"] == []


async def test_everything_is_replaced_under_load(tmp_path: Path) -> None:
    async with secured(tmp_path) as (made, http):
        client = await Network.connect(made.group.addresses(), token_file=made.token, ca=made.trust)
        orders = client.streams.produce(Order)
        await orders.when(SECONDS).subscribed()
        ended = asyncio.Event()

        async def trade() -> int:
            """One order after the other until the end; each is accepted, whatever goes on."""
            placed = 0
            while not ended.is_set():
                placed += 1
                outcome = await orders.send(Order(placed, PAIR, Side.BID, 1 + placed % 1000, 1, "alice"))
                assert outcome.rejected is None
                await asyncio.sleep(0.002)
            return placed

        trading = asyncio.create_task(trade())
        processes = [node.process.pid for node in made.group.nodes if node.process is not None]
        await _rotate(made, http)
        ended.set()
        placed = await trading
        statuses = [await made.api(http).group(address, consistency="strong") for address in made.group.addresses()]
        assert [status["online"] for status in statuses] == [True] * 3
        assert [node.process.pid for node in made.group.nodes if node.process is not None] == processes
        listed = await made.api(http).call("GET", "/v1/book/ETH/USDC", query={"depth": 1000, "consistency": "strong"})
        assert sum(row[1] for row in listed["bids"]) == placed, "each order rests, and rests once"
        await client.close()


async def _rotate(made: Secured, http: aiohttp.ClientSession) -> None:
    """In the order in which nothing is ever refused: trust is added, proofs change, trust is dropped."""
    newer, keys = new_authority("second", time.time(), HOUR), Minter(AUDIENCE)
    both = made.authority.certificate + newer.certificate
    made.write(ca=both, jwks=public_jwks([made.minter.key, keys.key]))
    await made.loaded(http, "trust", "ca.crt")
    await made.loaded(http, "token_keys", "tokens.json")
    made.trust.write_text(both)
    made.token.write_text(keys.token("trader", "alice"))
    made.minter = keys
    made.write(issued=made.issue(newer))
    await made.loaded(http, "certificate", "tls.crt")
    made.write(ca=newer.certificate, jwks=keys.jwks)
    made.trust.write_text(newer.certificate)
    await made.loaded(http, "trust", "ca.crt")
    await made.loaded(http, "token_keys", "tokens.json")
    for address in made.group.addresses():
        probes = next(node.endpoints() for node in made.group.nodes if node.endpoints().clients == address)  # type: ignore[union-attr]
        async with http.get(f"{probes.probes}/metrics") as response:  # type: ignore[union-attr]
            assert 'orderbook_credential_reloads_total{result="loaded"} ' in await response.text()


def _members(status: dict[str, Any]) -> list[dict[str, Any]]:
    members: list[dict[str, Any]] = status["configuration"]["members"]
    return members


def _raise(error: BaseException) -> None:
    raise error
