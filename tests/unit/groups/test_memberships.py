"""Whole lives of members: added, removed, come back, and the only one left."""

import asyncio
import os
import signal

import pytest

from orderbook.book import Fills, Order, OrderCount, PlaceOrder, Side
from orderbook.groups.administration import change_members
from orderbook.groups.errors import GroupError, NotBootstrapped, Unavailable
from orderbook.groups.group import Consistency
from orderbook.groups.local import LocalTransport
from orderbook.groups.recovery import RecoveryRefused
from orderbook.groups.replica import Phase
from orderbook.groups.replicated import Applied
from orderbook.raft import Member
from orderbook.wire.envelope import EntryType, Header
from orderbook.wire.frames import FrameKind, unpack_frame
from orderbook.wire.roles import Role
from unit.groups.real_members import SECONDS, RealMembers, until


@pytest.fixture
async def members(tmp_path):
    members = RealMembers(tmp_path)
    yield members
    await members.close_all()


def order(id: int, side: Side = Side.BID, price: int = 100) -> PlaceOrder:
    return PlaceOrder(Order(id, "ETH/USDC", side, price, 10, "alice"))


def member_of(group) -> Member:
    return Member(group.identity.name, group.identity.member_id)


async def set_voters(members: RealMembers, *names: str) -> None:
    leader = members.leader()
    known = {member.name: member for member in leader.replica.node.configuration.voters}
    await until(lambda: all(name in known or name in leader.strangers for name in names), "the leader sees them all")
    voters = [known[name] if name in known else leader.strangers[name] for name in names]
    added = [voter for voter in voters if voter.name not in known]
    if added:
        expected = leader.replica.node.configuration_index
        await change_members(leader, list(known.values()), added, expected, SECONDS)
        await until(lambda: all(_caught_up(leader, member) for member in added), "the learners have caught up")
    await change_members(leader, voters, [], leader.replica.node.configuration_index, SECONDS)


def _caught_up(leader, member: Member) -> bool:
    return any(peer.id == member.id and peer.caught_up for peer in leader.replica.node.progress())


async def test_three_members_begin_a_group_and_agree(members):
    await members.start("a", "b", "c")
    await members.online()
    assert len({group.identity.incarnation for group in members.groups.values()}) == 1
    for group in members.groups.values():
        await group.execute(order(group.identity.member_id % 1000 + 1))
    answer = await members.a_follower().query(OrderCount(), Consistency.STRONG)
    assert answer.value == 3
    await members.equal()


async def test_a_principal_that_no_entry_holds_is_refused_before_anything_is_sent(members):
    await members.start("a", size=1)
    await members.online()
    replica = members.groups["a"].replica
    LocalTransport(replica, "\u00e9" * 128)
    with pytest.raises(ValueError, match="at most 256 bytes long, not 258"):
        LocalTransport(replica, "\u00e9" * 129)


async def test_who_has_a_group_is_no_stranger(members):
    await members.start("a", "b", "c")
    await members.online()
    await members.start("d")
    leader = members.leader()
    await until(lambda: "d" in leader.strangers, "the leader sees the newcomer")
    await set_voters(members, *members.groups)
    await until(lambda: not leader.strangers, "the newcomer is a stranger no more")


async def test_a_member_without_enough_others_says_whom_it_sees(members):
    await members.start("a", "b")
    await until(lambda: "sees 2 members (a, b)" in members.groups["a"].waits_for, "they see each other")
    with pytest.raises(NotBootstrapped, match="exactly 3"):
        await members.groups["a"].execute(order(1))


async def test_a_group_of_one_needs_nobody(members):
    await members.start("a", size=1)
    await members.online()
    assert (await members.groups["a"].execute(order(1)))[0][2] == 1


