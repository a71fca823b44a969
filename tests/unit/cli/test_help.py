"""Every command explains itself: --help with an example, and exit codes where a program may look at them."""

import re

import pytest
import typer

from orderbook.cli import app
from unit.cli.run import run

COMMANDS = sorted(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
NAMED_BY_THE_MANUAL = {
    "node", "local", "demo", "place", "cancel", "amend", "book", "fills", "orders", "watch", "status", "members",
    "pairs", "halt", "resume", "transfer", "snapshot", "recover", "match", "replay", "bench",
}  # fmt: skip


def test_all_commands_are_there() -> None:
    assert set(COMMANDS) >= NAMED_BY_THE_MANUAL


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example_that_calls_this_command(name: str) -> None:
    result = run(name, "--help")
    assert result.exit_code == 0
    text = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", result.output).split())
    assert re.search(rf"Example: (ORDERBOOK_KEY=\S+ )?orderbook {name}", text)


@pytest.mark.parametrize("name", COMMANDS)
def test_an_unknown_option_is_wrong_usage(name: str) -> None:
    assert run(name, "--no-such-option").exit_code == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("cancel",),
        ("cancel", 1, "--all"),
        ("cancel", "--all", "--quantity", "1"),
        ("cancel", 1, "--pair", "A/B"),
        ("amend", 1),
        ("halt",),
        ("resume", "A/B", "--all"),
        ("fills", "--since", "nine"),
        ("place", "buy", "A/B", "1", "2"),
        ("local",),
        ("demo", "--auth", "tokens"),
        ("pairs", "--node", "ftp://x"),
        ("bench", "--directory", "no/such/directory"),
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: tuple[object, ...]) -> None:
    assert run(*arguments).exit_code == 2
