"""One action done to the world, with every precondition that the real API server, raft and the nodes check."""

from __future__ import annotations

import copy
from typing import Any

from orderbook.groups.identity import recovered_incarnation
from orderbook.raft import Member as RaftMember
from orderbook_operator import actions as a
from orderbook_operator import names
from orderbook_operator.observation import ObjectKey
from orderbook_operator.seen import is_owned
from simulation_operator.raft_model import Disk, Life, Refused
from simulation_operator.world import BUDGET, NAME, STATEFUL_SET, Claim, Pod, Secret, World


def act(world: World, action: a.Action) -> None:
    """Raises Refused; the world is unchanged then."""
    match action:
        case a.SetFinalizer(present):
            world.finalizers = [names.FINALIZER] if present else []
            world.gone = world.deleted and not present
        case a.ApplyObject(manifest, uid, _, version):
            _apply(world, manifest, uid, version)
        case a.CreateSecret(name, data, owned):
            if name in world.secrets:
                raise Refused(f"{name} exists")
            world.secrets[name] = Secret(world.uid(), str(world.number()), dict(data), owned)
        case a.ReplaceSecret(name, data, uid, version):
            held = world.secrets.get(name)
            if held is None or (held.uid, held.version) != (uid, version):
                raise Refused(f"{name} changed")
            held.data, held.version = dict(data), str(world.number())
        case a.DeleteObject(key, uid):
            _delete(world, key, uid)
        case a.DefinePair(pair):
            _leading(world)
            world.pairs.setdefault((pair.base, pair.quote), pair)
        case a.ChangePair(pair):
            _leading(world)
            world.pairs[pair.base, pair.quote] = pair
        case a.LabelClaim(claim, uid, retired):
            labelled = _claim(world, claim, uid)
            labelled.retired, labelled.version = retired, world.number()
        case a.GrowClaim(claim, uid, size):
            _claim(world, claim, uid).requested = size
        case _:
            _disrupt(world, action)


def _disrupt(world: World, action: a.Action) -> None:
    match action:
        case a.DeleteClaim(claim, uid, _, version):
            given_up = _claim(world, claim, uid)
            if version and str(given_up.version) != version:
                raise Refused(f"{claim} changed")
            given_up.terminating = True
        case a.DeletePod(pod, uid, _, version):
            found = _pod(world, pod, uid)
            if version and str(found.version) != version:
                raise Refused(f"{pod} changed")
            found.terminating = True
        case a.EvictPod(pod, uid):
            _evict(world, _pod(world, pod, uid))
        case a.ChangeMembers(voters, learners, expected):
            life = _leading(world)
            life.change(voters, learners, expected, world.alive(life), world.strangers())
        case a.TransferLeadership(to):
            life = _leading(world)
            life.transfer(to, world.alive(life))
        case a.Recover(survivor, incarnation, last_term, last_index):
            _recover(world, survivor, incarnation, (last_term, last_index))
        case _:
            raise AssertionError(f"{action!r} is no action")


def _leading(world: World) -> Life:
    life = world.life()
    if life is None:
        raise Refused("no leader")
    return life


def _apply(world: World, manifest: Any, uid: str, expected: str) -> None:
    key = ObjectKey(manifest["apiVersion"], manifest["kind"], manifest["metadata"]["name"])
    live = world.objects.get(key)
    if (live["metadata"]["uid"] if live is not None else "") != uid:
        raise Refused(f"{key} is another one")
    if expected and live is not None and live["metadata"]["resourceVersion"] != expected:
        raise Refused(f"{key} changed")
    made = copy.deepcopy(dict(manifest))
    generation = (
        live["metadata"]["generation"] + (live["spec"] != made["spec"]) if live is not None and "spec" in made else 1
    )
    version = str(world.number())
    made["metadata"] |= {"uid": uid or world.uid(), "resourceVersion": version, "generation": generation}
    world.objects[key] = made


def _delete(world: World, key: ObjectKey, uid: str) -> None:
    if key.kind == "Secret":
        held = world.secrets.get(key.name)
        if held is None or held.uid != uid:
            raise Refused(f"{key.name} is another one")
        del world.secrets[key.name]
        return
    live = world.objects.get(key)
    if live is None or live["metadata"]["uid"] != uid:
        raise Refused(f"{key} is another one")
    assert is_owned(live, world.resource_uid), f"{key} isn't ours"
    del world.objects[key]
    if key == STATEFUL_SET:
        world.revisions.clear()


def _pod(world: World, name: str, uid: str) -> Pod:
    found = world.pods.get(name)
    if found is None or found.uid != uid:
        raise Refused(f"{name} is another one")
    return found


def _claim(world: World, name: str, uid: str) -> Claim:
    found = next((claim for claim in world.claims.values() if claim.name == name), None)
    if found is None or found.uid != uid:
        raise Refused(f"{name} is another one")
    return found


def _evict(world: World, pod: Pod) -> None:
    budget = world.objects.get(BUDGET)
    if budget is not None and pod.running:
        expected = world.objects[STATEFUL_SET]["spec"]["replicas"]
        healthy = sum(world.is_ready(other) for other in world.pods.values())
        desired = expected - budget["spec"]["maxUnavailable"]
        if healthy < desired or (world.is_ready(pod) and healthy <= desired):
            raise Refused("the disruption budget forbids it")
    pod.terminating = True


def _recover(world: World, survivor: Any, incarnation: str, end: tuple[int, int]) -> None:
    disk = world.processes().get(survivor)
    if disk is None:
        raise Refused(f"{survivor} doesn't answer")
    if (disk.incarnation, disk.end) != (incarnation, end) or world.life() is not None:
        raise Refused("the request doesn't fit")
    running = [m for m, other in world.processes().items() if other.incarnation == incarnation and m != survivor]
    assert not running, f"{running} of the old life run beside the new one"
    new = recovered_incarnation(bytes.fromhex(incarnation), RaftMember(*survivor), *end).hex()
    claim = world.claims[world.pods[survivor.name].ordinal]
    member = type(survivor)(survivor.name, world.number())
    claim.disk = Disk(member.id, new, (end[0] + 1, end[1] + 2))
    old = world.lives[incarnation]
    world.lives[new] = Life(new, incarnation, (member,), index=end[1] + 1, term=end[0] + 1, last=end[1] + 2)
    old.leader = None
    assert NAME in survivor.name
