"""A node's configuration: three sources, one place, and a refusal that says what is wrong and where it came from."""

from __future__ import annotations

from pathlib import Path

import pytest

from orderbook.server.configuration import ConfigurationError, load

FLAGS = {"name": "a", "data": Path("d"), "key": "a secret key", "auth.mode": "none"}


def refused(**sources: object) -> str:
    with pytest.raises(ConfigurationError) as raised:
        load(**{"file": None, "environment": {}, "flags": FLAGS, **sources})  # type: ignore[arg-type]
    return str(raised.value)


def test_flags_beat_the_environment_which_beats_the_file(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text('name = "file"\ndata = "d"\nkey = "a secret key"\nhost = "h"\n[raft]\ntick = 0.2\n')
    environment = {"ORDERBOOK_NAME": "environment", "ORDERBOOK_RAFT__TICK": "0.3", "OTHER": "x"}
    environment["ORDERBOOK_AUTH__MODE"] = "none"
    configuration = load(file, environment, {"name": "flag", "host": None})
    assert (configuration.name, configuration.host, configuration.raft.tick) == ("flag", "h", 0.3)


def test_lists_are_comma_separated_in_the_environment() -> None:
    environment = {"ORDERBOOK_PAIRS": "A/B, C/D", "ORDERBOOK_DISCOVERY__ADDRESSES": "h:1,i:2"}
    configuration = load(None, environment, FLAGS)
    assert (configuration.pairs, configuration.discovery.addresses) == (("A/B", "C/D"), ("h:1", "i:2"))


def test_what_is_for_clients_is_no_key_of_a_node() -> None:
    assert load(None, {"ORDERBOOK_NODES": "http://127.0.0.1:8443"}, FLAGS).name == "a"


def test_an_unknown_key_is_refused_with_its_source(tmp_path: Path) -> None:
    assert refused(environment={"ORDERBOOK_NAMES": "x"}) == (
        "names (from ORDERBOOK_NAMES) is no key of the configuration"
    )
    file = tmp_path / "node.toml"
    file.write_text("[raft]\ntock = 1\n")
    assert refused(file=file) == f"raft.tock (from {file}) is no key of the configuration"


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({"name": "Upper"}, "name = 'Upper' (from --name)"),
        ({"key": "short"}, "key = (secret) (from --key): String should have at least 8"),
        ({"client_port": 65536}, "client_port = 65536 (from --client-port)"),
        ({"initial_size": 0}, "initial_size = 0 (from --initial-size)"),
        (
            {"pairs": ("ETH",)},
            "(from --pair): a pair is BASE/QUOTE, each 1 to 32 of A-Z a-z 0-9 . _ -, not 'ETH'",
        ),
        ({"pairs": ("ETH/U SD",)}, "not 'ETH/U SD'"),
        ({"discovery.addresses": ("h:1", "there")}, "(from --peer): an address is host:port, not 'there'"),
        ({"raft.heartbeat": 0.5}, "raft.heartbeat = 0.5 is allowed only below raft.election_timeout = 0.5"),
        ({"auth.mode": "maybe"}, "auth.mode = 'maybe' (from --auth)"),
        ({"name": None}, "name is missing"),
    ],
)
def test_a_wrong_value_is_refused_with_key_value_and_source(flags: dict[str, object], told: str) -> None:
    assert told in refused(flags={**FLAGS, **flags})


def test_a_file_that_is_none(tmp_path: Path) -> None:
    assert "No such file" in refused(file=tmp_path / "none.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("name =")
    assert "not TOML" in refused(file=broken)


def test_a_file_that_is_no_text_is_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_bytes(b"\xff\xfe")
    assert refused(file=file) == f"{file}: not UTF-8"


# --- values in files, TLS and tokens ----------------------------------------------------------------------------------

WITHOUT_KEY = {name: value for name, value in FLAGS.items() if name != "key"}


def test_values_may_stand_in_files(tmp_path: Path) -> None:
    for name, text in (("key", "a secret key\n"), ("size", "5\n"), ("incarnation", "ab" * 16)):
        (tmp_path / name).write_text(text)
    flags = {**WITHOUT_KEY, "key_file": tmp_path / "key", "initial_size_file": tmp_path / "size"}
    configuration = load(None, {"ORDERBOOK_INCARNATION_FILE": str(tmp_path / "incarnation")}, flags)
    assert (configuration.key, configuration.initial_size) == ("a secret key", 5)
    assert configuration.incarnation == "ab" * 16


@pytest.mark.parametrize("text", [None, "", "\n"])
def test_an_incarnation_that_nobody_knows_yet(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "incarnation").write_text(text)
    assert load(None, {}, {**FLAGS, "incarnation_file": tmp_path / "incarnation"}).incarnation == ""


def test_wrong_files_are_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("wrong")
    assert f"incarnation = 'wrong' (from {file})" in refused(flags={**FLAGS, "incarnation_file": file})
    assert f"initial_size = 'wrong' (from {file})" in refused(flags={**FLAGS, "initial_size_file": file})
    short = tmp_path / "key"
    short.write_text("sesame")
    told = refused(flags={**WITHOUT_KEY, "key_file": short})
    assert f"key = (secret) (from {short})" in told and "sesame" not in told
    assert "key and key_file are both given" in refused(flags={**FLAGS, "key_file": file})
    assert "key is missing: give it, or key_file" in refused(flags=WITHOUT_KEY)
    missing = tmp_path / "missing"
    assert f"key_file = '{missing}': there is no such file" in refused(flags={**WITHOUT_KEY, "key_file": missing})


TOKENS = {**FLAGS, "auth.mode": "tokens", "auth.keys": "tokens.json"}
TLS = {"tls.mode": "mutual", "tls.certificate": "c", "tls.key": "k", "tls.ca": "a"}


def test_tokens_in_clear_text_stay_on_this_machine_unless_that_is_wanted() -> None:
    assert load(None, {}, TOKENS).audience == "orderbook"
    assert "would have tokens sent in clear text to host = '0.0.0.0'" in refused(flags={**TOKENS, "host": "0.0.0.0"})
    assert load(None, {"ORDERBOOK_AUTH__CLEAR_TEXT": "true"}, {**TOKENS, "host": "0.0.0.0"}).auth.clear_text
    assert load(None, {}, {**TOKENS, **TLS, "host": "0.0.0.0", "auth.audience": "g"}).audience == "g"


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({"auth.mode": "tokens"}, "auth.keys is missing"),
        ({"tls.mode": "mutual", "tls.key": "k"}, "tls.mode = 'mutual' needs tls.certificate and tls.ca"),
        ({"tls.ca": "a"}, "tls.ca is given, but tls.mode is 'none', not 'mutual'"),
        ({**TLS, "tls.client_key": "k"}, "tls.client_certificate and tls.client_key are given together"),
        ({"tls.mode": "maybe"}, "tls.mode = 'maybe' (from --tls)"),
    ],
)
def test_half_of_what_is_needed(flags: dict[str, object], told: str) -> None:
    assert told in refused(flags={**FLAGS, **flags})
