"""The log tells what happens to a member: each change once, with what an operator needs to know of it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from orderbook.server.journal import Journal, Seen, lines
from unit.server.members import Members, until
from unit.server.trio import Trio

QUARANTINED = "quarantined: the state of this member differs from the majority's"
MEMBER = Seen(incarnation="aa", id=1, leader="a", configuration=1, voters=("a", "b", "c"))


def told(before: Seen, **changes: Any) -> list[tuple[str, str]]:
    said = lines(before, before._replace(**changes))
    return [(logging.getLevelName(line.level), line.message) for line in said]


@pytest.mark.parametrize(
    ("before", "changes", "expected"),
    [
        (MEMBER, {}, []),
        (Seen(), {"waits_for": "sees 1 of 3"}, [("INFO", "without a group")]),
        (MEMBER, {"phase": "quarantined"}, [("ERROR", QUARANTINED)]),
        (MEMBER, {"phase": "halted"}, [("ERROR", "halted: no majority agrees on the state")]),
        (MEMBER, {"phase": "restoring"}, [("INFO", "a snapshot takes the place of the state")]),
        (MEMBER._replace(phase="restoring"), {"phase": "member"}, [("INFO", "the snapshot is restored")]),
        (MEMBER, {"leader": ""}, [("WARNING", "no leader is known")]),
        (MEMBER, {"leader": "b"}, [("INFO", "a leader is known")]),
        (MEMBER, {"snapshot": 9}, [("INFO", "there is a new snapshot")]),
        (MEMBER, {"configuration": 2, "voters": ("a",)}, [("INFO", "the membership changed")]),
        (MEMBER, {"disk": "full"}, [("ERROR", "the disk is full")]),
        (MEMBER._replace(disk="stalled"), {"disk": "ok"}, [("INFO", "the disk takes writes again")]),
        (MEMBER, {"incarnation": "bb"}, [("WARNING", "member of a new life of the group, or of another one")]),
        (MEMBER, {"id": 2, "configuration": 7}, [("INFO", "member of a group")]),
    ],
)  # fmt: skip
def test_each_change_has_its_line(before: Seen, changes: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert told(before, **changes) == expected


def of(caplog: pytest.LogCaptureFixture, message: str) -> list[dict[str, Any]]:
    """The fields of the lines that say this."""
    return [record.fields for record in caplog.records if record.getMessage() == message]  # type: ignore[attr-defined]


async def test_a_member_tells_of_its_group_its_leader_and_its_snapshots(
    alone: Members, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    group = alone.groups["a"]
    journal = Journal(alone.runtime, group)
    [entered] = of(caplog, "member of a group")
    assert (entered["voters"], entered["incarnation"]) == (["a"], group.identity.incarnation.hex())
    assert of(caplog, "a leader is known") == [{"leader": "a"}]
    said = len(caplog.records)
    journal.look()
    assert len(caplog.records) == said
    assert group.replica is not None
    group.replica.take_snapshot(lambda _error: None)
    await until(lambda: of(caplog, "there is a new snapshot"), "it is told without anybody asking")
    journal.close()


async def test_a_member_that_is_cut_off_says_that_it_knows_no_leader(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    members = Trio(tmp_path)
    await members.open("a", 2)
    journal = Journal(members.runtime, members.groups["a"])
    assert "2" in of(caplog, "without a group")[0]["waits_for"]
    await members.open("b", 2)
    await members.groups["a"].when(60.0).online()
    assert [fields["voters"] for fields in of(caplog, "member of a group")] == [["a", "b"]]
    members.channels["a"].cut()
    await until(lambda: of(caplog, "no leader is known"), "it is told")
    journal.close()
    await members.close()
