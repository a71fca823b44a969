"""Members with mutual TLS over real sockets: who gets in, who is refused and how that is told, and rotation."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest
import uvloop

from orderbook.network.tls import PEER_NAME, peer_client_context
from unit.network.certificate_files import Authority, Contexts
from unit.network.members import Member, Members, until


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


async def secured(members: Members, authority: Authority, name: str) -> Member:
    return await members.start(name, **Contexts(authority.peer()).options)


async def undisturbed(one: Member, other: Member) -> None:
    """Frames still go both ways."""
    before = len(other.frames(one.peers.name))
    assert one.channel.send(other.peers.name, b"still here")
    await until(lambda: len(other.frames(one.peers.name)) == before + 1, "a frame arrives")
    assert not [entry for entry in one.told if entry[0] == "disconnected"]


async def refused(member: Member, count: int, caplog: pytest.LogCaptureFixture, detail: str) -> None:
    await until(lambda: member.peers.counts.never_spoke >= count, "the listener counts it")
    assert member.ended("tls") >= count
    told = [record.fields for record in caplog.records if record.msg == "a connection of no peer was refused"]  # type: ignore[attr-defined]
    assert any(detail in fields["detail"] and fields["address"].startswith("127.0.0.1") for fields in told), told


async def dials_in_vain(stranger: Member, member: Member, caplog: pytest.LogCaptureFixture, why: str) -> None:
    """``why`` as the dialler's log has it: reason and detail."""
    stranger.peers.discovery.add(member.address)
    told: list[str] = []

    def is_told() -> bool:
        failed = [record.fields for record in caplog.records if record.msg.startswith("a dial failed")]  # type: ignore[attr-defined]
        told[:] = [f"{f['reason']}: {f['detail']}" for f in failed if f["address"] == member.address]
        return any(line.startswith(why) for line in told)

    await until(is_told, f"the dialler tells why: {why}")
    assert stranger.channel.peers() == ()


LEFT = "unreachable: it left behind the TLS handshake"


async def pair(members: Members, authority: Authority) -> tuple[Member, Member]:
    one, other = await secured(members, authority, "one"), await secured(members, authority, "other")
    await members.connect(one, other)
    return one, other


async def test_members_of_one_authority_meet(members: Members, authority: Authority) -> None:
    one, other = await pair(members, authority)
    await undisturbed(one, other)
    assert one.peers.counts.never_spoke == other.peers.counts.never_spoke == 0


async def test_a_dialler_of_another_authority(members: Members, authority: Authority, tmp_path: Path, caplog) -> None:
    caplog.set_level("INFO")
    one, other = await pair(members, authority)
    foreign = Contexts(Authority(tmp_path, "foreign").peer(trust=authority.pem))
    stranger = await members.start("stranger", **foreign.options)
    await dials_in_vain(stranger, one, caplog, LEFT)
    await refused(one, 1, caplog, "certificate verify failed: unable to get local issuer certificate")
    await undisturbed(one, other)


async def test_an_acceptor_of_another_authority(members: Members, authority: Authority, tmp_path: Path, caplog) -> None:
    caplog.set_level("INFO")
    one, other = await pair(members, authority)
    foreign = Contexts(Authority(tmp_path, "foreign").peer())
    stranger = await members.start("stranger", **foreign.options)
    one.peers.discovery.add(stranger.address)
    await until(lambda: one.ended("tls") >= 1, "the dialler counts it")
    await until(lambda: "a dial failed" in caplog.text, "and tells of it")
    told = [record.fields for record in caplog.records if record.msg.startswith("a dial failed")]  # type: ignore[attr-defined]
    assert any(f["reason"] == "tls" and "certificate verify failed" in f["detail"] for f in told), told
    await undisturbed(one, other)


async def test_an_expired_certificate(members: Members, authority: Authority, caplog) -> None:
    caplog.set_level("INFO")
    one, other = await pair(members, authority)
    stranger = await members.start("stranger", **Contexts(authority.peer(lifetime=-60.0)).options)
    await dials_in_vain(stranger, one, caplog, LEFT)
    await refused(one, 1, caplog, "certificate has expired")
    await undisturbed(one, other)


async def test_a_certificate_for_clients_makes_no_peer(members: Members, authority: Authority, caplog) -> None:
    caplog.set_level("INFO")
    one, other = await pair(members, authority)
    stranger = await members.start("stranger", **Contexts(authority.server()).options)
    await dials_in_vain(stranger, one, caplog, LEFT)
    await refused(one, 1, caplog, "unsuitable certificate purpose")
    one.peers.discovery.add(stranger.address)
    await until(lambda: one.ended("tls") > one.peers.counts.never_spoke, "nor is it believed when it is dialled")
    await undisturbed(one, other)


