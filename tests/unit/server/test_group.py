"""The group over HTTP: status on every member, members, leadership; what a member says that can't serve."""

from __future__ import annotations

from orderbook.groups.replica import Phase
from unit.server.http_client import CheckedClient
from unit.server.members import PAIR, SECONDS, Members, until
from unit.server.trio import Trio, identities


async def test_a_lone_member_tells_all_of_itself(http: CheckedClient) -> None:
    status = (await http.call("GET", "/v1/group?consistency=strong")).document
    assert (status["name"], status["leader"], status["role"], status["phase"]) == ("a", "a", "leader", "member")
    assert status["online"] is True
    assert status["configuration"]["members"] == [
        {
            "name": "a",
            "id": status["id"],
            "role": "voter",
            "leader": True,
            "match": status["last_index"],
            "lag": 0,
            "active": True,
            "caught_up": True,
            "progress": None,
        }
    ]
    assert (status["machine"], status["version"]) == ("orderbook", 1)


async def test_the_leader_knows_the_lags_and_the_others_know_the_leader(trio: Trio) -> None:
    leader, follower = trio.leader(), trio.follower
    status = await trio.group(leader, "?consistency=strong")
    assert (status["role"], status["leader"], status["configuration"]["committed"]) == ("leader", leader, True)
    assert [member["lag"] is not None for member in status["configuration"]["members"]] == [True] * 3
    assert [member["leader"] for member in status["configuration"]["members"]] == [n == leader for n in "abc"]
    other = await trio.group(follower, "?consistency=strong")
    assert (other["role"], other["leader"], other["incarnation"]) == ("follower", leader, status["incarnation"])
    assert [member["lag"] for member in other["configuration"]["members"]] == [None] * 3


async def test_members_at_the_same_index_have_the_same_hash(trio: Trio) -> None:
    order = {"pair": PAIR, "side": "bid", "price": 1, "quantity": 1}
    written = (await trio.clients[trio.follower].call("POST", "/v1/orders", order, 201)).document["index"]
    seen: dict[int, set[str]] = {}
    for name in ("a", "b", "c"):
        status = await trio.group(name, f"?min_index={written}")
        assert status["index"] >= written
        seen.setdefault(status["index"], set()).add(status["state_hash"])
    assert all(len(hashes) == 1 for hashes in seen.values())


async def test_orders_and_strong_reads_are_served_by_every_member(trio: Trio) -> None:
    for number, name in enumerate(("a", "b", "c"), 1):
        order = {"id": number, "pair": PAIR, "side": "bid", "price": number, "quantity": 1}
        await trio.clients[name].call("POST", "/v1/orders", order, 201)
        for other in ("a", "b", "c"):
            book = (await trio.clients[other].call("GET", f"/v1/book/{PAIR}")).document
            assert len(book["bids"]) == number


async def test_a_key_is_known_on_every_member(trio: Trio) -> None:
    order = {"pair": PAIR, "side": "bid", "price": 1, "quantity": 1}
    documents = []
    for name in ("a", "b", "c"):
        answer = await trio.clients[name].call("POST", "/v1/orders", order, 201, headers={"Idempotency-Key": "k"})
        documents.append(answer.document)
    assert documents[0] == documents[1] == documents[2]


async def test_only_the_leader_changes_members_and_leadership(trio: Trio) -> None:
    leader, client = trio.leader(), trio.clients[trio.follower]
    status = await trio.group(leader)
    change = {"voters": identities(status), "expected_configuration_index": status["configuration"]["index"]}
    for method, path, body in (("PUT", "/v1/members", change), ("POST", "/v1/leadership", {"to": "a"})):
        refused = await client.call(method, path, body, 421)
        assert (refused.error["code"], refused.error["leader"]) == ("not_leader", leader)


async def test_the_leadership_is_given_to_another_voter(trio: Trio) -> None:
    leader, follower = trio.leader(), trio.follower
    answer = await trio.clients[leader].call("POST", "/v1/leadership", {"to": follower})
    assert answer.document == {"leader": follower}
    assert (await trio.group(follower, "?consistency=strong"))["role"] == "leader"
    refused = await trio.clients[follower].call("POST", "/v1/leadership", {"to": follower}, 409)
    assert (refused.error["code"], refused.error["reason"]) == ("transfer_refused", "already_leader")
    refused = await trio.clients[follower].call("POST", "/v1/leadership", {"to": "nobody"}, 404)
    assert refused.error["code"] == "unknown_member"


async def test_a_voter_becomes_a_learner_and_a_voter_again(trio: Trio) -> None:
    client = trio.clients[trio.leader()]
    status = await trio.group(trio.leader(), "?consistency=strong")
    index = status["configuration"]["index"]
    moved = next(member for member in identities(status) if member["name"] == trio.follower)
    rest = [member for member in identities(status) if member != moved]
    body = {"voters": rest, "learners": [moved], "expected_configuration_index": index}
    first = (await client.call("PUT", "/v1/members", body)).document["configuration_index"]
    status = await trio.group(trio.leader(), "?consistency=strong")
    assert (identities(status), identities(status, "learner")) == (rest, [moved])
    assert (status["configuration"]["index"], status["configuration"]["joint"]) == (first, False)
    refused = await client.call("PUT", "/v1/members", body, 409)
    assert (refused.error["code"], refused.error["reason"]) == ("membership_refused", "stale_configuration")

    async def promoted() -> bool:
        again = {"voters": [*rest, {**moved, "id": int(moved["id"])}], "expected_configuration_index": first}
        answer = await client.client.put("/v1/members", json=again)
        document = await answer.json()
        client.check("PUT", "/v1/members", answer.status, answer.headers, document)
        if answer.status == 409:
            assert document["error"]["reason"] == "not_caught_up"
        return answer.status == 200

    while not await promoted():
        pass  # a learner has to keep up for an election timeout first
    assert len(identities(await trio.group(trio.leader(), "?consistency=strong"))) == 3