async def test_a_follower_that_starts_again_while_nothing_is_sent_comes_online(members):
    """Its log is whole, so the leader has nothing to append: the lost connection alone makes it look for its place."""
    await members.start("a", "b", "c")
    await members.online()
    await members.equal()
    leader, name = members.leader(), members.a_follower().identity.name
    node, term = leader.replica.node, leader.replica.node.term

    def rests() -> bool:
        return not node.holds_commit and not any(peer.inflight_appends for peer in node.progress())

    await until(rests, "the leader has told all")
    await members.close(name)
    again = await members.open(name)
    await until(lambda: again.is_online, "it follows the leader again")
    assert leader.replica.leads
    assert node.term == term


async def test_a_removed_member_keeps_its_directory_aside_and_can_be_added_again(members):
    await members.start("a", "b", "c")
    await members.online()
    gone = members.a_follower()
    old, name = member_of(gone), gone.identity.name
    stay = [group.identity.name for group in members.groups.values() if group is not gone]
    await set_voters(members, *stay)
    await until(lambda: gone.replica is None and gone.identity.member_id != old.id, "it comes back as a new member")
    assert (members.root / name / "aside-0001").is_dir()
    await members.leader().execute_many([order(number) for number in range(1, 500)])
    await set_voters(members, *stay, name)
    await until(lambda: gone.is_online, "the new member is online")
    await gone.execute(order(1000, Side.ASK, 100))
    assert len((await gone.query(Fills())).value) == 1
    await members.equal()


class Held:
    """Frames of one kind that a member gets are kept back until they are let through."""

    def __init__(self, group, kind: FrameKind) -> None:
        self.frames: list[tuple[str, bytes]] = []
        self._channel = group.setup.channel
        self._on_frame = self._channel.on_frame
        self._kind = kind
        self._channel.on_frame = self._hold

    def _hold(self, peer: str, data: bytes) -> None:
        frame = unpack_frame(data)
        if frame is not None and frame.kind == self._kind:
            self.frames.append((peer, data))
        else:
            self._on_frame(peer, data)

    def let_through(self) -> None:
        self._channel.on_frame = self._on_frame
        for frame in self.frames:
            self._on_frame(*frame)


def submit(group, *commands) -> list[tuple[Applied | None, GroupError | None]]:
    """Hand a batch to one member, with no client around it that tries again; the list gets the outcome."""
    outcome: list[tuple[Applied | None, GroupError | None]] = []
    header = Header(0, 0, 0, 0, len(commands), 0, "alice", Role.ADMIN)
    body = group.machine.encode(commands)
    group.replica.submit(EntryType.PLAIN_COMMANDS, header, body, lambda *end: outcome.append(end))
    return outcome


async def test_a_member_that_waits_for_a_snapshot_is_not_online_and_takes_no_requests(members):
    """What it handed to the leader would end Uncertain: the snapshot replaces the log where the entry stands."""
    await members.start("a", "b", "c")
    await members.online()
    name = members.a_follower().identity.name
    await members.close(name)
    leader = members.leader()
    for number in range(1, 500):
        await leader.execute(order(number))
    await until(lambda: leader.replica.node.first_index > 1, "the log was cut")
    behind = await members.open(name)
    held = Held(behind, FrameKind.SNAPSHOT_CHUNK)
    await until(lambda: behind.replica.leader and held.frames, "the leader sends a snapshot")
    assert not behind.is_online
    ((_, error),) = submit(behind, order(1000))
    assert isinstance(error, Unavailable)
    assert error.reason == "not_online"
    held.let_through()
    await behind.execute(order(1001))
    assert behind.is_online
    assert (await leader.query(OrderCount())).value == 500


async def test_a_member_that_lost_its_disk_is_swapped_for_its_successor(members, tmp_path):
    await members.start("a", "b", "c")
    await members.online()
    lost = members.a_follower()
    name, old = lost.identity.name, member_of(lost)
    await members.close(name)
    (tmp_path / name).rename(tmp_path / "lost")
    successor = await members.open(name)
    leader = members.leader()
    await until(lambda: name in leader.strangers, "the leader sees the successor")
    assert leader.strangers[name].id != old.id
    stay = [voter for voter in leader.replica.node.configuration.voters if voter.name != name]
    voters = [*stay, leader.strangers[name]]
    await change_members(leader, voters, [], leader.replica.node.configuration_index, SECONDS)
    await until(lambda: successor.is_online, "the successor is online")
    await successor.execute(order(7))
    await members.equal()


