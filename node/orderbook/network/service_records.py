"""The members of a headless service by DNS: SRV for names and ports, A as fallback.

``_peers._tcp.<service>`` holds one SRV record a member; the first label of its target is the member's name (on
Kubernetes the pod's), and the target's A records say where it is. A service without SRV records is asked for its own A
records: addresses without names, at the port given.

Every look-up has a resolver of its own: one that is kept answers from its cache until the records' time to live is
over, and a pod that moved would be sought at its old address for as long.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import aiodns
import pycares

from orderbook.network.handshake import is_address, is_name
from orderbook.runtime import Runtime, pause

_logger = logging.getLogger("orderbook.network")
_NOTHING_THERE = (pycares.errno.ARES_ENOTFOUND, pycares.errno.ARES_ENODATA)


class ServiceRecords(NamedTuple):
    """Addresses are ``host:port`` with numeric hosts, sorted."""

    named: dict[str, list[str]]
    unnamed: list[str]


class LookupFailed(Exception):
    """The name servers gave no answer, or none that can be used: what is known stays."""


class ServiceLookup(NamedTuple):
    """What to ask, and whom: the system's name servers unless others are given."""

    service: str
    port: int = 7400
    nameservers: Sequence[str] = ()
    nameserver_port: int | None = None
    timeout: float = 1.0

    async def ask(self) -> ServiceRecords:
        """Raises LookupFailed when there is no answer, or no record at all."""
        options: dict[str, Any] = {"timeout": self.timeout, "tries": 2}
        if self.nameserver_port is not None:
            options |= {"udp_port": self.nameserver_port, "tcp_port": self.nameserver_port}
        async with aiodns.DNSResolver(list(self.nameservers) or None, **options) as resolver:
            named = await self._named(resolver)
            if named:
                return ServiceRecords(named, [])
            hosts = await self._hosts(resolver, self.service)
        if not hosts:
            raise LookupFailed(f"{self.service} has neither SRV nor A records")
        return ServiceRecords({}, [f"{host}:{self.port}" for host in hosts])

    async def _named(self, resolver: aiodns.DNSResolver) -> dict[str, list[str]]:
        named: dict[str, list[str]] = {}
        for record in await _query(resolver, f"_peers._tcp.{self.service}", "SRV"):
            name = record.data.target.partition(".")[0]
            for host in await self._hosts(resolver, record.data.target):
                address = f"{host}:{record.data.port}"
                if is_name(name) and is_address(address):
                    named.setdefault(name, []).append(address)
        return {name: sorted(named[name]) for name in sorted(named)}

    async def _hosts(self, resolver: aiodns.DNSResolver, name: str) -> list[str]:
        return sorted(record.data.addr for record in await _query(resolver, name, "A"))


async def _query(resolver: aiodns.DNSResolver, name: str, kind: str) -> list[Any]:
    try:
        answer = (await resolver.query_dns(name, kind)).answer
    except aiodns.error.DNSError as error:
        if error.args[0] in _NOTHING_THERE:
            return []
        raise LookupFailed(f"{kind} of {name}: {error.args[1]}") from error
    wanted = aiodns.query_type_map[kind]  # an answer may hold the CNAMEs that led to it
    return [record for record in answer if record.type == wanted]


async def watch(
    runtime: Runtime, lookup: ServiceLookup, every: float, found: Callable[[ServiceRecords], object]
) -> None:
    """Ask again and again, every 0.75 to 1.25 times ``every`` seconds, until cancelled."""
    problem = ""
    while True:
        try:
            records = await lookup.ask()
        except LookupFailed as error:
            if str(error) != problem:
                problem = str(error)
                fields = {"service": lookup.service, "detail": problem}
                _logger.warning("the service's records can't be read; it is tried again", extra={"fields": fields})
        else:
            problem = ""
            found(records)
        await pause(runtime, every * (0.75 + 0.5 * runtime.random.random()))
