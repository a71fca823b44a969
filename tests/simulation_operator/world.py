"""A Kubernetes that the operator can act on, and the nodes in its pods. Deterministic: it moves only in ``tick``.

What it keeps of Kubernetes: objects with uids and resourceVersions; apply, POST and PUT with their preconditions; a
StatefulSet controller under OnDelete and Parallel with revisions, ordinals and claims that it never deletes; claims
that stay while a pod uses them; images that don't start; cluster nodes that are down or gone, and volumes pinned to
them; evictions that the disruption budget refuses. What it keeps of a node: one directory a claim, set aside when its
life or its membership is over.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from orderbook_operator import names
from orderbook_operator.observation import Member, ObjectKey
from simulation_operator.raft_model import Disk, Life

NAME, NAMESPACE = "eth", "trading"
STATEFUL_SET = ObjectKey("apps/v1", "StatefulSet", NAME)
BUDGET = ObjectKey("policy/v1", "PodDisruptionBudget", NAME)
SECONDS_A_TICK = 5.0


@dataclass
class Pod:
    name: str
    uid: str
    ordinal: int
    revision: str
    template: str
    image: str
    created: float
    version: int
    node: str = ""
    running: bool = False
    terminating: bool = False
    given: str = ""  # the incarnation that its process read when it started


@dataclass
class Claim:
    name: str
    uid: str
    ordinal: int
    requested: str
    node: str = ""
    retired: str = ""
    terminating: bool = False
    disk: Disk | None = None
    version: int = 0


@dataclass
class Secret:
    uid: str
    version: str
    data: dict[str, bytes]
    owned: bool


@dataclass
class Revision:
    name: str
    number: int
    template: Mapping[str, Any]


@dataclass
class World:
    spec: dict[str, Any] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    now: float = 1_000_000.0
    generation: int = 1
    finalizers: list[str] = field(default_factory=list)
    status: dict[str, Any] = field(default_factory=dict)
    deleted: bool = False
    gone: bool = False
    objects: dict[ObjectKey, dict[str, Any]] = field(default_factory=dict)
    secrets: dict[str, Secret] = field(default_factory=dict)
    pods: dict[str, Pod] = field(default_factory=dict)
    claims: dict[int, Claim] = field(default_factory=dict)
    revisions: list[Revision] = field(default_factory=list)
    lives: dict[str, Life] = field(default_factory=dict)
    pairs: dict[tuple[str, str], Any] = field(default_factory=dict)
    bad_images: set[str] = field(default_factory=set)  # they don't start
    mute_images: set[str] = field(default_factory=set)  # they run, and do nothing
    machines: dict[str, str] = field(default_factory=lambda: {f"worker-{i}": "up" for i in range(3)})
    pinned: bool = False
    seen_generation: int = 0
    seen_revision: str = ""
    resource_uid: str = "group-1"
    next_number: int = 0

    # --- user and fate ------------------------------------------------------------------------------------------------

    def change_spec(self, **fields: Any) -> None:
        self.spec = {**self.spec, **fields}
        self.generation += 1

    def kill(self, name: str) -> None:
        """The pod's process is gone; its StatefulSet makes the pod anew."""
        del self.pods[name]

    def lose_volume(self, ordinal: int) -> None:
        """Somebody deleted claim and pod."""
        self.pods.pop(names.pod(NAME, ordinal), None)
        del self.claims[ordinal]

    def number(self) -> int:
        self.next_number += 1
        return self.next_number

    def uid(self) -> str:
        return f"uid-{self.number()}"

    def copy(self) -> World:
        return copy.deepcopy(self)

    # --- what is so ---------------------------------------------------------------------------------------------------

    def machine_is_up(self, node: str) -> bool:
        return not node or self.machines.get(node) == "up"

    def disk(self, pod: Pod) -> Disk | None:
        claim = self.claims.get(pod.ordinal)
        return claim.disk if claim is not None else None

    def ordinals(self) -> range:
        """Of the pods that the StatefulSet is to have."""
        live = self.objects.get(STATEFUL_SET)
        if live is None:
            return range(0)
        first = live["spec"].get("ordinals", {}).get("start", 0)
        return range(first, first + live["spec"]["replicas"])

    def processes(self) -> dict[Member, Disk]:
        """The nodes that run, and aren't about to be ended, by who they are."""
        found = {}
        for pod in self.pods.values():
            disk = self.disk(pod)
            stays = not pod.terminating and pod.ordinal in self.ordinals()
            speaks = pod.running and pod.image not in self.mute_images
            if speaks and stays and self.machine_is_up(pod.node) and disk is not None:
                found[Member(pod.name, disk.id)] = disk
        return found

    def alive(self, life: Life) -> dict[Member, Disk]:
        """Those that take part in ``life``: who is given a later one holds still."""
        found = {}
        for member, disk in self.processes().items():
            given = self.pods[member.name].given
            holds_still = given not in ("", life.incarnation, life.parent)
            if disk.incarnation == life.incarnation and not holds_still:
                found[member] = disk
        return found

    def strangers(self) -> list[Member]:
        return sorted(member for member, disk in self.processes().items() if not disk.incarnation)

    def life(self) -> Life | None:
        """The one that has a leader; two of them at once is what must never be."""
        leading = [life for life in self.lives.values() if life.leader is not None]
        assert len(leading) < 2, f"{len(leading)} groups take orders at once"
        return leading[0] if leading else None

    def serves(self) -> bool:
        life = self.life()
        return life is not None and life.serves(self.alive(life))

    def is_ready(self, pod: Pod) -> bool:
        life, disk = self.life(), self.disk(pod)
        if life is None or disk is None or not pod.running or pod.terminating or not self.machine_is_up(pod.node):
            return False
        if pod.image in self.mute_images:
            return False
        member = Member(pod.name, disk.id)
        return disk.incarnation == life.incarnation and member in life.members and life.behind.get(member, 1) == 0

    # --- time ---------------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        self.now += SECONDS_A_TICK
        self._run_controller()
        self._run_kubelets()
        self._run_nodes()

    def _run_controller(self) -> None:
        live = self.objects.get(STATEFUL_SET)
        if live is None:
            for pod in self.pods.values():
                pod.terminating = True
            return
        spec = live["spec"]
        template = spec["template"]
        known = next((revision for revision in self.revisions if revision.template == template), None)
        number = max((revision.number for revision in self.revisions), default=0) + 1
        if known is None:
            known = Revision(f"{NAME}-{number}", number, copy.deepcopy(template))
            self.revisions.append(known)
        elif known.number < number - 1:
            known.number = number
        self.seen_revision, self.seen_generation = known.name, live["metadata"]["generation"]
        wanted = self.ordinals()
        for pod in self.pods.values():
            if pod.ordinal not in wanted:
                pod.terminating = True
        for ordinal in wanted:
            self._make(ordinal, known, spec)

    def _make(self, ordinal: int, revision: Revision, spec: Mapping[str, Any]) -> None:
        name = names.pod(NAME, ordinal)
        claim = self.claims.get(ordinal)
        if name in self.pods or (claim is not None and claim.terminating):
            return
        if claim is None:
            size = spec["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"]
            self.claims[ordinal] = Claim(names.claim(NAME, ordinal), self.uid(), ordinal, size)
        template = revision.template
        image = template["spec"]["containers"][0]["image"]
        annotation = template["metadata"]["annotations"][names.TEMPLATE]
        self.pods[name] = Pod(name, self.uid(), ordinal, revision.name, annotation, image, self.now, self.number())

    def _run_kubelets(self) -> None:
        for pod in list(self.pods.values()):
            if self.machines.get(pod.node) == "gone" or (pod.node and pod.node not in self.machines):
                del self.pods[pod.name]  # the API server removes the pods of a node that was deleted
            elif pod.terminating and self.machine_is_up(pod.node):
                del self.pods[pod.name]
            elif not pod.running and not pod.terminating:
                self._start(pod)
        for claim in list(self.claims.values()):
            if claim.terminating and names.pod(NAME, claim.ordinal) not in self.pods:
                del self.claims[claim.ordinal]

    def _start(self, pod: Pod) -> None:
        claim, identity = self.claims.get(pod.ordinal), self.secrets.get(names.identity_secret(NAME))
        needed = (names.identity_secret(NAME), names.credentials_secret(NAME))
        if claim is None or claim.terminating or any(secret not in self.secrets for secret in needed):
            return
        up = [node for node, state in sorted(self.machines.items()) if state == "up"]
        node = claim.node or (up[pod.ordinal % len(up)] if up else "")
        if self.machines.get(node) != "up":
            return
        if self.pinned:
            claim.node = node
        pod.node, pod.version = node, self.number()
        if pod.image not in self.bad_images:
            assert identity is not None
            pod.running, pod.given = True, identity.data[names.IDENTITY_INCARNATION].decode()

    def _run_nodes(self) -> None:
        for pod in self.pods.values():
            claim = self.claims.get(pod.ordinal)
            if pod.running and claim is not None and claim.disk is None:
                claim.disk = Disk(self.number())
        self._form()
        for life in self.lives.values():
            life.tick(self.alive(life))
        self._adopt()

    def _form(self) -> None:
        """Unanimously: exactly the initial size, all empty, none was given an incarnation, nobody knows a group."""
        processes = self.processes()
        identity = self.secrets.get(names.identity_secret(NAME))
        if identity is None or any(disk.incarnation for disk in processes.values()):
            return
        size = int(identity.data[names.IDENTITY_INITIAL_SIZE])
        if len(processes) == size and not any(self.pods[member.name].given for member in processes):
            incarnation = f"{self.number():032x}"
            self.lives[incarnation] = Life(incarnation, "", tuple(sorted(processes)))
            for disk in processes.values():
                disk.incarnation = incarnation

    def _adopt(self) -> None:
        """Added strangers take part; those who were removed, or are of a life that is over, come back as strangers."""
        life = self.life()
        if life is None:
            return
        for member, disk in self.processes().items():
            given = self.pods[member.name].given
            if not disk.incarnation and member in life.members:
                disk.incarnation = life.incarnation
            is_removed = disk.incarnation == life.incarnation and member not in life.members
            is_over = disk.incarnation not in ("", life.incarnation) and given == life.incarnation
            if is_removed or is_over:
                claim = self.claims[self.pods[member.name].ordinal]
                claim.disk = Disk(self.number(), aside=disk.aside + 1)
