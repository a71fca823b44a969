"""An operator over the world: passes, kills between any two steps, and the laws that hold after every step."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from orderbook_operator import names, status
from orderbook_operator.actions import DISRUPTIVE, Action, ChangeMembers, EvictPod, Recover
from orderbook_operator.observation import Observation
from orderbook_operator.plan import Plan, plan
from simulation_operator.acting import act
from simulation_operator.raft_model import Refused
from simulation_operator.view import observe
from simulation_operator.world import World

MOST_PASSES = 400
QUIET_PASSES = 5  # a pod that was killed is back, and has caught up, by then


class Killed(Exception):
    """The operator was killed: what followed in its pass wasn't done, and nothing was remembered."""


@dataclass
class Operator:
    """``kill_after``: the number of the action after which it is killed, once. ``done`` is what it did."""

    world: World
    kill_after: int | None = None
    seed: int = 7
    done: list[Action] = field(default_factory=list)
    refused: list[tuple[Action, str]] = field(default_factory=list)
    pods_down: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def plan(self, seen: Observation) -> Plan:
        return plan(seen, self._random.randbytes)

    def run_pass(self, seen: Observation | None = None) -> Plan:
        """Look, plan, act, report. ``seen`` replaces the look: a stale one."""
        is_stale = seen is not None
        seen = observe(self.world) if seen is None else seen
        planned = self.plan(seen)
        check(planned)
        executed: list[Action] = []
        for action in planned.actions:
            try:
                self._act(action, is_stale)
            except Refused as error:
                self.refused.append((action, str(error)))
                break
            executed.append(action)
            self.done.append(action)
            if self.kill_after is not None and len(self.done) == self.kill_after:
                self.kill_after = None
                return planned
        if not self.world.gone:
            self.world.status = status.report(seen, replace(planned, actions=tuple(executed))).status
        return planned

    def settle(self, until: Callable[[World], bool] = lambda world: True) -> None:
        """Passes and time until there is nothing to do, nothing to wait for, and ``until`` holds."""
        quiet = 0
        for _ in range(MOST_PASSES):
            planned = self.run_pass()
            self.world.tick()
            quiet = quiet + 1 if not planned and until(self.world) else 0
            if self.world.gone or quiet == QUIET_PASSES:
                return
        raise AssertionError(f"not settled: {planned.actions} {planned.waits}; refused {self.refused[-3:]}")

    def work(self, passes: int) -> Plan:
        """So many passes, whatever comes of them; the last plan."""
        for _ in range(passes):
            planned = self.run_pass()
            self.world.tick()
        return planned

    def _act(self, action: Action, is_stale: bool) -> None:
        """A change of members that was decided by an old view may wait until those that went since are back."""
        before = self.world.serves()
        life = self.world.life()
        alone = life is not None and len(life.voters) == 1
        act(self.world, action)
        exempt = (alone and isinstance(action, EvictPod)) or (is_stale and isinstance(action, ChangeMembers))
        if before and not self.world.deleted and not exempt:
            assert self.world.serves(), f"{action!r} took the quorum away"


def check(planned: Plan) -> None:
    """What holds of every plan."""
    disruptive = [action for action in planned.actions if isinstance(action, DISRUPTIVE)]
    assert len(disruptive) <= 1, f"two disruptive actions: {disruptive}"
    assert not disruptive or planned.actions[-1] is disruptive[0], "a disruptive action that isn't the last"


def shape(world: World) -> dict[str, Any]:
    """The state in which a story ends, without what chance decides: ids, uids, times."""
    life = world.life()
    live = world.objects
    return {
        "objects": {
            key: {"spec": value.get("spec"), "owner": value["metadata"].get("ownerReferences")}
            for key, value in live.items()
        },
        "annotations": {key: value["metadata"].get("annotations") for key, value in live.items()},
        "secrets": sorted(world.secrets),
        "voters": sorted(member.name for member in life.voters) if life is not None else None,
        "learners": sorted(member.name for member in life.learners) if life is not None else None,
        "recorded": _is_recorded(world),
        "pods": {name: (pod.template, pod.running, pod.terminating) for name, pod in sorted(world.pods.items())},
        "claims": {ordinal: (claim.requested, bool(claim.retired)) for ordinal, claim in sorted(world.claims.items())},
        "pairs": sorted(world.pairs),
        "finalizers": world.finalizers,
        "phase": world.status.get("phase"),
        "failed": world.status.get("failedTemplate"),
    }


def _is_recorded(world: World) -> bool:
    secret, life = world.secrets.get(names.identity_secret("eth")), world.life()
    if secret is None or life is None:
        return False
    return secret.data[names.IDENTITY_INCARNATION].decode() == life.incarnation


def changes(operator: Operator) -> list[ChangeMembers]:
    return [action for action in operator.done if isinstance(action, ChangeMembers)]


def recoveries(operator: Operator) -> list[Recover]:
    return [action for action in operator.done if isinstance(action, Recover)]
