"""Peers that lie, babble, flood, or stop: a named end, counted and logged once, and nobody else is disturbed."""

import asyncio
import logging
from contextlib import suppress
from unittest.mock import AsyncMock

import pytest
from aiohttp import ClientConnectionResetError, ClientError, ClientSession
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orderbook.network.framing import CONTROL, MAX_FRAME_BYTES, MAX_MESSAGE_BYTES, pack_header
from orderbook.network.handshake import ControlKind, Reason, Role, pack_control
from orderbook.network.peers import PATH
from orderbook.server.metrics_network import peer_metrics
from unit.network.members import GROUP, Members, until
from unit.network.relay import Relay
from unit.network.stranger import Stranger


@pytest.fixture
async def pair(members):
    """A member to attack, and a member with which it must go on undisturbed."""
    one, other = await members.start("one"), await members.start("other")
    await members.connect(one, other)
    yield one, other
    assert ("disconnected", "other") not in one.told
    before = len(one.frames("other"))
    other.channel.send("one", b"undisturbed")
    await until(lambda: len(one.frames("other")) > before, "undisturbed")


async def fill_queue(member, peer):
    """Send until nothing more is taken, by the queue or by the kernel, which for a while makes room again and again."""
    full = 0
    while full < 3:
        full = 0 if member.channel.send(peer, b"") else full + 1
        while member.channel.send(peer, bytes(100_000)) or member.channel.send(peer, b""):
            pass
        await asyncio.sleep(0.01)


# --- bytes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\x00",
        b"GET / HTTP/1.1\r\n\r\n",
        pack_header(5, CONTROL) + b"cut",
        pack_header(MAX_FRAME_BYTES + 1, CONTROL),
        pack_header(1, CONTROL) + b"\xc1",
        pack_header(4, 1) + b"data",
        pack_header(2, CONTROL) + pack_control(ControlKind.PING),
        pack_header(2, CONTROL) + pack_control(ControlKind.HELLO),
    ],
)
async def test_a_connection_that_begins_with_anything_but_hello_is_malformed(pair, message):
    one, _ = pair
    async with Stranger(one.address) as stranger:
        await stranger.socket.send_bytes(message)
        assert await stranger.refusal() == "malformed"
    await until(lambda: one.ended("malformed") == 1)


async def test_a_frame_before_the_proof_is_malformed(pair):
    one, _ = pair
    async with Stranger(one.address) as stranger:
        await stranger.say_hello()
        await stranger.send((1, b"frame"))
        assert await stranger.refusal() == "malformed"


@pytest.mark.parametrize(
    "message",
    [
        b"",
        pack_header(9, 1) + b"cut",
        pack_header(MAX_FRAME_BYTES + 1, 1),
        pack_header(2, CONTROL) + pack_control(ControlKind.HELLO),
        pack_header(2, CONTROL) + pack_control(ControlKind.OPEN),
        pack_header(2, CONTROL) + pack_control(ControlKind.CLOSE),
        pack_header(2, CONTROL) + pack_control(ControlKind.ADDRESSES),
    ],
)
async def test_a_malformed_message_ends_a_live_connection(pair, message):
    one, _ = pair
    async with Stranger(one.address) as stranger:
        await stranger.join()
        await stranger.socket.send_bytes(message)
        assert await stranger.refusal() == "malformed"
    await until(lambda: one.told[-1] == ("disconnected", "stranger"))
    assert one.ended("malformed") == 1


async def test_frames_before_a_malformed_record_arrive_and_none_after_it(pair):
    one, _ = pair
    async with Stranger(one.address) as stranger:
        await stranger.join()
        good, bad = pack_header(4, 1) + b"good", pack_header(1, CONTROL) + b"\xc1"
        await stranger.socket.send_bytes(good + bad + good)
        assert await stranger.refusal() == "malformed"
    assert one.frames("stranger") == [b"good"]


async def test_nothing_behind_a_refusal_in_the_same_message_counts(members):
    one = await members.start("one")
    async with Stranger(one.address) as stranger:
        await stranger.say_hello()
        await stranger.control(ControlKind.PROVE, b"", [])
        await stranger.receive_control(ControlKind.ACCEPT)
        await stranger.send(
            (CONTROL, pack_control(ControlKind.REFUSE, "closed", "")),
            (CONTROL, pack_control(ControlKind.OPEN, 1, GROUP, stranger.proof())),
        )
        await until(lambda: one.ended("closed") == 1)
    await until(lambda: not one.peers._links)
    assert one.told == []


