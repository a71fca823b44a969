"""All I/O to the nodes of groups: their /v1 over TLS, as an admin. Thin, no policy.

A node is reached at its pod's address, so that no name server is asked; its certificate is checked for its pod's DNS
name. The token is minted from the authority Secret, lives for minutes and is never written anywhere. Nothing is
remembered of a node between two looks but its connection.

Looks have deadlines of ``LOOK_SECONDS``: a node that is slow counts as one that did not answer. Changes wait as long as
the node itself does.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any, TypeVar

import aiohttp

from orderbook.client.api import ApiClient
from orderbook.client.credentials import ClientCredentials
from orderbook.groups.errors import GroupError
from orderbook.runtime import Runtime
from orderbook_operator import credentials, names
from orderbook_operator.observation import (
    CredentialsSeen,
    GroupSeen,
    Member,
    MemberSeen,
    NodeSeen,
    PairSeen,
    SecretSeen,
)
from orderbook_operator.resource import OrderBookGroup

Json = dict[str, Any]

LOOK_SECONDS = 2.0
CHANGE_SECONDS = 15.0
TOKEN_KEPT_SECONDS = 120.0
CERTIFICATE = "tls.crt"  # where a Secret of type kubernetes.io/tls has it
LIMITS = ("max_quantity", "min_price", "max_price")


@dataclass(frozen=True)
class Door:
    """How to get into the nodes of one group: whom to trust, and as whom. Both are empty where the group uses none.

    ``pinned``: ``trust`` is the user's own certificate for clients. It is compared as it is: what it says of names is
    the user's business.
    """

    group: str
    namespace: str
    trust: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    pinned: bool = False

    def url(self, address: str) -> str:
        host = f"[{address}]" if ":" in address else address
        return f"{'https' if self.trust else 'http'}://{host}:{names.CLIENT_PORT}"

    def host(self, pod: str) -> str:
        return f"{pod}.{names.service_host(names.peer_service(self.group), self.namespace)}"


class NoDoor(Exception):
    """The group's nodes can't be asked, for want of what its Secrets should hold. The message says of what."""


class Doors:
    """Makes each group's Door from its Secrets. Tokens are kept for a while: signing is not for every look."""

    def __init__(self) -> None:
        self._tokens: dict[tuple[str, str], tuple[str, float, str]] = {}

    def door(
        self,
        resource: OrderBookGroup,
        authority: SecretSeen | None,
        trusted: SecretSeen | None,
        own_certificate: bytes | None,
        now: float,
    ) -> Door:
        """``own_certificate`` is the one that ``tls.secret`` names. Raises NoDoor."""
        tls, auth = resource.spec.tls, resource.spec.auth
        token = trust = ""
        if auth.mode == "tokens":
            token = self._token(resource, authority, now)
        if tls.auto:
            found = own_certificate if tls.secret else trusted and trusted.data.get(names.TRUST)
            if not found:
                raise NoDoor(
                    f"there is no certificate in the Secret {tls.secret or names.credentials_secret(resource.name)}"
                )
            trust = found.decode("ascii", "replace")
        return Door(resource.name, resource.namespace, trust, token, pinned=tls.secret is not None)

    def forget(self, namespace: str, group: str) -> None:
        self._tokens.pop((namespace, group), None)

    def _token(self, resource: OrderBookGroup, authority: SecretSeen | None, now: float) -> str:
        if authority is None or not authority.ours:
            raise NoDoor(f"there is no Secret {names.authority_secret(resource.name)} of ours to sign tokens with")
        key = resource.namespace, resource.name
        known = self._tokens.get(key)
        if known is None or known[0] != authority.resource_version or not 0 <= now - known[1] < TOKEN_KEPT_SECONDS:
            audience = names.audience(resource.name, resource.namespace)
            try:
                minted = credentials.admin_token(authority, audience, now)
            except credentials.UnreadableSecret as error:
                raise NoDoor(str(error)) from error
            known = self._tokens[key] = authority.resource_version, now, minted
        return known[2]


