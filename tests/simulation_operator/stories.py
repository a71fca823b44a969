"""What happens to a group, as functions of an operator: the same story can be told with a kill after any of its steps.

Each is told over a group that is at rest, made by its ``START``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from orderbook_operator import names
from orderbook_operator.observation import Member
from simulation_operator.operating import Operator
from simulation_operator.world import NAME, STATEFUL_SET, World

DEADLINE = "60s"  # twelve ticks
PAIR = {"base": "ETH", "quote": "USDC", "tickSize": "0.01", "lotSize": "0.001"}
FIRST, SECOND, THIRD, LAST, BAD = (f"registry.example.com/orderbook:{tag}" for tag in ("1", "2", "3", "4", "bad"))


def serves(world: World) -> bool:
    return world.serves()


def empty(replicas: int, **spec: Any) -> World:
    """Nothing but the resource."""
    return World(spec={"replicas": replicas, "pairs": [PAIR], "progressDeadline": DEADLINE, **spec})


@cache
def _formed(replicas: int, retention: str) -> World:
    world = empty(replicas, storage={"retention": retention})
    Operator(world).settle(serves)
    return world


def formed(replicas: int = 3, retention: str = "Retain") -> World:
    """A group at rest."""
    return _formed(replicas, retention).copy()


def spec_of(world: World) -> dict[str, Any]:
    spec: dict[str, Any] = world.objects[STATEFUL_SET]["spec"]
    return spec


def image_of(world: World) -> str:
    return str(spec_of(world)["template"]["spec"]["containers"][0]["image"])


# --- stories ----------------------------------------------------------------------------------------------------------


def begin(operator: Operator) -> None:
    """Nothing is there but the resource."""
    operator.settle(serves)


def grow(operator: Operator) -> None:
    operator.world.change_spec(replicas=5)
    operator.settle(serves)


def shrink(operator: Operator) -> None:
    """The leader is among those that leave."""
    life = operator.world.life()
    assert life is not None
    life.leader = next(voter for voter in life.voters if voter.name == "eth-4")
    operator.world.change_spec(replicas=3)
    operator.settle(serves)


def scale(operator: Operator) -> None:
    for replicas in (3, 5, 3, 5, 1):
        operator.world.change_spec(replicas=replicas)
        operator.settle(serves)


def roll(operator: Operator) -> None:
    operator.world.change_spec(image=SECOND)
    operator.settle(serves)


def bad_roll(operator: Operator) -> None:
    """It stops at the first pod, goes back, and a good image goes on."""
    operator.world.bad_images.add(BAD)
    operator.world.change_spec(image=BAD)
    operator.work(20)
    assert operator.world.serves() and image_of(operator.world) != BAD
    operator.world.change_spec(image=SECOND)
    operator.settle(serves)


def bad_beginning(operator: Operator) -> None:
    """The first image is wrong; correcting it is enough."""
    operator.world.bad_images.add(BAD)
    operator.world.change_spec(image=BAD)
    operator.work(30)
    operator.world.change_spec(image=SECOND)
    operator.settle(serves)


def mute_roll_of_one(operator: Operator) -> None:
    """The new version runs and never gets ready: nobody is there to say so but the kubelet."""
    operator.world.mute_images.add(BAD)
    operator.world.change_spec(image=BAD)
    operator.work(30)
    assert operator.world.serves() and image_of(operator.world) != BAD
    operator.world.change_spec(image=SECOND)
    operator.settle(serves)


def mute_beginning(operator: Operator) -> None:
    """The first version runs and never gets ready; correcting it is enough."""
    operator.world.mute_images.add(BAD)
    operator.world.change_spec(image=BAD)
    operator.work(30)
    operator.world.change_spec(image=SECOND)
    operator.settle(serves)


def lost_volume(operator: Operator) -> None:
    operator.world.lose_volume(1)
    operator.settle(serves)


def lost_machine(operator: Operator) -> None:
    """A node of the cluster is gone, and a volume with it; the two steps are done."""
    world = operator.world
    pod = world.pods["eth-1"]
    disk = world.disk(pod)
    assert disk is not None
    world.machines[pod.node] = "down"
    operator.work(10)
    world.machines[pod.node] = "gone"
    operator.work(5)
    del world.machines[pod.node]
    operator.work(5)
    world.annotations = {names.REPLACE_MEMBER: f"eth-1/{disk.id}"}
    operator.settle(lambda world: world.serves() and len(world.pods) == 3)


def lose_majority(world: World) -> Member:
    """The volumes of 0 and 1 are read-only by a fault of their machines, so to say; the survivor is 2."""
    disk = world.disk(world.pods["eth-2"])
    assert disk is not None
    for name in ("eth-0", "eth-1"):
        world.machines[world.pods[name].node] = "down"
    return Member("eth-2", disk.id)


def recover(operator: Operator) -> None:
    """Two of three machines crash for good; later they come back with the old members' volumes."""
    world = operator.world
    survivor = lose_majority(world)
    operator.work(5)
    secret = world.secrets[names.identity_secret(NAME)]
    incarnation = secret.data[names.IDENTITY_INCARNATION].decode()
    world.annotations = {names.RECOVER: f"{survivor}@{incarnation}"}
    operator.work(10)
    for node, state in list(world.machines.items()):
        if state == "down":
            world.machines[node] = "gone"
    operator.work(30)
    assert len(world.lives) == 2
    for node in list(world.machines):
        world.machines[node] = "up"
    operator.settle(serves)


def drift(operator: Operator) -> None:
    """Objects deleted and edited."""
    world = operator.world
    for key in list(world.objects):
        if key != STATEFUL_SET and key.name == NAME:
            del world.objects[key]
    live = world.objects[STATEFUL_SET]
    live["spec"]["template"]["spec"]["containers"][0]["image"] = "somebody/else:1"
    live["metadata"]["generation"] += 1
    operator.settle(serves)


def tear_down(operator: Operator) -> None:
    operator.world.deleted = True
    operator.settle()


def make_again(operator: Operator) -> None:
    """Deleted with its claims retained, and made again over them."""
    world = operator.world
    tear_down(operator)
    world.deleted = world.gone = False
    world.resource_uid, world.status = "group-2", {}
    operator.settle(serves)


STORIES: dict[str, tuple[Callable[[], World], Callable[[Operator], None]]] = {
    "begin": (lambda: empty(3), begin),
    "grow": (lambda: formed(3), grow),
    "shrink": (lambda: formed(5), shrink),
    "shrink, claims deleted": (lambda: formed(5, "Delete"), shrink),
    "scale": (lambda: formed(1), scale),
    "scale, claims deleted": (lambda: formed(1, "Delete"), scale),
    "roll": (lambda: formed(3), roll),
    "roll of one": (lambda: formed(1), roll),
    "bad roll": (lambda: formed(3), bad_roll),
    "bad beginning": (lambda: empty(3), bad_beginning),
    "mute roll of one": (lambda: formed(1), mute_roll_of_one),
    "mute beginning": (lambda: empty(3), mute_beginning),
    "lost volume": (lambda: formed(3), lost_volume),
    "lost machine": (lambda: _pinned(3), lost_machine),
    "recover": (lambda: formed(3), recover),
    "drift": (lambda: formed(3), drift),
    "tear down": (lambda: formed(3), tear_down),
    "tear down, claims deleted": (lambda: formed(3, "Delete"), tear_down),
    "make again": (lambda: formed(3), make_again),
}


def _pinned(replicas: int) -> World:
    world = formed(replicas)
    world.pinned = True
    for pod in world.pods.values():
        world.claims[pod.ordinal].node = pod.node
    return world
