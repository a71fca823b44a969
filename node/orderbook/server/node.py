"""The composition root of a node process: configuration in, listeners and a group running, an exit code out.

On SIGTERM it says that it is not ready, gives a leadership to another voter, closes its streams with a reason, and
ends. Any unexpected error ends it at once: what was acknowledged is in the log, and starting again is safe.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import uvloop
from aiohttp import web

from orderbook.book import OrderBook
from orderbook.client.local_group import ENDPOINTS
from orderbook.groups.group import Group, GroupSetup
from orderbook.groups.identity import group_id
from orderbook.groups.options import ReplicaOptions
from orderbook.network.options import NetworkOptions
from orderbook.network.peers import Peers
from orderbook.network.service_records import ServiceLookup
from orderbook.server import logs
from orderbook.server.access import Access, OpenAccess, TokenAccess
from orderbook.server.application import client_application
from orderbook.server.client_sockets import ClientSockets
from orderbook.server.collection import Collector
from orderbook.server.configuration import LOOPBACK, NodeConfiguration
from orderbook.server.credentials import CredentialError, CredentialFiles, Credentials, CredentialWatch, load
from orderbook.server.http_server import HttpServer, room_for_connections
from orderbook.server.http_statistics import HTTP_STATISTICS
from orderbook.server.journal import Journal
from orderbook.server.probes import Vitals, probe_application
from orderbook.server.runtime import AsyncioRuntime
from orderbook.storage import DirectoryLocked, Disk, LogCorrupt, StorageError, StoreOptions
from orderbook.storage import UnknownFormat as UnknownStorageFormat
from orderbook.streams.feed import FeedOptions, Feeds
from orderbook.streams.members import MemberStreams, stream_channel_id
from orderbook.streams.order_watch import OrderWatch
from orderbook.wire.envelope import UnknownFormat

logger = logging.getLogger("orderbook.node")

EXIT_STOPPED = 0
EXIT_FAILED = 1
EXIT_CONFIGURATION = 2
EXIT_IN_USE = 3
EXIT_DAMAGED = 4
EXIT_NEWER_VERSION = 5
EXIT_DISK = 6
HAND_OVER_SECONDS = 2.0
MAX_TOLD = 1024
MAX_PROBES = 64  # connections of kubelets and scrapers


class CannotListen(Exception):
    """A port is taken, or an address is none of this machine's. The message names key and value."""


def exit_code_of(error: BaseException) -> int:
    """What the process ends with after ``error``."""
    if isinstance(error, CannotListen):
        return EXIT_CONFIGURATION
    if isinstance(error, DirectoryLocked):
        return EXIT_IN_USE
    if isinstance(error, UnknownFormat | UnknownStorageFormat):
        return EXIT_NEWER_VERSION
    if isinstance(error, LogCorrupt):
        return EXIT_DAMAGED
    if isinstance(error, OSError | StorageError):
        return EXIT_DISK
    return EXIT_FAILED


