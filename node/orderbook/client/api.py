"""JSON calls to a group, through whichever of some nodes answers: what the command line and the operator use.

A call goes to the node that answered last, and to the next one when that is down, not ready, or does not lead where a
leader is needed (its name is looked up among the nodes). It ends in the answer's document or in one of these:

=============  =====================================================================================================
``ApiRefused`` a node's last word: the request is wrong, or the group rejected it; nothing changed
Unavailable    surely not done, by any node, within ``patience`` seconds
Uncertain      it may have been done: a node got it and no answer came
=============  =====================================================================================================

What can be repeated is repeated until then, on any node: reads, and calls under an idempotency key, which the group
runs once however often it gets them. Any other call is sent again only if it was surely not done.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import aiohttp

from orderbook.client.credentials import ANONYMOUS, ClientCredentials
from orderbook.groups.errors import GroupError, Unavailable, Uncertain
from orderbook.runtime import Runtime

Document = dict[str, Any]

KEY_HEADER = "Idempotency-Key"
RETRY_FIRST_SECONDS = 0.05
RETRY_MOST_SECONDS = 0.5
_SURELY_NOT_SENT = (aiohttp.ClientConnectorError, aiohttp.InvalidURL)
_TLS_CONTEXT = re.compile(r" ssl:(<[^>]*>|\w+)")  # aiohttp tells of it by its address in memory


class ApiRefused(GroupError):
    """A node refused a call. ``code`` and ``reason`` are for programs; ``document`` is the whole error."""

    def __init__(self, status: int, document: Document) -> None:
        super().__init__(str(document.get("message") or f"refused with status {status}"))
        self.status = status
        self.code = str(document.get("code", ""))
        self.reason = str(document.get("reason", ""))
        self.document = document


class Unreachable(Unavailable):
    """No node did it; the message says what became of each address."""

    def __init__(self, problems: Mapping[str, str], reason: str) -> None:
        super().__init__(reason if reason in Unavailable.REASONS else "not_online")
        self.problems = dict(problems)

    def __str__(self) -> str:
        return "; ".join(f"{address}: {problem}" for address, problem in self.problems.items())


class _Doubt(Exception):
    """A node got the request, and no answer came."""


class _NotDone(Exception):
    """This node surely did not do it. ``leader``: who would, as far as it knows."""

    def __init__(self, problem: str, reason: str = "", leader: str | None = None) -> None:
        super().__init__(problem)
        self.reason = reason
        self.leader = leader


class ApiClient:
    """Calls of one user to the nodes at ``addresses`` (URLs). ``address`` is the one that is asked first."""

    def __init__(
        self,
        runtime: Runtime,
        http: aiohttp.ClientSession,
        addresses: Sequence[str],
        credentials: ClientCredentials = ANONYMOUS,
        *,
        attempt_timeout: float = 5.0,
        patience: float = 15.0,
    ) -> None:
        if not addresses:
            raise ValueError("an API client needs at least one address of a node")
        self.addresses = [address.rstrip("/") for address in addresses]
        self.address = self.addresses[0]
        self.patience = patience
        self._runtime = runtime
        self._http = http
        self._credentials = credentials
        self._attempt_timeout = attempt_timeout

    # --- orders -------------------------------------------------------------------------------------------------------

    async def place(self, orders: Document | list[Document], key: str | None = None) -> Document:
        return await self.call("POST", "/v1/orders", body=orders, key=self._key(key))

    async def cancel(
        self, id: int, quantity: int | None = None, trader: str | None = None, key: str | None = None
    ) -> Document:
        query = {"quantity": quantity, "trader": trader}
        return await self.call("DELETE", f"/v1/orders/{id}", query=query, key=self._key(key))

    async def cancel_all(self, trader: str | None = None, pair: str | None = None, key: str | None = None) -> Document:
        return await self.call("DELETE", "/v1/orders", query={"trader": trader, "pair": pair}, key=self._key(key))

    async def amend(self, id: int, changes: Document, key: str | None = None) -> Document:
        return await self.call("PATCH", f"/v1/orders/{id}", body=changes, key=self._key(key))

    async def order(self, id: int, **reading: Any) -> Document:
        found: Document = (await self.call("GET", f"/v1/orders/{id}", query=reading))["order"]
        return found

    async def orders(self, trader: str | None = None, pair: str | None = None, **reading: Any) -> Document:
        return await self.call("GET", "/v1/orders", query={"trader": trader, "pair": pair, **reading})

    # --- market data --------------------------------------------------------------------------------------------------

    async def book(self, pair: str, depth: int = 10, **reading: Any) -> Document:
        return await self.call("GET", f"/v1/book/{_path_of(pair)}", query={"depth": depth, **reading})

    async def fills(
        self, pair: str | None = None, since: Sequence[int] | None = None, limit: int | None = None, **reading: Any
    ) -> Document:
        after = None if since is None else f"{since[0]},{since[1]}"
        return await self.call("GET", "/v1/fills", query={"pair": pair, "since": after, "limit": limit, **reading})

    async def pairs(self, **reading: Any) -> Document:
        return await self.call("GET", "/v1/pairs", query=reading)

    # --- administration -----------------------------------------------------------------------------------------------

    async def group(self, address: str | None = None, **reading: Any) -> Document:
        """What a node says of the group and of itself; ``address`` asks this one only."""
        return await self.call("GET", "/v1/group", query=reading, address=address)

    async def define_pair(self, pair: Document) -> Document:
        return await self.call("POST", "/v1/pairs", body=pair, key=self._key())

    async def change_pair(self, pair: str, limits: Document) -> Document:
        return await self.call("PATCH", f"/v1/pairs/{_path_of(pair)}", body=limits, key=self._key())

    async def halt(self, pair: str | None = None, *, cancel: bool = False) -> Document:
        """No new orders in a pair, or (None) in any: the kill switch. ``cancel``: those that rest go, too."""
        path = "/v1/halt" if pair is None else f"/v1/pairs/{_path_of(pair)}/halt"
        return await self.call("POST", path, body={"cancel": cancel}, key=self._key())

    async def resume(self, pair: str | None = None) -> Document:
        path = "/v1/resume" if pair is None else f"/v1/pairs/{_path_of(pair)}/resume"
        return await self.call("POST", path, key=self._key())

    async def change_members(
        self, voters: Sequence[Document], learners: Sequence[Document], expected_configuration_index: int
    ) -> Document:
        """Safe to repeat after Uncertain: a change that was done has another configuration index."""
        body = {
            "voters": list(voters),
            "learners": list(learners),
            "expected_configuration_index": expected_configuration_index,
        }
        return await self.call("PUT", "/v1/members", body=body)

    async def transfer(self, to: str) -> Document:
        return await self.call("POST", "/v1/leadership", body={"to": to})

    async def recover(self, address: str, name: str, id: str, last_term: int, last_index: int) -> Document:
        """After the loss of a majority: have the node at ``address`` go on alone."""
        body = {"name": name, "id": id, "last_term": last_term, "last_index": last_index}
        return await self.call("POST", "/v1/recovery", body=body, address=address)

    async def snapshot(self, address: str | None = None) -> Document:
        """Have a node write a snapshot: the one at ``address``, or any."""
        return await self.call("POST", "/v1/snapshot", address=address, attempt_timeout=60.0)

    # --- one call -----------------------------------------------------------------------------------------------------

    async def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        key: str | None = None,
        address: str | None = None,
        attempt_timeout: float | None = None,
    ) -> Document:
        """The document of the answer. Raises ApiRefused, Unavailable, Uncertain.

        ``query`` values that are None are left out. ``address``: ask this node and no other.
        """
        request = _Request(method, path, query or {}, body, key, attempt_timeout or self._attempt_timeout)
        until = self._runtime.monotonic() + self.patience
        backoff = RETRY_FIRST_SECONDS
        asked = address or self.address
        problems: dict[str, str] = {}
        reason, doubt, turn = "", "", 0
        last_word: ApiRefused | None = None
        while True:
            leader = None
            try:
                document = await self._ask(asked, request)
            except _Doubt as error:
                doubt = problems[asked] = str(error)
                if not request.repeatable:
                    raise Uncertain(f"{asked}: {error}") from error
            except _NotDone as error:
                problems[asked] = str(error)
                reason, leader = error.reason or reason, error.leader
            except ApiRefused as refused:
                last_word = refused
                if refused.status != 401 or not self._credentials.renewable:
                    raise
                problems[asked] = str(refused)  # a node that does not know the key yet, or a token that is renewed soon
            else:
                self.address = self.address if address else asked
                return document
            turn += 1
            if address is None:
                named = await self._address_of(leader) if leader is not None else None
                asked = named or self._after(asked)
            everyone = 1 if address is not None else len(self.addresses)
            if turn >= everyone and self._runtime.monotonic() >= until:
                raise last_word or _end(problems, reason, doubt if request.method != "GET" else "")
            if turn % everyone == 0:
                await asyncio.sleep(backoff * (0.5 + self._runtime.random.random()))
                backoff = min(backoff * 2, RETRY_MOST_SECONDS)

    async def _ask(self, address: str, request: _Request) -> Document:
        options = self._credentials.request_options({KEY_HEADER: request.key} if request.key else None)
        try:
            async with self._http.request(
                request.method,
                address + request.path,
                params={name: str(value) for name, value in request.query.items() if value is not None},
                json=request.body,
                **options,
                timeout=aiohttp.ClientTimeout(total=request.timeout),
                allow_redirects=False,
            ) as response:
                text = await response.text()
                return _judged(response.status, text)
        except _SURELY_NOT_SENT as error:
            raise _NotDone(_TLS_CONTEXT.sub("", str(error))) from error
        except TimeoutError as error:
            raise _Doubt(f"no answer within {request.timeout:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise _Doubt(str(error) or type(error).__name__) from error

    async def _address_of(self, name: str) -> str | None:
        """Where the member of this name is, among the nodes that are known; None where it can't be found."""
        question = _Request("GET", "/v1/group", {"consistency": "weak"}, None, None, self._attempt_timeout)
        for address in self.addresses:
            try:
                if (await self._ask(address, question)).get("name") == name:
                    return address
            except (ApiRefused, _Doubt, _NotDone):
                continue
        return None

    def _after(self, address: str) -> str:
        if address not in self.addresses:
            return self.addresses[0]
        return self.addresses[(self.addresses.index(address) + 1) % len(self.addresses)]

    def _key(self, key: str | None = None) -> str:
        """The caller's key, or one that nobody used: what makes a repeat exact."""
        return key if key is not None else f"{self._runtime.random.getrandbits(128):032x}"


