"""A TCP relay between two members, so that a test can cut, stall and mend what lies between them."""

from __future__ import annotations

import asyncio


class Relay:
    """Forwards to ``target`` until ``cut``; ``stall`` keeps the connections open and passes nothing on."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._server: asyncio.Server | None = None
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._writers: dict[asyncio.StreamWriter, None] = {}
        self._to_target: list[asyncio.StreamWriter] = []
        self._flowing = asyncio.Event()
        self._flowing.set()
        self.accepted = 0
        self.port = 0

    async def start(self) -> Relay:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def stall(self) -> None:
        self._flowing.clear()

    def flow(self) -> None:
        self._flowing.set()

    def lose_target(self) -> None:
        """The target's side of all connections breaks; the dialler's side stays open and silent."""
        self.stall()
        for writer in self._to_target:
            writer.transport.abort()

    async def cut(self) -> None:
        """Close all connections; new ones are refused until ``start``."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._writers):
            writer.transport.abort()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        try:
            to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.close()
            return
        self._writers[writer] = self._writers[to_writer] = None
        self._to_target.append(to_writer)
        for source, sink in ((reader, to_writer), (to_reader, writer)):
            task = asyncio.get_running_loop().create_task(self._pump(source, sink))
            self._tasks[task] = None
            task.add_done_callback(self._tasks.pop)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(1 << 16):
                await self._flowing.wait()
                sink.write(data)
                await sink.drain()
            await self._flowing.wait()
        except ConnectionError:
            await self._flowing.wait()
        finally:
            self._writers.pop(sink, None)
            sink.transport.abort()
