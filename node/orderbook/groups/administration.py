"""What an operator asks of a member: its status; another membership, another leader, a snapshot.

Membership and leadership are the leader's to change: on another member they raise ``NotLeading``, which names it.
Each waits until the change is done here. A wait that ends without that is Uncertain: the change may yet be done, and a
look at ``status`` tells; asking again is safe, since a change of membership names the configuration that it expects.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from orderbook.groups.errors import GroupError, NotBootstrapped, Unavailable, Uncertain
from orderbook.groups.group import Group
from orderbook.groups.replica import Phase, Replica
from orderbook.raft import Configuration, Member, NotLeader, RawNode, Role
from orderbook.raft.progress import ProgressState, ProgressStatus

JOINING = "joining"  # the phase of a member that belongs to no group yet


class NotLeading(GroupError):
    """Only the leader does this. ``leader`` is its name as far as this member knows, None if it knows none."""

    def __init__(self, leader: str | None) -> None:
        super().__init__(f"only the leader does this; it is {leader or 'unknown'}")
        self.leader = leader


class UnknownMember(GroupError):
    """No member, or nobody who may become one, has this name (and id)."""


class NotTransferred(GroupError):
    """The leadership did not go where it was to go; ``leader`` has it, None if nobody is known to."""

    def __init__(self, to: str, leader: str | None) -> None:
        super().__init__(f"{to} did not take the leadership over; the leader is {leader or 'unknown'}")
        self.leader = leader


class SnapshotFailed(GroupError):
    """The snapshot could not be written. The log stays as it is."""


class MemberStatus(NamedTuple):
    """``role`` is voter, learner, or outgoing (a voter until the joint state is left).

    The rest is known by the leader only, and None elsewhere: entries that the member lacks on disk, the last that it
    has, whether it was heard from within an election timeout, whether it may be promoted, and what is sent to it.
    """

    name: str
    id: int
    role: str
    leads: bool
    match: int | None = None
    lag: int | None = None
    active: bool | None = None
    caught_up: bool | None = None
    progress: str | None = None


class GroupStatus(NamedTuple):
    """One moment of one member. Without a group (phase ``joining``) only the first part says something.

    ``configuration_committed`` is False, and ``joint`` may be True, while a change of membership is under way.
    """

    name: str
    id: int
    phase: str
    waits_for: str
    online: bool
    incarnation: bytes
    strangers: tuple[Member, ...]
    signature: str
    version: int  # of the machine's rules, in force
    version_supported: int  # by this member
    role: str = Role.FOLLOWER.name.lower()
    term: int = 0
    leader: str | None = None
    transferee: str | None = None  # whom this leader is giving its leadership to
    first_index: int = 0
    last_index: int = 0
    last_term: int = 0
    commit: int = 0
    applied: int = 0
    state_hash: int = 0
    log_time_ms: int = 0
    snapshot_index: int = 0
    configuration_index: int = 0
    configuration_committed: bool = False
    joint: bool = False
    members: tuple[MemberStatus, ...] = ()


def status(group: Group) -> GroupStatus:
    """As this member sees it now. It answers in every phase, also without a leader."""
    replica, identity = group.replica, group.identity
    strangers = tuple(sorted(group.strangers.values()))
    machine = group.machine
    if replica is None:
        return GroupStatus(
            name=identity.name,
            id=identity.member_id,
            phase=JOINING,
            waits_for=group.waits_for,
            online=False,
            incarnation=identity.incarnation,
            strangers=strangers,
            signature=machine.signature,
            version=machine.version,
            version_supported=machine.version,
        )
    node, state = replica.node, replica.state
    return GroupStatus(
        name=identity.name,
        id=identity.member_id,
        phase=replica.phase.value,
        waits_for="",
        online=group.is_online,
        incarnation=identity.incarnation,
        strangers=strangers,
        signature=machine.signature,
        version=state.machine_version,
        version_supported=machine.version,
        role=node.role.name.lower(),
        term=node.term,
        leader=_name_of(replica, node.leader),
        transferee=_name_of(replica, node.transferee),
        first_index=node.first_index,
        last_index=node.last_index,
        last_term=node.last_term,
        commit=node.commit,
        applied=state.index,
        state_hash=state.state_hash,
        log_time_ms=state.now_ms,
        snapshot_index=group.storage.snapshot_index,
        configuration_index=node.configuration_index,
        configuration_committed=node.commit >= node.configuration_index,
        joint=bool(node.configuration.outgoing),
        members=_members(node),
    )


async def change_members(
    group: Group, voters: Sequence[Member], learners: Sequence[Member], expected_index: int, timeout: float = 10.0
) -> int:
    """Have the group consist of these members; the index of the configuration, which is committed then.

    ``expected_index`` is the ``configuration_index`` that the caller saw. Who is new must be connected to the leader
    and without a group: a mistaken id would wait for ever, and in a group of one nothing could be decided any more.
    Raises NotLeading, UnknownMember, Unavailable, Uncertain, and raft's MembershipRefused.
    """
    replica = _serving(group)
    node = replica.node
    if replica.leads:
        _check_known(group, node.configuration, [*voters, *learners])
    try:
        index = node.propose_membership(voters, learners, expected_index)
    except NotLeader as error:
        raise NotLeading(_name_of(replica, error.leader)) from error
    term = node.term
    replica.wake()

    def overwritten() -> bool:
        return node.commit >= index and node.term_at(index) not in (term, None)

    def settled() -> bool:
        done = node.configuration_index >= index and not node.configuration.outgoing
        return overwritten() or (done and node.commit >= node.configuration_index)

    await _until(group, settled, timeout, "the change of membership to be committed")
    if overwritten():
        raise Unavailable("superseded")
    return node.configuration_index


def _check_known(group: Group, configuration: Configuration, wanted: Sequence[Member]) -> None:
    known = {*configuration.voters, *configuration.outgoing, *configuration.learners, *group.strangers.values()}
    for member in wanted:
        if member not in known:
            raise UnknownMember(f"nobody named {member.name} with id {member.id} is connected and without a group")


async def transfer_leadership(group: Group, to: str, timeout: float = 10.0) -> str:
    """Give the leadership to the voter named ``to``; the name of the leader, once another one is known.

    Raises NotLeading, UnknownMember, NotTransferred, Unavailable, Uncertain, and raft's TransferRefused.
    """
    replica = _serving(group)
    node = replica.node
    if not replica.leads:
        raise NotLeading(_name_of(replica, node.leader))
    target = next((voter.id for voter in node.configuration.voters if voter.name == to), None)
    if target is None:
        known = ", ".join(voter.name for voter in node.configuration.voters)
        raise UnknownMember(f"{to!r} is no voter; there are {known}")
    node.transfer_leadership(target)
    replica.wake()
    await _until(group, lambda: _handed_over(replica), timeout, f"{to} to lead")
    if node.leader != target:
        raise NotTransferred(to, _name_of(replica, node.leader))
    return to


async def snapshot(group: Group, timeout: float = 60.0) -> int:
    """Have this member write a snapshot of its state; the index that its newest one covers. Any member does this.

    Raises SnapshotFailed, Unavailable, Uncertain.
    """
    replica = _serving(group)
    ended: list[BaseException | None] = []
    replica.take_snapshot(ended.append)
    await _until(group, lambda: bool(ended), timeout, "the snapshot to be durable")
    if ended[0] is not None:
        raise SnapshotFailed(str(ended[0])) from ended[0]
    return group.storage.snapshot_index


def _serving(group: Group) -> Replica:
    replica = group.replica
    if replica is None:
        raise NotBootstrapped(group.waits_for)
    if replica.phase is not Phase.MEMBER:
        raise Unavailable(replica.phase.value)
    return replica


async def _until(group: Group, settled: Callable[[], bool], timeout: float, what: str) -> None:
    try:
        await group.until(settled, timeout, what)
    except TimeoutError as error:
        raise Uncertain(str(error)) from error


def _handed_over(replica: Replica) -> bool:
    """Somebody else is known to lead, or the transfer was given up."""
    node = replica.node
    return not node.transferee if replica.leads else node.leader != 0


def _name_of(replica: Replica, member: int) -> str | None:
    return replica.name_of(member) if member else None


def _members(node: RawNode) -> tuple[MemberStatus, ...]:
    """All of the configuration in force, by name."""
    progress = {known.id: known for known in node.progress()}
    found = [_member(node, member, role, progress) for member, role in _roles(node.configuration)]
    return tuple(sorted(found))


def _roles(configuration: Configuration) -> list[tuple[Member, str]]:
    voters = configuration.voters
    outgoing = [member for member in configuration.outgoing if member not in voters]
    return [
        *((member, "voter") for member in voters),
        *((member, "outgoing") for member in outgoing),
        *((member, "learner") for member in configuration.learners),
    ]


def _member(node: RawNode, member: Member, role: str, progress: dict[int, ProgressStatus]) -> MemberStatus:
    leads = member.id == node.leader
    known = progress.get(member.id)
    if known is not None:
        lag = node.last_index - known.match
        state = ProgressState(known.state).name.lower()
        return MemberStatus(*member, role, leads, known.match, lag, known.recent_active, known.caught_up, state)
    if node.role is Role.LEADER and member.id == node.id:
        match = node.stable_index
        return MemberStatus(*member, role, leads, match, node.last_index - match, True, True, None)
    return MemberStatus(*member, role, leads)
