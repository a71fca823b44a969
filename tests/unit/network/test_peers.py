"""Members over real sockets: connections that come, go, race and are replaced, and channels over them."""

import asyncio
from types import SimpleNamespace

import pytest

from orderbook.network.handshake import NONCE_BYTES, ControlKind
from orderbook.network.peers import Peers
from unit.network.members import GROUP, KEY, Members, until
from unit.network.relay import Relay
from unit.network.stranger import Stranger


def live(member, name):
    return member.peers._live[name]


async def test_two_members_that_dial_each_other_at_once_end_with_one_connection():
    for attempt in range(15):
        members = Members()
        one, other = await members.start("one"), await members.start("other")
        one.peers.discovery.add(other.address)
        other.peers.discovery.add(one.address)
        await until(lambda one=one, other=other: one.channel.peers() and other.channel.peers(), f"attempt {attempt}")
        await until(lambda one=one, other=other: len(one.peers._links) == len(other.peers._links) == 1, "one is left")
        assert live(one, "other").id == live(other, "one").id
        one.channel.send("other", b"frame")
        await until(lambda other=other: other.frames("one") == [b"frame"])
        assert [entry[0] for entry in other.told].count("disconnected") == 0
        await members.close()


async def test_five_members_that_all_dial_each_other_end_with_one_connection_a_pair(members):
    all_five = [await members.start(f"m{number}") for number in range(5)]
    for member in all_five:
        for other in all_five:
            member.peers.discovery.add(other.address)
    await until(lambda: all(len(member.channel.peers()) == 4 for member in all_five), "all connected")
    await until(lambda: all(len(member.peers._links) == 4 for member in all_five), "one connection a pair")
    for member in all_five:
        for other in all_five:
            if member is not other:
                assert live(member, other.peers.name).id == live(other, member.peers.name).id


async def test_a_peer_that_is_reached_at_two_addresses_at_once_gets_one_connection():
    for attempt in range(10):
        members = Members()
        one, other = await members.start("one"), await members.start("other")
        relay = await Relay(other.peers.port).start()
        one.peers.discovery.add(other.address)
        one.peers.discovery.add(f"127.0.0.1:{relay.port}")
        await until(lambda one=one: one.channel.peers() and not one.peers.discovery._book.unnamed(), f"try {attempt}")
        await until(lambda one=one, other=other: len(one.peers._links) == len(other.peers._links) == 1)
        assert one.told == [("connected", "other")]
        assert other.told == [("connected", "one")]
        await relay.cut()
        await members.close()


async def test_a_second_dial_to_a_process_does_not_prove_while_the_first_one_waits(members):
    one = await members.start("one")
    hello = one.peers.own_hello(1)._replace(name="other", process=b"process.")
    first, second = SimpleNamespace(peer=hello), SimpleNamespace(peer=hello)
    assert one.peers.before_proving(first) is None
    assert one.peers.before_proving(second)[0] == "duplicate"
    one.peers._proving.clear()


async def test_a_peer_that_lost_our_connection_may_come_anew_at_once(members):
    one = await members.start("one", ping_every=30.0)
    other = await members.start("other", ping_every=30.0, advertise="127.0.0.1:1")
    relay = await Relay(other.peers.port).start()
    await one.peers.discovery.sync_with(f"127.0.0.1:{relay.port}")
    await until(lambda: one.channel.peers() and other.channel.peers())
    relay.lose_target()
    await until(lambda: one.ended("replaced") == 1)
    await until(lambda: one.channel.peers() and other.channel.peers())
    assert not live(one, "other").dialled
    relay.flow()
    await relay.cut()


async def test_a_slow_path_with_a_long_queue_is_not_taken_for_a_silent_one(members):
    one = await members.start("one", ping_every=30.0)
    async with Stranger(one.address) as stranger:
        await stranger.join()
        await stranger.receive_control(ControlKind.ADDRESSES)
        while one.channel.send("stranger", bytes(1 << 20)):
            pass
        await stranger.control(ControlKind.PING)
        before_the_pong = 0
        while (await stranger.receive())[0] != 0:
            before_the_pong += 1
        queued = one.peers._options.max_queue_bytes >> 20
        assert before_the_pong < queued / 2


async def test_a_connection_stays_while_both_live(members):
    one, other = await members.start("one", ping_every=0.05), await members.start("other", ping_every=0.05)
    await members.connect(one, other)
    before = live(one, "other").id
    seen = one.peers.counts.ended.copy()
    pinged = asyncio.Event()
    members.runtime.call_later(0.05 * 10, pinged.set)
    await pinged.wait()
    assert live(one, "other").id == live(other, "one").id == before
    assert one.peers.counts.ended == seen


async def test_a_member_that_restarts_on_another_port_is_connected_again(members):
    one, other = await members.start("one"), await members.start("other")
    await members.connect(one, other)
    await members.stop(other)
    await until(lambda: one.channel.peers() == ())
    anew = await members.start("other")
    assert anew.address != other.address
    await members.connect(one, anew)
    assert one.told == [("connected", "other"), ("disconnected", "other"), ("connected", "other")]
    assert one.peers.discovery.known()["other"][0] == anew.address
    assert one.peers.statistics()["other"].connections == 2