async def test_a_given_incarnation_is_never_begun_anew(members):
    await members.start("a", size=1, incarnation=b"i" * 16)
    await until(lambda: "waits for one who knows the incarnation" in members.groups["a"].waits_for, "it waits")


async def test_the_only_survivor_of_a_majority_goes_on_alone_when_it_is_told_to(members):
    await members.start("a", "b", "c")
    await members.online()
    await members.leader().execute_many([order(number) for number in range(1, 50)])
    await members.equal()
    survivor = members.a_follower()
    name, old_incarnation = survivor.identity.name, survivor.identity.incarnation
    for other in [group for group in members.groups.values() if group is not survivor]:
        await members.close(other.identity.name)
    await until(lambda: not survivor.replica.leader, "it has no leader any more")
    node = survivor.replica.node
    end, own = (node.last_term, node.last_index), member_of(survivor)
    with pytest.raises(RecoveryRefused, match="this one ends at"):
        await survivor.recover(own, end[0], end[1] - 1)
    with pytest.raises(RecoveryRefused, match=r"this is .*/"):
        await survivor.recover(Member("x", 5), *end)
    same = [asyncio.create_task(survivor.recover(own, *end)) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(RecoveryRefused, match="another recovery is under way"):
        await survivor.recover(own, end[0], end[1] + 1)
    async with asyncio.timeout(SECONDS):
        [incarnation] = set(await asyncio.gather(*same))
    await survivor.when(SECONDS).online()
    assert await survivor.recover(own, *end) == incarnation  # asked again, it has the same answer
    assert survivor.identity.incarnation == incarnation != old_incarnation
    assert survivor.identity.member_id != own.id
    assert (await survivor.query(OrderCount())).value == 49
    await survivor.execute(order(50))
    await members.close(name)
    again = await members.open(name)
    await again.when(SECONDS).online()
    assert (await again.query(OrderCount())).value == 50


async def test_an_old_member_that_comes_back_after_a_recovery_is_refused(members):
    await members.start("a", "b", "c")
    await members.online()
    survivor = members.a_follower()
    others = [group.identity.name for group in members.groups.values() if group is not survivor]
    for other in others:
        await members.close(other)
    await until(lambda: not survivor.replica.leader, "it has no leader any more")
    node = survivor.replica.node
    await survivor.recover(member_of(survivor), node.last_term, node.last_index)
    await survivor.when(SECONDS).online()
    old = await members.open(others[0])
    await until(lambda: old.frames_refused or survivor.frames_refused, "frames of the old life are refused")
    await survivor.execute(order(1))
    assert not old.is_online


async def test_recovery_is_refused_while_a_member_that_can_be_reached_has_more(members):
    await members.start("a", "b", "c")
    await members.online()
    leader, behind = members.leader(), members.a_follower()
    gone = next(group for group in members.groups.values() if group not in (leader, behind))
    node = behind.replica.node
    end, own = (node.last_term, node.last_index), member_of(behind)
    with pytest.raises(RecoveryRefused, match="has a leader"):
        await behind.recover(own, *end)
    await members.close(gone.identity.name)
    await leader.execute(order(1))
    with pytest.raises(RecoveryRefused):
        await behind.recover(own, *end)


async def test_a_removed_member_never_begins_another_group_though_it_was_given_no_incarnation(members):
    """The first member of a group of one sees as many empty members as once sufficed: itself."""
    await members.start("a", size=1)
    await members.online()
    first = members.groups["a"]
    incarnation = first.identity.incarnation
    await members.open("b", 1, incarnation)
    await set_voters(members, "b")
    await until(lambda: first.replica is None, "it comes back as a new member")
    await until(lambda: "waits to be added" in first.waits_for, "it waits to be added again")
    assert incarnation.hex() in first.waits_for
    await members.close("a")
    await members.close("b")
    again = await members.open("a", size=1)
    await until(lambda: again.replica is not None or "waits for one who knows" in again.waits_for, "it looks around")
    assert again.replica is None
    assert incarnation.hex() in again.waits_for


def _raise() -> None:
    raise OSError("the disk is gone")


@pytest.mark.parametrize("end", [_raise, lambda: os.kill(os.getpid(), signal.SIGKILL)], ids=["failed", "killed"])
async def test_what_a_failed_child_wrote_of_a_snapshot_is_removed_at_once(members, end):
    await members.start("a", size=1)
    await members.online()
    member = members.groups["a"]
    state = member.replica.state
    began = asyncio.Event()

    def chunks():
        """Runs in the child."""
        yield bytes(4 << 20)
        end()

    def unfinished():
        return list((members.root / "a").glob("*.writing"))

    real_fork = members.runtime.fork

    def fork(job, done):
        def ended(error):
            assert unfinished(), "the child left something"
            done(error)
            began.set()

        real_fork(job, ended)

    state.snapshot, members.runtime.fork = chunks, fork
    ends: list[BaseException | None] = []
    member.replica.take_snapshot(ends.append)
    await asyncio.wait_for(began.wait(), SECONDS)
    await until(lambda: ends, "the caller is told")
    assert ends[0] is not None
    assert unfinished() == []
    del state.snapshot
    members.runtime.fork = real_fork
    member.replica.take_snapshot(ends.append)
    await until(lambda: len(ends) == 2, "the next snapshot is taken")
    assert ends[1] is None


async def test_a_removed_member_leaves_its_directory_only_when_no_snapshot_is_being_written_to_it(members):
    await members.start("a", "b", "c")
    await members.online()
    gone = members.a_follower()
    name, old = gone.identity.name, gone.identity.member_id
    stay = [group.identity.name for group in members.groups.values() if group is not gone]
    forked = []
    real_fork = members.runtime.fork
    members.runtime.fork = lambda job, done: forked.append((job, done))
    gone.replica.take_snapshot(lambda error: None)
    await until(lambda: forked, "the child is under way")
    members.runtime.fork = real_fork
    await set_voters(members, *stay)
    await until(lambda: gone.replica is None or gone.replica.phase is Phase.STOPPED, "it stops")
    assert not (members.root / name / "aside-0001").exists()
    job, done = forked[0]
    job()
    done(None)
    await until(lambda: gone.replica is None and gone.identity.member_id != old, "it comes back as a new member")
    assert list((members.root / name).glob("*.snapshot")) == []
    assert len(list((members.root / name / "aside-0001").glob("*.snapshot"))) == 1


async def test_a_removed_member_that_was_away_learns_of_it_when_it_comes_back(members):
    await members.start("a", "b", "c")
    await members.online()
    gone = members.a_follower()
    old, name = member_of(gone), gone.identity.name
    stay = [group.identity.name for group in members.groups.values() if group is not gone]
    await members.close(name)
    await set_voters(members, *stay)
    back = await members.open(name)
    await until(lambda: back.replica is None and back.identity.member_id != old.id, "it comes back as a new member")


async def test_a_removed_learner_that_missed_the_last_word_learns_of_it_when_it_comes_back(members):
    await members.start("a", "b", "c")
    await members.online()
    learner = await members.open("d")
    leader = members.leader()
    await until(lambda: "d" in leader.strangers, "the leader sees the new one")
    voters = list(leader.replica.node.configuration.voters)
    added = leader.strangers["d"]
    await change_members(leader, voters, [added], leader.replica.node.configuration_index, SECONDS)
    await until(lambda: learner.replica is not None, "the learner takes part")
    await members.close("d")
    await change_members(leader, voters, [], leader.replica.node.configuration_index, SECONDS)
    back = await members.open("d")
    await until(lambda: back.replica is None and back.identity.member_id != added.id, "it comes back as a new member")
