"""Metrics on replication: consensus, the log and its disk, snapshots, checks for divergence, requests at this edge."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from orderbook.groups.administration import JOINING
from orderbook.groups.group import Group
from orderbook.groups.replica import Phase, Replica
from orderbook.groups.statistics import SECONDS_BUCKETS, Histogram
from orderbook.raft import Role
from orderbook.storage.statistics import SYNC_BUCKETS


def group_metrics(group: Group) -> Iterator[Metric]:
    """What there is also while this member belongs to no group."""
    phase = JOINING if group.replica is None else group.replica.phase.value
    yield _one_of("orderbook_phase", "What this member does; 1 for the present one.", [JOINING, *Phase], phase)
    yield _gauge("orderbook_ready", "1 while this member knows a leader and has caught up.", group.is_online)
    yield _gauge("orderbook_strangers", "Members without a group that are connected.", len(group.strangers))
    yield _counter(
        "orderbook_frames_refused", "Frames for another group or member, or malformed.", group.frames_refused
    )
    yield from _disk(group)


def member_metrics(group: Group, replica: Replica, now: float) -> Iterator[Metric]:
    yield from _consensus(replica)
    yield from _followers(replica)
    yield from _requests(replica)
    yield from _state(replica)
    statistics, storage = replica.statistics, group.storage
    yield _histogram(
        "orderbook_append_seconds", "From handing entries to the log until they are durable.", statistics.append_seconds
    )
    yield _histogram(
        "orderbook_apply_seconds", "Applying one entry, matching of all its orders included.", statistics.apply_seconds
    )
    yield _snapshots(replica)
    yield _gauge("orderbook_snapshot_index", "Index that the newest snapshot covers.", storage.snapshot_index)
    yield _gauge("orderbook_snapshot_bytes", "Size of the newest snapshot.", storage.snapshot_bytes)
    if storage.snapshots:
        age = max(0.0, now - storage.snapshot_at)
        yield _gauge("orderbook_snapshot_age_seconds", "Since the newest snapshot was taken, or found.", age)


def _snapshots(replica: Replica) -> Metric:
    snapshots = CounterMetricFamily(
        "orderbook_snapshots", "Snapshots written here, and failures to write, send or receive.", labels=["result"]
    )
    snapshots.add_metric(["taken"], replica.snapshots.taken)
    snapshots.add_metric(["failed"], replica.snapshots.failed)
    return snapshots


def _consensus(replica: Replica) -> Iterator[Metric]:
    node, statistics = replica.node, replica.statistics
    roles = [role.name.lower() for role in Role]
    yield _one_of("orderbook_raft_role", "Role in consensus; 1 for the present one.", roles, node.role.name.lower())
    yield _gauge("orderbook_raft_term", "Term.", node.term)
    yield _gauge("orderbook_raft_has_leader", "1 while this member knows a leader.", node.leader != 0)
    yield _gauge("orderbook_raft_commit_index", "Last index known to be committed.", node.commit)
    yield _gauge("orderbook_raft_applied_index", "Last index applied.", replica.state.index)
    yield _gauge("orderbook_raft_last_index", "Last index of the log.", node.last_index)
    yield _gauge("orderbook_raft_first_index", "First index that the log still has.", node.first_index)
    yield _gauge("orderbook_raft_configuration_index", "Index of the membership in force.", node.configuration_index)
    yield _gauge("orderbook_raft_voters", "Voters of the membership in force.", len(node.configuration.voters))
    yield _gauge("orderbook_raft_learners", "Learners of the membership in force.", len(node.configuration.learners))
    yield _counter("orderbook_raft_leader_changes", "Changes of the leader seen here.", statistics.leader_changes)
    yield _counter("orderbook_raft_campaigns", "Elections begun by this member, pre-votes included.", node.campaigns)
    yield _counter("orderbook_raft_elections_won", "Elections won by this member.", statistics.elections_won)


def _followers(replica: Replica) -> Iterator[Metric]:
    """Known by the leader only."""
    node = replica.node
    match = GaugeMetricFamily("orderbook_raft_match_index", "Last index that a member has on disk.", labels=["member"])
    lag = GaugeMetricFamily("orderbook_raft_lag_entries", "Entries that a member lacks on disk.", labels=["member"])
    active = GaugeMetricFamily("orderbook_raft_active", "1: heard from in an election timeout.", labels=["member"])
    inflight = GaugeMetricFamily(
        "orderbook_raft_inflight_bytes", "Sent to a member and not answered.", labels=["member"]
    )
    for peer in node.progress():
        label = [replica.name_of(peer.id) or str(peer.id)]
        match.add_metric(label, peer.match)
        lag.add_metric(label, node.last_index - peer.match)
        active.add_metric(label, peer.recent_active)
        inflight.add_metric(label, peer.inflight_bytes)
    yield from (match, lag, active, inflight)


def _requests(replica: Replica) -> Iterator[Metric]:
    statistics = replica.statistics
    yield _counter("orderbook_proposals", "Requests accepted or refused at this edge.", statistics.proposals)
    outcomes = CounterMetricFamily(
        "orderbook_proposals_ended", "Requests of this edge by how they ended.", labels=["outcome"]
    )
    outcomes.add_metric(["answered"], replica.proposals.answered)
    outcomes.add_metric(["unavailable"], replica.proposals.unavailable)
    outcomes.add_metric(["uncertain"], replica.proposals.uncertain)
    yield outcomes
    yield _gauge("orderbook_proposals_waiting_bytes", "Of requests without an answer yet.", replica.proposals.bytes)
    yield _counter("orderbook_strong_reads", "Strong reads asked for at this edge.", statistics.reads)
    yield _counter("orderbook_frames_malformed", "Frames of members that mean nothing.", statistics.frames_dropped)


def _state(replica: Replica) -> Iterator[Metric]:
    state, statistics = replica.state, replica.statistics
    yield _gauge("orderbook_sessions", "Open sessions.", len(state.sessions.by_id))
    yield _gauge("orderbook_idempotency_keys", "Idempotency keys kept.", len(state.keys))
    yield _gauge("orderbook_machine_version", "Version of the machine's rules in force.", state.machine_version)
    yield _gauge("orderbook_log_time_seconds", "Time by the log.", state.now_ms / 1000)
    yield _counter("orderbook_divergence_checks", "Checks for divergence applied here.", statistics.checks)
    verdicts = CounterMetricFamily(
        "orderbook_divergence_verdicts", "Verdicts, by whether this member's state agreed.", labels=["agreed"]
    )
    verdicts.add_metric(["true"], statistics.verdicts_equal)
    verdicts.add_metric(["false"], statistics.verdicts_differing)
    yield verdicts


def _disk(group: Group) -> Iterator[Metric]:
    storage = group.storage
    yield _gauge("orderbook_log_bytes", "Allocated by segments of the log.", storage.log_bytes)
    yield _gauge("orderbook_log_segments", "Segments of the log.", storage.segments)
    yield _gauge("orderbook_log_queue_bytes", "Handed to the log and not durable yet.", storage.waiting_bytes)
    yield _gauge("orderbook_disk_free_bytes", "Free on the disk, when last looked at.", storage.free_bytes)
    yield _counter("orderbook_log_written_bytes", "Written to the log.", storage.bytes_written)
    yield _counter("orderbook_log_entries", "Entries written to the log.", storage.entries_written)
    yield _buckets(
        "orderbook_fsync_seconds",
        "One durable write to the log.",
        SYNC_BUCKETS,
        storage.sync_histogram,
        storage.sync_seconds,
    )


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(name, text, value)


def _one_of(name: str, text: str, values: Sequence[str], present: str) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[name.rsplit("_", 1)[1]])
    for value in values:
        family.add_metric([str(value)], value == present)
    return family


def _histogram(name: str, text: str, histogram: Histogram) -> Metric:
    return _buckets(name, text, SECONDS_BUCKETS, histogram.counts, histogram.total)


def _buckets(name: str, text: str, bounds: Sequence[float], counts: Sequence[int], total: float) -> Metric:
    cumulative, buckets = 0, []
    for bound, count in zip([*map(str, bounds), "+Inf"], counts, strict=True):
        cumulative += count
        buckets.append((bound, cumulative))
    return HistogramMetricFamily(name, text, buckets=buckets, sum_value=total)
