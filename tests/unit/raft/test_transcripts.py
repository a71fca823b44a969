"""Conversations of a small group, as text: what is done to it, and everything that happens then.

Each file in transcripts/ tells one feature. A block is a few commands, ``----``, what they caused, and an empty line;
lines that begin with # explain. ``RAFT_REWRITE=1 pytest tests/unit/raft/test_transcripts.py`` writes down what happens
now: read the difference before you commit it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orderbook.raft.errors import Refused
from orderbook.raft.messages import InstallSnapshot, Vote
from orderbook.raft.types import Member
from unit.raft.cluster import Cluster, show, show_configuration

TRANSCRIPTS = sorted((Path(__file__).parent / "transcripts").glob("*.txt"))


class Script:
    """The commands of a transcript, one method each. Whatever the group does is a line in ``lines``."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.cluster = Cluster([])

    def run(self, command: str) -> None:
        name, *words = command.split()
        options = dict(word.split("=", 1) for word in words if "=" in word)
        arguments = [word for word in words if "=" not in word]
        method: Callable[..., None] = getattr(self, f"do_{name}")
        try:
            method(*arguments, **options)
        except Refused as refusal:
            self.lines.append(f"refused: {type(refusal).__name__}: {refusal}")

    def do_cluster(self, voters: str, learners: str = "", draws: str = "", **settings: str) -> None:
        """A new group. ``draws``: election timeouts in the order in which nodes draw them; else node n's is 10 + n."""
        drawn: Iterator[int] = iter(_ids(draws))

        def draw(node: int, low: int, high: int) -> int:
            timeout = next(drawn, min(low + node, high - 1)) if high < 2**62 else node * 100
            assert low <= timeout < high
            return timeout

        numbers = {name: int(value) for name, value in settings.items()}
        self.cluster = Cluster(_ids(voters), _ids(learners), draw, self.lines.append, **numbers)

    def do_add(self, node: str) -> None:
        self.cluster.add(int(node))

    def do_campaign(self, node: str) -> None:
        self.cluster.campaign(int(node))

    def do_tick(self, nodes: str, ticks: str = "1") -> None:
        """Tick nodes in turn, without delivering anything."""
        for _ in range(int(ticks)):
            for node in _ids(nodes):
                self.cluster.tick(node)

    def do_pass(self, ticks: str = "1", nodes: str = "") -> None:
        """Let time pass: all nodes tick, then everything that can happen does."""
        for _ in range(int(ticks)):
            for node in _ids(nodes) or list(self.cluster.peers):
                self.cluster.tick(node)
            self.cluster.stabilize()

    def do_announce(self, node: str) -> None:
        """A leader that holds its commit index back tells it."""
        self.cluster[int(node)].announce_commit()

    def do_quietly(self, *words: str, **options: str) -> None:
        """Do a command, keep nothing of what it says."""
        kept = list(self.lines)
        self.run(" ".join([*words, *(f"{name}={value}" for name, value in options.items())]))
        self.lines[:] = kept

    def do_propose(self, node: str, *payloads: str) -> None:
        """A payload may be a text, or ``n*size`` for n payloads of so many bytes."""
        data: list[bytes] = []
        for payload in payloads:
            count, star, size = payload.partition("*")
            data += [b"x" * int(size)] * int(count) if star else [payload.encode()]
        term, index = self.cluster.propose(int(node), *data)
        self.lines.append(f"{node} takes it as {index}/{term}")

    def do_read(self, node: str, *contexts: str) -> None:
        for context in contexts:
            self.cluster.read(int(node), int(context))

    def do_membership(self, node: str, voters: str, learners: str = "", expected: str = "-1") -> None:
        index = self.cluster.membership(int(node), _ids(voters), _ids(learners), int(expected))
        self.lines.append(f"{node} begins the change at {index}")

    def do_swap(self, node: str, old: str, new: str) -> None:
        """One voter takes the place and the name of another."""
        raw = self.cluster[int(node)]
        voters = [Member(f"n{old}", int(new)) if str(voter.id) == old else voter for voter in raw.configuration.voters]
        index = raw.propose_membership(voters, [], raw.configuration_index)
        self.lines.append(f"{node} begins the change at {index}")

    def do_transfer(self, node: str, target: str) -> None:
        self.cluster.transfer(int(node), int(target))

    def do_stepdown(self, node: str) -> None:
        self.cluster[int(node)].step_down()
        self.cluster.look(int(node))

    def do_abstain(self, node: str) -> None:
        self.cluster[int(node)].abstain(True)
        self.cluster.look(int(node))

    def do_work(self, nodes: str) -> None:
        """Take one Ready of each; its writes stay on their way."""
        for node in _ids(nodes):
            self.cluster.work(node)

    def do_persist(self, node: str, writes: str = "1") -> None:
        self.cluster.persist(int(node), int(writes))

    def do_together(self, node: str, writes: str) -> None:
        """Several writes finish; only the last is reported."""
        self.cluster.persist(int(node), int(writes), together=True)

    def do_stable(self, node: str) -> None:
        self.lines.append(f"{node}: durable up to {self.cluster[int(node)].stable_index}")

    def do_vote(self, candidate: str, voter: str, term: str) -> None:
        """A vote request arrives, from a candidate with the same log."""
        raw = self.cluster[int(voter)]
        self.cluster.step(int(voter), int(candidate), Vote(int(term), raw.last_index, raw.last_term, False))

    def do_offer(self, leader: str, follower: str) -> None:
        """The leader's snapshot is complete on the follower."""
        meta = self.cluster.peers[int(leader)].disk.snapshot
        assert meta is not None
        self.cluster.step(int(follower), int(leader), InstallSnapshot(self.cluster[int(leader)].term, meta))

    def do_deliver(self, links: str = "") -> None:
        """Let all messages arrive, or those of links like 1-2,2-1; not what they cause."""
        for letter in [letter for letter in self.cluster.network if _on(links, letter.sender, letter.to)]:
            self.cluster.deliver(self.cluster.network.index(letter))

    def do_drop(self, links: str = "") -> None:
        for letter in [letter for letter in self.cluster.network if _on(links, letter.sender, letter.to)]:
            self.cluster.drop(self.cluster.network.index(letter))

    def do_stabilize(self, nodes: str = "") -> None:
        self.cluster.stabilize(_ids(nodes) or None)

    def do_isolate(self, node: str) -> None:
        self.cluster.isolate(int(node))

    def do_heal(self) -> None:
        self.cluster.heal()

    def do_crash(self, node: str, keep: str = "0") -> None:
        self.cluster.crash(int(node), int(keep))

    def do_restart(self, node: str) -> None:
        self.cluster.restart(int(node))

    def do_snapshot(self, node: str, index: str, keep_from: str = "") -> None:
        meta = self.cluster.snapshot(int(node), int(index), int(keep_from) if keep_from else None)
        first = self.cluster[int(node)].first_index
        members = f"{show_configuration(meta.configuration)}, of {meta.configuration_index}"
        self.lines.append(f"{node} has a snapshot {meta.index}/{meta.term} ({members}); log from {first}")

    def do_unreachable(self, node: str, other: str) -> None:
        self.cluster[int(node)].report_unreachable(int(other))

    def do_log(self, node: str) -> None:
        raw = self.cluster[int(node)]
        self.lines.append(f"{node}: {show(raw._state.log.entries(raw.first_index, raw.last_index))}")

    def do_status(self, nodes: str = "") -> None:
        for node in _ids(nodes) or sorted(self.cluster.peers):
            raw = self.cluster[node]
            removed = ", removed" if raw.removed else ""
            self.lines.append(
                f"{node}: {raw.role.name} term {raw.term} vote {raw.vote} leader {raw.leader} "
                f"last {raw.last_index}/{raw.last_term} commit {raw.commit} applied {raw.applied_index}{removed}"
            )

    def do_configuration(self, nodes: str = "") -> None:
        for node in _ids(nodes) or sorted(self.cluster.peers):
            raw = self.cluster[node]
            self.lines.append(f"{node}: {show_configuration(raw.configuration)} (of {raw.configuration_index})")

    def do_progress(self, node: str) -> None:
        for seen in self.cluster[int(node)].progress():
            window = f"{seen.inflight_appends} appends of {seen.inflight_bytes} bytes in flight"
            active = "" if seen.recent_active else ", silent"
            caught_up = ", caught up" if seen.caught_up else ""
            self.lines.append(
                f"{seen.id}: {seen.state.name} match {seen.match} next {seen.next}, {window}{active}{caught_up}"
            )


def _ids(text: str) -> list[int]:
    return [int(word) for word in text.split(",") if word]


def _on(links: str, sender: int, to: int) -> bool:
    return not links or f"{sender}-{to}" in links.split(",")


def play(text: str) -> str:
    """The transcript with what really happens in the place of what it expects."""
    script = Script()
    told: list[str] = []
    for block in text.strip("\n").split("\n\n"):
        commands = block.split("\n----")[0].split("\n")
        script.lines.clear()
        for command in commands:
            if command and not command.startswith("#"):
                script.run(command)
        told.append("\n".join([*commands, "----", *script.lines] if "\n----" in block else commands))
    return "\n\n".join(told) + "\n"


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_it_happens_as_told(path: Path) -> None:
    told = path.read_text(encoding="utf-8")
    happened = play(told)
    if os.environ.get("RAFT_REWRITE"):
        path.write_text(happened, encoding="utf-8")
    else:
        assert happened == told


def test_a_transcript_that_tells_something_else_fails() -> None:
    told = "cluster voters=1\ncampaign 1\nstabilize\n----\n1 is FOLLOWER in term 1\n"
    assert "1 is LEADER in term 1" in play(told)
    assert play(told) != told