async def test_members_that_can_not_be_are_refused(trio: Trio) -> None:
    client = trio.clients[trio.leader()]
    status = await trio.group(trio.leader(), "?consistency=strong")
    voters, index = identities(status), status["configuration"]["index"]
    twice = {"voters": [*voters, voters[0]], "expected_configuration_index": index}
    refused = await client.call("PUT", "/v1/members", twice, 422)
    assert (refused.error["code"], refused.error["reason"]) == ("membership_refused", "duplicate_name")
    same = {"voters": voters, "expected_configuration_index": index}
    assert (await client.call("PUT", "/v1/members", same, 409)).error["reason"] == "nothing_to_change"
    for id in ("0", "x", -1, 1 << 63, 1.5, True, None):
        body = {"voters": [{"name": "a", "id": id}], "expected_configuration_index": index}
        refused = await client.call("PUT", "/v1/members", body, 400)
        assert refused.error["problems"][0]["field"] == "body.voters[0].id"


async def test_nobody_becomes_a_member_whom_the_leader_does_not_see(trio: Trio) -> None:
    client = trio.clients[trio.leader()]
    status = await trio.group(trio.leader(), "?consistency=strong")
    voters, index = identities(status), status["configuration"]["index"]
    mistaken = [{**voters[0], "id": "12345"}, *voters[1:]]
    refused = await client.call("PUT", "/v1/members", {"voters": mistaken, "expected_configuration_index": index}, 404)
    assert (refused.error["code"], "12345" in refused.error["message"]) == ("unknown_member", True)
    after = await trio.group(trio.leader(), "?consistency=strong")
    assert after["configuration"] == status["configuration"]


async def test_a_stranger_is_shown_and_says_whom_it_waits_for(trio: Trio) -> None:
    await trio.open("d", 3)
    await trio.serve("d")
    leader = trio.leader()
    await until(lambda: "d" in trio.groups[leader].strangers, "the leader to see the stranger")
    status = await trio.group(leader)
    [stranger] = status["strangers"]
    assert stranger == {"name": "d", "id": str(trio.groups["d"].identity.member_id)}
    alone = await trio.group("d")
    assert (alone["phase"], alone["online"], alone["incarnation"]) == ("joining", False, "")
    assert "added" in alone["waits_for"] or "sees" in alone["waits_for"]
    for method, path, body in (
        ("GET", "/v1/pairs", None),
        ("GET", "/v1/group?consistency=strong", None),
        ("POST", "/v1/halt", None),
        ("POST", "/v1/snapshot", None),
        ("POST", "/v1/leadership", {"to": "a"}),
        ("PUT", "/v1/members", {"voters": [stranger], "expected_configuration_index": 0}),
    ):
        refused = await trio.clients["d"].call(method, path, body, 503)
        assert (refused.error["code"], refused.error["reason"]) == ("unavailable", "not_online")
    await trio.clients[leader].call(
        "PUT",
        "/v1/members",
        {
            "voters": identities(status),
            "learners": [stranger],
            "expected_configuration_index": status["configuration"]["index"],
        },
    )
    await trio.groups["d"].when(SECONDS).online()
    assert (await trio.group("d", "?consistency=strong"))["role"] == "learner"


async def test_without_a_leader_orders_are_unavailable_and_the_status_still_answers(trio: Trio) -> None:
    follower = trio.follower
    for name in ("a", "b", "c"):
        if name != follower:
            trio.channels[name].cut()
    replica = trio.groups[follower].replica
    assert replica is not None
    await until(lambda: not replica.leader, "the follower to miss its leader")
    order = {"pair": PAIR, "side": "bid", "price": 1, "quantity": 1}
    refused = await trio.clients[follower].call("POST", "/v1/orders", order, 503)
    assert (refused.error["code"], refused.error["reason"]) == ("unavailable", "no_leader")
    status = await trio.group(follower)
    assert (status["leader"], status["online"]) == (None, False)
    await trio.clients[follower].call("GET", "/v1/pairs?consistency=weak")
    refused = await trio.clients[follower].call("POST", "/v1/leadership", {"to": "a"}, 421)
    assert refused.error["leader"] is None


async def test_a_member_whose_state_is_not_trusted_serves_nothing(http: CheckedClient, alone: Members) -> None:
    replica = alone.groups["a"].replica
    assert replica is not None
    replica.phase = Phase.QUARANTINED
    for method, path, body in (
        ("GET", "/v1/pairs", None),
        ("POST", "/v1/orders", {"pair": PAIR, "side": "bid", "price": 1, "quantity": 1}),
        ("POST", "/v1/snapshot", None),
    ):
        refused = await http.call(method, path, body, 503)
        assert refused.error["reason"] == "quarantined"
    assert (await http.call("GET", "/v1/group")).document["phase"] == "quarantined"