class _Request:
    __slots__ = ("body", "key", "method", "path", "query", "timeout")

    def __init__(
        self, method: str, path: str, query: Mapping[str, Any], body: Any, key: str | None, timeout: float
    ) -> None:
        self.method = method
        self.path = path
        self.query = query
        self.body = body
        self.key = key
        self.timeout = timeout

    @property
    def repeatable(self) -> bool:
        return self.method == "GET" or self.key is not None


def _judged(status: int, text: str) -> Document:
    """The document of a good answer. Raises ApiRefused, _NotDone, _Doubt."""
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    if 200 <= status < 300 and isinstance(document, dict):
        return document
    error = document.get("error") if isinstance(document, dict) else None
    if not isinstance(error, dict):
        error = {"code": "no_api", "message": f"status {status}, and no answer of a node: {text[:80]!r}"}
    message = str(error.get("message") or f"status {status}")
    if status == 503:
        raise _NotDone(message, str(error.get("reason", "")))
    if status == 421:
        raise _NotDone(message, "no_leader", error.get("leader") or None)
    if status == 504:
        raise _Doubt(message)
    raise ApiRefused(status, error)


def _end(problems: Mapping[str, str], reason: str, doubt: str) -> GroupError:
    """What to raise when patience is over."""
    if doubt:
        return Uncertain(doubt)
    return Unreachable(problems, reason)


def _path_of(pair: str) -> str:
    """``BASE/QUOTE`` as the two parts of a path."""
    base, _, quoted = pair.partition("/")
    return f"{quote(base, safe='')}/{quote(quoted, safe='')}"
