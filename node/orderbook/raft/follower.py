"""Following a leader: its appends, heartbeats and snapshots (paper, sections 5.3 and 7).

An append's answer says what is durable here, so it waits for the disk; a heartbeat's doesn't. Waiting answers are one
number: whatever has reached the disk of it is confirmed at each report, in one message.
"""

from __future__ import annotations

from orderbook.raft.messages import Append, AppendReply, Heartbeat, HeartbeatReply, InstallSnapshot
from orderbook.raft.state import State


class Follower:
    """One node's part as follower or learner of ``state.leader``."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._matched = 0  # equal to the leader's log up to here, and not confirmed yet
        self._confirmed = 0  # an answer with this index was sent to this leader
        self.in_step = False  # this log leads to where the leader's appends go on

    def reset(self) -> None:
        """Another term or leader: nothing is owed to the one before."""
        self.in_step = False
        self._matched = 0
        self._confirmed = 0

    def append(self, message: Append) -> None:
        """Take what follows a place that both logs have; otherwise say where they may still agree."""
        state = self._state
        log = state.log
        previous, entries = message.prev_index, message.entries
        if previous < log.commit:  # the leader has all that is committed: only what comes after can be news
            entries = entries[log.commit - previous :]
            previous = log.commit
        elif not log.has(previous, message.prev_term):
            self.in_step = False
            hint = log.last_of_term(min(previous, log.last_index), message.prev_term)
            reply = AppendReply(state.term, previous, True, hint, log.term_at(hint) or 0)
            state.send(state.leader, reply)
            return
        self.in_step = True
        known = log.first_unknown(entries)
        if known < len(entries):
            new = entries[known:] if known else entries
            if new[0].index <= log.last_index:
                state.truncate(new[0].index)
            state.append(new)
        last = previous + len(entries)
        committed = log.commit_to(min(message.commit, last))
        if committed and not message.entries and last <= self._confirmed:
            return  # only the commit index is news: an answer would repeat the one before
        self._confirm(last)

    def heartbeat(self, message: Heartbeat) -> None:
        """Answer at once: this proves only that the leader is followed, not that anything is stored."""
        state = self._state
        state.log.commit_to(min(message.commit, state.log.last_index))
        state.send(state.leader, HeartbeatReply(state.term, message.round))

    def install(self, message: InstallSnapshot) -> None:
        """Replace the log by the snapshot, unless it holds nothing new or the log already leads to its place."""
        self.in_step = True
        state = self._state
        meta = message.meta
        if meta.index > state.log.commit:
            if state.log.has(meta.index, meta.term):
                state.log.commit_to(meta.index)
            else:
                state.restart_after(meta)
        self._confirm(state.log.commit)

    def release(self) -> None:
        """More is durable: confirm what waited for it."""
        state = self._state
        index = min(self._matched, state.durability.stable)
        if not index or not state.leader or not state.durability.knows_term(state.term):
            return
        if index == self._matched:
            self._matched = 0
        self._confirmed = index
        state.send(state.leader, AppendReply(state.term, index))

    def _confirm(self, index: int) -> None:
        self._matched = max(self._matched, index)
        if self._state.durability.stable >= index:
            self.release()
