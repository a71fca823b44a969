"""Members find each other: from one address, from each other, from a service's records, and after a move."""

import logging

import pytest
from aiohttp import web

from orderbook.network.discovery import PeerUnreachable
from orderbook.network.handshake import ControlKind
from orderbook.network.service_records import ServiceLookup
from unit.network.dns_server import DnsServer
from unit.network.members import until
from unit.network.stranger import Stranger

SERVICE = "book-peers.shop.svc.cluster.local"


@pytest.fixture
async def dns():
    dns = await DnsServer().start()
    yield dns
    dns.close()


def publish(dns, **ports):
    dns.srv[f"_peers._tcp.{SERVICE}"] = [(f"{name}.{SERVICE}", port) for name, port in ports.items()]
    for name in ports:
        dns.a[f"{name}.{SERVICE}"] = ["127.0.0.1"]


def watch(member, dns):
    lookup = ServiceLookup(SERVICE, 7400, ["127.0.0.1"], dns.port, 0.2)
    member.peers.discovery.watch_service(lookup, every=0.05)


async def unused_port(members):
    """A port on which nobody listens any more."""
    member = await members.start("gone")
    await members.stop(member)
    return member.peers.port


# --- static -----------------------------------------------------------------------------------------------------------


async def test_one_known_peer_suffices(members):
    a, b, c, d = [await members.start(name) for name in "abcd"]
    await b.peers.discovery.sync_with(a.address)
    await c.peers.discovery.sync_with(b.address)
    await d.peers.discovery.sync_with(c.address)
    await until(lambda: all(len(member.channel.peers()) == 3 for member in (a, b, c, d)))


async def test_sync_with_has_learnt_and_told_all_when_it_returns(members):
    a, b = await members.start("a"), await members.start("b")
    await members.connect(a, b)
    c, d = await members.start("c"), await members.start("d")
    await members.connect(c, d)
    await c.peers.discovery.sync_with(a.address)
    assert c.peers.discovery.known()["b"] == (b.address,)
    assert c.peers.discovery.known()["a"] == (a.address,)
    await until(lambda: "d" in a.peers.discovery.known())
    await until(lambda: "d" in b.channel.peers())


async def test_sync_with_a_peer_that_is_connected_already_returns_at_once(members):
    a, b = await members.start("a"), await members.start("b")
    await members.connect(a, b)
    await b.peers.discovery.sync_with(a.address)
    await a.peers.discovery.sync_with(b.address)
    assert len(a.peers._links) == 1


async def test_sync_with_oneself_is_nothing(members):
    a = await members.start("a")
    await a.peers.discovery.sync_with(a.address)
    assert a.peers.connected() == ()
    assert a.peers.discovery.known() == {}


async def test_sync_with_nobody_says_why_and_goes_on_trying(members):
    port = await unused_port(members)
    a = await members.start("a")
    with pytest.raises(PeerUnreachable, match=f"127.0.0.1:{port}: unreachable: Cannot connect"):
        await a.peers.discovery.sync_with(f"127.0.0.1:{port}", timeout=0.3)
    b = await members.start("b", port=port)
    await until(lambda: b.channel.peers() == ("a",))


async def test_sync_with_a_member_of_another_network_says_so(members):
    a, b = await members.start("a"), await members.start("b", network="another network")
    with pytest.raises(PeerUnreachable, match=r"wrong_network: .*another network"):
        await a.peers.discovery.sync_with(b.address, timeout=0.3)


@pytest.mark.parametrize("address", ["", "host", "host:", "host:0", "host:99999", "http://host:1", "a b:1", ":1"])
async def test_what_is_no_address_is_refused(members, address):
    a = await members.start("a")
    with pytest.raises(ValueError, match="host:port"):
        await a.peers.discovery.sync_with(address)


