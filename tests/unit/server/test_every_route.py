"""One walk through the whole table: each route gives each of its good answers, as described."""

from __future__ import annotations

from orderbook.server.api_routes import ROUTES
from unit.server.http_client import CheckedClient
from unit.server.members import PAIR, until
from unit.server.trio import Trio, identities


async def test_each_route_gives_each_of_its_good_answers(trio: Trio) -> None:
    http: CheckedClient = trio.clients[trio.leader()]
    order = {"id": 1, "pair": PAIR, "side": "bid", "price": 5, "quantity": 9, "trader": "alice"}
    await http.call("POST", "/v1/orders", order, 201)
    await http.call("POST", "/v1/orders", [{**order, "id": 2}])
    await http.call("PATCH", "/v1/orders/1", {"price": 6})
    await http.call("GET", "/v1/orders/1")
    await http.call("GET", "/v1/orders?trader=alice")
    await http.call("DELETE", "/v1/orders/1")
    await http.call("DELETE", "/v1/orders?trader=alice")
    await http.call("POST", "/v1/pairs", {"pair": "A/B"}, 201)
    await http.call("POST", "/v1/pairs", {"pair": "A/B"}, 200)
    await http.call("PATCH", "/v1/pairs/A/B", {"max_price": 7})
    await http.call("POST", "/v1/pairs/A/B/halt")
    await http.call("POST", "/v1/pairs/A/B/resume")
    await http.call("POST", "/v1/halt")
    await http.call("POST", "/v1/resume")
    await http.call("PUT", "/v1/configuration", {"settings": {"max_sessions": 9}})
    for path in ("/v1/configuration", f"/v1/book/{PAIR}", "/v1/fills", "/v1/pairs"):
        await http.call("GET", path)
    await http.call("POST", "/v1/snapshot")
    leading = trio.clients[trio.leader()]
    status = (await leading.call("GET", "/v1/group")).document
    voters = identities(status)
    rest = [voter for voter in voters if voter["name"] != trio.follower]
    change = {"voters": rest, "expected_configuration_index": status["configuration"]["index"]}
    await leading.call("PUT", "/v1/members", change)
    [heir] = [voter["name"] for voter in rest if voter["name"] != trio.leader()]
    await leading.call("POST", "/v1/leadership", {"to": heir})
    trio.channels[heir].cut()  # of two voters the last one is left
    survivor = trio.groups[status["name"]]
    await until(lambda: not survivor.replica.leader, "nobody leads any more")
    left = (await http.call("GET", "/v1/group")).document
    named = {key: left[key] for key in ("name", "id", "last_term", "last_index")}
    await http.call("POST", "/v1/recovery", {**named, "last_index": 0}, 409)
    recovered = (await http.call("POST", "/v1/recovery", named)).document
    await until(lambda: survivor.is_online, "the survivor goes on")
    alone = (await http.call("GET", "/v1/group?consistency=strong")).document
    assert alone["incarnation"] == recovered["incarnation"] != left["incarnation"]
    good = {(route.method, route.path, answer) for route in ROUTES for answer in route.answers}
    seen = http.seen | leading.seen
    assert good == {answer for answer in seen if answer[2] < 300}
