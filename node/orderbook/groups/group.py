"""A member's view of its group: join it, execute through its quorum, query it, wait for what happens to it.

``Group.open`` recovers a directory, or prepares an empty one, and takes part from then on. It composes: any
``StateMachine`` replicates, the order book being one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import Enum
from typing import Any, NamedTuple

from orderbook.groups.errors import GroupError, NotBootstrapped, Unavailable, Uncertain
from orderbook.groups.identity import MAX_MEMBER_ID
from orderbook.groups.local import LocalTransport
from orderbook.groups.membership import GroupSetup, Membership
from orderbook.groups.recovery import ASK_SECONDS, RecoveryRefused, check_request, reborn_identity
from orderbook.groups.replica import Phase, Replica
from orderbook.groups.replicated import Applied
from orderbook.groups.session_client import SessionClient
from orderbook.groups.statemachine import Event, StateMachine
from orderbook.groups.waiting import Conditions, run_on
from orderbook.raft import Configuration, HardState, Member, encode_configuration
from orderbook.storage import Health, Identity, add_ancestor, set_aside
from orderbook.storage.statistics import Statistics as StorageStatistics
from orderbook.wire.envelope import MAX_COMMANDS
from orderbook.wire.frames import FrameKind

__all__ = ["Answer", "Committed", "Consistency", "Group", "GroupSetup", "When", "by_command"]

BATCH_COMMANDS = 1000


class Consistency(Enum):
    STRONG = "strong"  # linearizable: sees all that was answered anywhere before the query
    WEAK = "weak"  # this member's state as it is


class Answer(NamedTuple):
    """What a query found, and ``at``, the index of the log that the state stood at then."""

    value: Any
    at: int


class Group:
    """One member. Made by ``Group.open``; all methods are called on its loop."""

    def __init__(self, setup: GroupSetup) -> None:
        self.setup = setup
        self.on_applied: list[Callable[[Applied], None]] = []
        self.on_change: list[Callable[[], None]] = []
        self._runtime = setup.runtime
        self._conditions = Conditions(setup.runtime)
        self._session: SessionClient | None = None
        self._membership: Membership | None = None
        self._moving = False  # from one membership to the next
        self._recovery: tuple[tuple[Member, int, int], asyncio.Future[bytes]] | None = None  # what was asked for last
        self._closed = False

    # --- life ---------------------------------------------------------------------------------------------------------

    @classmethod
    async def open(cls, setup: GroupSetup) -> Group:
        """Recover ``setup.directory`` and take part. Returns before the group is online: see ``when``.

        Raises what ``Store.open`` raises: a directory in use, or damaged where nothing may be damaged.
        """
        group = cls(setup)
        group._membership = await Membership.enter(setup, group._entered, group._leave)
        return group

    async def close(self) -> None:
        """Leave the stage: nothing is sent or answered any more; the directory can be opened again."""
        if self._closed:
            return
        self._closed = True
        if self._session is not None:
            self._session.close()
        self._conditions.fail(Unavailable("stopped"))
        if self._membership is not None:
            await self._membership.close()

    async def hand_over(self, seconds: float) -> None:
        """Give a leadership to another voter that has caught up, and wait for it for at most ``seconds``."""
        replica = self.replica
        if replica is None or not replica.leads or not replica.give_leadership_away():
            return
        with suppress(TimeoutError):
            await self._conditions.until(lambda: not replica.leads, seconds, "another leader")

    async def recover(self, survivor: Member, last_term: int, last_index: int) -> bytes:
        """Begin a new life of a group that lost its majority, with this member alone; the new incarnation.

        See ``recovery``. The same request again, while it is under way or after it, gets the same answer: who did not
        hear it may ask again. Raises RecoveryRefused, NotBootstrapped; Uncertain where the one under way was cut short.
        """
        request = (survivor, last_term, last_index)
        if self._recovery is not None and self._recovery[0] == request:
            return await asyncio.shield(self._recovery[1])
        if self._recovery is not None and not self._recovery[1].done():
            raise RecoveryRefused("another recovery is under way")
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._recovery = (request, answer)
        try:
            incarnation = await self._recover(survivor, last_term, last_index)
        except BaseException as error:
            self._recovery = None
            answer.set_exception(error if isinstance(error, Exception) else Uncertain("the recovery was cut short"))
            answer.exception()  # nobody else may wait for it
            raise
        answer.set_result(incarnation)
        return incarnation

    async def _recover(self, survivor: Member, last_term: int, last_index: int) -> bytes:
        membership, replica = self._membership, self._member()
        if membership is None or self._moving:
            raise NotBootstrapped("the group is being opened")
        node, identity = replica.node, membership.identity
        own, end = Member(identity.name, identity.member_id), (node.last_term, node.last_index)
        check_request(own, survivor, end, (last_term, last_index), bool(node.leader))
        await self._ask_for_log_ends(membership, replica)
        check_request(own, survivor, (node.last_term, node.last_index), end, bool(node.leader))  # time has passed
        ahead = membership.log_ends.ahead_of(*end)
        if ahead:
            raise RecoveryRefused(f"{', '.join(ahead)} has more of the log than the request names")
        new_id = self._runtime.random.randrange(1, MAX_MEMBER_ID)
        configuration = encode_configuration(Configuration((Member(identity.name, new_id),)))
        reborn = reborn_identity(identity, end, new_id, configuration)
        replica.stop()
        await self._remember_ancestor(identity.incarnation, reborn.incarnation)
        durable: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        hard_state = HardState(node.term + 1, 0, node.commit)
        membership.store.change_identity(reborn, hard_state, lambda: durable.set_result(None))
        await durable
        await self._move(set_directory_aside=False)
        return reborn.incarnation

    async def _remember_ancestor(self, old: bytes, new: bytes) -> None:
        """Whoever hands this member the old incarnation, until the new one is recorded, means this directory."""
        setup = self.setup
        worker = self._runtime.worker("ancestors")
        await run_on(worker, lambda: add_ancestor(setup.filesystem, setup.directory, old))
        worker.close()
        if setup.options.incarnation:
            self.setup = setup._replace(options=setup.options._replace(incarnation=new))

    async def _ask_for_log_ends(self, membership: Membership, replica: Replica) -> None:
        membership.log_ends.by_peer.clear()
        connected = self.setup.channel.peers()
        asked = []
        for member in replica.node.configuration.voters:
            if member.name in connected and member.id != replica.id:
                asked.append(member.name)
                replica.send(member.id, FrameKind.LOG_END_WANTED)
        with suppress(TimeoutError):
            await self._conditions.until(
                lambda: all(name in membership.log_ends.by_peer for name in asked), ASK_SECONDS, "the ends of logs"
            )

    async def _move(self, set_directory_aside: bool) -> None:
        """End this membership and enter the next, over the same channel.

        Who was removed waits to be added to the same group again, and never begins another one.
        """
        if self._closed or self._moving or self._membership is None:
            return
        self._moving = True
        if self._session is not None:
            self._session.close()
            self._session = None
        left = self._membership
        incarnation = left.succeeded_by or left.identity.incarnation
        await left.close()
        if left.replica is not None:
            await left.replica.settled()
        setup = self.setup
        if set_directory_aside:
            setup = setup._replace(options=setup.options._replace(incarnation=incarnation))
            worker = self._runtime.worker("set aside")
            await run_on(worker, lambda: set_aside(setup.filesystem, setup.directory, incarnation))
            worker.close()
        if not self._closed:
            self._membership = await Membership.enter(setup, self._entered, self._leave)
        self._moving = False
        self._changed()

    def _entered(self, replica: Replica) -> None:
        replica.on_applied.append(self._applied)
        replica.on_change.append(self._changed)
        replica.on_turn = self._turned
        self._changed()

    def _turned(self) -> None:
        self._conditions.check()
        replica = self.replica
        if replica is not None and replica.node.removed and not self._moving:
            self._leave()

    def _leave(self) -> None:
        """The directory is of no use to the group any more."""
        if not self._moving:
            self._runtime.spawn(self._move(set_directory_aside=True), "come back as a new member")

    @property
    def replica(self) -> Replica | None:
        """None while this member belongs to no group yet."""
        return self._membership.replica if self._membership is not None else None

    @property
    def identity(self) -> Identity:
        return self._entered_membership().identity

    @property
    def strangers(self) -> dict[str, Member]:
        """Who is connected, has no group yet, and may be added."""
        return self._entered_membership().strangers

    @property
    def frames_refused(self) -> int:
        """Frames of another incarnation, for another member, or malformed."""
        return self._entered_membership().frames_refused

    @property
    def waits_for(self) -> str:
        """What a member without a group waits for."""
        return self._entered_membership().waits_for

    @property
    def disk(self) -> Health:
        return self._entered_membership().store.health

    @property
    def storage(self) -> StorageStatistics:
        return self._entered_membership().store.statistics

    def _entered_membership(self) -> Membership:
        if self._membership is None:
            raise NotBootstrapped("the group is being opened")
        return self._membership

    # --- what users do ------------------------------------------------------------------------------------------------

    async def execute(self, command: Any, *, timeout: float = 30.0) -> list[Event]:
        """Have one command agreed on by a quorum and applied; its events. Errors as ``execute_many``."""
        return (await self.execute_many([command], timeout=timeout))[0]

    async def execute_many(self, commands: Sequence[Any], *, timeout: float = 30.0) -> list[list[Event]]:
        """The events of each command, in order; batched and pipelined, each command run exactly once.

        Raises Refused, Unavailable, or Uncertain after ``timeout`` seconds without an answer to all: the commands may
        have been executed, or may yet be. With several batches the first error is raised once all have ended.
        """
        machine = self._member().state.machine
        if self._session is None:
            self._session = SessionClient(self._runtime, LocalTransport(self._member()))
        size = min(BATCH_COMMANDS, MAX_COMMANDS)
        batches = [commands[start : start + size] for start in range(0, len(commands), size)]
        bodies = [machine.encode(batch) for batch in batches]
        futures = [self._submit(self._session, len(batch), body) for batch, body in zip(batches, bodies, strict=True)]

        def expire() -> None:
            for future in futures:
                if not future.done():
                    future.set_exception(Uncertain(f"no answer within {timeout} s"))

        timer = self._runtime.call_later(timeout, expire)
        try:
            answers = await asyncio.gather(*futures, return_exceptions=True)
        finally:
            timer.cancel()
        results: list[list[Event]] = []
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
            results += answer
        return results

    def _submit(self, session: SessionClient, count: int, body: bytes) -> asyncio.Future[list[list[Event]]]:
        future: asyncio.Future[list[list[Event]]] = asyncio.get_running_loop().create_future()

        def done(answer: Applied | None, error: GroupError | None) -> None:
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            elif answer is not None:
                future.set_result(by_command(answer, count))

        session.submit(count, body, done)
        return future

    async def query(
        self, query: Any, consistency: Consistency = Consistency.STRONG, *, min_index: int = 0, timeout: float = 10.0
    ) -> Answer:
        """Ask the state machine. STRONG goes through the leader's read index; WEAK answers at once.

        ``min_index`` makes a WEAK query wait until this member has applied that index, so that one reads what one
        wrote. Raises Unavailable after ``timeout`` seconds, ValueError for a query that the machine does not know.
        """
        replica = self._member()
        if consistency is Consistency.STRONG:
            await self._strong_read(replica, timeout)
        elif replica.state.index < min_index:
            try:
                await self._conditions.until(
                    lambda: replica.state.index >= min_index, timeout, f"index {min_index} to be applied"
                )
            except TimeoutError as error:
                raise Unavailable("deadline") from error
        if replica.phase is Phase.RESTORING:
            raise Unavailable("restoring")
        return Answer(replica.state.machine.query(query), replica.state.index)

    async def _strong_read(self, replica: Replica, timeout: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def done(error: GroupError | None) -> None:
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(None)

        replica.read(done, timeout)
        await future

    @property
    def machine(self) -> StateMachine:
        """The state machine as it is now; another object after a snapshot was installed."""
        return self.replica.state.machine if self.replica is not None else self.setup.machine

    def _member(self) -> Replica:
        if self.replica is None:
            raise NotBootstrapped(self.waits_for)
        return self.replica

    # --- waiting ------------------------------------------------------------------------------------------------------

    async def until(self, predicate: Callable[[], bool], timeout: float | None, what: str) -> None:
        """Wait until something of this member holds; it is looked at after each turn. TimeoutError names ``what``."""
        await self._conditions.until(predicate, timeout, what)

    def when(self, timeout: float | None = None) -> When:
        """``await group.when().online()`` and so on; TimeoutError after ``timeout`` seconds, if one is given."""
        return When(self, self._conditions, timeout)

    @property
    def is_online(self) -> bool:
        """This member knows a leader, follows its log, and has applied all that it knows to be committed."""
        return self.replica is not None and self.replica.is_online

    def _applied(self, applied: Applied) -> None:
        for listener in self.on_applied:
            listener(applied)

    def _changed(self) -> None:
        for listener in self.on_change:
            listener()
        self._conditions.check()


class When:
    """Conditions of a group that can be waited for."""

    def __init__(self, group: Group, conditions: Conditions, timeout: float | None) -> None:
        self._group = group
        self._conditions = conditions
        self._timeout = timeout

    async def online(self) -> None:
        """This member serves: it knows a leader and has caught up."""
        group = self._group
        await self._conditions.until(lambda: group.is_online, self._timeout, "the group to be online")

    async def leader(self) -> str:
        """Somebody leads; the name."""
        group = self._group
        await self._conditions.until(lambda: _leader_name(group) is not None, self._timeout, "a leader")
        return _leader_name(group) or ""

    def committed(self) -> Committed:
        return Committed(self._group, self._conditions, self._timeout)


class Committed:
    def __init__(self, group: Group, conditions: Conditions, timeout: float | None) -> None:
        self._group = group
        self._conditions = conditions
        self._timeout = timeout

    async def reaches(self, index: int) -> None:
        """This member has applied the entry at ``index``."""
        group = self._group
        await self._conditions.until(
            lambda: group.replica is not None and group.replica.state.index >= index,
            self._timeout,
            f"index {index} to be applied",
        )


def by_command(applied: Applied, count: int) -> list[list[Event]]:
    """The events that answer a batch, command by command."""
    results: list[list[Event]] = [[] for _ in range(count)]
    for event in applied.answer[applied.answer_start :]:
        if event[1] >= 0:
            results[event[1]].append(event)
    return results


def _leader_name(group: Group) -> str | None:
    replica = group.replica
    return replica.name_of(replica.leader) if replica is not None and replica.leader else None
