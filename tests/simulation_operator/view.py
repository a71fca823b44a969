"""The world as the operator sees it."""

from __future__ import annotations

from typing import Any

from orderbook_operator import names
from orderbook_operator.credentials import read
from orderbook_operator.observation import (
    ClaimSeen,
    CredentialsSeen,
    GroupSeen,
    Identity,
    Member,
    MemberSeen,
    NodeSeen,
    Observation,
    PodSeen,
    RevisionSeen,
    SecretSeen,
)
from orderbook_operator.resource import OrderBookGroup
from orderbook_operator.seen import is_owned, stateful_set_seen
from simulation_operator.raft_model import Life
from simulation_operator.world import NAME, NAMESPACE, STATEFUL_SET, Claim, Pod, World


def resource(world: World) -> OrderBookGroup:
    metadata: dict[str, Any] = {
        "name": NAME,
        "namespace": NAMESPACE,
        "uid": world.resource_uid,
        "resourceVersion": "1",
        "generation": world.generation,
        "finalizers": world.finalizers,
        "annotations": world.annotations,
    }
    if world.deleted:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    status = {name: value for name, value in world.status.items() if value is not None}
    raw = {"apiVersion": "orderbook.dev/v1alpha1", "kind": "OrderBookGroup", "metadata": metadata, "spec": world.spec}
    return OrderBookGroup.from_object({**raw, "status": status})


def observe(world: World) -> Observation:
    live = world.objects.get(STATEFUL_SET)
    stateful_set = None
    if live is not None and is_owned(live, world.resource_uid):
        status = {"updateRevision": world.seen_revision, "observedGeneration": world.seen_generation}
        stateful_set = stateful_set_seen({**live, "status": status})
    owned = world.resource_uid
    life = world.life()
    answering = life is not None and life.has_quorum(world.alive(life))
    return Observation(
        now=world.now,
        resource=resource(world),
        default_image="registry.example.com/orderbook:1",
        objects=dict(world.objects),
        stateful_set=stateful_set,
        revisions=tuple(RevisionSeen(one.name, one.template, one.number) for one in world.revisions),
        pods=tuple(_pod(world, pod) for pod in sorted(world.pods.values(), key=lambda pod: pod.ordinal)),
        claims=tuple(_claim(world, claim) for _, claim in sorted(world.claims.items())),
        identity=_identity(world),
        authority=_secret(world, names.authority_secret(NAME)),
        credentials=_secret(world, names.credentials_secret(NAME)),
        foreign=tuple(key for key, other in sorted(world.objects.items()) if not is_owned(other, owned)),
        nodes=_nodes(world),
        group=_group(world, life) if life is not None and answering else None,
        unanswered="" if answering else "no leader",
        operator_namespace="orderbook-system",
    )


def _pod(world: World, pod: Pod) -> PodSeen:
    is_up = world.machine_is_up(pod.node)
    return PodSeen(
        name=pod.name,
        uid=pod.uid,
        ordinal=pod.ordinal,
        revision=pod.revision,
        template=pod.template,
        created=pod.created,
        ready=world.is_ready(pod),
        running=pod.running and is_up,
        terminating=pod.terminating,
        waiting="ImagePullBackOff" if pod.image in world.bad_images else "",
        image=pod.image,
        node=pod.node,
        node_exists=not pod.node or pod.node in world.machines,
        node_ready=is_up,
        zone=pod.node.replace("worker", "zone"),
        resource_version=str(pod.version),
    )


def _claim(world: World, claim: Claim) -> ClaimSeen:
    return ClaimSeen(
        name=claim.name,
        uid=claim.uid,
        ordinal=claim.ordinal,
        requested=claim.requested,
        capacity=claim.requested,
        bound=claim.disk is not None,
        terminating=claim.terminating,
        retired=claim.retired,
        node=claim.node,
        node_exists=not claim.node or claim.node in world.machines,
        resource_version=str(claim.version),
    )


def _identity(world: World) -> Identity | None:
    secret = world.secrets.get(names.identity_secret(NAME))
    if secret is None:
        return None
    key, size = secret.data[names.IDENTITY_KEY], int(secret.data[names.IDENTITY_INITIAL_SIZE])
    return Identity(secret.uid, secret.version, key, size, secret.data[names.IDENTITY_INCARNATION].decode())


def _secret(world: World, name: str) -> SecretSeen | None:
    secret = world.secrets.get(name)
    return SecretSeen(secret.uid, secret.version, secret.data) if secret is not None else None


def _nodes(world: World) -> dict[str, NodeSeen]:
    """Kubelets and nodes take up new credentials within a tick, which no test here is about."""
    held = read(_secret(world, names.credentials_secret(NAME)))
    loaded = CredentialsSeen(
        held.digest(names.PEER_CERTIFICATE), held.digest(names.TRUST), held.digest(names.TOKEN_KEYS)
    )
    found = {}
    for member, disk in world.processes().items():
        term, index = disk.end
        phase = "member" if disk.incarnation else "joining"
        found[member.name] = NodeSeen(
            member.name, member, phase, disk.incarnation, last_term=term, last_index=index, credentials=loaded
        )
    return found


def _group(world: World, life: Life) -> GroupSeen:
    assert life.leader is not None
    alive = world.alive(life)

    def member(one: Member, role: str) -> MemberSeen:
        lag = life.behind.get(one, 10)
        return MemberSeen(one.name, one.id, role, lag, one in alive, one in alive and lag == 0)

    outgoing = [one for one in life.outgoing if one not in life.voters]
    members = [
        *(member(one, "voter") for one in life.voters),
        *(member(one, "outgoing") for one in outgoing),
        *(member(one, "learner") for one in life.learners),
    ]
    return GroupSeen(
        leader=life.leader,
        term=life.term,
        incarnation=life.incarnation,
        configuration_index=life.index,
        configuration_committed=not life.outgoing,
        joint=bool(life.outgoing),
        members=tuple(sorted(members)),
        strangers=tuple(world.strangers()),
        transferee=life.transferee.name if life.transferee is not None else "",
        pairs=tuple(world.pairs.values()),
    )
