import asyncio
from dataclasses import replace

import pytest
import uvloop

from orderbook.network.handshake import Reason
from orderbook.network.peers import Peers
from unit.network.channel_contract import CONTRACT
from unit.network.members import GROUP, KEY, NETWORK, QUICK
from unit.runtime.driving import LoopDriver


class LoopbackWorld:
    """Real members on loopback. What is cut stays apart by refusing the other's name at the door."""

    def __init__(self, new_loop):
        self._driver = LoopDriver(new_loop)
        self._peers = {}
        self.start, self.run_until = self._driver.start, self._driver.run_until

    def _run(self, coroutine):
        return self._driver.loop.run_until_complete(coroutine)

    def add(self, name):
        peers = Peers(self._driver.runtime, name, NETWORK, replace(QUICK, max_queue_bytes=40 << 20))
        channel = peers.channel(GROUP, KEY)
        self._run(peers.start())
        self._peers[name] = peers
        return channel

    def connect(self):
        first, *others = self._peers.values()
        for peers in others:
            peers.discovery.add(f"127.0.0.1:{first.port}")

    def cut(self, one, other):
        apart = {one, other}
        for name in apart:
            peers = self._peers[name]
            peers.admit = lambda link, last, peers=peers: (
                (Reason.BUSY, "cut by the test") if {peers.name, link.name} == apart else Peers.admit(peers, link, last)
            )
        self._peers[one]._live[other].end(Reason.CLOSED)

    def heal(self, one, other):
        for name in (one, other):
            del self._peers[name].admit

    def close(self):
        for peers in self._peers.values():
            self._run(peers.close())
        self._driver.close()
        assert self._driver.failures == []


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def world(request):
    world = LoopbackWorld(request.param)
    yield world
    world.close()


@pytest.mark.parametrize("promise", CONTRACT, ids=lambda promise: promise.__name__)
def test_the_real_channel_keeps(promise, world):
    promise(world)