async def test_peers_that_were_given_before_the_start_are_dialled_after_it(members):
    a = await members.start("a")
    b = await members.start("b")
    await members.stop(b)
    late = type(b)(type(b.peers)(members.runtime, "late", b.peers.network))
    late.open()
    late.peers.discovery.add(a.address)
    members.all.append(late)
    await late.peers.start()
    await until(lambda: a.channel.peers() == ("late",))


async def test_a_dial_that_fails_again_and_again_is_logged_once(members, caplog):
    caplog.set_level(logging.INFO)
    port = await unused_port(members)
    a = await members.start("a")
    a.peers.discovery.add(f"127.0.0.1:{port}")
    tries = []
    await until(lambda: tries.append(1) or len(tries) > 200)
    failed = [record for record in caplog.records if record.message.startswith("a dial failed")]
    assert [record.fields["address"] for record in failed] == [f"127.0.0.1:{port}"]


async def test_a_member_that_moved_is_found_because_it_comes_and_the_others_are_told(members):
    a, b, c = [await members.start(name) for name in "abc"]
    await members.connect(a, b, c)
    await members.stop(c)
    moved = await members.start("c")
    await moved.peers.discovery.sync_with(a.address)
    await until(lambda: set(a.channel.peers()) == {"b", "c"} and set(b.channel.peers()) == {"a", "c"})
    assert b.peers.discovery.known()["c"][0] == moved.address


async def test_whoever_is_met_is_passed_on_to_those_who_are_there(members):
    a = await members.start("a")
    async with Stranger(a.address) as stranger:
        await stranger.join()
        await stranger.receive_control(ControlKind.ADDRESSES)
        b = await members.start("b")
        await b.peers.discovery.sync_with(a.address)
        _, (told,) = await stranger.receive_control(ControlKind.ADDRESSES)
        assert told == [["b", b.address]]


async def test_a_peer_is_sought_at_its_new_address_at_once_while_an_old_one_keeps_silent(members, dns):
    async def say_nothing(request):
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for _ in socket:
            pass
        return socket

    application = web.Application()
    application.router.add_get("/peers", say_nothing)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    a, b = await members.start("a", dial_timeout=300.0), await members.start("book-1")
    publish(dns, **{"book-1": runner.addresses[0][1]})
    watch(a, dns)
    await until(lambda: len(a.peers._links) == 1, "dialling the silent one")
    publish(dns, **{"book-1": b.peers.port})
    await until(lambda: b.channel.peers() == ("a",))
    await until(lambda: len(a.peers._links) == 1, "the silent one is given up")
    await runner.cleanup()


async def test_a_known_peer_is_dialled_again_at_whichever_of_its_addresses_it_is(members):
    a, b = await members.start("a"), await members.start("b")
    await members.connect(a, b)
    first_port = b.peers.port
    await members.stop(b)
    moved = await members.start("b")
    await members.connect(a, moved)
    await members.stop(moved)
    await until(lambda: a.channel.peers() == ())
    back = await members.start("b", port=first_port)
    await until(lambda: back.channel.peers() == ("a",))
    assert len(a.peers.discovery.known()["b"]) == 2


async def test_another_member_at_a_known_address_is_met_under_its_own_name(members):
    a, b = await members.start("a"), await members.start("b")
    await members.connect(a, b)
    await members.stop(b)
    c = await members.start("c", port=b.peers.port)
    await until(lambda: c.channel.peers() == ("a",))
    await until(lambda: a.peers.discovery.known() == {"c": (c.address,)})


async def test_a_peer_that_nobody_configured_and_nobody_reaches_is_forgotten(members):
    a, b = await members.start("a", forget_after=0.2), await members.start("b")
    await b.peers.discovery.sync_with(a.address)
    await until(lambda: a.channel.peers() == ("b",))
    await members.stop(b)
    await until(lambda: a.peers.discovery.known() == {})


