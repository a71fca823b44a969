"""What a member does while it leads: stamps and appends what is proposed, and proposes what is its duty.

The leader alone reads its clock into the log; what its stamps may be, and what it logs of its own accord, follow from
the reports of the other members (``reports``) and from the state (``duties``). A leader whose disk is full or stalled
hands over to a voter whose is not.
"""

from __future__ import annotations

from collections.abc import Callable

from orderbook.groups.duties import LeaderDuties
from orderbook.groups.options import ReplicaOptions
from orderbook.groups.replicated import Applied, ReplicatedState
from orderbook.groups.reports import Reports
from orderbook.raft import NotLeader, ProposalsPaused, RawNode, Role, TooManyUncommitted, TransferRefused
from orderbook.runtime import Runtime
from orderbook.storage import Health, Store
from orderbook.wire.envelope import EntryType, Header, seal, stamp
from orderbook.wire.roles import Role as PrincipalRole

Places = list[tuple[int, int]]  # (term, index) of each entry

REFUSALS = {
    NotLeader: "no_leader",
    ProposalsPaused: "transferring",
    TooManyUncommitted: "overloaded",
}
HEALTH_SECONDS = 1.0


class Leading:
    """Its methods may be called on any member; where it does not lead, nothing is proposed.

    ``state`` gives the replicated state as it is: another object after a snapshot was installed.
    """

    def __init__(
        self,
        runtime: Runtime,
        options: ReplicaOptions,
        node: RawNode,
        store: Store,
        state: Callable[[], ReplicatedState],
    ) -> None:
        self.reports = Reports(node.id)
        self.disk: Health = "ok"
        self._runtime = runtime
        self._options = options
        self._node = node
        self._store = store
        self._state = state
        self._duties = LeaderDuties(state(), options.check_every)
        self._health_due = 0.0

    def propose(self, sealed: list[bytes]) -> Places | str:
        """Stamp and append: where each stands, or why not (a reason of Unavailable).

        A new leader takes requests once its no-op is committed and the machine's initial commands stand in its log: so
        no order can meet a book whose pairs are not defined yet.
        """
        if self._node.role is Role.LEADER and not self._is_ready():
            return "no_leader"
        if self.disk == "full":
            return "disk_full"
        return self._append(sealed)

    def turn(self) -> None:
        """At the end of each turn: begin a leadership whose no-op was committed in it."""
        if self._node.has_committed_in_term and not self._is_ready():
            self._do_duties()

    def _is_ready(self) -> bool:
        return self._node.term == self._duties.term and self._duties.initial_done

    def _append(self, sealed: list[bytes]) -> Places | str:
        stamp_ms = self._stamp()
        try:
            term, first = self._node.propose([stamp(one, stamp_ms) for one in sealed])
        except (NotLeader, ProposalsPaused, TooManyUncommitted) as error:
            return REFUSALS[type(error)]
        return [(term, first + number) for number in range(len(sealed))]

    def tick(self, now: float) -> None:
        """Once a raft tick: look after the disk, propose what is due."""
        if now >= self._health_due:
            self._health_due = now + HEALTH_SECONDS
            self.disk = self._store.health
            if self.disk != "ok" and self._node.role is Role.LEADER:
                self.give_away()
        if self._node.has_committed_in_term:
            self._do_duties()

    def give_away(self) -> bool:
        """Begin to transfer the leadership to the voter that lags least; False if there is nobody to take it."""
        voters = [voter.id for voter in self._node.configuration.voters if voter.id != self._node.id]
        best = max(
            (peer for peer in self._node.progress() if peer.id in voters and peer.recent_active),
            key=lambda peer: peer.match,
            default=None,
        )
        if best is None:
            return False
        try:
            self._node.transfer_leadership(best.id)
        except (NotLeader, TransferRefused):
            return False
        return True

    def applied(self, applied: Applied) -> None:
        """An entry of a leader's own (its origin is nobody) was applied here."""
        self._duties.applied(applied.type)
        state = self._state()
        if applied.type == EntryType.TICK and self._node.has_committed_in_term:
            deadline = state.next_deadline()
            if deadline is not None and deadline <= state.now_ms:
                self._do_duties()  # it did a bounded part: the next one need not wait for a tick of the clock
        if applied.type == EntryType.CHECK:
            self.reports.check(self._node.id, applied.log_index, state.checks[applied.log_index])
        elif applied.type == EntryType.VERDICT and state.verdict is not None:
            self.reports.judged(state.verdict.check_index)

    def restored(self) -> None:
        """Another state took the place of the one before."""
        self._duties = LeaderDuties(self._state(), self._options.check_every)

    def _stamp(self) -> int:
        voters = [member.id for member in self._node.configuration.voters]
        runtime = self._runtime
        return self.reports.stamp(runtime.wall_ms(), runtime.monotonic(), voters, self._options.clock_lead_ms)

    def _do_duties(self) -> None:
        node, state = self._node, self._state()
        if node.term != self._duties.term:
            self.reports.forget()
            self._duties.begin(node.term)
        voters = [member.id for member in node.configuration.voters]
        members = [*voters, *(member.id for member in node.configuration.learners)]
        version = self.reports.supported_version(
            members, state.machine.version, state.now_ms, state.settings.version_soak_ms
        )
        for duty in self._duties.due(self._stamp(), self.reports.verdict(voters), version):
            header = Header(0, 0, 0, 0, duty.commands, 0, "", PrincipalRole.ADMIN)
            if isinstance(self._append([seal(duty.type, header, duty.body)]), str):
                self._duties.retry()