async def test_a_text_message_is_malformed(pair):
    one, _ = pair
    async with Stranger(one.address) as stranger:
        await stranger.join()
        await stranger.socket.send_str("hello")
        assert await stranger.refusal() == "malformed"


async def test_a_message_above_the_limit_is_too_large(pair):
    one, _ = pair
    async with Stranger(one.address) as stranger:
        await stranger.join()
        with suppress(ConnectionError):
            await stranger.socket.send_bytes(bytes(MAX_MESSAGE_BYTES + 1))
        await until(lambda: one.ended("too_large") == 1)


async def test_bytes_that_are_no_websocket_are_malformed(pair):
    one, _ = pair
    async with Stranger(one.address) as stranger:
        await stranger.join()
        stranger.socket._writer.transport.write(b"\xff" * 50)
        await until(lambda: one.ended("malformed") == 1)


async def test_a_channel_that_is_opened_twice_is_malformed(pair):
    one, _ = pair
    async with Stranger(one.address) as stranger:
        await stranger.join(number=1)
        await stranger.control(ControlKind.OPEN, 1, b"another", b"")
        assert await stranger.refusal() == "malformed"


async def test_a_kind_that_this_version_lacks_is_malformed_from_a_peer_of_this_version(pair):
    one, _ = pair
    async with Stranger(one.address) as stranger:
        await stranger.join()
        await stranger.control(99, "what?")
        assert await stranger.refusal() == "malformed"


async def test_a_kind_that_only_a_newer_version_knows_is_ignored_and_counted(pair):
    one, _ = pair
    async with Stranger(one.address, newest=2) as stranger:
        await stranger.join()
        await stranger.control(99, "news")
        await stranger.send((1, b"frame"))
        await until(lambda: one.frames("stranger") == [b"frame"])
    assert one.peers.counts.unknown_controls == 1


async def test_a_request_that_is_no_websocket_is_refused(pair):
    one, _ = pair
    async with ClientSession() as session, session.get(f"http://{one.address}/peers") as response:
        assert response.status == 400


ANYTHING = st.one_of(
    st.binary(max_size=100),
    st.builds(lambda channel, body: pack_header(len(body), channel) + body, st.integers(0, 2), st.binary(max_size=50)),
    st.builds(
        lambda kind, fields: (lambda body: pack_header(len(body), CONTROL) + body)(pack_control(kind, *fields)),
        st.integers(0, 12),
        st.lists(st.integers(0, 3) | st.binary(max_size=4) | st.just([]) | st.text(max_size=3), max_size=4),
    ),
)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(messages=st.lists(ANYTHING, max_size=6), joined=st.booleans())
def test_no_sequence_of_messages_disturbs_a_member(messages, joined):
    async def attack():
        members = Members()
        one, other = await members.start("one"), await members.start("other")
        await members.connect(one, other)
        async with Stranger(one.address) as stranger:
            if joined:
                await stranger.join()
            try:
                for message in messages:
                    await stranger.socket.send_bytes(message)
            except ConnectionError:
                pass
        await until(lambda: len(one.peers._links) == 1, "the stranger is gone")
        other.channel.send("one", b"undisturbed")
        await until(lambda: one.frames("other") == [b"undisturbed"])
        await members.close()

    asyncio.run(attack())


# --- identity ---------------------------------------------------------------------------------------------------------


async def test_a_member_of_another_network_is_refused_by_name(members, caplog):
    caplog.set_level(logging.INFO)
    one, other = await members.start("one"), await members.start("other", network="another network")
    other.peers.discovery.add(one.address)
    await until(lambda: one.ended("wrong_network") >= 3, "it tries again")
    assert other.ended("wrong_network") >= 2
    assert one.peers.connected() == other.peers.connected() == ()
    warned = [record for record in caplog.records if record.levelno == logging.WARNING and record.fields["peer"]]
    assert [record.fields["peer"] for record in warned].count("other") == 1, "logged once"
    assert "another network" in warned[0].fields["detail"]