async def test_a_configured_peer_is_never_forgotten(members):
    a, b = await members.start("a", forget_after=0.05), await members.start("b")
    await a.peers.discovery.sync_with(b.address)
    await members.stop(b)
    tries = []
    await until(lambda: tries.append(1) or len(tries) > 100)
    back = await members.start("b", port=b.peers.port)
    await until(lambda: back.channel.peers() == ("a",))


async def test_the_advertised_address_is_what_others_learn(members):
    a, b = await members.start("a"), await members.start("b", advertise="b.example:7400")
    await b.peers.discovery.sync_with(a.address)
    await until(lambda: a.peers.discovery.known() == {"b": ("b.example:7400",)})


# --- a headless service -----------------------------------------------------------------------------------------------


async def test_members_find_each_other_by_srv_records(members, dns):
    all_three = [await members.start(name) for name in ("book-0", "book-1", "book-2")]
    publish(dns, **{member.peers.name: member.peers.port for member in all_three})
    watch(all_three[0], dns)
    await until(lambda: all(len(member.channel.peers()) == 2 for member in all_three))


async def test_a_member_that_comes_later_is_found_when_the_records_hold_it(members, dns):
    a = await members.start("book-0")
    watch(a, dns)
    b = await members.start("book-1")
    publish(dns, **{"book-0": a.peers.port, "book-1": b.peers.port})
    await until(lambda: b.channel.peers() == ("book-0",))


async def test_a_member_that_moved_is_found_by_the_records_alone(members, dns):
    a, b = await members.start("book-0"), await members.start("book-1")
    publish(dns, **{"book-0": a.peers.port, "book-1": b.peers.port})
    watch(a, dns)
    await until(lambda: a.channel.peers() == ("book-1",))
    await members.stop(b)
    moved = await members.start("book-1")
    assert moved.peers.discovery.known() == {}
    publish(dns, **{"book-0": a.peers.port, "book-1": moved.peers.port})
    await until(lambda: moved.channel.peers() == ("book-0",))
    assert a.peers.discovery.known()["book-1"][0] == moved.address


async def test_members_find_each_other_by_a_records_alone(members, dns):
    a = await members.start("book-0")
    dns.a[SERVICE] = ["127.0.0.1"]
    lookup = ServiceLookup(SERVICE, a.peers.port, ["127.0.0.1"], dns.port, 0.2)
    b = await members.start("book-1")
    b.peers.discovery.watch_service(lookup, every=0.05)
    await until(lambda: a.channel.peers() == ("book-1",))
    a.peers.discovery.watch_service(lookup, every=0.05)
    await until(lambda: a.ended("itself") == 2, "its own address is among the records: both ends of that dial")
    asked = len(dns.asked)
    await until(lambda: len(dns.asked) > asked + 8)
    assert a.ended("itself") == 2, "and is not dialled again"


async def test_records_that_name_a_member_otherwise_do_not_confuse_it(members, dns):
    a, b = await members.start("book-0"), await members.start("book-1")
    publish(dns, **{"10-0-0-7": b.peers.port})
    watch(a, dns)
    await until(lambda: a.channel.peers() == ("book-1",))
    await until(lambda: a.peers.discovery.known() == {"book-1": (b.address,)})
    dials, asked = a.peers._dials, len(dns.asked)
    await until(lambda: len(dns.asked) > asked + 8)
    assert a.peers._dials == dials
    assert a.peers.discovery.known() == {"book-1": (b.address,)}


async def test_members_stay_connected_when_the_name_server_is_gone(members, dns):
    a, b = await members.start("book-0"), await members.start("book-1")
    publish(dns, **{"book-0": a.peers.port, "book-1": b.peers.port})
    watch(a, dns)
    await until(lambda: a.channel.peers() == ("book-1",))
    dns.srv.clear()
    dns.a.clear()
    asked = len(dns.asked)
    await until(lambda: len(dns.asked) > asked + 4)
    assert a.channel.peers() == ("book-1",)
    assert a.peers.discovery.known() == {"book-1": (b.address,)}
