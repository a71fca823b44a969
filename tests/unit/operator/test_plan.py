"""The policy as a table: what is seen of a group at rest and then changed, what is done, and what is waited for."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from orderbook_operator import actions as a
from orderbook_operator import names
from orderbook_operator.observation import ObjectKey, Observation
from orderbook_operator.plan import Plan, plan
from orderbook_operator.policy.decision import Reason
from orderbook_operator.scalars import Quantity
from unit.operator.groups_seen import (
    Change,
    annotated,
    at_rest,
    changed,
    claim,
    down,
    group,
    id_of,
    leader_is,
    learner,
    led,
    member,
    metadata,
    new_pod,
    no_leader,
    no_pod,
    pod,
    sight,
    spec,
    stateful_set,
    stranger,
)

NEW_IMAGE = spec(image="registry.example.com/orderbook:2")
UPGRADE, NOT_NOW = sight(default_image="registry.example.com/orderbook:3"), sight(may_upgrade=False)
LOST_NODE = claim(1, node="worker-1", node_exists=False)


def planned(seen: Observation) -> Plan:
    return plan(seen, random.Random(1).randbytes)


def told(action: a.Action) -> str:
    """An action in a word or two: its kind and what it is about."""
    match action:
        case a.ApplyObject(manifest):
            about = f"{manifest['kind']}"
            if manifest["kind"] == "StatefulSet":
                about += f" of {manifest['spec']['replicas']}"
        case a.ChangeMembers(voters, learners):
            short = [f"{one.name[-1]}/{one.id}" if one.id > 900 else one.name[-1] for one in voters]
            about = ",".join(short) + "".join(f"+{one.name[-1]}" for one in learners)
        case a.DeleteObject(key):
            about = key.kind
        case a.SetFinalizer(present):
            about = str(present)
        case a.TransferLeadership(to):
            about = to
        case a.LabelClaim(name, _, retired):
            about = f"{name} {'retired' if retired else 'used'}"
        case a.DefinePair(pair) | a.ChangePair(pair):
            about = pair.base
        case a.Recover(survivor):
            about = survivor.name
        case _:
            fields: Any = action
            about = getattr(fields, "pod", "") or getattr(fields, "claim", "") or getattr(fields, "name", "")
    return f"{type(action).__name__} {about}"


Row = tuple[str, int, list[Change], list[str], list[Reason]]

ROWS: list[Row] = [
    ("at rest, nothing", 3, [], [], []),
    ("one replica at rest, nothing", 1, [], [], []),
    # Finalizer, pause
    ("the finalizer comes first", 3, [metadata(finalizers=()), NEW_IMAGE], ["SetFinalizer True"], []),
    ("paused: pods and members are left alone", 3, [spec(paused=True, replicas=5), NEW_IMAGE, no_pod(2)], [], []),
    # Growth
    ("growth begins with a pod", 3, [spec(replicas=5)], ["ApplyObject StatefulSet of 4"], []),
    ("no pod is added while a member lags", 3, [spec(replicas=5), down(2)], [], [Reason.MEMBERS_CATCH_UP]),
    (
        "a stranger becomes a learner",
        3,
        [spec(replicas=5), stateful_set(replicas=4), new_pod(3, ready=False), stranger(3, 901)],
        ["ChangeMembers 0,1,2+3"],
        [],
    ),
    (
        "a stranger that isn't wanted isn't added, its pod goes",
        3,
        [stateful_set(replicas=4), new_pod(3, ready=False), stranger(3, 901)],
        ["ApplyObject StatefulSet of 3"],
        [],
    ),
    (
        "one learner that caught up waits for the second: voters stay odd",
        3,
        [spec(replicas=5), stateful_set(replicas=5), new_pod(3), learner(3, 901, caught_up=True)],
        [],
        [Reason.SCALING_UP],
    ),
    (
        "two learners become voters in one change",
        3,
        [
            spec(replicas=5),
            stateful_set(replicas=5),
            new_pod(3),
            new_pod(4),
            learner(3, 901, caught_up=True),
            learner(4, 902, caught_up=True),
        ],
        ["ChangeMembers 0,1,2,3/901,4/902"],
        [],
    ),
    (
        "a learner that lags isn't promoted",
        3,
        [
            spec(replicas=5),
            stateful_set(replicas=5),
            new_pod(3),
            new_pod(4),
            learner(3, 901, caught_up=True),
            learner(4, 902, caught_up=False),
        ],
        [],
        [Reason.SCALING_UP],
    ),
    # Shrinkage
    ("those that are too many leave at once", 5, [spec(replicas=3)], ["ChangeMembers 0,1,2"], []),
    (
        "the leadership goes first to one that stays",
        5,
        [spec(replicas=3), leader_is(4)],
        ["TransferLeadership eth-0"],
        [],
    ),
    (
        "nobody leaves where those that stay would have no quorum",
        5,
        [spec(replicas=3), down(0), down(1)],
        [],
        [Reason.QUORUM_AT_RISK],
    ),
    ("5 to 1 in one change", 5, [spec(replicas=1), leader_is(0)], ["ChangeMembers 0"], []),
    # Under way
    (
        "a joint configuration leaves by itself",
        5,
        [spec(replicas=3), group(joint=True)],
        [],
        [Reason.CHANGE_IN_PROGRESS],
    ),
    (
        "an uncommitted change is waited for",
        5,
        [spec(replicas=3), group(configuration_committed=False)],
        [],
        [Reason.CHANGE_IN_PROGRESS],
    ),
    ("a transfer is waited for", 5, [spec(replicas=3), group(transferee="eth-1")], [], [Reason.CHANGE_IN_PROGRESS]),
    (
        "no pod ends by a change that may be undone",
        3,
        [stateful_set(replicas=5), group(configuration_committed=False)],
        [],
        [Reason.CHANGE_IN_PROGRESS],
    ),
    ("no pod ends without the leader's word", 3, [stateful_set(replicas=5), no_leader], [], [Reason.NO_LEADER]),
    (
        "with it, those of no member end",
        3,
        [stateful_set(replicas=5), new_pod(3, ready=False), new_pod(4, ready=False)],
        ["ApplyObject StatefulSet of 3"],
        [],
    ),
    # A lost volume
    (
        "a member that comes with another id replaces the old one",
        3,
        [down(1), stranger(1, 901)],
        ["ChangeMembers 0,1/901,2"],
        [],
    ),
    ("a member that is still heard isn't lost", 3, [stranger(1, 901)], [], []),
    (
        "a lost member waits for a quorum that is up",
        3,
        [down(1), down(2), stranger(1, 901)],
        [],
        [Reason.QUORUM_AT_RISK],
    ),
    # The roll
    ("the new template comes before the first pod goes", 3, [NEW_IMAGE], ["ApplyObject StatefulSet of 3"], []),
    ("a member that is down goes first", 3, [NEW_IMAGE, down(1)], ["ApplyObject StatefulSet of 3"], []),
    ("not while another member is down", 5, [NEW_IMAGE, down(1), down(2)], [], [Reason.ROLLING]),
    ("not without a leader where all pods run", 3, [NEW_IMAGE, no_leader], [], [Reason.NO_LEADER] * 2),
    (
        "without a leader where a pod doesn't run it can't hurt",
        3,
        [NEW_IMAGE, no_leader, pod(1, running=False, ready=False)],
        ["ApplyObject StatefulSet of 3"],
        [],
    ),
    ("an upgrade of the operator waits for its turn", 3, [UPGRADE, NOT_NOW], [], [Reason.UPGRADE_QUEUED]),
    ("and then is a roll", 3, [UPGRADE], ["ApplyObject StatefulSet of 3"], []),
    ("a user's change waits for no upgrade", 3, [NEW_IMAGE, NOT_NOW], ["ApplyObject StatefulSet of 3"], []),
    ("not even one that comes with it", 3, [NEW_IMAGE, UPGRADE, NOT_NOW], ["ApplyObject StatefulSet of 3"], []),
    (
        "more members are no new template",
        3,
        [spec(replicas=5), UPGRADE, NOT_NOW],
        ["ApplyObject StatefulSet of 4"],
        [Reason.UPGRADE_QUEUED],
    ),
    (
        "outdated followers go first",
        3,
        [pod(0, revision="old"), pod(2, revision="old"), leader_is(0)],
        ["EvictPod eth-2"],
        [],
    ),
    ("the leader hands over first", 3, [pod(0, revision="old"), leader_is(0)], ["TransferLeadership eth-1"], []),
    ("and is a follower when it goes", 3, [pod(0, revision="old"), leader_is(1)], ["EvictPod eth-0"], []),
    (
        "nobody outdated takes over",
        3,
        [pod(0, revision="old"), pod(1, revision="old"), pod(2, ready=False), leader_is(0)],
        [],
        [Reason.ROLLING],
    ),
    (
        "two voters can't miss one of them",
        3,
        [lambda seen: group(members=led(seen).members[:2])(seen), pod(0, revision="old"), leader_is(1)],
        ["ApplyObject PodDisruptionBudget"],
        [Reason.SCALING_UP, Reason.QUORUM_AT_RISK],
    ),
    ("one pod at a time", 3, [pod(0, revision="old"), down(1)], [], [Reason.ROLLING]),
    ("an outdated pod that is down itself goes", 3, [pod(1, revision="old"), down(1)], ["EvictPod eth-1"], []),
    (
        "of two outdated ones the one that is down goes first",
        3,
        [pod(0, revision="old"), pod(1, revision="old"), down(1)],
        ["EvictPod eth-1"],
        [],
    ),
    ("a single replica goes without a successor", 1, [pod(0, revision="old")], ["EvictPod eth-0"], []),
    (
        "revisions aren't compared while the controller lags",
        3,
        [pod(0, revision="old"), stateful_set(current=False)],
        [],
        [],
    ),
    (
        "an outdated pod that doesn't run is deleted, also without a leader",
        3,
        [no_leader, pod(1, revision="old", running=False, ready=False)],
        ["DeletePod eth-1"],
        [],
    ),
    (
        "a pod of the newest template that doesn't run is left to the kubelet",
        3,
        [no_leader, pod(1, running=False)],
        [],
        [Reason.NO_LEADER],
    ),
    # A pinned member
    ("pinned, and nothing else", 3, [down(1), LOST_NODE], [], [Reason.MEMBER_PINNED]),
    (
        "given up: until Kubernetes has removed its pod",
        3,
        [down(1), LOST_NODE, claim(1, terminating=True)],
        [],
        [Reason.CLAIM_TERMINATING],
    ),
    # Claims
    (
        "a larger volume is asked for",
        1,
        [lambda s: spec(storage=s.resource.spec.storage.model_copy(update={"size": Quantity("8Gi")}))(s)],
        ["GrowClaim data-eth-0"],
        [],
    ),
    ("a claim that is used again isn't retired", 3, [claim(2, retired="7")], ["LabelClaim data-eth-2 used"], []),
    (
        "a claim that a wanted pod needs is waited for while it goes",
        3,
        [claim(2, retired="7", terminating=True)],
        [],
        [Reason.CLAIM_TERMINATING],
    ),
    # Objects
    ("without a leader nothing is done to pods", 3, [no_leader], [], [Reason.NO_LEADER]),
    ("a missing pod is the controller's", 3, [no_pod(1), member(1, active=False, caught_up=False)], [], []),
]


@pytest.mark.parametrize(
    ("replicas", "changes", "actions", "reasons"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS]
)
def test_table(replicas, changes, actions, reasons):
    result = planned(changed(at_rest(replicas), *changes))
    assert [told(action) for action in result.actions] == actions
    assert [wait.reason for wait in result.waits] == reasons


# --- identity ---------------------------------------------------------------------------------------------------------


def test_an_identity_is_made_before_anything_that_could_form_a_group():
    seen = replace(at_rest(), identity=None, claims=(), pods=(), stateful_set=None, group=None, nodes={}, objects={})
    made = [told(action) for action in planned(seen).actions]
    assert "CreateSecret eth-identity" in made and "ApplyObject StatefulSet of 3" not in made
    (secret,) = [action for action in planned(seen).actions if isinstance(action, a.CreateSecret)]
    assert secret.data["initial-size"] == b"3" and len(secret.data["key"]) == 64 and not secret.owned


def test_a_lost_identity_is_not_made_up():
    result = planned(replace(at_rest(), identity=None))
    assert [wait.reason for wait in result.waits] == [Reason.IDENTITY_LOST]
    assert not [action for action in result.actions if isinstance(action, a.CreateSecret)]


def test_the_incarnation_is_recorded_when_first_read():
    seen = at_rest()
    assert seen.identity is not None
    (action,) = planned(replace(seen, identity=replace(seen.identity, incarnation=""))).actions
    assert isinstance(action, a.ReplaceSecret)
    assert action.data["incarnation"] == led(seen).incarnation.encode()
    assert (action.uid, action.resource_version) == (seen.identity.uid, seen.identity.resource_version)


def test_another_incarnation_is_no_reason_to_record_it():
    result = planned(changed(at_rest(), group(incarnation="f" * 32), spec(replicas=5)))
    assert (result.actions, [wait.reason for wait in result.waits]) == ((), [Reason.INCARNATION_DIFFERS])


def test_a_secret_that_cant_be_read_stops_no_member():
    seen = changed(at_rest(), down(1), stranger(1, 901))
    assert seen.authority is not None
    broken = replace(seen, authority=replace(seen.authority, data={"ca.1.crt": b"?"}))
    result = planned(broken)
    assert [told(action) for action in result.actions] == ["ChangeMembers 0,1/901,2"]
    assert [wait.reason for wait in result.waits] == [Reason.SECRET_UNREADABLE]


# --- objects ----------------------------------------------------------------------------------------------------------


def test_what_is_missing_is_made_and_what_is_not_ours_left_alone():
    seen = at_rest()
    service = ObjectKey("v1", "Service", "eth")
    others = {key: live for key, live in seen.objects.items() if key != service}
    assert [told(action) for action in planned(replace(seen, objects=others)).actions] == ["ApplyObject Service"]
    foreign = {**seen.objects, service: {**seen.objects[service], "metadata": {"name": "eth", "uid": "x"}}}
    result = planned(replace(seen, objects=foreign, foreign=(service,)))
    assert (result.actions, [wait.reason for wait in result.waits]) == ((), [Reason.NAME_TAKEN])


def test_nobody_is_told_to_delete_a_secret_that_only_lost_its_labels():
    taken = replace(at_rest(), identity=None, foreign=(ObjectKey("v1", "Secret", "eth-identity"),))
    (first, *_) = planned(taken).waits
    assert first.reason is Reason.NAME_TAKEN
    assert "kubectl label secret eth-identity -n trading app.kubernetes.io/instance=eth" in first.message


def test_a_foreign_stateful_set_stops_pods_and_members():
    seen = at_rest()
    key = seen.stateful_set_key
    foreign = replace(seen, foreign=(key,), stateful_set=None, resource=changed(seen, spec(replicas=5)).resource)
    assert planned(foreign).actions == ()


def test_what_is_of_no_use_any_more_is_removed():
    seen = at_rest()
    policy = seen.resource.spec.network_policy.model_copy(update={"enabled": False})
    result = planned(changed(seen, spec(network_policy=policy)))
    assert [told(action) for action in result.actions] == ["DeleteObject NetworkPolicy"] * 3


# --- templates --------------------------------------------------------------------------------------------------------


def test_the_template_in_force_stays_until_the_roll_begins():
    seen = changed(at_rest(), UPGRADE, NOT_NOW)
    edited = {**seen.objects[seen.stateful_set_key]}
    edited["spec"] = {**edited["spec"], "podManagementPolicy": "OrderedReady"}
    result = planned(replace(seen, objects={**seen.objects, seen.stateful_set_key: edited}))
    (action,) = result.actions
    assert isinstance(action, a.ApplyObject)
    assert action.manifest["spec"]["template"]["spec"]["containers"][0]["image"] == at_rest().default_image


def test_a_failed_template_is_taken_back_and_both_are_recorded_in_one_update():
    seen = at_rest()
    assert seen.stateful_set is not None
    before = seen.stateful_set.template
    rolled = changed(seen, NEW_IMAGE)
    (applied,) = planned(rolled).actions
    assert isinstance(applied, a.ApplyObject)
    now = {"uid": seen.stateful_set.uid, "resourceVersion": "99"}
    manifest = {**applied.manifest, "metadata": {**applied.manifest["metadata"], **now}}
    rendered = manifest["spec"]["template"]["metadata"]["annotations"][names.TEMPLATE]
    rolling = changed(
        replace(rolled, objects={**rolled.objects, rolled.stateful_set_key: manifest}),
        stateful_set(template=rendered, update_revision="eth-2"),
        pod(2, template=rendered, revision="eth-2", created=rolled.now - 61, ready=False),
        pod(0, revision="eth-1", template=before),
        pod(1, revision="eth-1", template=before),
    )
    (back,) = planned(rolling).actions
    assert isinstance(back, a.ApplyObject)
    assert back.manifest["metadata"]["annotations"] == {
        names.PROVEN_TEMPLATE: before,
        names.FAILED_TEMPLATE: rendered,
        names.ASKED: manifest["metadata"]["annotations"][names.ASKED],
    }
    assert back.manifest["spec"]["template"]["metadata"]["annotations"][names.TEMPLATE] == before
    early = changed(rolling, pod(2, created=rolled.now - 59))
    assert not planned(early).actions


# --- people's words ---------------------------------------------------------------------------------------------------


def test_a_pinned_member_is_given_up_only_by_its_own_name_and_id():
    seen = changed(at_rest(), down(1), LOST_NODE, pod(1, running=False))
    word = str(id_of(seen, 1))
    assert [told(one) for one in planned(changed(seen, annotated(names.REPLACE_MEMBER, word))).actions] == [
        "DeleteClaim data-eth-1"
    ]
    for other in ("eth-1/999", f"eth-0/{id_of(seen, 0).id}", "eth-1", word + "x"):
        assert not planned(changed(seen, annotated(names.REPLACE_MEMBER, other))).actions
    going = changed(seen, annotated(names.REPLACE_MEMBER, word), claim(1, terminating=True))
    assert [told(one) for one in planned(going).actions] == ["DeletePod eth-1"]


def test_a_pinned_members_claim_stays_while_its_node_is_there_or_it_is_heard():
    word = annotated(names.REPLACE_MEMBER, str(id_of(at_rest(), 1)))
    node_is_there = changed(at_rest(), down(1), claim(1, node="worker-1", node_exists=True), word)
    heard = changed(at_rest(), LOST_NODE, word)
    assert not planned(node_is_there).actions and not planned(heard).actions
    assert [wait.reason for wait in planned(heard).waits] == [Reason.REPLACEMENT_REFUSED]


# --- teardown ---------------------------------------------------------------------------------------------------------


def test_a_deleted_group_without_our_finalizer_is_let_go():
    assert planned(changed(at_rest(), metadata(deletion_timestamp="2026-01-01T00:00:00Z", finalizers=()))) == Plan()


def test_teardown_does_not_wait_for_pods_on_lost_nodes_nor_touch_what_is_not_ours():
    seen = changed(at_rest(), metadata(deletion_timestamp="2026-01-01T00:00:00Z"))
    (first,) = planned(seen).actions
    assert told(first) == "DeleteObject StatefulSet"
    gone = {key: live for key, live in seen.objects.items() if key != seen.stateful_set_key}
    foreign = ObjectKey("v1", "Service", "eth")
    gone[foreign] = {**gone[foreign], "metadata": {"name": "eth", "uid": "x"}}
    seen = replace(seen, objects=gone, stateful_set=None, group=None)
    assert [wait.reason for wait in planned(seen).waits] == [Reason.TEARING_DOWN]
    lost = changed(seen, *(pod(i, node_ready=False, terminating=True) for i in range(3)))
    deleted = [action.key for action in planned(lost).actions if isinstance(action, a.DeleteObject)]
    assert deleted and foreign not in deleted
    rest = replace(lost, objects={foreign: gone[foreign]}, authority=None, credentials=None)
    assert [told(action) for action in planned(rest).actions] == ["SetFinalizer False"]