@pytest.mark.parametrize("theirs", [(2, 3), (7, 9)])
async def test_a_member_without_a_common_version_is_refused(members, theirs):
    one, other = await members.start("one", versions=(1, 1)), await members.start("other", versions=theirs)
    other.peers.discovery.add(one.address)
    await until(lambda: one.ended("wrong_version") >= 1 and other.ended("wrong_version") >= 1)
    assert one.peers.connected() == ()


async def test_members_of_overlapping_versions_connect(members):
    one, other = await members.start("one", versions=(1, 2)), await members.start("other", versions=(2, 5))
    await members.connect(one, other)


async def test_a_peer_that_claims_the_name_of_the_member_it_talks_to_is_refused(pair):
    one, _ = pair
    async with Stranger(one.address, "one") as stranger:
        await stranger.send((CONTROL, stranger.hello))
        assert await stranger.refusal() == "name_taken"


async def test_a_member_with_the_wrong_group_key_gets_no_frame_and_none_of_its_frames_arrive(members, caplog):
    one, other = await members.start("one"), await members.start("other")
    await members.connect(one, other)
    async with Stranger(one.address) as stranger:
        await stranger.join(key=b"the wrong key")
        await stranger.send((1, b"forged"))
        await until(lambda: one.peers.statistics()["stranger"].frames_refused == 1)
    assert one.peers.statistics()["stranger"].wrong_keys == one.peers.counts.wrong_keys == 1
    assert one.channel.peers() == ("other",)
    assert not one.channel.send("stranger", b"secret")
    assert one.frames("stranger") == []
    warned = [record for record in caplog.records if record.message.startswith("wrong group key")]
    assert [(record.fields["peer"], record.fields["group"]) for record in warned] == [("stranger", GROUP.hex())]


async def test_names_of_peers_that_proved_nothing_are_no_labels_of_metrics(members):
    one, other = await members.start("one"), await members.start("other")
    await members.connect(one, other)
    for name in ("mallory-1", "mallory-2"):
        async with Stranger(one.address, name) as stranger:
            await stranger.join(key=b"the wrong key")
            await stranger.send((1, b"forged"))
            await until(lambda name=name: one.peers.statistics()[name].frames_refused == 1)
            found = samples(one)
            assert {peer for _, peer in found} == {"other", "not proven", None}
            assert found["orderbook_peers_connected", None] == 2
    assert found["orderbook_peer_frames_refused_total", "not proven"] == 2
    assert found["orderbook_peer_wrong_keys_total", "not proven"] == 2
    assert found["orderbook_peer_wrong_keys_total", "other"] == 0


async def test_what_strangers_did_is_counted_when_their_names_are_forgotten(members, monkeypatch):
    monkeypatch.setattr("orderbook.network.peers._MAX_REMEMBERED", 2)
    one = await members.start("one")
    for number in range(4):
        async with Stranger(one.address, f"mallory-{number}") as stranger:
            await stranger.join(key=b"the wrong key")
            await until(
                lambda number=number: samples(one)["orderbook_peer_wrong_keys_total", "not proven"] == number + 1
            )
        await until(lambda: one.peers.connected() == ())
    assert len(one.peers.statistics()) == 2


def samples(member):
    """(name, peer) -> value of what a scrape is told of peers."""
    return {
        (sample.name, sample.labels.get("peer")): sample.value
        for metric in peer_metrics(member.peers)
        for sample in metric.samples
        if "peer" in sample.labels or sample.name == "orderbook_peers_connected"
    }


async def test_both_sides_notice_a_wrong_group_key(members):
    one, other = await members.start("one"), await members.start("other", key=b"the wrong key")
    await other.peers.discovery.sync_with(one.address)
    await until(lambda: one.peers.counts.wrong_keys and other.peers.counts.wrong_keys)
    assert one.peers.connected() == ("other",)
    assert one.channel.peers() == other.channel.peers() == ()


async def test_a_key_is_proven_for_each_channel(members):
    one, other = await members.start("one"), await members.start("other")
    await members.connect(one, other)
    theirs, ours = other.peers.channel(b"streams", b"one key"), one.peers.channel(b"streams", b"another key")
    await until(lambda: one.peers.counts.wrong_keys and other.peers.counts.wrong_keys)
    assert theirs.peers() == ours.peers() == ()
    assert one.channel.peers() == ("other",)


