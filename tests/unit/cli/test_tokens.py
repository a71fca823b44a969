"""``orderbook keys`` and ``orderbook token``: what they print is what nodes take."""

from __future__ import annotations

import stat
import time
from pathlib import Path

import pytest

from orderbook.tokens import TokenKeys
from orderbook.wire.roles import Role
from unit.cli.run import run


def test_a_new_key_and_a_token_that_it_proves(tmp_path: Path) -> None:
    file = tmp_path / "signing.pem"
    keys = run("keys", "--new", file)
    assert keys.exit_code == 0 and stat.S_IMODE(file.stat().st_mode) == 0o600
    assert run("keys", file).stdout == keys.stdout
    minted = run("token", "--key", file, "--subject", "alice", "--role", "observer", "--ttl", "2m", "--audience", "g")
    claims = TokenKeys.parse(keys.stdout).verify(minted.stdout.strip(), "g", time.time())
    assert (claims.subject, claims.role) == ("alice", Role.OBSERVER)
    assert 100 < claims.expires - time.time() <= 120
    again = run("keys", "--new", file)
    assert again.exit_code == 1 and "is there already" in again.stderr


def test_two_keys_of_a_rotation(tmp_path: Path) -> None:
    for name in ("one", "two"):
        assert run("keys", "--new", tmp_path / name).exit_code == 0
    assert len(TokenKeys.parse(run("keys", tmp_path / "one", tmp_path / "two").stdout).ids) == 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--subject", "alice", "--ttl", "5"), "a number and s, m, h or d"),
        (("--subject", "alice", "--ttl", "9999d"), "1 second to ten years"),
        (("--subject", "a" * 257), "sub has at most 256 bytes, not 257"),
    ],
)
def test_what_is_no_token(tmp_path: Path, arguments: tuple[str, ...], told: str) -> None:
    run("keys", "--new", tmp_path / "key")
    result = run("token", "--key", tmp_path / "key", *arguments)
    assert result.exit_code == 2 and told in result.stderr


def test_a_file_that_is_no_key(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("x")
    for command in (("keys", tmp_path / "key"), ("token", "--key", tmp_path / "key", "--subject", "a")):
        result = run(*command)
        assert result.exit_code == 2 and "not an unencrypted private key in PEM" in result.stderr


def test_a_token_is_not_sent_in_clear_text_to_another_machine() -> None:
    result = run("pairs", "--token", "x", "--node", "http://192.0.2.1:8443")
    assert result.exit_code == 2 and "https:// only" in " ".join(result.stderr.split())