async def test_a_member_that_restarts_on_its_port_is_dialled_again_by_those_who_know_it(members):
    one, other = await members.start("one"), await members.start("other")
    await members.connect(other, one)
    await members.stop(other)
    await until(lambda: one.channel.peers() == ())
    anew = await members.start("other", port=other.peers.port)
    await until(lambda: anew.channel.peers() == ("one",))


async def test_a_restarted_member_replaces_its_connection_that_still_looks_alive(members):
    one = await members.start("one", ping_every=30.0)
    other = await members.start("other", ping_every=30.0)
    relay = await Relay(one.peers.port).start()
    await other.peers.discovery.sync_with(f"127.0.0.1:{relay.port}")
    await until(lambda: one.channel.peers() == ("other",))
    relay.stall()
    anew = await members.start("other")
    await anew.peers.discovery.sync_with(one.address)
    await until(lambda: one.ended("replaced") == 1)
    await until(lambda: anew.channel.peers() == ("one",))
    assert one.told == [("connected", "other"), ("disconnected", "other"), ("connected", "other")]
    one.channel.send("other", b"to the new one")
    await until(lambda: anew.frames("one") == [b"to the new one"])
    assert other.frames("one") == []
    await relay.cut()


async def test_a_lost_connection_is_told_and_made_again_by_either_side(members):
    one, other = await members.start("one"), await members.start("other")
    relay = await Relay(one.peers.port).start()
    await other.peers.discovery.sync_with(f"127.0.0.1:{relay.port}")
    await until(one.channel.peers)
    await relay.cut()
    await until(lambda: ("disconnected", "other") in one.told and ("disconnected", "one") in other.told)
    await until(lambda: one.channel.peers() and other.channel.peers(), "connected again, past the relay")
    assert one.ended("lost") + other.ended("lost") >= 1


async def test_a_member_that_leaves_says_so(members):
    one, other = await members.start("one"), await members.start("other")
    await members.connect(one, other)
    await members.stop(other)
    await until(lambda: one.channel.peers() == ())
    assert one.ended("closed") == 1
    assert one.ended("lost") == 0


async def test_all_frames_of_one_turn_leave_in_one_message(members):
    one = await members.start("one")
    async with Stranger(one.address) as stranger:
        await stranger.join()
        await stranger.receive_control(ControlKind.ADDRESSES)
        for number in range(100):
            assert one.channel.send("stranger", b"frame %d" % number)
        message = await stranger.socket.receive()
        assert message.data.count(b"frame ") == 100


async def test_a_large_queue_leaves_in_messages_of_a_bounded_size(members):
    one = await members.start("one")
    async with Stranger(one.address) as stranger:
        await stranger.join()
        await stranger.receive_control(ControlKind.ADDRESSES)
        for _ in range(100):
            one.channel.send("stranger", bytes(10_000))
        sizes = []
        while sum(sizes) < 100 * 10_006:
            sizes.append(len((await stranger.socket.receive()).data))
        assert max(sizes) <= 256 << 10
        assert len(sizes) == 4


async def test_the_largest_frame_arrives(members):
    one, other = await members.start("one"), await members.start("other")
    await members.connect(one, other)
    largest = bytes(range(256)) * (1 << 16)
    assert one.channel.send("other", largest)
    await until(lambda: other.frames("one"))
    assert other.frames("one") == [largest]


# --- channels ---------------------------------------------------------------------------------------------------------


async def test_a_channel_that_is_opened_on_both_sides_later_connects(members):
    one, other = await members.start("one", group=None), await members.start("other", group=None)
    await other.peers.discovery.sync_with(one.address)
    await until(lambda: one.peers.connected() == ("other",))
    one.open()
    other.open()
    await until(lambda: one.channel.peers() and other.channel.peers())
    other.channel.send("one", b"frame")
    await until(lambda: one.frames("other") == [b"frame"])


async def test_a_channel_can_be_opened_by_one_long_before_the_other(members):
    one, other = await members.start("one"), await members.start("other", group=None)
    await other.peers.discovery.sync_with(one.address)
    assert one.channel.peers() == ()
    other.open()
    await until(lambda: one.channel.peers() and other.channel.peers())


async def test_a_closed_channel_can_be_opened_again(members):
    one, other = await members.start("one"), await members.start("other")
    await members.connect(one, other)
    other.channel.close()
    await until(lambda: one.told[-1] == ("disconnected", "other"))
    other.channel.close()
    other.open()
    await until(lambda: one.channel.peers() and other.channel.peers())
    one.channel.send("other", b"frame")
    await until(lambda: other.frames("one") == [b"frame"])
    assert one.told == [("connected", "other"), ("disconnected", "other"), ("connected", "other")]


