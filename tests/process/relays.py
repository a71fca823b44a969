"""What lies between the nodes of a group of real processes: a relay in front of each node's peer port.

Every node advertises its relay, so all connections between nodes pass one. A relay knows which node process dialled
(its socket is found in /proc: Linux only), so what passes between two nodes can be held, in one direction or both:
the connection stays open and silent, as when packets are dropped.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp

from orderbook.client.api import ApiClient
from orderbook.client.local_group import Endpoints, LocalGroup, NodeProcess, last_lines
from orderbook.server.runtime import AsyncioRuntime
from process.processes import KEY, SECONDS, Running, end_group, free_ports, raise_it

OnWay = tuple[str, str]  # from node, to node


class RelayedNode(NodeProcess):
    """``relay_port`` is where the others find it."""

    relay_port = 0

    def endpoints(self) -> Endpoints | None:
        found = super().endpoints()
        return found and found._replace(peers=f"127.0.0.1:{self.relay_port}")

    def peer_port(self) -> int:
        found = super().endpoints()
        return int(found.peers.rpartition(":")[2]) if found is not None else 0


class Relays:
    """All of a group's. ``hold`` and ``release`` name nodes."""

    def __init__(self, nodes: Iterable[RelayedNode]) -> None:
        self._nodes = list(nodes)
        self._held: set[OnWay] = set()
        self._changed = asyncio.Condition()
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.bytes_held = 0  # came to a way that was held, and waited

    async def start(self) -> None:
        for node in self._nodes:

            async def accept(
                reader: asyncio.StreamReader, writer: asyncio.StreamWriter, node: RelayedNode = node
            ) -> None:
                task = asyncio.current_task()
                assert task is not None
                self._tasks.add(task)
                try:
                    await self._connect(node, reader, writer)
                finally:
                    self._tasks.discard(task)

            server = await asyncio.start_server(accept, "127.0.0.1", 0)
            node.relay_port = server.sockets[0].getsockname()[1]
            self._servers.append(server)

    async def close(self) -> None:
        for server in self._servers:
            server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def hold(self, *ways: OnWay) -> None:
        """Nothing passes from the first to the second node of each any more; nobody is told."""
        self._held.update(ways)

    async def cut_off(self, name: str) -> None:
        others = [node.name for node in self._nodes if node.name != name]
        await self.hold(*((name, other) for other in others), *((other, name) for other in others))

    async def release(self) -> None:
        """All of it goes on, and what waited arrives."""
        self._held.clear()
        async with self._changed:
            self._changed.notify_all()

    async def _connect(self, node: RelayedNode, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        dialler = self._dialler(writer.get_extra_info("peername")[1])
        try:
            to_reader, to_writer = await asyncio.open_connection("127.0.0.1", node.peer_port())
        except OSError:
            writer.transport.abort()
            return
        pumps = [
            asyncio.create_task(self._pump(reader, to_writer, (dialler, node.name))),
            asyncio.create_task(self._pump(to_reader, writer, (node.name, dialler))),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            for end in (writer, to_writer):
                end.transport.abort()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, way: OnWay) -> None:
        with suppress(ConnectionError):
            while data := await source.read(1 << 16):
                if way in self._held:
                    self.bytes_held += len(data)
                    async with self._changed:
                        await self._changed.wait_for(lambda: way not in self._held)
                sink.write(data)
                await sink.drain()

    def _dialler(self, port: int) -> str:
        """The name of the node process whose socket has this local port."""
        inode = _inode_of(port)
        for node in self._nodes:
            if node.process is not None and node.running and _holds(node.process.pid, inode):
                return node.name
        return "?"  # it is gone again


def _inode_of(port: int) -> str:
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[1].rpartition(":")[2], 16) == port and fields[9] != "0":
            return fields[9]
    return ""


def _holds(process: int, inode: str) -> bool:
    directory = f"/proc/{process}/fd"
    with suppress(OSError):
        for entry in os.listdir(directory):
            with suppress(OSError):
                if os.readlink(f"{directory}/{entry}") == f"socket:[{inode}]":
                    return True
    return False


class RelayedGroup(LocalGroup):
    def __init__(self, runtime: AsyncioRuntime, root: Path, size: int, options: list[str], client_port: int) -> None:
        super().__init__(runtime, root, size, options, client_port)
        self.relayed = [RelayedNode(node.name, node.directory) for node in self.nodes]
        self.nodes = list(self.relayed)
        self.relays = Relays(self.relayed)

    async def start_node(self, node: NodeProcess) -> None:
        assert isinstance(node, RelayedNode)
        self._environment = {**self._environment, "ORDERBOOK_ADVERTISE": f"127.0.0.1:{node.relay_port}"}
        await super().start_node(node)


@asynccontextmanager
async def relayed_group(root: Path, pairs: Iterable[str] = ()) -> AsyncIterator[tuple[Running, Relays]]:
    """As ``running_group``, of three nodes with relays between them."""
    runtime = AsyncioRuntime(raise_it)
    options = [part for pair in pairs for part in ("--pair", pair)]
    group = RelayedGroup(runtime, root, 3, options, free_ports(3))
    await group.relays.start()
    async with aiohttp.ClientSession() as http:
        try:
            await group.start({"ORDERBOOK_KEY": KEY})
            running = Running(group, runtime, http, ApiClient(runtime, http, group.addresses(), patience=SECONDS))
            await running.settled()
            yield running, group.relays
        except BaseException:
            for node in group.nodes:
                print(f"--- {node.name}: {last_lines(node.log_file, 20)}")
            raise
        finally:
            await group.relays.release()
            await end_group(group)
            await group.relays.close()
