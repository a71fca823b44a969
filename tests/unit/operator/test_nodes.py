"""Asking nodes: over TLS that proves who they are, with a token that proves who asks, each within its deadline."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from orderbook.client.api import ApiRefused
from orderbook.groups.errors import GroupError, Unavailable, Uncertain
from orderbook.server.runtime import AsyncioRuntime
from orderbook_operator import names
from orderbook_operator import nodes as n
from orderbook_operator.nodes import Door, Doors, Nodes, NoDoor, NotLeading, NotUnderstood, open_nodes
from orderbook_operator.observation import CredentialsSeen, Member, PairSeen, SecretSeen
from unit.operator import node_servers, resources
from unit.operator.node_servers import NodeServer, member, status

PLAIN = Door("eth", "trading")
PAIR = {"pair": "ETH/USDC", "tick": "0.01", "lot": "0.001", "fills_kept": 1000, "halted": False}
LIMITS = {"max_quantity": 9, "min_price": 1, "max_price": 8}


@pytest_asyncio.fixture
async def nodes() -> AsyncIterator[Nodes]:
    def failed(error: BaseException) -> None:
        raise error

    async with open_nodes(AsyncioRuntime(failed)) as opened:
        yield opened


@pytest_asyncio.fixture
async def leader() -> AsyncIterator[NodeServer]:
    async with node_servers.running() as node:
        members = [member("eth-0", 7), member("eth-1", 8, "learner", lag=5, caught_up=False)]
        node.documents["/v1/group"] = status(
            "eth-0",
            7,
            role="leader",
            configuration={"index": 12, "committed": True, "joint": False, "members": members},
            strangers=[{"name": "eth-1", "id": "8"}, {"name": "eth-2", "id": "9"}],
            transferring_to="eth-1",
        )
        node.documents["/v1/pairs"] = {"pairs": [{**PAIR, **LIMITS}]}
        yield node


async def test_each_node_says_of_itself_what_it_knows_and_who_does_not_answer_is_told_why(
    nodes: Nodes, leader: NodeServer
) -> None:
    addresses = {"eth-0": leader.address, "eth-1": node_servers.new_address()}
    found, problems = await nodes.look(PLAIN, addresses)
    assert set(found) == {"eth-0"}
    seen = found["eth-0"]
    assert (seen.pod, seen.member, seen.phase, seen.role) == ("eth-0", Member("eth-0", 7), "member", "leader")
    assert (seen.term, seen.leader, seen.last_term, seen.last_index, seen.commit) == (3, "eth-0", 3, 40, 40)
    assert seen.credentials == CredentialsSeen("c1", "t1", "")
    assert leader.requests == [("GET", "/v1/group", {"consistency": "weak"}, None)]
    assert set(problems) == {"eth-1"}
    assert addresses["eth-1"] in problems["eth-1"]


async def test_a_silent_node_costs_its_deadline_and_no_answer_of_another(
    nodes: Nodes, leader: NodeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(n, "LOOK_SECONDS", 0.5)
    async with node_servers.running() as silent:
        silent.silent = True
        found, problems = await nodes.look(PLAIN, {"eth-0": leader.address, "eth-1": silent.address})
    assert set(found) == {"eth-0"}
    assert "no answer within 0.5 s" in problems["eth-1"]


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"name": "eth-0"},
        *(
            {**status("eth-0", 7), **odd}
            for odd in (
                {"id": "seven"},
                {"id": -7},
                {"name": None},
                {"term": "3"},
                {"last_index": [40]},
                {"role": 1},
                {"online": "yes"},
                {"credentials": "c1"},
                {"credentials": {"certificate": 1}},
            )
        ),
    ],
)
async def test_an_answer_of_another_version_is_a_node_that_is_not_understood(
    nodes: Nodes, leader: NodeServer, answer: dict[str, Any]
) -> None:
    leader.documents["/v1/group"] = answer
    found, problems = await nodes.look(PLAIN, {"eth-0": leader.address})
    assert not found
    assert "eth-0 answers what this operator does not understand" in problems["eth-0"]


@pytest.mark.parametrize(
    "odd",
    [
        {"configuration": None},
        {"configuration": {"index": 12, "committed": True, "joint": False, "members": "eth-0"}},
        {"configuration": {"index": 12, "committed": True, "joint": False, "members": [{"name": "eth-0"}]}},
        {"configuration": {"index": "12", "committed": True, "joint": False, "members": []}},
        {"configuration": {"index": 12, "committed": 1, "joint": False, "members": []}},
        {"strangers": [["eth-3", 9]]},
        {"incarnation": None},
        {"term": None},
    ],
)
async def test_of_a_leader_that_is_not_understood_nothing_is_believed(
    nodes: Nodes, leader: NodeServer, odd: dict[str, Any]
) -> None:
    leader.documents["/v1/group"] = {**status("eth-0", 7, role="leader"), **odd}
    with pytest.raises(NotUnderstood, match="eth-0 answers what this operator does not understand"):
        await nodes.ask_leader(PLAIN, "eth-0", leader.address)
    leader.documents["/v1/group"] = status("eth-0", 7, role="leader")
    for pairs in ({}, {"pairs": [7]}, {"pairs": [{"pair": None}]}):
        leader.documents["/v1/pairs"] = pairs
        with pytest.raises(NotUnderstood):
            await nodes.ask_leader(PLAIN, "eth-0", leader.address)


async def test_the_leader_is_asked_strongly_for_the_group_and_its_pairs(nodes: Nodes, leader: NodeServer) -> None:
    group = await nodes.ask_leader(PLAIN, "eth-0", leader.address)
    assert group.leader == Member("eth-0", 7)
    assert (group.term, group.incarnation, group.configuration_index, group.joint) == (3, "ab" * 16, 12, False)
    assert group.transferee == "eth-1"
    assert not group.settled
    learner = group.members[1]
    assert (learner.member, learner.role, learner.lag, learner.caught_up) == (Member("eth-1", 8), "learner", 5, False)
    limits = tuple((name, LIMITS[name]) for name in n.LIMITS)
    assert group.pairs == (PairSeen("ETH", "USDC", "0.01", "0.001", limits),)
    assert [(path, query) for _, path, query, _ in leader.requests] == [
        ("/v1/group", {"consistency": "strong"}),
        ("/v1/pairs", {"consistency": "strong"}),
    ]


async def test_a_member_that_was_just_added_is_no_stranger_any_more(nodes: Nodes, leader: NodeServer) -> None:
    group = await nodes.ask_leader(PLAIN, "eth-0", leader.address)
    assert group.strangers == (Member("eth-2", 9),)


async def test_known_pairs_spare_a_request(nodes: Nodes, leader: NodeServer) -> None:
    known = (PairSeen("ETH", "USDC", "0.01", "0.001"),)
    group = await nodes.ask_leader(PLAIN, "eth-0", leader.address, pairs=known)
    assert group.pairs == known
    assert [path for _, path, _, _ in leader.requests] == ["/v1/group"]


async def test_who_does_not_lead_is_not_believed(nodes: Nodes, leader: NodeServer) -> None:
    leader.documents["/v1/group"]["role"] = "follower"
    with pytest.raises(NotLeading):
        await nodes.ask_leader(PLAIN, "eth-0", leader.address)


async def test_changes_are_asked_for_as_the_interface_wants_them(nodes: Nodes, leader: NodeServer) -> None:
    at, pair = leader.address, PairSeen("ETH", "USDC", "0.01", "0.001", (("max_quantity", 5), ("fills_kept", 10)))
    await nodes.change_members(PLAIN, "eth-0", at, [Member("eth-0", 7)], [Member("eth-1", 8)], 12)
    await nodes.transfer(PLAIN, "eth-0", at, "eth-1")
    await nodes.define_pair(PLAIN, "eth-0", at, pair)
    await nodes.change_pair(PLAIN, "eth-0", at, pair)
    await nodes.recover(PLAIN, "eth-0", at, Member("eth-0", 7), 3, 40)
    asked = [(method, path, body) for method, path, _, body in leader.requests]
    assert asked == [
        (
            "PUT",
            "/v1/members",
            {
                "voters": [{"name": "eth-0", "id": "7"}],
                "learners": [{"name": "eth-1", "id": "8"}],
                "expected_configuration_index": 12,
            },
        ),
        ("POST", "/v1/leadership", {"to": "eth-1"}),
        (
            "POST",
            "/v1/pairs",
            {"pair": "ETH/USDC", "tick": "0.01", "lot": "0.001", "max_quantity": 5, "fills_kept": 10},
        ),
        ("PATCH", "/v1/pairs/ETH/USDC", {"max_quantity": 5}),
        ("POST", "/v1/recovery", {"name": "eth-0", "id": "7", "last_term": 3, "last_index": 40}),
    ]


@pytest.mark.parametrize(
    ("code", "error"), [(409, ApiRefused), (422, ApiRefused), (503, Unavailable), (421, Unavailable), (504, Uncertain)]
)
async def test_how_a_change_can_end(nodes: Nodes, leader: NodeServer, code: int, error: type[GroupError]) -> None:
    leader.statuses["/v1/members"] = code
    with pytest.raises(error, match="the test says so"):
        await nodes.change_members(PLAIN, "eth-0", leader.address, [], [], 12)


# --- doors ------------------------------------------------------------------------------------------------------------


def door(spec: dict[str, Any] | None = None, own: bytes | None = None, **secrets: SecretSeen | None) -> Door:
    authority, trusted = node_servers.issue()
    held = {"authority": authority, "trusted": trusted, **secrets}
    return Doors().door(resources.group(spec), held["authority"], held["trusted"], own, time.time())


async def test_a_node_with_the_group_s_certificate_takes_the_operator_s_token(nodes: Nodes) -> None:
    authority, trusted = node_servers.issue()
    async with node_servers.running(trusted) as node:
        node.documents["/v1/group"] = status("eth-0", 7)
        way = door(authority=authority, trusted=trusted)
        assert way.host("eth-0") == "eth-0.eth-peers.trading.svc.cluster.local"
        found, problems = await nodes.look(way, {"eth-0": node.address})
        assert (set(found), problems) == ({"eth-0"}, {})


async def test_a_node_that_can_not_prove_itself_never_sees_the_token(nodes: Nodes) -> None:
    """It has another group's certificate: that of another authority, or of another name."""
    authority, trusted = node_servers.issue()
    async with node_servers.running(trusted) as node:
        way = door(authority=authority, trusted=trusted)
        strange = replace(way, trust=node_servers.issue(time.time() + 1)[1].data[names.TRUST].decode())
        others = replace(way, group="btc")
        for wrong in (strange, others):
            found, problems = await nodes.look(wrong, {"eth-0": node.address})
            assert not found
            assert "certificate" in problems["eth-0"].lower()
        assert not node.requests