async def test_members_that_share_no_group_are_warned(members, caplog):
    one, other = await members.start("one"), await members.start("other", group=b"another group")
    await other.peers.discovery.sync_with(one.address)
    await until(lambda: one.peers.counts.no_common_group and other.peers.counts.no_common_group)
    assert any("shares no group" in record.message for record in caplog.records)


async def test_a_proof_that_is_reflected_to_its_maker_proves_nothing(members):
    one = await members.start("one")
    async with Stranger(one.address) as stranger:
        await stranger.say_hello()
        await stranger.control(ControlKind.PROVE, b"", [])
        _, (openings,) = await stranger.receive_control(ControlKind.ACCEPT)
        (_, group, proof) = openings[0]
        assert proof == stranger.proof(role=Role.ACCEPTOR)
        await stranger.control(ControlKind.OPEN, 7, group, proof)
        await until(lambda: one.peers.counts.wrong_keys == 1)
    assert one.channel.peers() == ()


async def test_a_proof_from_an_earlier_connection_proves_nothing(members):
    one = await members.start("one")
    async with Stranger(one.address) as stranger:
        await stranger.join()
        await until(lambda: one.channel.peers() == ("stranger",))
        overheard = stranger.proof()
    await until(lambda: one.channel.peers() == ())
    async with Stranger(one.address) as again:
        await again.say_hello()
        await again.control(ControlKind.PROVE, b"", [[1, GROUP, overheard]])
        await until(lambda: one.peers.counts.wrong_keys == 1)
    assert one.channel.peers() == ()


async def test_nobody_takes_the_place_of_a_proven_member_by_its_name(pair):
    one, _ = pair
    async with Stranger(one.address, "other") as stranger:
        await stranger.say_hello()
        await stranger.control(ControlKind.PROVE, b"", [[1, GROUP, b"guess" * 6 + b"xx"]])
        assert await stranger.refusal() == "not_proven"


async def test_who_proves_nothing_gives_way_to_the_member_whose_name_it_took(members):
    one = await members.start("one")
    async with Stranger(one.address, "other") as stranger:
        await stranger.join(key=b"a guess")
        await until(lambda: one.peers.connected() == ("other",))
        other = await members.start("other")
        await members.connect(one, other)
        assert await stranger.refusal() == "replaced"


# --- behaviour --------------------------------------------------------------------------------------------------------


async def test_who_leaves_while_the_websocket_is_opened_is_counted_and_leaves_no_error(pair, caplog, monkeypatch):
    one, _ = pair
    leaving = ClientConnectionResetError("Cannot write to closing transport")
    monkeypatch.setattr("orderbook.network.peers.AcceptedSocket.prepare", AsyncMock(side_effect=leaving))
    before = one.peers.counts.ended[Reason.LOST]
    async with ClientSession() as session:
        with suppress(ClientError):
            await session.ws_connect(f"http://{one.address}{PATH}")
    await until(lambda: one.peers.counts.ended[Reason.LOST] == before + 1, "counted")
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_a_connection_that_says_nothing_is_given_up(members):
    one = await members.start("one", dial_timeout=0.1)
    async with Stranger(one.address) as stranger:
        assert await stranger.refusal() == "timeout"
    assert one.ended("timeout") == 1


async def test_handshakes_under_way_are_bounded(pair, members):
    crowded = await members.start("crowded", max_handshakes=2)
    async with Stranger(crowded.address) as first, Stranger(crowded.address):
        await until(lambda: len(crowded.peers._links) == 2)
        async with ClientSession() as session:
            headers = {"Upgrade": "websocket", "Connection": "Upgrade"}
            async with session.get(f"http://{crowded.address}/peers", headers=headers) as response:
                assert response.status == 503
        await first.join()
        await until(lambda: crowded.peers.connected() == ("stranger",))
        async with Stranger(crowded.address, "third") as third:
            await third.join()


async def test_connections_are_bounded(members):
    one = await members.start("one", max_connections=1)
    async with Stranger(one.address) as stranger:
        await stranger.join()
        async with ClientSession() as session, session.get(f"http://{one.address}/peers") as response:
            assert response.status == 503
    assert one.ended("busy") == 1


