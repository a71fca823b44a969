"""Laws of every plan, over observations that need not make sense: whatever is seen, nothing unsafe is done."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from orderbook_operator import names, status
from orderbook_operator.actions import (
    DISRUPTIVE,
    ApplyObject,
    ChangeMembers,
    CreateSecret,
    DeleteClaim,
    DeletePod,
    EvictPod,
    LabelClaim,
    Recover,
    ReplaceSecret,
    TransferLeadership,
)
from orderbook_operator.observation import (
    ClaimSeen,
    GroupSeen,
    Member,
    MemberSeen,
    NodeSeen,
    Observation,
    PodSeen,
)
from orderbook_operator.plan import Plan, plan
from orderbook_operator.resource import OrderBookGroup, Status
from simulation_operator.stories import formed
from simulation_operator.view import observe

OLD, NEW, OTHER = "0" * 31 + "1", "0" * 31 + "2", "0" * 31 + "3"
flags = st.booleans()
mostly = st.sampled_from((True, True, True, False))
ids = st.integers(1, 3)


@st.composite
def pods(draw: st.DrawFn, ordinal: int, revision: str, template: str) -> PodSeen:
    running = draw(mostly)
    return PodSeen(
        name=names.pod("eth", ordinal),
        uid=f"pod-{ordinal}",
        ordinal=ordinal,
        revision=draw(st.sampled_from((revision, "older"))),
        template=template,
        created=draw(st.sampled_from((0.0, 1_000_000.0))),
        ready=running and draw(mostly),
        running=running,
        terminating=draw(st.sampled_from((False, False, False, True))),
        node=draw(st.sampled_from(("", "worker-0", "worker-1"))),
        node_exists=draw(mostly),
        node_ready=draw(mostly),
    )


@st.composite
def claims(draw: st.DrawFn, ordinal: int) -> ClaimSeen:
    return ClaimSeen(
        name=names.claim("eth", ordinal),
        uid=f"claim-{ordinal}",
        ordinal=ordinal,
        requested=draw(st.sampled_from(("1Gi", "4Gi"))),
        bound=draw(flags),
        terminating=draw(st.sampled_from((False, False, True))),
        retired=draw(st.sampled_from(("", "", "7"))),
        node=draw(st.sampled_from(("", "worker-0"))),
        node_exists=draw(flags),
    )


@st.composite
def groups(draw: st.DrawFn) -> GroupSeen:
    ordinals = sorted(draw(st.sets(st.integers(0, 6), min_size=1, max_size=7)))
    roles = st.sampled_from(("voter", "voter", "voter", "learner", "outgoing"))
    members = tuple(
        MemberSeen(
            names.pod("eth", i), 10 * i + draw(ids), draw(roles), draw(st.integers(0, 9)), draw(mostly), draw(mostly)
        )
        for i in ordinals
    )
    strangers = draw(st.sets(st.integers(0, 6), max_size=3))
    return GroupSeen(
        leader=draw(st.sampled_from(members)).member,
        term=3,
        incarnation=draw(st.sampled_from((OLD, OLD, OLD, NEW))),
        configuration_index=draw(st.integers(1, 99)),
        configuration_committed=draw(mostly),
        joint=not draw(mostly),
        members=members,
        strangers=tuple(Member(names.pod("eth", i), 10 * i + draw(ids)) for i in sorted(strangers)),
        transferee=draw(st.sampled_from(("", "", "", "eth-1"))),
    )


@st.composite
def observations(draw: st.DrawFn) -> Observation:
    base = observe(formed(3))
    assert base.stateful_set is not None and base.identity is not None
    live = base.stateful_set
    spec = base.resource.spec.model_copy(
        update={
            "replicas": draw(st.sampled_from((1, 3, 5, 7))),
            "paused": draw(st.sampled_from((False, False, False, True))),
            "image": draw(st.sampled_from((None, "registry.example.com/orderbook:2"))),
            "storage": base.resource.spec.storage.model_copy(
                update={"retention": draw(st.sampled_from(("Retain", "Delete")))}
            ),
        }
    )
    words = {
        names.RECOVER: f"eth-{draw(st.integers(0, 2))}/{draw(ids)}@{draw(st.sampled_from((OLD, NEW)))}",
        names.REPLACE_MEMBER: f"eth-{draw(st.integers(0, 2))}/{draw(ids)}",
    }
    deletion = draw(st.sampled_from((None, None, None, "2026-01-01T00:00:00Z")))
    metadata = base.resource.metadata.model_copy(
        update={
            "annotations": {name: word for name, word in words.items() if draw(flags)},
            "deletion_timestamp": deletion,
            "finalizers": draw(st.sampled_from(((names.FINALIZER,), (names.FINALIZER,), ()))),
        }
    )
    ordinals = sorted(draw(st.sets(st.integers(0, 7), max_size=7)))
    seen_pods = tuple(draw(pods(i, live.update_revision, live.template)) for i in ordinals)
    members = {i: Member(names.pod("eth", i), draw(ids)) for i in ordinals}
    nodes = {
        names.pod("eth", i): NodeSeen(
            names.pod("eth", i),
            members[i],
            "member",
            draw(st.sampled_from((OLD, NEW, ""))),
            last_index=draw(st.integers(0, 2)),
        )
        for i in ordinals
        if draw(flags)
    }
    assert base.authority is not None
    identity = replace(base.identity, incarnation=draw(st.sampled_from((OLD, OLD, OLD, ""))))
    return replace(
        base,
        resource=base.resource.model_copy(update={"spec": spec, "metadata": metadata}),
        stateful_set=draw(
            st.sampled_from(
                (live, replace(live, current=False), replace(live, replicas=5), replace(live, template="other"), None)
            )
        ),
        pods=seen_pods,
        claims=tuple(draw(claims(i)) for i in sorted(draw(st.sets(st.integers(0, 7), max_size=7)))),
        identity=draw(st.sampled_from((identity, identity, identity, None))),
        authority=replace(
            base.authority, ours=False
        ),  # so that no certificate is looked at: they have laws of their own
        nodes=nodes,
        group=draw(st.one_of(groups(), groups(), st.none())),
        may_upgrade=draw(mostly),
    )


def planned(seen: Observation) -> Plan:
    return plan(seen, random.Random(1).randbytes)


def of(result: Plan, *kinds: type) -> list[Any]:
    return [action for action in result.actions if isinstance(action, kinds)]


def is_up(seen: Observation, member: MemberSeen) -> bool:
    pod = seen.pod(member.name)
    assert seen.group is not None
    heard = member.member == seen.group.leader or (member.active and member.caught_up)
    return heard and pod is not None and pod.ready and not pod.terminating


def is_idle(seen: Observation, pod: PodSeen) -> bool:
    """Nobody is ready or answers, the pod is old, and it is the only member or the group never had a leader."""
    if seen.group is not None or any(other.ready for other in seen.pods) or pod.created == seen.now:
        return False
    assert seen.identity is not None
    unretired = [claim.ordinal for claim in seen.claims if not claim.retired]
    return not seen.identity.incarnation or unretired == [pod.ordinal]


@settings(max_examples=100, deadline=None)
@given(observations())
def test_at_most_one_disruptive_action_and_it_is_the_last(seen):
    disruptive = of(planned(seen), *DISRUPTIVE)
    assert len(disruptive) <= 1
    assert all(action is planned(seen).actions[-1] or action == planned(seen).actions[-1] for action in disruptive)


@settings(max_examples=100, deadline=None)
@given(observations())
def test_no_pod_that_a_quorum_needs_is_disrupted(seen):
    result, group = planned(seen), seen.group
    for action in of(result, EvictPod, DeletePod):
        pod = seen.pod(action.pod)
        assert pod is not None and pod.uid == action.uid
        if seen.resource.is_being_deleted or (isinstance(action, DeletePod) and not pod.running):
            continue
        if isinstance(action, DeletePod) and is_idle(seen, pod):
            continue
        assert group is not None
        voters = [member for member in group.members if member.role != "learner"]
        if action.pod not in [member.name for member in voters]:
            continue
        assert not group.joint and group.configuration_committed and not group.transferee
        if len(voters) > 1:
            left = [member for member in voters if member.name != action.pod and is_up(seen, member)]
            assert 2 * len(left) > len(voters)
            assert action.pod != group.leader.name


@settings(max_examples=100, deadline=None)
@given(observations())
def test_members_change_only_where_a_quorum_of_old_and_new_is_up(seen):
    result, group = planned(seen), seen.group
    for action in of(result, ChangeMembers):
        assert group is not None and not group.joint and group.configuration_committed and not group.transferee
        assert action.expected_index == group.configuration_index
        old = {member.member for member in group.members if member.role == "voter"}
        up = {member.member for member in group.members if is_up(seen, member)}
        everyone = [member.name for member in action.voters + action.learners]
        assert len(set(everyone)) == len(everyone)
        if set(action.voters) != old:
            assert 2 * len(up & old) > len(old) and 2 * len(up & set(action.voters)) > len(action.voters)
            replaced = {m.name for m in old - set(action.voters)} & {m.name for m in set(action.voters) - old}
            assert all(m in up or m.name in replaced for m in set(action.voters) - old)
    for action in of(result, TransferLeadership):
        assert group is not None
        heir = next(member for member in group.members if member.name == action.to)
        assert heir.role == "voter" and is_up(seen, heir) and heir.member != group.leader


@settings(max_examples=100, deadline=None)
@given(observations())
def test_without_the_leaders_word_nothing_is_touched_that_serves(seen):
    group = seen.group
    is_settled = group is not None and not group.joint and group.configuration_committed and not group.transferee
    is_known = group is not None and seen.identity is not None and group.incarnation == seen.identity.incarnation
    result = planned(seen)
    if seen.resource.is_being_deleted or (is_settled and is_known):
        return
    assert not of(result, EvictPod, ChangeMembers, TransferLeadership, DeleteClaim)
    assert not [action for action in of(result, LabelClaim) if action.retired]
    for action in of(result, DeletePod):
        pod = seen.pod(action.pod)
        assert pod is not None and (not pod.running or is_idle(seen, pod))
    for manifest in (action.manifest for action in of(result, ApplyObject)):
        is_recovery = names.RECOVERING in manifest["metadata"].get("annotations", {})
        if manifest["kind"] == "StatefulSet" and not is_recovery and seen.stateful_set is not None:
            assert manifest["spec"]["replicas"] >= seen.stateful_set.replicas


@settings(max_examples=100, deadline=None)
@given(observations())
def test_data_goes_only_with_a_persons_word(seen):
    for action in of(planned(seen), DeleteClaim):
        claim = next(claim for claim in seen.claims if claim.name == action.claim)
        assert claim.uid == action.uid and not claim.terminating
        is_wanted_gone = seen.resource.spec.storage.retention == "Delete"
        named = seen.resource.annotations.get(names.REPLACE_MEMBER, "").partition("/")[0]
        by_word = named == names.pod("eth", claim.ordinal) and claim.node and not claim.node_exists
        assert by_word or (is_wanted_gone and (claim.retired or seen.resource.is_being_deleted))
    for action in of(planned(seen), Recover):
        assert seen.resource.annotations[names.RECOVER] == f"{action.survivor}@{action.incarnation}"
        assert [pod.name for pod in seen.pods] == [action.survivor.name]


@settings(max_examples=100, deadline=None)
@given(observations())
def test_nothing_is_made_that_could_form_a_second_group(seen):
    result = planned(seen)
    made = {action.name for action in of(result, CreateSecret)}
    sets = [action for action in of(result, ApplyObject) if action.manifest["kind"] == "StatefulSet"]
    if seen.identity is None:
        assert not sets
        assert not seen.claims or names.identity_secret("eth") not in made
    else:
        assert names.identity_secret("eth") not in made
    if seen.resource.is_being_deleted:
        assert not of(result, ApplyObject, CreateSecret, ReplaceSecret)
    elif seen.resource.spec.paused:
        assert not of(result, ApplyObject, *DISRUPTIVE)
    for action in of(result, ReplaceSecret):
        if action.name == names.identity_secret("eth"):
            assert seen.identity is not None and action.resource_version == seen.identity.resource_version
            assert action.data[names.IDENTITY_KEY] == seen.identity.key


@settings(max_examples=100, deadline=None)
@given(observations())
def test_the_same_sight_gives_the_same_plan_and_a_status_that_can_be_read_back(seen):
    first = planned(seen)
    assert planned(seen) == first
    said = {name: value for name, value in status.report(seen, first).status.items() if value is not None}
    again = Status.model_validate(said)
    assert {condition.type for condition in again.conditions} == {
        "Ready",
        "Quorate",
        "Progressing",
        "Degraded",
        "Paused",
    }


@given(replicas=st.sampled_from((1, 3, 5)), later=st.floats(0, 86_400))
@settings(deadline=None)
def test_a_converged_group_yields_no_action(replicas, later):
    seen = observe(formed(replicas))
    annotated = seen.resource.metadata.model_copy(update={"labels": {"team": "a"}, "annotations": {"note": "b"}})
    resource: OrderBookGroup = seen.resource.model_copy(update={"metadata": annotated})
    assert planned(replace(seen, now=seen.now + later, resource=resource)) == Plan()