async def test_a_frame_for_a_channel_that_was_just_closed_is_counted_and_dropped(members):
    one, other = await members.start("one"), await members.start("other")
    await members.connect(one, other)
    other.channel.close()
    assert one.channel.send("other", b"too late")
    await until(lambda: other.peers.statistics()["one"].frames_refused == 1)
    assert other.frames("one") == []


async def test_channels_share_a_connection_and_do_not_mix(members):
    one, other = await members.start("one"), await members.start("other")
    streams = {}
    for member in (one, other):
        streams[member] = member.peers.channel(b"streams", b"another key")
        streams[member].on_frame = lambda peer, frame, member=member: member.told.append(("stream", peer, frame))
    await members.connect(one, other)
    await until(lambda: streams[one].peers() and streams[other].peers())
    one.channel.send("other", b"of the group")
    streams[one].send("other", b"of the stream")
    await until(lambda: len(other.told) == 3)
    assert other.told[1:] == [("frame", "one", b"of the group"), ("stream", "one", b"of the stream")]
    assert len(one.peers._links) == 1
    streams[one].close()
    await until(lambda: streams[other].peers() == ())
    assert other.channel.peers() == ("one",)


async def test_a_channel_is_opened_once_at_a_time(members):
    one = await members.start("one")
    with pytest.raises(ValueError, match="open already"):
        one.peers.channel(GROUP, KEY)
    with pytest.raises(ValueError, match="1 to 64"):
        one.peers.channel(b"", KEY)
    with pytest.raises(ValueError, match="at least one"):
        one.peers.channel(b"other", b"")


async def test_a_name_that_is_none_is_refused(members):
    with pytest.raises(ValueError, match="name"):
        Peers(members.runtime, "with space", "network")


async def test_what_the_owner_of_a_channel_raises_is_never_swallowed():
    for dialled in (True, False):
        members = Members()
        one, other = await members.start("one"), await members.start("other")
        await members.connect(one, other)
        receiver, sender = (one, other) if live(one, "other").dialled == dialled else (other, one)

        def fail(peer, frame):
            raise ArithmeticError("a bug")

        receiver.channel.on_frame = fail
        sender.channel.send(receiver.peers.name, b"frame")
        await until(lambda members=members: members.failures)
        assert [type(failure) for failure in members.failures] == [ArithmeticError]
        members.failures.clear()
        await members.close()


async def test_a_channel_that_comes_or_goes_during_the_handshake_is_announced_after_it(members):
    one, other = await members.start("one"), await members.start("other")
    late = other.peers.channel(b"late", b"key")
    gone = other.peers.channel(b"gone", b"key"), one.peers.channel(b"gone", b"key")
    announce = one.peers.own_openings
    opened = []

    def open_and_close_behind_it(link):
        openings = announce(link)
        if not opened:
            opened.append(one.peers.channel(b"late", b"key"))
            gone[1].close()
        return openings

    one.peers.own_openings = open_and_close_behind_it
    await one.peers.discovery.sync_with(other.address)
    await until(lambda: late.peers() == ("one",) and opened[0].peers() == ("other",))
    await until(lambda: gone[0].peers() == ())


async def test_a_group_that_its_peer_opens_anew_before_it_closes_the_old_channel_stays_connected(members):
    one = await members.start("one")
    async with Stranger(one.address) as stranger:
        await stranger.join(number=1)
        await stranger.control(ControlKind.OPEN, 2, GROUP, stranger.proof())
        await stranger.control(ControlKind.CLOSE, 1)
        await stranger.send((1, b"of the old one"), (2, b"of the new one"))
        await until(lambda: one.frames("stranger"))
        assert one.told == [("connected", "stranger"), ("frame", "stranger", b"of the new one")]


# --- what is counted --------------------------------------------------------------------------------------------------


async def test_frames_and_bytes_are_counted_by_peer(members):
    one, other = await members.start("one"), await members.start("other")
    await members.connect(one, other)
    one.channel.send("other", b"12345")
    one.channel.send("other", (b"12", b"3"))
    await until(lambda: len(other.frames("one")) == 2)
    sent, received = one.peers.statistics()["other"], other.peers.statistics()["one"]
    assert (sent.frames_out, sent.bytes_out, sent.frames_in) == (2, 8, 0)
    assert (received.frames_in, received.bytes_in, received.frames_out) == (2, 8, 0)
    assert sent.queue_bytes == 0


async def test_a_full_queue_is_counted(members):
    one, other = await members.start("one", max_queue_bytes=1000), await members.start("other")
    await members.connect(one, other)
    assert one.channel.send("other", bytes(900))
    assert not one.channel.send("other", bytes(900))
    statistics = one.peers.statistics()["other"]
    assert statistics.frames_dropped == 1
    assert statistics.queue_bytes == 906
    await until(lambda: one.peers.statistics()["other"].queue_bytes == 0)


async def test_the_nonce_of_each_handshake_is_another(members):
    one = await members.start("one")
    nonces = {one.peers.own_hello(1).nonce for _ in range(20)}
    assert len(nonces) == 20
    assert {len(nonce) for nonce in nonces} == {NONCE_BYTES}
