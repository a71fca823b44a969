"""What is shown of names that others chose."""

from __future__ import annotations

import pytest
from rich.text import Text

from orderbook.cli.tables import PlainTable, printable, show


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("bob", "bob"),
        ("Zoë 株", "Zoë 株"),
        ("[/red]", "[/red]"),
        ("[bold]x", "[bold]x"),
        ("\x1b[2J", "\\x1b[2J"),
        ("a\nb\x00", "a\\nb\\x00"),
        ("\u202eevil", "\\u202eevil"),
    ],
)
def test_a_name_is_no_markup_and_no_command_of_a_terminal(
    name: str, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert printable(name) == shown
    table = PlainTable("trader", "state")
    table.add_row(name, Text("open", style="red"))
    show(table)
    assert [line.split("  ")[0].strip() for line in capsys.readouterr().out.splitlines()] == ["trader", shown]
