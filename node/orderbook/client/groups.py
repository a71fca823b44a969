"""``network.groups``: say step by step which group to join, then join it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple, Self

from orderbook.groups.group import Group
from orderbook.groups.options import ReplicaOptions
from orderbook.groups.statemachine import StateMachine
from orderbook.storage import StoreOptions


class GroupPlan(NamedTuple):
    """A group that a member means to be in. Key and kind of machine make its identity."""

    key: bytes = b""
    machine: StateMachine | None = None
    options: ReplicaOptions = ReplicaOptions()
    store_options: StoreOptions = StoreOptions()


class Groups:
    """Each step gives another ``Groups``; this one stays as it is."""

    def __init__(self, join: Callable[[GroupPlan], Awaitable[Group]], plan: GroupPlan | None = None) -> None:
        self._join = join
        self._plan = plan or GroupPlan()

    def with_key(self, key: bytes | str) -> Self:
        """The secret that all members of the group hold and prove to each other."""
        key = key.encode() if isinstance(key, str) else key
        if not key:
            raise ValueError("a group key has at least one byte")
        return self._with(self._plan._replace(key=key))

    def with_state_machine(self, machine: StateMachine) -> Self:
        """What is replicated: an ``OrderBook``, or any machine of your own."""
        return self._with(self._plan._replace(machine=machine))

    def with_initial_size(self, members: int) -> Self:
        """How many members begin the group together; it counts only then."""
        if members < 1:
            raise ValueError(f"a group is begun by at least one member, not {members}")
        return self._with(self._plan._replace(options=self._plan.options._replace(initial_size=members)))

    def with_options(self, options: ReplicaOptions) -> Self:
        """Timings and bounds of this member. Replaces what ``with_initial_size`` said before."""
        return self._with(self._plan._replace(options=options))

    def with_storage(self, options: StoreOptions) -> Self:
        """Sizes of this member's log and of the room that it keeps free."""
        return self._with(self._plan._replace(store_options=options))

    async def join(self) -> Group:
        """Take part. Returns before the group is online: ``await group.when().online()``.

        Raises ValueError without key or machine, and what ``Group.open`` raises.
        """
        if not self._plan.key or self._plan.machine is None:
            raise ValueError("a group is joined with_key(...) and with_state_machine(...)")
        return await self._join(self._plan)

    def _with(self, plan: GroupPlan) -> Self:
        return type(self)(self._join, plan)
