"""How a command gets into a group: which nodes, whom to trust, as whom.

In a pod of the cluster nodes are reached by their DNS names. From elsewhere kubectl forwards ports of each pod, and
certificates are checked for the name of the client Service, whatever address is dialled. Whom to trust stands in the
credentials Secret; tokens are made with the key in the authority Secret, for minutes, and never leave the process
unless a command says so.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from orderbook.cli.connection import EXIT_UNAVAILABLE, EXIT_USAGE
from orderbook.client.credentials import ClientCredentials
from orderbook_operator import credentials, names
from orderbook_operator.certificates import read_certificate
from orderbook_operator.cluster import POD, SECRET, Refused
from orderbook_operator.nodes import CERTIFICATE
from orderbook_operator.observation import PodSeen, SecretSeen
from orderbook_operator.plugin.kubernetes import FORBIDDEN, Kubernetes, Problem, open_kubernetes
from orderbook_operator.plugin.options import Asker, Place
from orderbook_operator.plugin.port_forward import PortForwards
from orderbook_operator.resource import OrderBookGroup
from orderbook_operator.seen import pods_seen, secret_seen

TOKEN_SECONDS = 600.0
SKEW_SECONDS = 60.0  # clocks of nodes may be behind ours by this much


@dataclass(frozen=True)
class Trust:
    """PEM of authorities, or ("" where the group speaks no TLS) none; the name that is checked in certificates.

    ``own``: it is the user's own certificate for clients, trusted as it is.
    """

    pem: str = ""
    name: str | None = None
    own: bool = False

    def context(self) -> ssl.SSLContext | bool:
        if not self.pem:
            return True
        made = ssl.create_default_context(cadata=self.pem)
        if self.own:
            made.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        return made


@dataclass(frozen=True)
class Found:
    """A group and what is needed to get into it. ``mint`` is None where no token is asked for, or the user has one."""

    kubernetes: Kubernetes
    resource: OrderBookGroup
    pods: tuple[PodSeen, ...]
    trust: Trust
    mint: Callable[[], str] | None


@dataclass(frozen=True)
class Entrance:
    """``nodes`` and ``probes`` are URLs by the name of the member's pod, the leader's first as far as it is known.

    ``service``: the URL of the client Service, where its name means something.
    """

    found: Found
    nodes: Mapping[str, str]
    probes: Mapping[str, str]
    credentials: ClientCredentials
    service: str | None = None

    @property
    def addresses(self) -> list[str]:
        """URLs to ask one after another until one answers."""
        return [*([self.service] if self.service else []), *self.nodes.values()]


class Minter:
    """Tokens of one asker: each is handed out for half of its life."""

    def __init__(
        self, make: Callable[[float, float], str], lifetime: float = TOKEN_SECONDS, now: Callable[[], float] = time.time
    ) -> None:
        """``make(lifetime, now)`` gives a token that lives for ``lifetime`` seconds from ``now``."""
        self._make = make
        self._lifetime = lifetime
        self._now = now
        self._token = ""
        self._made = 0.0

    def __call__(self) -> str:
        now = self._now()
        if not self._token or not 0 <= now - self._made < self._lifetime / 2:
            self._token = self._make(self._lifetime + SKEW_SECONDS, now - SKEW_SECONDS)
            self._made = now
        return self._token


# --- what the cluster says --------------------------------------------------------------------------------------------


async def find(kubernetes: Kubernetes, group: str, asker: Asker) -> Found:
    """Raises Problem, ClusterError."""
    resource = await kubernetes.group(group)
    pods = await pods_of(kubernetes, group)
    trust = await trust_of(kubernetes, resource, asker)
    mint = None
    if resource.spec.auth.mode == "tokens" and not asker.has_own_token:
        authority = await read_secret(kubernetes, names.authority_secret(group), "--token or --token-file gives one")
        mint = Minter(maker(authority, asker.subject, asker.role, resource))
        mint()  # so that what is wrong is told at once
    return Found(kubernetes, resource, pods, trust, mint)


async def pods_of(kubernetes: Kubernetes, group: str) -> tuple[PodSeen, ...]:
    """None in the cluster, where they aren't needed. Raises ClusterError."""
    if kubernetes.in_cluster:
        return ()
    return pods_seen(await kubernetes.cluster.select(POD, kubernetes.namespace, names.selector(group)), group, {})


def maker(authority: SecretSeen, subject: str, role: str, resource: OrderBookGroup) -> Callable[[float, float], str]:
    """Makes tokens; raises Problem where the Secret or what is asked for is wrong."""
    audience = names.audience(resource.name, resource.namespace)

    def make(lifetime: float, now: float) -> str:
        try:
            return credentials.token(authority, subject, role, audience, lifetime, now)
        except credentials.UnreadableSecret as error:
            raise Problem(str(error)) from error
        except ValueError as error:
            raise Problem(str(error), EXIT_USAGE) from error

    return make


