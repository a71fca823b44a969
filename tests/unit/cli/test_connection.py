"""Which nodes a command asks, and what its exit code says."""

import pytest
import typer

from orderbook.cli.connection import addresses_of, exit_code_of
from orderbook.client.api import ApiRefused, Unreachable
from orderbook.client.resumable_session import SessionLost
from orderbook.groups.errors import Refused, Unavailable, Uncertain
from orderbook.groups.sessions import Outcome
from unit.cli.run import run


def test_nodes_are_urls_with_commas_between() -> None:
    assert addresses_of("http://a:1, b:2/,https://c") == ["http://a:1", "http://b:2", "https://c"]


@pytest.mark.parametrize("text", ["", ",", "ftp://a:1", "http://", "http://a/v1", "http://a?x=1"])
def test_what_is_no_node(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="node"):
        addresses_of(text)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ApiRefused(422, {"code": "rejected", "message": "no"}), 1),
        (Refused(Outcome.NOT_PERMITTED), 1),
        (Unavailable("no_leader"), 3),
        (Unreachable({"http://a": "down"}, ""), 3),
        (Uncertain("lost"), 4),
        (SessionLost("expired"), 4),
    ],
)
def test_exit_codes(error: Exception, code: int) -> None:
    assert exit_code_of(error) == code  # type: ignore[arg-type]


def test_nobody_there_is_exit_code_3_and_names_the_node() -> None:
    result = run("pairs", "--node", "127.0.0.1:1", "--patience", "0")
    assert result.exit_code == 3
    assert "http://127.0.0.1:1" in result.stderr


def test_as_json_an_error_is_json() -> None:
    result = run("pairs", "--node", "127.0.0.1:1", "--patience", "0", "--json")
    assert result.exit_code == 3
    assert '"code": "unavailable"' in result.stdout


def test_nodes_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORDERBOOK_NODES", "127.0.0.1:2")
    result = run("fills", "--patience", "0")
    assert "http://127.0.0.1:2" in result.stderr
