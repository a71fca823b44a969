"""What can go wrong with a request to a group. Every request ends in an answer or in one of these; never in silence."""

from __future__ import annotations

from orderbook.groups.sessions import Outcome


class GroupError(Exception):
    """The base of all errors of a group."""


class Unavailable(GroupError):
    """Surely not executed: it entered no log, or another entry was committed in its place. Trying again is safe.

    ``reason`` is one of REASONS.
    """

    REASONS = (
        "no_leader",
        "not_online",
        "overloaded",
        "disk_full",
        "transferring",
        "superseded",
        "deadline",
        "restoring",
        "quarantined",
        "halted",
        "stopped",
        "too_many_streams",
        "too_many_streams_of_one",
    )

    def __init__(self, reason: str) -> None:
        if reason not in self.REASONS:
            raise ValueError(f"{reason!r} is no reason of Unavailable; there are {', '.join(self.REASONS)}")
        super().__init__(reason)
        self.reason = reason


class Uncertain(GroupError):
    """No answer came: it may have been executed or may yet be. Only a repeat in the same session is safe."""


class Refused(GroupError):
    """Answered by the group, by every member alike, and not executed."""

    def __init__(self, outcome: Outcome, detail: int = 0) -> None:
        super().__init__(f"{outcome.name.lower()}({detail})" if detail else outcome.name.lower())
        self.outcome = outcome
        self.detail = detail


class NotBootstrapped(GroupError):
    """The member belongs to no group yet; the message says whom it sees and what it waits for."""


class MalformedPeer(GroupError):
    """A proven peer sent fields that mean nothing: the message names frame, peer and field."""