async def test_a_certificate_of_the_user_is_compared_as_it_is(nodes: Nodes) -> None:
    authority, trusted = node_servers.issue()
    own = trusted.data[names.CLIENT_CERTIFICATE]
    async with node_servers.running(trusted) as node:
        node.documents["/v1/group"] = status("eth-0", 7)
        spec = {"tls": {"auto": True, "secret": "mine"}}
        pinned = door(spec, own, authority=authority, trusted=trusted)
        found, problems = await nodes.look(replace(pinned, group="btc"), {"eth-0": node.address})
        assert (set(found), problems) == ({"eth-0"}, {})
        other = node_servers.issue(time.time() + 1)[1].data[names.CLIENT_CERTIFICATE]
        found, problems = await nodes.look(replace(pinned, trust=other.decode()), {"eth-0": node.address})
        assert not found


@pytest.mark.parametrize(
    ("spec", "own", "secrets", "problem"),
    [
        ({}, None, {"authority": None}, "there is no Secret eth-authority of ours to sign tokens with"),
        ({}, None, {"authority": SecretSeen("u", "1", {})}, "the authority Secret can't be used"),
        ({}, None, {"trusted": None}, "there is no certificate in the Secret eth-credentials"),
        ({"tls": {"auto": True, "secret": "mine"}}, None, {}, "there is no certificate in the Secret mine"),
    ],
)
def test_what_is_missing_to_get_in_is_said(
    spec: dict[str, Any], own: bytes | None, secrets: dict[str, SecretSeen | None], problem: str
) -> None:
    with pytest.raises(NoDoor, match=problem):
        door(spec, own, **secrets)


def test_a_secret_that_is_not_ours_signs_nothing() -> None:
    authority, _ = node_servers.issue()
    with pytest.raises(NoDoor, match="of ours"):
        door(authority=replace(authority, ours=False))


def test_a_group_without_tls_and_tokens_is_plain() -> None:
    way = door({"tls": {"auto": False}, "auth": {"mode": "none"}}, authority=None, trusted=None)
    assert way == PLAIN
    assert way.url("10.0.0.7") == "http://10.0.0.7:8443"
    assert way.url("fd00::7") == "http://[fd00::7]:8443"


def test_a_token_is_kept_for_a_while_and_minted_anew_when_the_keys_change() -> None:
    authority, trusted = node_servers.issue()
    doors, group, now = Doors(), resources.group(), time.time()
    first = doors.door(group, authority, trusted, None, now).token
    assert doors.door(group, authority, trusted, None, now + 60).token == first
    assert doors.door(group, authority, trusted, None, now + 200).token != first
    assert doors.door(group, replace(authority, resource_version="2"), trusted, None, now + 201).token != first


def test_a_door_does_not_show_its_token() -> None:
    assert door().token not in repr(door())
