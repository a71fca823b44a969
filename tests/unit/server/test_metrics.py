"""Metrics: names as Prometheus wants them, the numbers that belong to them, and no label without a bound."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client.parser import text_string_to_metric_families

from orderbook.groups.statistics import SECONDS_BUCKETS, Histogram
from orderbook.network.peers import Peers
from orderbook.server.application import client_application
from orderbook.server.http_statistics import HTTP_STATISTICS
from orderbook.server.probes import Vitals, probe_application
from orderbook.streams.feed import Feeds
from unit.server.http_client import CheckedClient
from unit.server.members import PAIR, Members, until

LABELS = {
    "certificate",
    "listener",
    "result",
    "pair",
    "side",
    "outcome",
    "reason",
    "role",
    "phase",
    "member",
    "agreed",
    "route",
    "status",
    "peer",
    "feed",
    "le",
}
PROCESS = ("process_", "python_")


class Scraped:
    """The samples of one scrape."""

    def __init__(self, text: str) -> None:
        self.families = list(text_string_to_metric_families(text))
        self._samples = {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in self.families
            for sample in family.samples
        }

    def __call__(self, name: str, **labels: str) -> float:
        return self._samples["orderbook_" + name, tuple(sorted(labels.items()))]

    def has(self, name: str, **labels: str) -> bool:
        return ("orderbook_" + name, tuple(sorted(labels.items()))) in self._samples


@pytest_asyncio.fixture
async def node(alone: Members) -> AsyncIterator[Any]:
    """``await node()`` scrapes; all parts of a node are there."""
    group = alone.groups["a"]
    feeds, peers = Feeds(alone.runtime, group), Peers(alone.runtime, "a", "network")
    await peers.start()
    vitals = Vitals("a", group, feeds, peers)
    client = TestClient(TestServer(probe_application(alone.runtime, vitals)))
    await client.start_server()

    async def scrape(accept: str = "") -> Scraped:
        answer = await client.get("/metrics", headers={"Accept": accept})
        assert answer.status == 200
        return Scraped(await answer.text())

    yield scrape
    await client.close()
    feeds.close()
    await peers.close()


async def test_matching_is_counted_by_pair_side_and_outcome(node: Any, http: CheckedClient) -> None:
    rows = [("ask", 100, 4, "alice"), ("ask", 101, 5, "alice"), ("bid", 100, 3, "bob"), ("bid", 90, 7, "bob")]
    orders = [
        {"id": id, "pair": PAIR, "side": side, "price": price, "quantity": quantity, "trader": trader}
        for id, (side, price, quantity, trader) in enumerate(rows, 1)
    ]
    await http.call("POST", "/v1/orders", orders)
    await http.call("PATCH", "/v1/orders/2", {"quantity": 6})
    await http.call("DELETE", "/v1/orders/4")
    await http.call("POST", "/v1/orders", {**orders[0], "pair": "NO/PAIR"}, 422)
    scraped = await node()
    assert scraped("orders_total", pair=PAIR, side="ask", outcome="accepted") == 2
    assert scraped("orders_total", pair=PAIR, side="bid", outcome="accepted") == 2
    assert scraped("orders_total", pair=PAIR, side="bid", outcome="filled") == 1
    assert scraped("orders_total", pair=PAIR, side="bid", outcome="cancelled") == 1
    assert scraped("orders_total", pair=PAIR, side="ask", outcome="amended") == 1
    assert scraped("rejections_total", reason="unknown_pair") == 1
    assert (scraped("fills_total", pair=PAIR), scraped("traded_quantity_total", pair=PAIR)) == (1, 3)
    assert scraped("resting_orders", pair=PAIR, side="ask") == 2
    assert scraped("resting_quantity", pair=PAIR, side="ask") == 1 + 6
    assert scraped("price_levels", pair=PAIR, side="ask") == 2
    assert scraped("best_price", pair=PAIR, side="ask") == 100
    assert not scraped.has("best_price", pair=PAIR, side="bid")


async def test_replication_is_told(node: Any, http: CheckedClient, alone: Members) -> None:
    before = await node()
    await http.call("POST", "/v1/orders", {"pair": PAIR, "side": "bid", "price": 1, "quantity": 1}, 201)
    await http.call("GET", "/v1/pairs")
    await http.call("POST", "/v1/snapshot")
    scraped = await node()
    status = (await http.call("GET", "/v1/group")).document
    assert scraped("raft_term") == status["term"]
    assert scraped("raft_role", role="leader") == 1
    assert scraped("raft_role", role="follower") == 0
    assert scraped("phase", phase="member") == 1
    assert scraped("raft_has_leader") == scraped("ready") == 1
    assert before("raft_commit_index") < scraped("raft_commit_index") <= status["commit"]
    assert scraped("raft_applied_index") <= status["applied"]
    assert scraped("raft_campaigns_total") >= scraped("raft_elections_won_total") == 1
    assert (scraped("snapshots_total", result="taken"), scraped("snapshots_total", result="failed")) == (1, 0)
    assert scraped("raft_voters") == 1
    assert scraped("proposals_total") == before("proposals_total") + 1
    assert scraped("proposals_ended_total", outcome="answered") == scraped("proposals_total")
    assert scraped("proposals_waiting_bytes") == 0
    assert scraped("strong_reads_total") == before("strong_reads_total") + 1
    assert scraped("snapshot_index") > 0
    assert scraped("snapshot_bytes") > 0
    assert 0 <= scraped("snapshot_age_seconds") < 600
    assert scraped("log_written_bytes_total") > before("log_written_bytes_total")


async def test_requests_of_clients_are_timed_by_route_and_class_of_status(alone: Members) -> None:
    application = client_application(alone.runtime, alone.groups["a"])
    vitals = Vitals("a", alone.groups["a"], http=application[HTTP_STATISTICS])
    http = await CheckedClient.open(application)
    probes = TestClient(TestServer(probe_application(alone.runtime, vitals)))
    await probes.start_server()
    for id in (1, 2):
        await http.call("GET", f"/v1/orders/{id}", expect=404)
    await http.call("GET", "/v1/pairs")
    for path in ("/v1/no/such", "/v1/nothing"):
        await http.client.get(path)
    await http.client.put("/v1/pairs")
    scraped = Scraped(await (await probes.get("/metrics")).text())
    count = "http_request_seconds_count"
    assert scraped(count, route="/v1/orders/{id}", status="4xx") == 2
    assert scraped(count, route="/v1/pairs", status="2xx") == 1
    assert scraped(count, route="none", status="4xx") == 3
    assert scraped("http_request_seconds_bucket", route="/v1/pairs", status="2xx", le="+Inf") == 1
    assert scraped("http_request_seconds_sum", route="/v1/pairs", status="2xx") > 0
    await probes.close()
    await http.close()


async def test_times_are_histograms(node: Any, http: CheckedClient) -> None:
    before = await node()
    await http.call("POST", "/v1/orders", {"pair": PAIR, "side": "bid", "price": 1, "quantity": 1}, 201)
    scraped = await node()
    for name in ("append_seconds", "apply_seconds", "fsync_seconds"):
        count = scraped(name + "_count")
        assert count > before(name + "_count")
        assert scraped(name + "_bucket", le="+Inf") == count
        assert scraped(name + "_sum") > 0


async def test_checks_for_divergence_are_counted(node: Any, http: CheckedClient, alone: Members) -> None:
    replica = alone.groups["a"].replica
    assert replica is not None
    while not replica.statistics.verdicts_equal:
        await http.call("POST", "/v1/orders", {"pair": PAIR, "side": "bid", "price": 1, "quantity": 1}, 201)
    scraped = await node()
    assert scraped("divergence_checks_total") >= 1
    assert scraped("divergence_verdicts_total", agreed="true") >= 1
    assert scraped("divergence_verdicts_total", agreed="false") == 0


async def test_a_leader_tells_how_far_its_followers_are(tmp_path: Any) -> None:
    members = Members(tmp_path)
    await members.begin("a", "b", "c")
    leader = members.leader()
    client = TestClient(TestServer(probe_application(members.runtime, Vitals("x", members.groups[leader]))))
    await client.start_server()
    scraped = Scraped(await (await client.get("/metrics")).text())
    for follower in sorted({"a", "b", "c"} - {leader}):
        assert scraped("raft_match_index", member=follower) > 0
        assert scraped("raft_lag_entries", member=follower) >= 0
        assert scraped("raft_active", member=follower) == 1
        assert scraped("raft_inflight_bytes", member=follower) >= 0
    assert not scraped.has("raft_match_index", member=leader)
    await client.close()
    await members.close()


async def test_a_node_without_a_group_is_scraped_too(tmp_path: Any) -> None:
    members = Members(tmp_path)
    vitals = Vitals("a")
    client = TestClient(TestServer(probe_application(members.runtime, vitals)))
    await client.start_server()
    assert (await client.get("/metrics")).status == 200
    vitals.group = await members.open("a", 3)
    scraped = Scraped(await (await client.get("/metrics")).text())
    assert (scraped("phase", phase="joining"), scraped("ready")) == (1, 0)
    await client.close()
    await members.close()


async def test_consumers_of_the_streams_are_counted_by_feed(alone: Members) -> None:
    group = alone.groups["a"]
    feeds = Feeds(alone.runtime, group)
    http = await CheckedClient.open(client_application(alone.runtime, group, feeds))
    client = TestClient(TestServer(probe_application(alone.runtime, Vitals("a", group, feeds))))
    await client.start_server()
    socket = await http.client.ws_connect("/v1/streams/fills")
    await until(feeds.consumers, "the consumer to be known")
    scraped = Scraped(await (await client.get("/metrics")).text())
    assert (scraped("stream_consumers", feed="fills"), scraped("stream_consumers", feed="events")) == (1, 0)
    assert scraped("stream_lag_entries", feed="fills") >= 0
    assert scraped("stream_subscriptions_total") == 1
    await socket.close()
    await client.close()
    feeds.close()
    await http.close()


async def test_names_and_labels_are_well_formed_and_bounded(node: Any) -> None:
    scraped = await node()
    own = [family for family in scraped.families if not family.name.startswith(PROCESS)]
    assert len(own) > 40
    assert len({family.name for family in own}) == len(own)
    for family in own:
        assert re.fullmatch(r"orderbook_[a-z_]+[a-z]", family.name), family.name
        assert family.documentation.endswith(".")
        assert family.type in ("gauge", "counter", "histogram")
        for sample in family.samples:
            assert sample.labels.keys() <= LABELS
            if family.type == "counter":
                assert sample.name.endswith("_total")
        if family.name.endswith("seconds") and family.type == "histogram":
            assert {sample.name for sample in family.samples} == {
                family.name + suffix for suffix in ("_bucket", "_count", "_sum")
            }


async def test_openmetrics_is_given_to_who_asks_for_it(alone: Members) -> None:
    client = TestClient(TestServer(probe_application(alone.runtime, Vitals("a", alone.groups["a"]))))
    await client.start_server()
    plain = await client.get("/metrics")
    assert plain.headers["Content-Type"].startswith("text/plain")
    asked = await client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert asked.headers["Content-Type"].startswith("application/openmetrics-text")
    assert (await asked.text()).endswith("# EOF\n")
    await client.close()


def test_a_duration_falls_into_the_first_bucket_that_holds_it() -> None:
    histogram = Histogram()
    for seconds in (0.0, SECONDS_BUCKETS[0], SECONDS_BUCKETS[0] * 1.01, 1000.0):
        histogram.observe(seconds)
    assert histogram.counts[:2] == [2, 1]
    assert histogram.counts[-1] == 1
    assert sum(histogram.counts) == 4
    assert histogram.total > 1000
