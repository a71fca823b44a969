"""After a recovery: old members that are given the new life do not go on with the old one, not even as a majority."""

import pytest

from orderbook.book import Order, OrderCount, PlaceOrder, Side
from orderbook.groups.errors import NotBootstrapped
from orderbook.raft import Member
from orderbook.storage import Disk, StorageError, add_ancestor, ancestors
from unit.groups.real_members import RealMembers, until


@pytest.fixture
async def members(tmp_path):
    members = RealMembers(tmp_path)
    yield members
    await members.close_all()


def order(id: int) -> PlaceOrder:
    return PlaceOrder(Order(id, "ETH/USDC", Side.BID, 100, 10, "alice"))


async def recovered(members: RealMembers) -> tuple[str, list[str], bytes, bytes]:
    """Of a, b and c one survived and began a new life: its name, the others', the old incarnation and the new one."""
    await members.start("a", "b", "c")
    await members.online()
    survivor = members.a_follower()
    name, old = survivor.identity.name, survivor.identity.incarnation
    others = [other for other in sorted(members.groups) if other != name]
    for other in others:
        await members.close(other)
    await until(lambda: not survivor.replica.leader, "it has no leader any more")
    node, own = survivor.replica.node, Member(name, survivor.identity.member_id)
    new = await survivor.recover(own, node.last_term, node.last_index)
    await survivor.when().online()
    await survivor.execute(order(1))
    return name, others, old, new


async def test_a_majority_of_the_old_life_that_is_given_the_new_one_holds_still(members):
    survivor, others, old, new = await recovered(members)
    await members.close(survivor)
    for other in others:
        await members.open(other, incarnation=new)
    first, second = (members.groups[other] for other in others)
    await until(lambda: len(first.setup.channel.peers()) == 1, "they are connected")
    with pytest.raises(NotBootstrapped, match="waits for one who knows the incarnation"):
        await first.execute(order(2))
    assert first.replica is None and second.replica is None
    assert {first.identity.incarnation, second.identity.incarnation} == {old}


async def test_their_directories_are_set_aside_when_a_member_of_the_new_life_is_there(members, tmp_path):
    survivor, others, _, new = await recovered(members)
    leader = members.groups[survivor]
    for other in others:
        await members.open(other, incarnation=new)
    await until(lambda: sorted(leader.strangers) == others, "they come back as new members")
    for other in others:
        assert (tmp_path / other / "aside-0001").is_dir()
        assert members.groups[other].identity.incarnation == b""
    assert (await leader.query(OrderCount())).value == 1


async def test_the_survivor_goes_on_though_it_is_given_the_life_before(members):
    survivor, _, old, new = await recovered(members)
    for given in (old, new, b""):
        await members.close(survivor)
        again = await members.open(survivor, incarnation=given)
        await again.when().online()
        assert again.identity.incarnation == new
        assert (await again.query(OrderCount())).value == 1


async def test_a_survivor_holds_still_when_it_is_given_a_life_that_it_does_not_descend_from(members):
    survivor, _, _, _ = await recovered(members)
    await members.close(survivor)
    again = await members.open(survivor, incarnation=bytes(16))
    assert again.replica is None and bytes(16).hex() in again.waits_for


def test_ancestors_are_kept_in_order_and_each_once(tmp_path):
    directory, disk = str(tmp_path), Disk()
    assert ancestors(disk, directory) == ()
    lives = (b"a" * 16, b"b" * 16)
    for life in (*lives, lives[0]):
        add_ancestor(disk, directory, life)
    assert ancestors(disk, directory) == lives
    (tmp_path / "ancestors").write_bytes(b"short")
    with pytest.raises(StorageError, match="holds 5 bytes"):
        ancestors(disk, directory)