async def trust_of(kubernetes: Kubernetes, resource: OrderBookGroup, asker: Asker) -> Trust:
    """Raises Problem, ClusterError."""
    tls = resource.spec.tls
    if not tls.auto:
        return Trust()
    service = names.service_host(names.client_service(resource.name), resource.namespace)
    own = tls.secret is not None
    if asker.ca is not None:
        try:
            pem = asker.ca.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise Problem(f"--ca {asker.ca}: {error}", EXIT_USAGE) from error
    else:
        secret = await read_secret(
            kubernetes, tls.secret or names.credentials_secret(resource.name), "--ca names a file with the authorities"
        )
        pem = secret.data.get(CERTIFICATE if own else names.TRUST, b"").decode("ascii", "replace")
    first = read_certificate(pem)
    if first is None:
        where = (
            f"--ca {asker.ca}" if asker.ca else f"the Secret {tls.secret or names.credentials_secret(resource.name)}"
        )
        raise Problem(f"{where} holds no certificate in PEM")
    return Trust(pem, _name_in(first.hosts, service) if own else service, own)


def _name_in(hosts: frozenset[str], wanted: str) -> str:
    """Of the names in a user's own certificate the one that is checked: any of them, the certificate is known."""
    plain = sorted(host for host in hosts if not host.startswith("*"))
    return wanted if wanted in hosts or not plain else plain[0]


async def read_secret(kubernetes: Kubernetes, name: str, instead: str) -> SecretSeen:
    """Raises Problem where it isn't there or may not be read, with what to do instead."""
    try:
        found = await kubernetes.cluster.get(SECRET, kubernetes.namespace, name)
    except Refused as error:
        if error.status not in FORBIDDEN:
            raise
        needed = f"this needs the right to get the Secret {kubernetes.namespace}/{name}, or {instead}"
        raise Problem(f"{error.message}: {needed}") from error
    if found is None:
        raise Problem(
            f"there is no Secret {kubernetes.namespace}/{name} (yet?): the operator makes it", EXIT_UNAVAILABLE
        )
    return secret_seen(found, ours=True)


# --- getting in -------------------------------------------------------------------------------------------------------


@contextmanager
def entered(
    place: Place, group: str, asker: Asker, *, everyone: bool = False, probes: bool = False
) -> Iterator[Entrance]:
    """An entrance for as long as the block lasts. ``everyone``: pods that aren't ready, too;
    ``probes``: the port of probes and metrics as well. Raises Problem."""

    async def look() -> Found:
        async with open_kubernetes(place) as kubernetes:
            return await find(kubernetes, group, asker)

    with through(asyncio.run(look()), asker, everyone=everyone, probes=probes) as entrance:
        yield entrance


@contextmanager
def through(found: Found, asker: Asker, *, everyone: bool = False, probes: bool = False) -> Iterator[Entrance]:
    """As ``entered``, with what was found before."""
    try:
        named = ClientCredentials(
            asker.token or found.mint, asker.token_file, tls=found.trust.context(), server_name=found.trust.name
        )
        inside = ClientCredentials(asker.token or found.mint, asker.token_file, tls=found.trust.context())
    except (ValueError, ssl.SSLError) as error:
        raise Problem(str(error), EXIT_USAGE) from error
    scheme, resource = "https" if found.trust.pem else "http", found.resource
    if found.kubernetes.in_cluster:
        service = names.service_host(names.client_service(resource.name), resource.namespace)
        hosts = _hosts(resource)
        yield Entrance(
            found,
            {name: f"{scheme}://{host}:{names.CLIENT_PORT}" for name, host in hosts.items()},
            {name: f"http://{host}:{names.PROBE_PORT}" for name, host in hosts.items()},
            named if found.trust.own else inside,
            f"{scheme}://{service}:{names.CLIENT_PORT}",
        )
        return
    ports = (names.CLIENT_PORT, names.PROBE_PORT) if probes else (names.CLIENT_PORT,)
    with PortForwards(found.kubernetes, pods_to_ask(found, everyone=everyone), ports) as local:
        nodes = {pod: f"{scheme}://127.0.0.1:{mapped[names.CLIENT_PORT]}" for pod, mapped in local.items()}
        metrics = {pod: f"http://127.0.0.1:{mapped[names.PROBE_PORT]}" for pod, mapped in local.items() if probes}
        yield Entrance(found, nodes, metrics, named)


def _hosts(resource: OrderBookGroup) -> dict[str, str]:
    """Of each member, by its pod's name: the leader first."""
    of_members = names.service_host(names.peer_service(resource.name), resource.namespace)
    pods = dict.fromkeys(member.name for member in resource.status.members)
    return {pod: f"{pod}.{of_members}" for pod in sorted(pods, key=lambda pod: pod != resource.status.leader)}


def pods_to_ask(found: Found, *, everyone: bool) -> list[str]:
    """The leader first. Those that are ready, unless none is or ``everyone`` that runs is wanted. Raises Problem."""
    running = [pod for pod in found.pods if pod.running and not pod.terminating]
    if not running:
        why = "; ".join(f"{pod.name}: {pod.waiting or 'ending'}" for pod in found.pods) or "it has none"
        raise Problem(f"no pod of {found.resource.name} runs: {why}", EXIT_UNAVAILABLE)
    chosen = running if everyone else [pod for pod in running if pod.ready] or running
    return [pod.name for pod in sorted(chosen, key=lambda pod: (pod.name != found.resource.status.leader, pod.ordinal))]