class Node:
    """One node of a group, from its listeners down to its directory."""

    def __init__(self, configuration: NodeConfiguration, credentials: Credentials, runtime: AsyncioRuntime) -> None:
        self.configuration = configuration
        self._runtime = runtime
        self._credentials = CredentialWatch(runtime, CredentialFiles.of(configuration), credentials)
        self._credentials.on_change = self._take
        self._access = _access(configuration, credentials, runtime)
        kept = configuration.streams
        self._sockets = ClientSockets(runtime, self._access, kept.max_open, kept.max_open_of_one)
        tls = NetworkOptions(server_tls=self._credentials.peer_server, client_tls=self._credentials.peer_client)
        self._peers = Peers(runtime, configuration.name, configuration.network, tls)
        self._vitals = Vitals(
            name=configuration.name, peers=self._peers, credentials=self._credentials, access=self._access
        )
        self._journal: Journal | None = None
        self._servers: list[HttpServer] = []
        self._told: dict[tuple[str, str, str], None] = {}  # refusals that were logged

    def status_fields(self) -> Mapping[str, Any]:
        """What every line of the log says of this node."""
        group = self._vitals.group
        replica = group.replica if group is not None else None
        if replica is None:
            return {"phase": "joining"}
        return {"term": replica.node.term, "index": replica.state.index, "role": replica.node.role.name.lower()}

    async def start(self, on_failure: Any) -> None:
        """Listen, find peers, recover or begin the group. Returns before the group is online."""
        configuration = self.configuration
        self._credentials.start()
        probes = await self._listen(probe_application(self._runtime, self._vitals), "probe_port", MAX_PROBES)
        with self._may_be_taken("peer_port"):
            await self._peers.start(configuration.host, configuration.peer_port, configuration.advertise)
        for address in configuration.discovery.addresses:
            self._peers.discovery.add(address)
        if configuration.discovery.service is not None:
            lookup = ServiceLookup(configuration.discovery.service, configuration.peer_port)
            self._peers.discovery.watch_service(lookup, configuration.discovery.refresh)
        key = configuration.key.encode()
        machine = OrderBook(configuration.pairs)
        id = group_id(key, machine.signature)
        group = await Group.open(
            GroupSetup(
                runtime=self._runtime,
                filesystem=Disk(),
                directory=str(configuration.data / "member"),
                channel=self._peers.channel(id, key),
                machine=machine,
                group_id=id,
                name=configuration.name,
                options=_replica_options(configuration),
                store_options=StoreOptions(segment_bytes=configuration.storage.segment_bytes),
                on_failure=on_failure,
            )
        )
        self._journal = Journal(self._runtime, group)
        kept = configuration.streams
        feeds = Feeds(self._runtime, group, FeedOptions(kept.retained_entries, kept.retained_bytes))
        self._vitals.group, self._vitals.feeds = group, feeds
        streams = MemberStreams(
            self._runtime, self._peers.channel(stream_channel_id(configuration.network), key), configuration.name
        )
        watch = OrderWatch(self._runtime, streams)
        application = client_application(
            self._runtime,
            group,
            feeds,
            access=self._access,
            watch=watch,
            streams=streams,
            sockets=self._sockets,
            credentials=lambda: self._credentials.current.report,
        )
        self._vitals.http = application[HTTP_STATISTICS]
        most = room_for_connections(configuration.max_client_connections)
        if most < configuration.max_client_connections:
            fields = {"max_client_connections": configuration.max_client_connections, "possible": most}
            logger.warning("this process may open too few files for so many clients", extra={"fields": fields})
        clients = await self._listen(application, "client_port", most, self._credentials.clients)
        self._write_endpoints(clients, probes)
        logger.info("listening", extra={"fields": {"clients": clients, "peers": self._peers.port, "probes": probes}})

    async def stop(self) -> None:
        """Give a leadership away, end the streams with a reason, then close listeners and the directory."""
        logger.info("stopping")
        self._vitals.draining = True
        group, feeds = self._vitals.group, self._vitals.feeds
        if group is not None:
            await group.hand_over(HAND_OVER_SECONDS)
        if feeds is not None:
            feeds.close()
        self._sockets.leave()
        for server in self._servers:
            await server.stop_listening()
        for server in self._servers:
            await server.close()
        if self._journal is not None:
            self._journal.close()
        if group is not None:
            await group.close()
        await self._peers.close()
        self._credentials.close()

    def _take(self, credentials: Credentials) -> None:
        """The files of the credentials changed: open sockets whose token's key is gone end."""
        if isinstance(self._access, TokenAccess) and credentials.token_keys is not None:
            self._access.keys = credentials.token_keys
            self._sockets.recheck()

    async def _listen(
        self, application: web.Application, key: str, most: int, tls: ssl.SSLContext | None = None
    ) -> str:
        """Serve at the port under this key of the configuration; the URL. Raises CannotListen."""
        server = HttpServer(self._runtime, application, tls, partial(self._refused, key), most)
        self._servers.append(server)
        with self._may_be_taken(key):
            await server.start(self.configuration.host, getattr(self.configuration, key))
        return server.url

    def _refused(self, key: str, address: str, detail: str) -> None:
        """A connection came to nothing before it said what it wants."""
        self._vitals.refused_connections[key] += 1
        fields = {"address": address, "listener": key, "detail": detail}
        told = key, address.rpartition(":")[0], detail
        level = logging.DEBUG if told in self._told else logging.INFO
        if len(self._told) < MAX_TOLD:
            self._told[told] = None
        logger.log(level, "a connection was refused", extra={"fields": fields})

    @contextmanager
    def _may_be_taken(self, key: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            host, port = self.configuration.host, getattr(self.configuration, key)
            raise CannotListen(f"{key} = {port}: can't listen at {host}:{port}: {error.strerror}") from error

    def _write_endpoints(self, clients: str, probes: str) -> None:
        """Where this node listens, for whoever started it with drawn ports; complete or not there at all."""
        peers = f"{self.configuration.host}:{self._peers.port}"
        document = {"peers": peers, "clients": clients, "probes": probes}
        unfinished = self.configuration.data / (ENDPOINTS + ".tmp")
        unfinished.write_text(json.dumps(document))
        unfinished.rename(self.configuration.data / ENDPOINTS)


def _access(configuration: NodeConfiguration, credentials: Credentials, runtime: AsyncioRuntime) -> Access:
    if credentials.token_keys is None:
        return OpenAccess(loopback=configuration.host in LOOPBACK)
    anonymous = configuration.auth.anonymous
    return TokenAccess(credentials.token_keys, configuration.audience, lambda: runtime.wall_ms() / 1000, anonymous)


def _replica_options(configuration: NodeConfiguration) -> ReplicaOptions:
    raft = configuration.raft
    return ReplicaOptions(
        initial_size=configuration.initial_size,
        incarnation=bytes.fromhex(configuration.incarnation),
        tick=raft.tick,
        election_ticks=max(2, round(raft.election_timeout / raft.tick)),
        heartbeat_ticks=max(1, round(raft.heartbeat / raft.tick)),
        snapshot_entries=raft.snapshot_every,
        snapshot_bytes=raft.snapshot_bytes,
        tail_entries=raft.tail_entries,
        check_every=raft.check_every,
    )


async def _serve(configuration: NodeConfiguration, credentials: Credentials) -> int:
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[int] = loop.create_future()

    def failed(error: BaseException) -> None:
        logger.critical("this node must end: %s", error, exc_info=error)
        if not ended.done():
            ended.set_result(exit_code_of(error))

    def asked_to_stop() -> None:
        if not ended.done():
            ended.set_result(EXIT_STOPPED)

    runtime = AsyncioRuntime(failed)
    node = Node(configuration, credentials, runtime)
    logs.set_up(configuration.log, configuration.name, node.status_fields)
    if configuration.auth.mode == "none":
        logger.warning("auth is none: every client is an admin")
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked_to_stop)
    try:
        await node.start(failed)
    except (CannotListen, StorageError, UnknownFormat, OSError) as error:
        logger.critical("this node can't start: %s", error)
        return exit_code_of(error)
    collector = Collector(runtime)
    code = await ended
    collector.close()
    if code == EXIT_STOPPED:
        await node.stop()
    return code


def run(configuration: NodeConfiguration) -> int:
    """Run a node until it is asked to stop or fails; its exit code."""
    try:
        credentials = load(CredentialFiles.of(configuration))
    except CredentialError as error:
        logger.error("%s", error)
        return EXIT_CONFIGURATION
    try:
        configuration.data.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        logger.error("data = %s: %s", configuration.data, error.strerror)
        return EXIT_CONFIGURATION
    return uvloop.run(_serve(configuration, credentials))