async def test_a_peer_that_sends_and_never_reads_has_a_bounded_queue_and_is_ended(pair, members):
    one, _ = pair
    attacked = await members.start("attacked", max_queue_bytes=4 << 20, ping_every=0.05)
    await members.connect(one, attacked)
    async with Stranger(attacked.address) as stranger:
        await stranger.join()
        await until(lambda: "stranger" in attacked.channel.peers())
        refused = 0
        while "stranger" in attacked.channel.peers():
            for _ in range(8):
                refused += not attacked.channel.send("stranger", bytes(1 << 20))
            assert attacked.peers.statistics()["stranger"].queue_bytes <= 4 << 20
            try:
                await stranger.send((1, b"still here"))
            except ConnectionError:
                break
            attacked.channel.send("one", b"meanwhile")
            await asyncio.sleep(0)
        await until(lambda: attacked.ended("not_reading") == 1)
        assert refused > 0
        assert attacked.frames("stranger")
    await until(lambda: b"meanwhile" in one.frames("attacked"))
    assert ("disconnected", "one") not in attacked.told


async def test_a_peer_whose_queue_has_no_room_for_what_it_must_be_told_is_ended(members):
    one = await members.start("one", max_queue_bytes=1 << 20, ping_every=30.0)
    async with Stranger(one.address) as stranger:
        await stranger.join()
        await until(one.channel.peers)
        await fill_queue(one, "stranger")
        await stranger.control(ControlKind.PING)
        await until(lambda: one.ended("not_reading") == 1)


async def test_a_channel_has_no_peer_whose_queue_has_no_room_for_its_opening(members):
    one = await members.start("one", max_queue_bytes=1 << 20, ping_every=30.0)
    async with Stranger(one.address) as stranger:
        await stranger.join()
        await stranger.control(ControlKind.OPEN, 2, b"late", stranger.proof(b"late", b"its key"))
        await until(one.channel.peers)
        await fill_queue(one, "stranger")
        late = one.peers.channel(b"late", b"its key")
        assert late.peers() == ()
        assert one.ended("not_reading") == 1


async def test_a_peer_that_is_told_its_fault_and_reads_nothing_does_not_linger(members):
    one = await members.start("one", ping_every=30.0)
    async with Stranger(one.address) as stranger:
        await stranger.join()
        await until(one.channel.peers)
        while one.channel.send("stranger", bytes(1 << 20)):
            pass
        await stranger.control(99)
        await until(lambda: one.ended("malformed") == 1)
        await until(lambda: not one.peers._links)


async def test_a_connection_that_is_half_open_is_ended_by_both_sides_and_made_anew(members):
    one = await members.start("one", ping_every=0.05)
    other = await members.start("other", ping_every=0.05, advertise="127.0.0.1:1")
    relay = await Relay(one.peers.port).start()
    one.peers._advertised = f":{relay.port}"
    await other.peers.discovery.sync_with(f"127.0.0.1:{relay.port}")
    await until(lambda: one.channel.peers() and other.channel.peers())
    relay.stall()
    await until(lambda: ("disconnected", "other") in one.told and ("disconnected", "one") in other.told)
    assert one.ended("silent") == other.ended("silent") == 1
    relay.flow()
    await until(lambda: one.channel.peers() and other.channel.peers(), "connected anew")
    await relay.cut()


async def test_a_peer_that_stops_answering_while_others_talk_is_noticed(members):
    one, other = await members.start("one", ping_every=0.05), await members.start("other", ping_every=0.05)
    await members.connect(one, other)
    async with Stranger(one.address) as stranger:
        await stranger.join()
        await until(lambda: "stranger" in one.channel.peers())
        await until(lambda: one.ended("silent") == 1)
    assert one.told[-1] == ("disconnected", "stranger")
    assert other.peers.connected() == ("one",)


async def test_a_peer_that_answers_pings_stays(members):
    one = await members.start("one", ping_every=0.05)
    async with Stranger(one.address) as stranger:
        await stranger.join()
        for _ in range(6):
            await stranger.receive_control(ControlKind.PING)
            await stranger.control(ControlKind.PONG)
        assert one.channel.peers() == ("stranger",)


async def test_a_ping_is_answered(members):
    one = await members.start("one")
    async with Stranger(one.address) as stranger:
        await stranger.join()
        await stranger.control(ControlKind.PING)
        await stranger.receive_control(ControlKind.PONG)