class Nodes:
    """The nodes of all groups. Make it with ``open_nodes``."""

    def __init__(self, runtime: Runtime, http: aiohttp.ClientSession) -> None:
        self._runtime = runtime
        self._http = http
        self._contexts: dict[tuple[str, bool], ssl.SSLContext] = {}

    # --- looking ------------------------------------------------------------------------------------------------------

    async def look(self, door: Door, addresses: Mapping[str, str]) -> tuple[dict[str, NodeSeen], dict[str, str]]:
        """What each node says of itself, weakly; and of those that don't, why. ``addresses`` are by pod."""
        answers = await asyncio.gather(*(self._look_at(door, pod, addresses[pod]) for pod in addresses))
        found, problems = {}, {}
        for pod, answer in zip(addresses, answers, strict=True):
            if isinstance(answer, NodeSeen):
                found[pod] = answer
            else:
                problems[pod] = answer
        return found, problems

    async def ask_leader(
        self, door: Door, pod: str, address: str, *, pairs: tuple[PairSeen, ...] | None = None
    ) -> GroupSeen:
        """The leader's own answer, which a quorum confirmed. ``pairs``: those that are known, instead of asking.

        Raises GroupError; NotLeading if it doesn't lead.
        """
        client = self._client(door, pod, address, LOOK_SECONDS)
        with _understood(pod):
            document = await client.group(consistency="strong")
            if document["role"] != "leader":
                raise NotLeading(f"{pod} does not lead")
            found = group_seen(document, pairs or ())
            if pairs is not None:
                return found
            return replace(found, pairs=pairs_seen(await client.pairs(consistency="strong")))

    async def _look_at(self, door: Door, pod: str, address: str) -> NodeSeen | str:
        try:
            with _understood(pod):
                return node_seen(pod, await self._client(door, pod, address, LOOK_SECONDS).group(consistency="weak"))
        except GroupError as error:
            return str(error)

    # --- changing -----------------------------------------------------------------------------------------------------
    # Each raises GroupError: ApiRefused is the group's verdict, Unavailable surely not done, Uncertain maybe done.

    async def change_members(
        self, door: Door, pod: str, address: str, voters: Sequence[Member], learners: Sequence[Member], expected: int
    ) -> None:
        client = self._client(door, pod, address, CHANGE_SECONDS)
        await client.change_members([_identity(one) for one in voters], [_identity(one) for one in learners], expected)

    async def transfer(self, door: Door, pod: str, address: str, to: str) -> None:
        await self._client(door, pod, address, CHANGE_SECONDS).transfer(to)

    async def define_pair(self, door: Door, pod: str, address: str, pair: PairSeen) -> None:
        document = {"pair": f"{pair.base}/{pair.quote}", "tick": pair.tick, "lot": pair.lot, **dict(pair.limits)}
        await self._client(door, pod, address, CHANGE_SECONDS).define_pair(document)

    async def change_pair(self, door: Door, pod: str, address: str, pair: PairSeen) -> None:
        limits = {name: value for name, value in pair.limits if name in LIMITS}
        await self._client(door, pod, address, CHANGE_SECONDS).change_pair(f"{pair.base}/{pair.quote}", limits)

    async def recover(
        self, door: Door, pod: str, address: str, survivor: Member, last_term: int, last_index: int
    ) -> None:
        client = self._client(door, pod, address, CHANGE_SECONDS)
        await client.recover(client.address, survivor.name, str(survivor.id), last_term, last_index)

    # --- connections --------------------------------------------------------------------------------------------------

    def _client(self, door: Door, pod: str, address: str, seconds: float) -> ApiClient:
        trusts = ClientCredentials(door.token or None)
        if door.trust:
            trusts = ClientCredentials(door.token or None, tls=self._context(door), server_name=door.host(pod))
        return ApiClient(self._runtime, self._http, [door.url(address)], trusts, attempt_timeout=seconds, patience=0.0)

    def _context(self, door: Door) -> ssl.SSLContext:
        """Connections are kept by context, so that equal trust must give the same one."""
        key = sha256(door.trust.encode()).hexdigest(), door.pinned
        if key not in self._contexts:
            if len(self._contexts) >= 256:
                self._contexts.clear()
            context = ssl.create_default_context(cadata=door.trust)
            context.minimum_version = ssl.TLSVersion.TLSv1_3
            if door.pinned:
                context.check_hostname = False
                context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
            self._contexts[key] = context
        return self._contexts[key]


class NotLeading(GroupError):
    """The node that was asked as the leader is none, or none any more."""


class NotUnderstood(GroupError):
    """A node answers what this operator does not know: it runs another version."""


