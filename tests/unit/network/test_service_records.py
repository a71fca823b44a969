"""Reading a headless service's records from a real name server on loopback."""

import logging

import pytest

from orderbook.network.service_records import LookupFailed, ServiceLookup, watch
from orderbook.server.runtime import AsyncioRuntime
from unit.network.dns_server import SRV, DnsServer
from unit.network.members import until

SERVICE = "book-peers.shop.svc.cluster.local"
SRV_NAME = f"_peers._tcp.{SERVICE}"


@pytest.fixture
async def dns():
    dns = await DnsServer().start()
    yield dns
    dns.close()


@pytest.fixture
def lookup(dns):
    return ServiceLookup(SERVICE, port=7400, nameservers=["127.0.0.1"], nameserver_port=dns.port, timeout=0.2)


def publish(dns, members):
    """As Kubernetes does for a headless service: one SRV record a pod, the A records of its target."""
    dns.srv[SRV_NAME] = [(f"{name}.{SERVICE}", port) for name, (_, port) in members.items()]
    for name, (address, _) in members.items():
        dns.a[f"{name}.{SERVICE}"] = [address]


async def test_srv_records_give_names_and_ports_and_their_targets_addresses(dns, lookup):
    publish(dns, {"book-1": ("10.0.0.2", 7401), "book-0": ("10.0.0.1", 7400)})
    assert await lookup.ask() == ({"book-0": ["10.0.0.1:7400"], "book-1": ["10.0.0.2:7401"]}, [])


async def test_a_records_are_the_fallback_without_names(dns, lookup):
    dns.a[SERVICE] = ["10.0.0.2", "10.0.0.1"]
    assert await lookup.ask() == ({}, ["10.0.0.1:7400", "10.0.0.2:7400"])


async def test_a_target_without_an_address_is_left_out(dns, lookup):
    publish(dns, {"book-0": ("10.0.0.1", 7400)})
    dns.srv[SRV_NAME].append((f"book-1.{SERVICE}", 7400))
    assert (await lookup.ask()).named == {"book-0": ["10.0.0.1:7400"]}


async def test_an_alias_is_followed(dns, lookup):
    dns.cname[SERVICE] = "elsewhere.example"
    dns.a["elsewhere.example"] = ["10.0.0.9"]
    assert (await lookup.ask()).unnamed == ["10.0.0.9:7400"]


async def test_a_change_is_seen_at_once_however_long_answers_may_be_kept(dns, lookup):
    dns.ttl = 86_400
    publish(dns, {"book-0": ("10.0.0.1", 7400)})
    await lookup.ask()
    publish(dns, {"book-0": ("10.0.0.7", 7400)})
    assert (await lookup.ask()).named == {"book-0": ["10.0.0.7:7400"]}


async def test_no_record_at_all_is_a_failed_look_up(lookup):
    with pytest.raises(LookupFailed, match="neither SRV nor A"):
        await lookup.ask()


async def test_a_failing_server_is_a_failed_look_up_that_names_the_question(dns, lookup):
    dns.failing = True
    with pytest.raises(LookupFailed, match=f"SRV of {SRV_NAME}"):
        await lookup.ask()


async def test_a_silent_server_is_a_failed_look_up(dns, lookup):
    dns.silent = True
    with pytest.raises(LookupFailed):
        await lookup.ask()


async def test_the_watch_asks_again_and_survives_failures_that_it_logs_once(dns, lookup, caplog):
    runtime = AsyncioRuntime(pytest.fail)
    found = []
    publish(dns, {"book-0": ("10.0.0.1", 7400)})
    task = runtime.spawn(watch(runtime, lookup, 0.02, found.append), "watch")
    await until(lambda: len(found) >= 2)
    dns.failing = True
    failed_from = len(dns.asked)
    await until(lambda: len([asked for asked in dns.asked[failed_from:] if asked[1] == SRV]) >= 4)
    dns.failing = False
    publish(dns, {"book-0": ("10.0.0.2", 7400)})
    await until(lambda: found[-1].named == {"book-0": ["10.0.0.2:7400"]})
    warned = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warned) == 1
    assert warned[0].fields["service"] == SERVICE
    task.cancel()
    await until(task.done)
