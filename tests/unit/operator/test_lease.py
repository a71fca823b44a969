"""One of several operators acts: never two at once, whatever the API server does.

All of it over real HTTP, with the real client. ``Watch`` looks at both candidates in every turn of the loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from orderbook_operator.cluster import LEASE
from orderbook_operator.lease import Lease, Timing
from unit.operator import api_server
from unit.operator.api_server import ApiServer, Faults, until

BRISK = Timing(duration=1.5, hold=0.8, retry=0.1)
PATIENT = Timing(duration=3600.0, hold=0.8, retry=0.1)
PATH = "/apis/coordination.k8s.io/v1/namespaces/operators/leases/orderbook-operator"


class Candidate:
    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        self.task = asyncio.create_task(lease.run())

    async def die(self) -> None:
        """Without a goodbye: the lease is not given back."""
        self.lease._held_until, held = float("-inf"), self.lease._held_until
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task
        self.lease._held_until = held

    async def leave(self) -> None:
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task


class Watch:
    """Counts the turns of the loop in which both may act."""

    def __init__(self, *leases: Lease) -> None:
        self.overlaps = 0
        self.turns = 0
        self._leases = leases
        self._task = asyncio.create_task(self._look())

    async def _look(self) -> None:
        while True:
            self.turns += 1
            self.overlaps += sum(lease.valid() for lease in self._leases) > 1
            await asyncio.sleep(0.001)

    async def end(self) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        assert self.turns > 0
        assert self.overlaps == 0


@asynccontextmanager
async def two(timing: Timing) -> AsyncIterator[tuple[ApiServer, Candidate, Candidate]]:
    """The first one holds the lease when they are handed out."""
    async with (
        api_server.running() as server,
        api_server.client(server, "first") as to_first,
        api_server.client(server, "second") as to_second,
    ):
        first = Candidate(Lease(to_first, "operators", "orderbook-operator", "first", timing))
        await first.lease.acquired()
        second = Candidate(Lease(to_second, "operators", "orderbook-operator", "second", timing))
        watch = Watch(first.lease, second.lease)
        try:
            yield server, first, second
        finally:
            for faults in server.faults.values():
                faults.stalled.set()
            server.faults.clear()
            await first.leave()
            await second.leave()
            await watch.end()


async def test_a_free_lease_is_won_and_kept() -> None:
    async with two(BRISK) as (server, first, second):
        renewed = server.objects[PATH]["spec"]["renewTime"]
        await until(lambda: server.objects[PATH]["spec"]["renewTime"] != renewed)
        assert first.lease.valid()
        assert not second.lease.valid()
        assert server.objects[PATH]["spec"]["holderIdentity"] == "first"


async def test_who_leaves_gives_it_back_so_that_nobody_waits_for_it_to_run_out() -> None:
    async with two(PATIENT) as (server, first, second):
        await first.leave()
        assert not first.lease.valid()
        await second.lease.acquired()
        assert server.objects[PATH]["spec"]["leaseTransitions"] == 1


async def test_one_that_died_is_followed_once_its_lease_has_run_out() -> None:
    async with two(BRISK) as (server, first, second):
        await first.die()
        await second.lease.acquired()
        assert not first.lease.valid()
        assert server.objects[PATH]["spec"]["holderIdentity"] == "second"


@pytest.mark.parametrize(
    "faults",
    [Faults(is_stalled=True), Faults(refused=500), Faults(refused=429), Faults(refused=403)],
    ids=["stalled", "failing", "throttled", "forbidden"],
)
async def test_who_can_not_renew_it_stops_by_itself_before_another_may_act(faults: Faults) -> None:
    faults.stalled = asyncio.Event()
    async with two(BRISK) as (server, first, second):
        server.fail("first", faults)
        await first.lease.lost()
        await second.lease.acquired()
        faults.stalled.set()
        server.faults.clear()
        tried = first.lease.tried_at
        await until(lambda: first.lease.tried_at > tried)
        assert not first.lease.valid()
        assert second.lease.valid()


async def test_a_renewal_that_arrives_when_another_holds_it_changes_nothing() -> None:
    async with two(BRISK) as (server, first, second):
        late = Faults(is_late=True)
        server.fail("first", late)
        await second.lease.acquired()
        server.faults.clear()
        late.stalled.set()
        tried = first.lease.tried_at
        await until(lambda: first.lease.tried_at > tried)
        assert server.objects[PATH]["spec"]["holderIdentity"] == "second"
        assert not first.lease.valid()


async def test_while_nobody_reaches_the_api_server_nobody_acts() -> None:
    async with two(BRISK) as (server, first, second):
        server.fail("", Faults(refused=503))
        await first.lease.lost()
        tried = second.lease.tried_at
        await until(lambda: second.lease.tried_at > tried)
        assert not first.lease.valid()
        assert not second.lease.valid()
        server.faults.clear()
        await until(lambda: first.lease.valid() or second.lease.valid())


async def test_clocks_of_two_machines_are_never_compared() -> None:
    """The times in the Lease are of a holder whose clock is a year behind."""
    async with api_server.running() as server, api_server.client(server, "second") as cluster:
        lease = Lease(cluster, "operators", "orderbook-operator", "second", BRISK)
        spec = {"holderIdentity": "first", "leaseDurationSeconds": 1, "renewTime": "2001-01-01T00:00:00.000000Z"}
        manifest = {"apiVersion": LEASE.api_version, "kind": LEASE.kind, "spec": spec}
        server.put({**manifest, "metadata": {"name": "orderbook-operator", "namespace": "operators"}}, "leases")
        candidate = Candidate(lease)
        tried = lease.tried_at
        await until(lambda: lease.tried_at > tried)
        assert not lease.valid()  # it has seen the holder only now
        await lease.acquired()
        await candidate.leave()


def test_a_timing_that_promises_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="0 < retry < hold < duration, not 2, 15, 10 s"):
        Timing(duration=10.0, hold=15.0, retry=2.0)
