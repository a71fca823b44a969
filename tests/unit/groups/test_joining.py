"""From empty directories to one group: whatever breaks meanwhile, never to two."""

import pytest

from orderbook.groups.forming import View
from orderbook.groups.identity import first_incarnation
from orderbook.groups.joining import Joining, pack_announcement
from orderbook.raft.types import Member
from orderbook.wire.frames import FrameKind, pack_frame, unpack_frame
from unit.groups.joining_world import GROUP, World
from unit.groups.virtual_runtime import VirtualRuntime

A, B, C = Member("a", 11), Member("b", 22), Member("c", 33)
SOME = b"i" * 16


# --- many members -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_members_that_see_each_other_begin_one_group(size):
    world = World(size, seed=1)
    world.settle()
    assert len(world.groups()) == size
    assert len(set(world.groups().values())) == 1
    assert all(process.decisions == 1 for process in world.processes.values())


def walk(size, seed, faults, steps=400):
    """Faults of all kinds for a while; in every moment at most one group. Then none; the world that came of it."""
    world = World(size, seed)
    for _ in range(steps):
        world.step(faults)
        groups = world.groups()
        assert len(set(groups.values())) <= 1, f"seed {seed}: two groups side by side"
    world.settle()
    return world


@pytest.mark.parametrize("first_seed", range(0, 400, 50))
def test_never_two_groups_side_by_side_and_in_the_end_nobody_is_left_out(first_seed):
    began_early = 0
    for seed in range(first_seed, first_seed + 50):
        world = walk(2 + seed % 4, seed, faults=(0.02, 0.06, 0.15)[seed % 3])
        groups = world.groups()
        assert len(set(groups.values())) == 1, seed
        for name, process in world.processes.items():
            assert process.decisions <= 1, seed
            if name not in groups:  # lost its directory after others had begun: it waits to be added
                assert groups and process.joining.waits_for.startswith("waits to be added to the group"), seed
        began_early += len(groups) < len(world.names)
    assert began_early, "no seed of these tried a loss after the beginning"


# --- one member -------------------------------------------------------------------------------------------------------


class Wire:
    """A channel that notes what is sent."""

    def __init__(self, *peers):
        self.connected = list(peers)
        self.sent = []

    def flush(self):
        """What is sent leaves by itself."""

    def peers(self):
        return tuple(self.connected)

    def send(self, peer, frame):
        self.sent.append((peer, unpack_frame(frame)))
        return True

    def take(self):
        sent, self.sent = self.sent, []
        return sent


class Newcomer:
    def __init__(self, member=C, given=b"", peers=("a", "b")):
        self.runtime = VirtualRuntime()
        self.wire = Wire(*peers)
        self.joined = []
        self.joining = Joining(
            self.runtime, self.wire, GROUP, member, 3, given, 0.25, lambda *group: self.joined.append(group)
        )
        self.joining.start()
        self.wire.take()

    def hear(self, view):
        self.joining.on_frame(view.member.name, unpack_frame(pack_announcement(view)))

    def raft_frame(self, incarnation=SOME, receiver=C.id):
        frame = pack_frame(FrameKind.RAFT, incarnation, A.id, receiver, 0, 1, None, [])
        self.joining.on_frame("a", unpack_frame(frame))


BEFORE_THE_LOSS = (A, B, Member("c", 1))


def begun(member, first=BEFORE_THE_LOSS):
    return View(member, 3, SOME, tuple(first), (member,))


def test_a_member_announces_itself_at_once_and_again_and_again():
    newcomer = Newcomer(peers=())
    newcomer.wire.connected.append("a")
    newcomer.joining.on_connected("a")
    ((peer, frame),) = newcomer.wire.take()
    assert (peer, frame.kind, frame.sender) == ("a", FrameKind.ANNOUNCE, C.id)
    newcomer.runtime.advance(1.0)
    assert [peer for peer, _ in newcomer.wire.take()] == ["a"] * 4


def test_whom_it_sees_is_told_to_all_as_soon_as_it_changes():
    newcomer = Newcomer()
    newcomer.hear(View(A, 3, b"", (), (A,)))
    sent = newcomer.wire.take()
    assert [peer for peer, _ in sent] == ["a", "b"]
    assert sent[0][1].fields[0][5] == [["a", 11], ["c", 33]]
    newcomer.hear(View(A, 3, b"", (), (A, C)))
    assert newcomer.wire.take() == []
    newcomer.joining.on_disconnected("a")
    assert newcomer.wire.take()[0][1].fields[0][5] == [["c", 33]]


def test_it_says_whom_it_waits_for():
    newcomer = Newcomer()
    newcomer.hear(View(A, 3, b"", (), (A,)))
    assert newcomer.joining.waits_for == "sees 2 members (a, c); begins a group with exactly 3"
    newcomer.hear(begun(A))
    assert newcomer.joining.waits_for == f"waits to be added to the group of incarnation {SOME.hex()}"


def test_a_member_that_begins_tells_the_others_what_it_saw_so_that_they_begin_too():
    newcomer = Newcomer()
    everyone = (A, B, C)
    newcomer.hear(View(A, 3, b"", (), everyone))
    newcomer.wire.take()
    newcomer.hear(View(B, 3, b"", (), everyone))
    assert newcomer.joined == [(first_incarnation(GROUP, everyone), everyone)]
    told = {peer: frame.fields[0] for peer, frame in newcomer.wire.take()}
    assert set(told) == {"a", "b"}
    assert told["a"][5] == [list(member) for member in everyone]
    assert told["a"][3] == b""


def test_a_member_that_waits_to_be_added_joins_with_the_first_frame_of_that_group_once():
    newcomer = Newcomer()
    newcomer.hear(begun(A))
    newcomer.raft_frame(incarnation=b"o" * 16)
    newcomer.raft_frame(receiver=77)
    assert newcomer.joined == []
    newcomer.raft_frame()
    newcomer.raft_frame()
    newcomer.hear(begun(B, first=(A, B, C)))
    assert newcomer.joined == [(SOME, ())]


def test_frames_of_a_group_nobody_announced_are_ignored():
    newcomer = Newcomer()
    newcomer.raft_frame()
    assert newcomer.joined == []


def test_a_member_that_was_given_an_incarnation_joins_only_that():
    newcomer = Newcomer(given=b"o" * 16)
    newcomer.hear(begun(A))
    newcomer.raft_frame()
    assert newcomer.joined == []


def test_a_peer_that_announces_another_name_than_its_own_is_refused():
    newcomer = Newcomer()
    frame = unpack_frame(pack_announcement(View(B, 3, b"", (), (B,))))
    with pytest.raises(ValueError, match="a announces itself as 'b'"):
        newcomer.joining.on_frame("a", frame)
    assert newcomer.joining.waits_for == "sees 1 members (c); begins a group with exactly 3"


def test_after_it_was_stopped_it_says_and_decides_nothing():
    newcomer = Newcomer()
    newcomer.joining.stop()
    newcomer.hear(begun(A, first=(A, B, C)))
    newcomer.runtime.advance(5.0)
    assert newcomer.wire.take() == []
    assert newcomer.joined == []
