"""One Action -> the API server, or a node. No policy: what is done was decided, and carries what makes it safe.

An action ends in an Outcome, or, when the API server gives no answer, in ``Unreachable``: then it may have been done,
and the next look tells.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, NamedTuple

from orderbook.client.api import ApiRefused
from orderbook.groups.errors import GroupError, Unavailable
from orderbook_operator import names
from orderbook_operator.actions import (
    Action,
    ApplyObject,
    ChangeMembers,
    ChangePair,
    CreateSecret,
    DefinePair,
    DeleteClaim,
    DeleteObject,
    DeletePod,
    EvictPod,
    GrowClaim,
    LabelClaim,
    Recover,
    ReplaceSecret,
    SetFinalizer,
    TransferLeadership,
)
from orderbook_operator.cluster import (
    CLAIM,
    GROUP,
    POD,
    SECRET,
    Cluster,
    Conflict,
    Json,
    NotFound,
    Refused,
    Throttled,
    Unreachable,
    kind_of,
)
from orderbook_operator.managed_fields import reclaimed
from orderbook_operator.manifests.metadata import owned
from orderbook_operator.nodes import Door, Nodes
from orderbook_operator.observation import Manifest, ObjectKey
from orderbook_operator.observe import Sight

EXIT_FAILPOINT = 86
RECLAIM_ATTEMPTS = 3


class Outcome(Enum):
    """A closed set, also labels of metrics."""

    DONE = "done"
    STALE = "stale"  # what it was based on has changed: look again
    BLOCKED = "blocked"  # not now: a disruption budget, or a group without a leader
    UNCERTAIN = "uncertain"  # a node got it, and no answer came: look again
    FAILED = "failed"  # the API server answered with a failure: a webhook that is down, two budgets over one pod
    REFUSED = "refused"  # the verdict of the API server or the group; repeating it is useless


class Result(NamedTuple):
    """``message`` says why, unless it was done."""

    outcome: Outcome
    message: str = ""


DONE = Result(Outcome.DONE)


class Actor:
    """Does actions to groups."""

    def __init__(
        self, cluster: Cluster, nodes: Nodes, failpoint: Callable[[Action], None] = lambda action: None
    ) -> None:
        self._cluster = cluster
        self._nodes = nodes
        self._failpoint = failpoint

    async def act(self, action: Action, sight: Sight) -> Result:
        """Raises cluster.Unreachable: there was no answer."""
        try:
            await self._do(action, sight)
        except (Conflict, NotFound) as error:
            return Result(Outcome.STALE, str(error))
        except Throttled as error:
            return Result(Outcome.BLOCKED, error.message)
        except Refused as error:
            return Result(Outcome.REFUSED, str(error))
        except Unreachable as error:
            if not error.status:
                raise
            return Result(Outcome.FAILED, error.message)
        except ApiRefused as error:
            is_verdict = error.status not in (401, 404, 409, 421)
            return Result(Outcome.REFUSED if is_verdict else Outcome.STALE, str(error))
        except NobodyToAsk as error:
            return Result(Outcome.STALE, str(error))
        except GroupError as error:
            return Result(_outcome_of(error), str(error))
        self._failpoint(action)
        return DONE

    async def _do(self, action: Action, sight: Sight) -> None:
        if isinstance(action, SetFinalizer):
            await self._set_finalizer(action, sight)
        elif isinstance(action, ApplyObject):
            await self._apply(action, sight)
        elif isinstance(action, CreateSecret | ReplaceSecret):
            await self._write_secret(action, sight)
        elif isinstance(action, ChangeMembers | TransferLeadership | DefinePair | ChangePair):
            await self._ask_leader(action, sight)
        elif isinstance(action, Recover):
            door, pod, address = _node(sight, action.survivor.name)
            await self._nodes.recover(door, pod, address, action.survivor, action.last_term, action.last_index)
        else:
            await self._change_part(action, sight.seen.resource.namespace)

    # --- the API server -----------------------------------------------------------------------------------------------

    async def _set_finalizer(self, action: SetFinalizer, sight: Sight) -> None:
        resource = sight.seen.resource
        others = [one for one in resource.metadata.finalizers if one != names.FINALIZER]
        wanted = [*others, names.FINALIZER] if action.present else others
        patch = {"metadata": {"resourceVersion": action.resource_version, "finalizers": wanted}}
        await self._cluster.patch(GROUP, resource.namespace, resource.name, patch)

    async def _apply(self, action: ApplyObject, sight: Sight) -> None:
        """A new object is created, and only then taken over as if it had been applied: an apply alone would adopt
        whatever was made under its name since we looked."""
        namespace, manifest = sight.seen.resource.namespace, action.manifest
        uid, version, reclaim = action.uid, action.resource_version, action.reclaim
        if not uid:
            uid, reclaim = str((await self._cluster.create(manifest, namespace))["metadata"]["uid"]), True
        if reclaim:
            version = await self._reclaim(manifest, namespace, uid, version)
        fence = {"resourceVersion": version} if version else {}
        await self._cluster.apply(_with_metadata(manifest, uid=uid, **fence), namespace)

    async def _reclaim(self, manifest: Manifest, namespace: str, uid: str, version: str) -> str:
        """Make what others set ours, so that the apply which follows removes what we don't want. A controller that
        reports a status meanwhile, as on every new object, is no reason to look at the group anew, unless nothing may
        have changed since ``version``. Then that of the object as it is now is returned, else ""."""
        key = ObjectKey(manifest["apiVersion"], manifest["kind"], manifest["metadata"]["name"])
        for attempts_left in reversed(range(RECLAIM_ATTEMPTS)):
            live = await self._cluster.get(kind_of(key), namespace, key.name)
            if live is None:
                return version  # the apply will say so
            metadata = live["metadata"]
            patch = {
                "uid": uid,
                "resourceVersion": version or metadata["resourceVersion"],
                "managedFields": reclaimed(metadata.get("managedFields") or [], key.api_version),
            }
            try:
                changed = await self._cluster.patch(kind_of(key), namespace, key.name, {"metadata": patch})
            except Conflict:
                if version or not attempts_left:
                    raise
            else:
                return str(changed["metadata"]["resourceVersion"]) if version else ""
        raise AssertionError("the last attempt ends in one way or the other")

    async def _write_secret(self, action: CreateSecret | ReplaceSecret, sight: Sight) -> None:
        resource = sight.seen.resource
        metadata = owned(resource, action.name)
        if not action.owned:
            del metadata["ownerReferences"]
        manifest = {
            "apiVersion": SECRET.api_version,
            "kind": SECRET.kind,
            "metadata": metadata,
            "type": "Opaque",
            "data": {key: base64.b64encode(value).decode("ascii") for key, value in sorted(action.data.items())},
        }
        if isinstance(action, CreateSecret):
            await self._cluster.create(manifest, resource.namespace)
            return
        expected = _with_metadata(manifest, uid=action.uid, resourceVersion=action.resource_version)
        await self._cluster.replace(expected, resource.namespace)

    async def _change_part(
        self, action: DeleteObject | EvictPod | DeletePod | DeleteClaim | LabelClaim | GrowClaim, namespace: str
    ) -> None:
        if isinstance(action, DeleteObject):
            await self._cluster.delete(action.key, namespace, action.uid)
        elif isinstance(action, EvictPod):
            await self._cluster.evict(namespace, action.pod, action.uid)
        elif isinstance(action, DeletePod):
            await self._cluster.delete(POD.key(action.pod), namespace, action.uid, action.resource_version)
        elif isinstance(action, DeleteClaim):
            await self._cluster.delete(CLAIM.key(action.claim), namespace, action.uid, action.resource_version)
        elif isinstance(action, LabelClaim):
            labels = {names.RETIRED: action.retired or None}
            patch: Json = {"metadata": {"uid": action.uid, "labels": labels}}
            await self._cluster.patch(CLAIM, namespace, action.claim, patch)
        else:
            patch = {"metadata": {"uid": action.uid}, "spec": {"resources": {"requests": {"storage": action.size}}}}
            await self._cluster.patch(CLAIM, namespace, action.claim, patch)

    # --- the nodes ----------------------------------------------------------------------------------------------------

    async def _ask_leader(
        self, action: ChangeMembers | TransferLeadership | DefinePair | ChangePair, sight: Sight
    ) -> None:
        group = sight.seen.group
        if group is None:
            raise NobodyToAsk("nobody is known to lead")
        door, pod, address = _node(sight, group.leader.name)
        if isinstance(action, ChangeMembers):
            voters, learners, expected = action.voters, action.learners, action.expected_index
            await self._nodes.change_members(door, pod, address, voters, learners, expected)
        elif isinstance(action, TransferLeadership):
            await self._nodes.transfer(door, pod, address, action.to)
        elif isinstance(action, DefinePair):
            await self._nodes.define_pair(door, pod, address, action.pair)
        else:
            await self._nodes.change_pair(door, pod, address, action.pair)


class NobodyToAsk(Exception):
    """There is no node to do it: the policy saw one, or it would not have asked."""


def _node(sight: Sight, pod: str) -> tuple[Door, str, str]:
    address = sight.addresses.get(pod)
    if sight.door is None or address is None:
        raise NobodyToAsk(f"{pod} can't be reached")
    return sight.door, pod, address


def _outcome_of(error: GroupError) -> Outcome:
    return Outcome.BLOCKED if isinstance(error, Unavailable) else Outcome.UNCERTAIN


def _with_metadata(manifest: Manifest, **fields: str) -> dict[str, Any]:
    return {**manifest, "metadata": {**manifest["metadata"], **fields}}


# --- failpoints -------------------------------------------------------------------------------------------------------
# For tests on a cluster: the process ends right after an action of this kind was done, as if it had been killed there.


def _is_identity(action: Action) -> bool:
    return isinstance(action, CreateSecret) and not action.owned


FAILPOINTS: Mapping[str, Callable[[Action], bool]] = {
    "after-finalizer": lambda action: isinstance(action, SetFinalizer) and action.present,
    "after-identity": _is_identity,
    "after-members-changed": lambda action: isinstance(action, ChangeMembers),
    "after-evict": lambda action: isinstance(action, EvictPod),
}


def failpoint(name: str, end: Callable[[int], object] = os._exit) -> Callable[[Action], None]:
    """What an Actor is told to do after each action; "" does nothing. Raises ValueError for a name that is none."""
    if not name:
        return lambda action: None
    if name not in FAILPOINTS:
        raise ValueError(f"{name!r} is no failpoint; there are {', '.join(FAILPOINTS)}")
    is_here = FAILPOINTS[name]

    def reached(action: Action) -> None:
        if is_here(action):
            end(EXIT_FAILPOINT)

    return reached