@contextmanager
def _understood(pod: str) -> Iterator[None]:
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        raise NotUnderstood(f"{pod} answers what this operator does not understand: {error!r}") from error


@asynccontextmanager
async def open_nodes(runtime: Runtime) -> AsyncIterator[Nodes]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(keepalive_timeout=30.0)) as http:
        yield Nodes(runtime, http)


# --- answers ----------------------------------------------------------------------------------------------------------
# Whatever a node says, what comes of it is of the types that the policy counts on. Those below raise KeyError,
# TypeError or ValueError where it isn't.

Said = TypeVar("Said", str, int, bool)


def _said(document: Json, field: str, kind: type[Said], default: Said | None = None) -> Said:
    """``default`` is what null stands for; without one null is not allowed."""
    value = document[field]
    if value is None and default is not None:
        return default
    if type(value) is not kind:
        raise TypeError(f"{field} is {str(value)[:40]!r}")
    return value


def _parts(document: Json, field: str) -> list[Json]:
    parts = document[field]
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        raise TypeError(f"{field} is no list of objects")
    return parts


def _who(document: Json) -> Member:
    name, id = _said(document, "name", str), _said(document, "id", str)
    if not re.fullmatch("[0-9]{1,20}", id):
        raise ValueError(f"id is {id[:40]!r}")
    return Member(name, int(id))


def node_seen(pod: str, document: Json) -> NodeSeen:
    """What a node said of itself."""
    loaded = document.get("credentials") or {}
    if not isinstance(loaded, dict):
        raise TypeError(f"credentials is {str(loaded)[:40]!r}")
    return NodeSeen(
        pod=pod,
        member=_who(document),
        phase=_said(document, "phase", str),
        incarnation=_said(document, "incarnation", str, ""),
        role=_said(document, "role", str, ""),
        term=_said(document, "term", int, 0),
        leader=_said(document, "leader", str, ""),
        last_term=_said(document, "last_term", int, 0),
        last_index=_said(document, "last_index", int, 0),
        commit=_said(document, "commit", int, 0),
        online=_said(document, "online", bool),
        version_supported=_said(document, "version_supported", int),
        waits_for=_said(document, "waits_for", str, ""),
        credentials=CredentialsSeen(
            *(_said(loaded, of, str, "") if of in loaded else "" for of in ("certificate", "trust", "token_keys"))
        ),
    )


def group_seen(document: Json, pairs: tuple[PairSeen, ...]) -> GroupSeen:
    """The leader's word on its group."""
    configuration = document["configuration"]
    members = tuple(_member(member) for member in _parts(configuration, "members"))
    # One that was just added announces itself as a stranger until the leader's first append reaches it.
    known = {member.member for member in members}
    strangers = (_who(stranger) for stranger in _parts(document, "strangers"))
    return GroupSeen(
        leader=_who(document),
        term=_said(document, "term", int),
        incarnation=_said(document, "incarnation", str),
        configuration_index=_said(configuration, "index", int),
        configuration_committed=_said(configuration, "committed", bool),
        joint=_said(configuration, "joint", bool),
        members=members,
        strangers=tuple(stranger for stranger in strangers if stranger not in known),
        transferee=_said(document, "transferring_to", str, ""),
        version=_said(document, "version", int),
        pairs=pairs,
    )


def _member(document: Json) -> MemberSeen:
    name, id = _who(document)
    return MemberSeen(
        name=name,
        id=id,
        role=_said(document, "role", str),
        lag=_said(document, "lag", int, 0),
        active=_said(document, "active", bool, False),
        caught_up=_said(document, "caught_up", bool, False),
        progress=_said(document, "progress", str, ""),
    )


def pairs_seen(document: Json) -> tuple[PairSeen, ...]:
    """In the order of definition, limits in the order of ``LIMITS``."""
    return tuple(_pair(pair) for pair in _parts(document, "pairs"))


def _pair(document: Json) -> PairSeen:
    base, _, quote = _said(document, "pair", str).partition("/")
    limits = tuple((name, _said(document, name, int)) for name in LIMITS)
    tick, lot = _said(document, "tick", str), _said(document, "lot", str)
    return PairSeen(base, quote, tick, lot, limits, _said(document, "halted", bool))


def _identity(member: Member) -> Json:
    return {"name": member.name, "id": str(member.id)}