async def test_a_certificate_without_the_name_of_peers(members: Members, authority: Authority, caplog) -> None:
    """Both uses are allowed to it; it lacks the name."""
    caplog.set_level("INFO")
    one, other = await pair(members, authority)
    context = peer_client_context(*authority.nameless())
    reader, writer = await asyncio.open_connection("127.0.0.1", one.peers.port, ssl=context, server_hostname=PEER_NAME)
    writer.write(b"GET /peers HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 403") and b"is none of its names" in answer
    writer.close()
    await refused(one, 1, caplog, "is none of its names")
    await undisturbed(one, other)


async def test_plain_text_to_a_port_of_tls(members: Members, authority: Authority, caplog) -> None:
    caplog.set_level("INFO")
    one, other = await pair(members, authority)
    stranger = await members.start("stranger")
    await dials_in_vain(stranger, one, caplog, "unreachable: ")
    await refused(one, 1, caplog, "plain text where TLS is spoken")
    await undisturbed(one, other)


async def test_tls_to_a_port_of_plain_text(members: Members, authority: Authority, caplog) -> None:
    caplog.set_level("INFO")
    one, other = await members.start("one"), await members.start("other")
    await members.connect(one, other)
    stranger = await secured(members, authority, "stranger")
    await dials_in_vain(stranger, one, caplog, "")
    await refused(one, 1, caplog, "TLS where plain text is spoken")
    await undisturbed(one, other)


async def test_no_certificate_at_all(members: Members, authority: Authority, caplog) -> None:
    caplog.set_level("INFO")
    one, other = await pair(members, authority)
    context = ssl.create_default_context(cadata=authority.pem)
    reader, writer = await asyncio.open_connection("127.0.0.1", one.peers.port, ssl=context, server_hostname=PEER_NAME)
    assert await reader.read() == b""
    writer.close()
    await refused(one, 1, caplog, "it showed no certificate")
    await undisturbed(one, other)


async def test_a_handshake_that_never_ends_is_ended(members: Members, authority: Authority, caplog) -> None:
    one = await members.start("one", dial_timeout=0.1, **Contexts(authority.peer()).options)
    reader, writer = await asyncio.open_connection("127.0.0.1", one.peers.port)
    assert await reader.read() == b""
    writer.close()
    await until(lambda: one.peers.counts.never_spoke == 1, "it is counted")


async def rotation(directory: Path) -> None:
    """New trust is added, certificates change, old trust is dropped; connections stay, new handshakes go by the new."""
    members = Members()
    old, new = Authority(directory, "old"), Authority(directory, "new")
    contexts = {name: Contexts(old.peer()) for name in ("one", "other")}
    one, other = [await members.start(name, **contexts[name].options) for name in ("one", "other")]
    await members.connect(one, other)
    stranger = await members.start("stranger", **Contexts(new.peer(trust=old.pem)).options)
    stranger.peers.discovery.add(one.address)
    await until(lambda: one.peers.counts.never_spoke >= 1, "an authority that is not trusted yet")
    both = old.pem + new.pem
    contexts["one"].replace(old.peer(trust=both))
    await until(lambda: "stranger" in one.channel.peers(), "it is trusted now, and was connected by then")
    contexts["other"].replace(new.peer(trust=both))
    late = await members.start("late", **Contexts(old.peer(trust=both)).options)
    late.peers.discovery.add(other.address)
    await until(lambda: "late" in other.channel.peers(), "old and new side by side")
    contexts["one"].replace(new.peer())
    contexts["other"].replace(new.peer())
    refused_before = one.peers.counts.never_spoke
    later = await members.start("later", **Contexts(old.peer(trust=both)).options)
    later.peers.discovery.add(one.address)
    await until(lambda: one.peers.counts.never_spoke > refused_before, "the dropped authority is refused")
    assert later.channel.peers() == ()
    assert not [entry for member in (one, other) for entry in member.told if entry[0] == "disconnected"]
    await members.close()


async def test_rotation_while_it_runs(tmp_path: Path) -> None:
    await rotation(tmp_path)


def test_rotation_while_it_runs_on_uvloop(tmp_path: Path) -> None:
    uvloop.run(rotation(tmp_path))
