"""One look at one group: the API server's objects and the nodes' own words, put together as an ``Observation``.

What the API server says is needed: without it the look fails (ClusterError). What a node says is not: whoever doesn't
answer isn't in ``nodes``, and without the leader's answer ``group`` is None and ``unanswered`` says why.

Objects are listed by the group's label, one LIST a kind. A name that the group needs and that isn't among them is then
asked for by itself: it may be somebody else's object. Secrets are only ever asked for by name.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from orderbook.groups.errors import GroupError
from orderbook_operator import names
from orderbook_operator.cluster import (
    CLAIM,
    DISRUPTION_BUDGET,
    NETWORK_POLICY,
    NODE,
    POD,
    REVISION,
    SECRET,
    SERVICE,
    SERVICE_ACCOUNT,
    SERVICE_MONITOR,
    STATEFUL_SET,
    Cluster,
    Json,
    Kind,
    Refused,
)
from orderbook_operator.nodes import CERTIFICATE, Door, Doors, Nodes, NoDoor
from orderbook_operator.observation import (
    GroupSeen,
    Identity,
    Manifest,
    NodeSeen,
    ObjectKey,
    Observation,
    SecretSeen,
)
from orderbook_operator.resource import OrderBookGroup
from orderbook_operator.seen import (
    claims_seen,
    identity_seen,
    is_owned,
    pods_seen,
    revisions_seen,
    secret_seen,
    selected_node,
    stateful_set_seen,
    uid_of,
)

OWNED_KINDS = (STATEFUL_SET, SERVICE, DISRUPTION_BUDGET, NETWORK_POLICY, SERVICE_ACCOUNT)
LISTENERS = ("peers", "clients", "probes")
KNOWN_SECONDS = 10.0

_logger = logging.getLogger("orderbook.operator.observe")


def needed(group: str, *, monitored: bool) -> tuple[tuple[Kind, str], ...]:
    """The names that a group may want to have, apart from its Secrets."""
    policies = [(NETWORK_POLICY, names.network_policy(group, listener)) for listener in LISTENERS]
    return (
        (STATEFUL_SET, names.stateful_set(group)),
        (SERVICE, names.client_service(group)),
        (SERVICE, names.peer_service(group)),
        (DISRUPTION_BUDGET, names.disruption_budget(group)),
        (SERVICE_ACCOUNT, names.service_account(group)),
        *policies,
        *(((SERVICE_MONITOR, names.service_monitor(group)),) if monitored else ()),
    )


class Surroundings:
    """What groups share: the cluster's nodes, and whether there are ServiceMonitors. Known for ``KNOWN_SECONDS``.

    ``may_read_nodes`` False, or a refusal by the API server: nothing is known of nodes, and zones are empty.
    """

    def __init__(
        self, cluster: Cluster, *, may_read_nodes: bool = True, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._cluster = cluster
        self._may_read_nodes = may_read_nodes
        self._clock = clock
        self._nodes: dict[str, tuple[float, Json | None]] = {}
        self._monitors = (float("-inf"), False)

    async def nodes(self, wanted: set[str]) -> dict[str, Manifest | None]:
        """By name; None is gone. Those of which nothing can be known are left out."""
        found = await asyncio.gather(*(self._node(name) for name in sorted(wanted)))
        return {name: node for known in found for name, node in known.items()}

    async def has_service_monitors(self) -> bool:
        asked, answer = self._monitors
        if self._clock() - asked > KNOWN_SECONDS:
            answer = await self._cluster.serves(SERVICE_MONITOR)
            self._monitors = self._clock(), answer
        return answer

    async def _node(self, name: str) -> dict[str, Json | None]:
        if not self._may_read_nodes:
            return {}
        asked, node = self._nodes.get(name, (float("-inf"), None))
        if self._clock() - asked > KNOWN_SECONDS:
            try:
                node = await self._cluster.get(NODE, "", name)
            except Refused as error:
                self._may_read_nodes = False
                _logger.warning("the cluster's nodes can't be read, so that zones are empty: %s", error)
                return {}
            self._nodes[name] = self._clock(), node
        return {name: node}


@dataclass(frozen=True)
class Sight:
    """An Observation, and what ``act`` needs beside it: the resource as it was read, and the way to the nodes.

    ``own_certificate``: the certificate that ``tls.secret`` names, if it names one.
    """

    seen: Observation
    raw: Json
    own_certificate: bytes | None = None
    door: Door | None = None

    @property
    def addresses(self) -> dict[str, str]:
        """Of the pods whose nodes can be asked."""
        return {pod.name: pod.address for pod in self.seen.pods if pod.address and pod.running}


@dataclass(frozen=True)
class _Secrets:
    identity: Identity | None
    authority: SecretSeen | None
    credentials: SecretSeen | None
    own_certificate: bytes | None
    foreign: tuple[ObjectKey, ...]


class Observer:
    """Looks at groups."""

    def __init__(
        self,
        cluster: Cluster,
        nodes: Nodes,
        surroundings: Surroundings,
        *,
        default_image: str,
        operator_namespace: str,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._cluster = cluster
        self._nodes = nodes
        self._surroundings = surroundings
        self._doors = Doors()
        self._default_image = default_image
        self._operator_namespace = operator_namespace
        self._now = now

    async def look(self, raw: Json) -> Sight:
        """All of a group. ``raw`` is its resource as it was just read.

        Raises ClusterError, resource.ResourceError, seen.Unreadable.
        """
        resource = OrderBookGroup.from_object(raw)
        monitored = await self._surroundings.has_service_monitors()
        (objects, foreign), secrets = await asyncio.gather(
            self._objects(resource, monitored=monitored), self._secrets(resource)
        )
        # After the StatefulSet: once its controller is seen to be done with a spec, no pod of an earlier one comes.
        pods, claims, revisions = await self._parts(resource)
        machines = await self._surroundings.nodes(_machines(pods, claims))
        stateful_set = objects.get(STATEFUL_SET.key(names.stateful_set(resource.name)))
        if stateful_set is not None and not is_owned(stateful_set, resource.metadata.uid):
            stateful_set = None
        seen = Observation(
            now=self._now(),
            resource=resource,
            default_image=self._default_image,
            objects=objects,
            stateful_set=stateful_set_seen(stateful_set) if stateful_set is not None else None,
            revisions=revisions_seen(revisions, uid_of(stateful_set)) if stateful_set is not None else (),
            pods=pods_seen(pods, resource.name, machines),
            claims=claims_seen(claims, pods, resource.name, machines),
            identity=secrets.identity,
            authority=secrets.authority,
            credentials=secrets.credentials,
            foreign=tuple(sorted((*foreign, *secrets.foreign))),
            has_service_monitors=monitored,
            operator_namespace=self._operator_namespace,
        )
        return await self._with_nodes(Sight(seen, raw, secrets.own_certificate))

    async def look_again(self, sight: Sight) -> Sight | None:
        """The leader asked anew, everything else as it was. None if there is no leader to ask, or it doesn't answer."""
        seen = sight.seen
        address = sight.addresses.get(seen.group.leader.name) if seen.group is not None else None
        if seen.group is None or address is None:
            return None
        now = self._now()
        try:
            door = self._door(seen, sight.own_certificate, now)
            fresh = await self._nodes.ask_leader(door, seen.group.leader.name, address, pairs=seen.group.pairs)
        except (NoDoor, GroupError):
            return None
        return replace(sight, seen=replace(seen, now=now, group=fresh), door=door)

    def forget(self, sight: Sight) -> None:
        """The group is gone."""
        resource = sight.seen.resource
        self._doors.forget(resource.namespace, resource.name)

    # --- the API server -----------------------------------------------------------------------------------------------

    async def _objects(
        self, resource: OrderBookGroup, *, monitored: bool
    ) -> tuple[dict[ObjectKey, Manifest], tuple[ObjectKey, ...]]:
        """By key, and which of them aren't ours. What only has our label, and no name that we need, is left out."""
        kinds = (*OWNED_KINDS, *((SERVICE_MONITOR,) if monitored else ()))
        lists = await asyncio.gather(*(self._select(kind, resource) for kind in kinds))
        uid, wanted = resource.metadata.uid, needed(resource.name, monitored=monitored)
        by_name = {kind.key(name) for kind, name in wanted}
        found: dict[ObjectKey, Manifest] = {
            key: item
            for kind, items in zip(kinds, lists, strict=True)
            for item in items
            if (key := kind.key(item["metadata"]["name"])) in by_name or is_owned(item, uid)
        }
        missing = [(kind, name) for kind, name in wanted if kind.key(name) not in found]
        others = await asyncio.gather(*(self._cluster.get(kind, resource.namespace, name) for kind, name in missing))
        for (kind, name), other in zip(missing, others, strict=True):
            if other is not None:
                found[kind.key(name)] = other
        return found, tuple(sorted(key for key in by_name & found.keys() if not is_owned(found[key], uid)))

    async def _parts(self, resource: OrderBookGroup) -> tuple[list[Json], list[Json], list[Json]]:
        """Pods, claims and revisions."""
        pods, claims, revisions = await asyncio.gather(
            *(self._select(kind, resource) for kind in (POD, CLAIM, REVISION))
        )
        return pods, claims, revisions

    async def _secrets(self, resource: OrderBookGroup) -> _Secrets:
        group, namespace, own_name = resource.name, resource.namespace, resource.spec.tls.secret
        wanted = (names.identity_secret(group), names.authority_secret(group), names.credentials_secret(group))
        *found, own = await asyncio.gather(
            *(self._cluster.get(SECRET, namespace, name) for name in wanted),
            self._cluster.get(SECRET, namespace, own_name) if own_name is not None else _nothing(),
        )
        is_ours = [secret is not None and _is_our_secret(secret, resource) for secret in found]
        identity, authority, trusted = found
        return _Secrets(
            identity_seen(identity, whole=not resource.is_being_deleted) if identity and is_ours[0] else None,
            secret_seen(authority, ours=is_ours[1]) if authority else None,
            secret_seen(trusted, ours=is_ours[2]) if trusted else None,
            secret_seen(own, ours=False).data.get(CERTIFICATE) if own else None,
            tuple(
                SECRET.key(name)
                for name, secret, ours in zip(wanted, found, is_ours, strict=True)
                if secret is not None and not ours
            ),
        )

    async def _select(self, kind: Kind, resource: OrderBookGroup) -> list[Json]:
        return await self._cluster.select(kind, resource.namespace, names.selector(resource.name))

    # --- the nodes ----------------------------------------------------------------------------------------------------

    def _door(self, seen: Observation, own_certificate: bytes | None, now: float) -> Door:
        return self._doors.door(seen.resource, seen.authority, seen.credentials, own_certificate, now)

    async def _with_nodes(self, sight: Sight) -> Sight:
        seen, addresses = sight.seen, sight.addresses
        try:
            door = self._door(seen, sight.own_certificate, seen.now)
        except NoDoor as error:
            return replace(sight, seen=replace(seen, unanswered=str(error)))
        if not addresses:
            return replace(sight, seen=replace(seen, unanswered="no node runs"), door=door)
        nodes, problems = await self._nodes.look(door, addresses)
        group, unanswered = await self._leader(door, addresses, nodes, seen.identity)
        if group is None and problems:
            unanswered = "; ".join([unanswered, *(f"{pod}: {why}" for pod, why in sorted(problems.items()))])
        return replace(sight, seen=replace(seen, nodes=nodes, group=group, unanswered=unanswered), door=door)

    async def _leader(
        self, door: Door, addresses: Mapping[str, str], nodes: Mapping[str, NodeSeen], identity: Identity | None
    ) -> tuple[GroupSeen | None, str]:
        """The answer of the node that leads. Two may believe that they do: only one gets a quorum to confirm it."""
        candidates = sorted(
            (node for node in nodes.values() if node.role == "leader"),
            key=lambda node: (identity is not None and node.incarnation == identity.incarnation, node.term),
            reverse=True,
        )
        if not candidates:
            return None, "no node leads"
        problems = []
        for node in candidates:
            try:
                return await self._nodes.ask_leader(door, node.pod, addresses[node.pod]), ""
            except GroupError as error:
                problems.append(f"{node.pod} believes that it leads, and gives no confirmed answer: {error}")
        return None, "; ".join(problems)


async def _nothing() -> None:
    return None


def _machines(pods: list[Json], claims: list[Json]) -> set[str]:
    """The names of the cluster's nodes that matter to a group."""
    placed = {str(pod["spec"].get("nodeName") or "") for pod in pods}
    return (placed | {selected_node(claim) for claim in claims}) - {""}


def _is_our_secret(secret: Json, resource: OrderBookGroup) -> bool:
    """By our labels, and by no other owner than this very resource: the identity has none."""
    metadata = secret["metadata"]
    labels = metadata.get("labels") or {}
    marked = all(labels.get(key) == value for key, value in names.labels(resource.name).items())
    return marked and (not metadata.get("ownerReferences") or is_owned(secret, resource.metadata.uid))
