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
            "(from --pair): Value error, a pair is BASE/QUOTE, each 1 to 32 of A-Z a-z 0-9 . _ -, not 'ETH'",
        ),
        ({"pairs": ("ETH/U SD",)}, "not 'ETH/U SD'"),
        ({"discovery.addresses": ("h:1", "there")}, "(from --peer): Value error, an address is host:port, not 'there'"),
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
