"""One pass over one group: look, plan, act, look at what became of it, write the status.

A pass remembers nothing but what spares requests. Its actions are done in the order of the plan, each only while the
lease is held, and it ends early at the first that isn't done, since what follows was built on it; only a refusal of
what nothing is built on (``actions.INDEPENDENT``) is passed over.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace

from orderbook_operator import names, status
from orderbook_operator.act import DONE, Actor, Outcome, Result
from orderbook_operator.actions import INDEPENDENT, Action, ApplyObject
from orderbook_operator.cluster import GROUP, STATEFUL_SET, Cluster, ClusterError, Json, NotFound
from orderbook_operator.events import About, Recorder
from orderbook_operator.metrics import Metrics, PassResult
from orderbook_operator.observation import Manifest, Observation
from orderbook_operator.observe import Observer, Sight
from orderbook_operator.plan import plan
from orderbook_operator.policy.decision import Plan, Reason, Wait
from orderbook_operator.seen import uid_of

_logger = logging.getLogger("orderbook.operator.pass")

Key = tuple[str, str]  # namespace, name
_RESULTS = {
    Outcome.REFUSED: PassResult.REFUSED,
    Outcome.BLOCKED: PassResult.WAITING,
    Outcome.FAILED: PassResult.FAILED,
}


@dataclass(frozen=True)
class Passed:
    """``about`` is what was done or is waited for; ``sight`` is None when the resource is gone."""

    result: PassResult
    about: Hashable = None
    sight: Sight | None = None


class Upgrades:
    """Which group may roll for a new rendering of the operator: one at a time.

    An operator that has just begun doesn't know who rolls; so nobody may begin while another group that it has heard of
    wasn't looked at yet.
    """

    def __init__(self) -> None:
        self._rolling: Key | None = None
        self._unknown: set[Key] = set()

    def may(self, group: Key) -> bool:
        return self._rolling in (None, group) and self._unknown <= {group}

    def expect(self, group: Key) -> None:
        """It was heard of, and is to be looked at."""
        self._unknown.add(group)

    def looked_at(self, group: Key) -> None:
        """A look ended, well or not: one that always fails holds up nobody."""
        self._unknown.discard(group)

    def note(self, group: Key, *, rolling: bool) -> None:
        if rolling and self._rolling is None:
            self._rolling = group
        elif not rolling and self._rolling == group:
            self._rolling = None


class Reconciler:
    """Passes over any group. ``may_act`` is the lease's ``valid``."""

    def __init__(
        self,
        cluster: Cluster,
        observer: Observer,
        actor: Actor,
        recorder: Recorder,
        metrics: Metrics,
        may_act: Callable[[], bool],
        draw: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._cluster = cluster
        self._observer = observer
        self._actor = actor
        self._recorder = recorder
        self._metrics = metrics
        self._may_act = may_act
        self._draw = draw
        self._upgrades = Upgrades()

    async def full(self, key: Key) -> Passed:
        """Everything read anew. Raises ClusterError and what else makes a look impossible."""
        raw = await self._cluster.get(GROUP, *key)
        if raw is None:
            return Passed(PassResult.GONE)
        return await self._carry_out(key, await self._observer.look(raw))

    async def quick(self, key: Key, sight: Sight) -> Passed:
        """Of a group at rest: the leader's word alone. Anything but rest is looked at in full."""
        again = await self._observer.look_again(sight)
        if again is not None:
            planned = self._plan(key, again)
            report = status.report(again.seen, planned)
            if not planned and not _patch(again.raw, report.status):
                return Passed(PassResult.CONVERGED, None, again)
        return await self.full(key)

    async def unreadable(self, key: Key, problem: str) -> None:
        """Say on the resource why nothing is done for it."""
        try:
            raw = await self._cluster.get(GROUP, *key)
        except ClusterError as error:
            _logger.warning("what is wrong with the group can't be said on it: %s", error)
            return
        if raw is not None and self._may_act():
            await self._recorder.record(About(*key, uid_of(raw)), "Warning", "Unreadable", problem)

    def expect(self, key: Key) -> None:
        """A task for this group begins."""
        self._upgrades.expect(key)

    def ended(self, key: Key) -> None:
        """A pass over this group ended, in whatever way."""
        self._upgrades.looked_at(key)

    def forget(self, key: Key, sight: Sight | None) -> None:
        """The group is gone."""
        self._upgrades.note(key, rolling=False)
        if sight is not None:
            self._observer.forget(sight)

    def _plan(self, key: Key, sight: Sight) -> Plan:
        """Also says who rolls: in one go, so that two groups can't both be told that nobody else does."""
        seen = replace(sight.seen, may_upgrade=self._upgrades.may(key))
        planned = plan(seen, self._draw)
        self._upgrades.note(key, rolling=_rolls(seen, planned))
        return planned

    async def _carry_out(self, key: Key, sight: Sight) -> Passed:
        planned = self._plan(key, sight)
        done: list[Action] = []
        failed: tuple[Action, Result] | None = None
        for action in planned.actions:
            if not self._may_act():
                return Passed(PassResult.STOPPED, None, sight)
            try:
                result = await self._actor.act(action, sight)
            except ClusterError:
                await self._report_before_the_end(sight, Plan(tuple(done), planned.waits))
                raise
            self._tell(key, action, result)
            if result.outcome is Outcome.DONE:
                done.append(action)
                continue
            failed = failed or (action, result)
            if result.outcome is not Outcome.REFUSED or not isinstance(action, INDEPENDENT):
                break
        waits = (*planned.waits, *_wait_for(failed))
        all_is_well = await self._report(sight, Plan(tuple(done), waits), failed)
        about = (
            tuple((type(action).__name__, *_subject(action).values()) for action in planned.actions),
            tuple(wait.reason for wait in planned.waits),
        )
        return Passed(_result_of(planned, failed, all_is_well), about, sight)

    def _tell(self, key: Key, action: Action, result: Result) -> None:
        kind = type(action).__name__
        self._metrics.acted(action, result.outcome)
        fields = {"action": kind, "outcome": result.outcome.value, **_subject(action)}
        if result is DONE:
            _logger.info("done", extra={"fields": fields})
        else:
            _logger.warning("not done: %s", result.message, extra={"fields": fields})

    async def _report_before_the_end(self, sight: Sight, planned: Plan) -> None:
        """What was done before the API server gave no answer, if it takes that much; the next look would not know."""
        if not planned.actions:
            return
        try:
            await self._report(sight, planned, None)
        except ClusterError as error:
            _logger.warning("what was done can't be told on the group: %s", error)

    async def _report(self, sight: Sight, planned: Plan, failed: tuple[Action, Result] | None) -> bool:
        """Status and Events; neither once the lease is lost. Whether the status says that all is well."""
        resource = sight.seen.resource
        report = status.report(sight.seen, planned)
        all_is_well = _is_well(report.status)
        self._metrics.shows((resource.namespace, resource.name), report.status.get("phase"))
        if not self._may_act():
            return all_is_well
        patch = _patch(sight.raw, report.status)
        if patch:
            try:
                await self._cluster.patch(GROUP, resource.namespace, resource.name, {"status": patch}, "status")
            except NotFound:
                return all_is_well  # it went away with its finalizer
        about = About(resource.namespace, resource.name, resource.metadata.uid)
        said = [(event.type, event.reason, event.message) for event in report.events]
        if failed is not None and failed[1].outcome is Outcome.REFUSED:
            said.append(("Warning", f"{type(failed[0]).__name__}Refused", failed[1].message))
        await asyncio.gather(*(self._recorder.record(about, *event) for event in said))
        return all_is_well


def _wait_for(failed: tuple[Action, Result] | None) -> tuple[Wait, ...]:
    """What the status says of an action that was not done; one that was overtaken is soon planned anew, or not."""
    if failed is None or failed[1].outcome is Outcome.STALE:
        return ()
    action, result = failed
    reason = Reason.ACTION_REFUSED if result.outcome is Outcome.REFUSED else Reason.ACTION_BLOCKED
    what = " ".join((type(action).__name__, *_subject(action).values()))
    return (Wait(reason, f"{what}: {result.message}"),)


def _rolls(seen: Observation, planned: Plan) -> bool:
    """Whether pods of this group are being replaced for another template, or are about to be."""
    live = seen.stateful_set
    if live is None:
        return False
    if any(pod.template != live.template for pod in seen.pods):
        return True
    applied = (action.manifest for action in planned.actions if isinstance(action, ApplyObject))
    return any(_template_of(manifest) not in ("", live.template) for manifest in applied)


def _template_of(manifest: Manifest) -> str:
    if manifest["kind"] != STATEFUL_SET.kind:
        return ""
    return str((manifest["spec"]["template"]["metadata"].get("annotations") or {}).get(names.TEMPLATE, ""))


def _is_well(report: Json) -> bool:
    holds = {one["type"] for one in report["conditions"] if one["status"] == "True"}
    return "Ready" in holds and "Degraded" not in holds


def _result_of(planned: Plan, failed: tuple[Action, Result] | None, all_is_well: bool) -> PassResult:
    """Only a group that is well is at rest: what ails another one (a cluster node that is down) comes with no Event."""
    if failed is not None:
        return _RESULTS.get(failed[1].outcome, PassResult.STALE)
    if planned.actions:
        return PassResult.ACTED
    return PassResult.CONVERGED if all_is_well and not planned.waits else PassResult.WAITING


def _patch(raw: Json, wanted: Json) -> Json:
    """The merge patch that makes the status what it should be; empty if it is."""
    known = raw.get("status") or {}
    changed = {name: value for name, value in wanted.items() if value is not None and known.get(name) != value}
    gone = {name: None for name in known if wanted.get(name) is None}
    return {**changed, **gone}


def _subject(action: Action) -> dict[str, str]:
    """What of an action a line of the log names; never the content of a Secret."""
    words = {name: getattr(action, name) for name in ("name", "pod", "claim", "to", "reason") if hasattr(action, name)}
    manifest = getattr(action, "manifest", None)
    if manifest is not None:
        words |= {"kind": manifest["kind"], "name": manifest["metadata"]["name"]}
    key = getattr(action, "key", None)
    if key is not None:
        words |= {"kind": key.kind, "name": key.name}
    return {name: str(value) for name, value in words.items()}
