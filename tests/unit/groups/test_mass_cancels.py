"""What one entry leaves of a mass cancel is finished by entries that the leader proposes by itself."""

import pytest

from orderbook.book import CancelAll, EventKind, Order, OrderCount, PlaceOrder, Side
from orderbook.book.constants import CANCELS_PER_ENTRY
from orderbook.groups.group import Consistency
from orderbook.wire.envelope import EntryType
from unit.groups.real_members import RealMembers, until


@pytest.fixture
async def members(tmp_path):
    members = RealMembers(tmp_path)
    yield members
    await members.close_all()


async def test_the_leader_goes_on_until_all_orders_have_left(members):
    await members.start("a", "b", "c")
    await members.online()
    ticks, cancelled = [], []
    leader, follower = members.leader(), members.a_follower()

    def look(applied) -> None:
        if applied.type == EntryType.TICK:
            ticks.append(applied.log_index)
        cancelled.extend(event[2] for event in applied.events if event[0] == EventKind.CANCELLED)

    follower.on_applied.append(look)
    count = 3 * CANCELS_PER_ENTRY
    await leader.execute_many(
        [PlaceOrder(Order(id, "ETH/USDC", Side.BID, 100, 1, "alice")) for id in range(1, count + 1)]
    )
    done = (await leader.execute(CancelAll("alice")))[-1]
    assert done == (EventKind.CANCELLED_ALL, 0, "alice", "", CANCELS_PER_ENTRY, True)
    await until(lambda: follower.machine.query(OrderCount()) == 0, "the last order has left")
    assert cancelled == list(range(1, count + 1))
    assert len(ticks) >= 2
    assert (await leader.query(OrderCount(), Consistency.STRONG)).value == 0
    await members.equal()
