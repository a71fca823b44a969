"""The front door for programs: be a member of a network, or a client of one.

``await Network.start(network_id, data_dir)`` is a member: it listens, is discovered, joins groups, and streams to and
from the other members. ``await Network.connect(addresses, token)`` is a client of some nodes: no listener, no
discovery, no group key; the same ``streams``.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import aiohttp
from aiohttp import web

from orderbook.client.credentials import ClientCredentials
from orderbook.client.groups import GroupPlan, Groups
from orderbook.client.streams import ClientStreams, NetworkStreams
from orderbook.groups.group import Group, GroupSetup
from orderbook.groups.identity import group_id
from orderbook.network.options import NetworkOptions
from orderbook.network.peers import Peers
from orderbook.server.access import OpenAccess
from orderbook.server.application import client_application
from orderbook.server.configuration import LOOPBACK
from orderbook.server.runtime import AsyncioRuntime
from orderbook.storage import Disk
from orderbook.streams.feed import Feeds
from orderbook.streams.members import MemberStreams, stream_channel_id
from orderbook.streams.order_watch import OrderWatch

logger = logging.getLogger("orderbook.network")


class LocalPeer(NamedTuple):
    """This member as others see it: its name, and where it listens for peers (host:port)."""

    name: str
    address: str


class Network:
    """A member. Made by ``start``; all of it is for the event loop on which it was started."""

    def __init__(self, network_id: str, data_dir: Path, name: str, key: bytes, options: NetworkOptions | None) -> None:
        self.failure: BaseException | None = None  # what stopped this member; None while nothing did
        self._runtime = AsyncioRuntime(self._failed)
        self._data_dir = data_dir
        self._peers = Peers(self._runtime, name, network_id, options)
        self.discovery = self._peers.discovery
        self.groups = Groups(self._join)
        channel = self._peers.channel(stream_channel_id(network_id), key)
        self._streams = MemberStreams(self._runtime, channel, name)
        self._watch = OrderWatch(self._runtime, self._streams)
        self.streams = NetworkStreams(self._runtime, self._streams, name)
        self._runners: list[web.AppRunner] = []
        self._address = ""

    @classmethod
    async def start(
        cls,
        network_id: str,
        data_dir: str | Path,
        *,
        name: str | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        advertise: str | None = None,
        key: bytes | str | None = None,
        options: NetworkOptions | None = None,
    ) -> Network:
        """Listen for peers at ``host``:``port`` (0: any free one).

        ``name`` is this member's in all its groups; left out, it is the last part of ``data_dir``, so that it is the
        same when the program starts again. ``advertise`` is the host:port that others are told. ``key`` is what members
        prove to each other before they stream; left out, the network's id is enough.
        """
        directory = Path(data_dir)
        secret = network_id.encode() if key is None else key.encode() if isinstance(key, str) else key
        network = cls(network_id, directory, name or directory.name, secret, options)
        await network._peers.start(host, port, advertise)
        network._address = advertise or f"{host}:{network._peers.port}"
        return network

    @staticmethod
    async def connect(
        addresses: Sequence[str],
        token: str | None = None,
        *,
        token_file: str | Path | None = None,
        ca: str | Path | None = None,
        server_name: str | None = None,
        tls: ssl.SSLContext | bool = True,
    ) -> ClientNetwork:
        """A client of the nodes at these URLs (https://host:port, or http://). It connects when a stream is opened.

        ``token`` is a JWT; ``token_file`` holds one that is renewed, and read again at each connection. ``ca`` is a
        file of authorities (PEM) to trust in the place of the system's, read again too; ``tls`` a context instead;
        ``server_name`` the name that the nodes' certificates hold, where it isn't the one that is dialled. Raises
        ValueError for files that can't be read, and for two of what there is only one of.
        """
        file = Path(token_file) if token_file is not None else None
        authorities = Path(ca) if ca is not None else None
        return ClientNetwork(addresses, ClientCredentials(token, file, tls, server_name, authorities))

    @property
    def local(self) -> LocalPeer:
        return LocalPeer(self._peers.name, self._address)

    @property
    def peers(self) -> tuple[str, ...]:
        """The names of the members that are connected."""
        return self._peers.connected()

    async def serve_clients(self, group: Group, host: str = "127.0.0.1", port: int = 0) -> str:
        """Let traders and observers in: listen for the clients of a group of the order book; the URL.

        Everyone is an admin there: it is for a loopback address, or behind something that knows who asks.
        """
        feeds = self.streams.feeds_of(group)
        access = OpenAccess(loopback=host in LOOPBACK)
        application = client_application(
            self._runtime, group, feeds, access=access, watch=self._watch, streams=self._streams
        )
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        self._runners.append(runner)
        await web.TCPSite(runner, host, port).start()
        return f"http://{host}:{runner.addresses[0][1]}"

    async def close(self) -> None:
        """Leave: streams and listeners end, groups close their directories, peers are told."""
        await self.streams.close()
        for runner in self._runners:
            await runner.cleanup()
        for group in self.streams.groups:
            await group.close()
        self._streams.close()
        await self._peers.close()

    async def _join(self, plan: GroupPlan) -> Group:
        assert plan.machine is not None
        identity = group_id(plan.key, plan.machine.signature)
        group = await Group.open(
            GroupSetup(
                runtime=self._runtime,
                filesystem=Disk(),
                directory=str(self._data_dir / "groups" / identity.hex()),
                channel=self._peers.channel(identity, plan.key),
                machine=plan.machine,
                group_id=identity,
                name=self._peers.name,
                options=plan.options,
                store_options=plan.store_options,
                on_failure=self._failed,
            )
        )
        self.streams.add_group(group, Feeds(self._runtime, group))
        return group

    def _failed(self, error: BaseException) -> None:
        """Nothing is answered any more: what was acknowledged is in the log, and starting again is safe."""
        logger.critical("this member stops: %s", error, exc_info=error)
        self.failure = self.failure or error
        for group in self.streams.groups:
            if group.replica is not None:
                group.replica.stop()


class ClientNetwork:
    """A client. Made by ``Network.connect``."""

    def __init__(self, addresses: Sequence[str], credentials: ClientCredentials) -> None:
        self.failure: BaseException | None = None
        self._runtime = AsyncioRuntime(self._failed)
        self._http = aiohttp.ClientSession()
        self.streams = ClientStreams(self._runtime, self._http, addresses, credentials)

    async def close(self) -> None:
        """End all streams: sessions are closed, orders of those with ``cancel_on_disconnect`` are cancelled."""
        await self.streams.close()
        await self._http.close()

    def _failed(self, error: BaseException) -> None:
        logger.critical("a stream of this client failed: %s", error, exc_info=error)
        self.failure = self.failure or error
