"""The configuration of a node process: one model, read in one place, from a TOML file, the environment and flags.

Flags beat the environment (``ORDERBOOK_`` and the key in capitals, ``__`` between the parts of a nested key), which
beats the file. A wrong value is refused with its key, the value, and what is allowed. Nothing here changes what the
replicated state does with an entry: that is changed only by logged commands.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from orderbook.book.administration import is_pair_name
from orderbook.network.handshake import is_address
from orderbook.server import patterns
from orderbook.server.client_sockets import MAX_STREAMS, MAX_STREAMS_OF_ONE

ENVIRONMENT_PREFIX = "ORDERBOOK_"
CLIENT_VARIABLES = (  # for commands that talk to nodes: none of a node's own
    "ORDERBOOK_NODES",
    "ORDERBOOK_TOKEN",
    "ORDERBOOK_TOKEN_FILE",
    "ORDERBOOK_CA",
    "ORDERBOOK_SERVER_NAME",
)
FLAGS = {"pairs": "--pair", "discovery.addresses": "--peer", "auth.mode": "--auth", "tls.mode": "--tls"}  # not the key
FILE_KEYS = ("key", "initial_size", "incarnation")  # may stand in a file, under the key with _file behind it
MAY_BE_ABSENT = "incarnation"  # it is known only once the group has begun
MAX_VALUE_BYTES = 4096
LOOPBACK = ("127.0.0.1", "::1", "localhost")
Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=3600)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RaftSection(_Section):
    """Times are seconds. The election timeout is drawn from [election_timeout, 2 x election_timeout)."""

    tick: Annotated[float, Field(ge=0.001, le=10)] = 0.05
    heartbeat: Seconds = 0.1
    election_timeout: Seconds = 0.5
    snapshot_every: Annotated[int, Field(ge=10, description="entries between two snapshots")] = 50_000
    snapshot_bytes: Annotated[int, Field(ge=1 << 20)] = 256 << 20
    tail_entries: Annotated[int, Field(ge=0)] = 5_000
    check_every: Annotated[int, Field(ge=1, description="entries between two checks for divergence")] = 1_000

    @model_validator(mode="after")
    def _leaders_are_heard(self) -> Self:
        if self.heartbeat >= self.election_timeout:
            raise ValueError(
                f"raft.heartbeat = {self.heartbeat} is allowed only below "
                f"raft.election_timeout = {self.election_timeout}: no leader would stay"
            )
        return self


class StorageSection(_Section):
    segment_bytes: Annotated[int, Field(ge=1 << 20, le=1 << 30)] = 64 << 20


class StreamsSection(_Section):
    """How far back this node can resume a stream of fills, events or book changes: what comes first bounds it.
    ``max_open``: WebSockets of clients at the same time, ``max_open_of_one``: of one principal.
    """

    retained_entries: Annotated[int, Field(ge=1_000, le=10_000_000)] = 200_000
    retained_bytes: Annotated[int, Field(ge=16 << 20, le=64 << 30)] = 256 << 20
    max_open: Annotated[int, Field(ge=1, le=100_000)] = MAX_STREAMS
    max_open_of_one: Annotated[int, Field(ge=1, le=100_000)] = MAX_STREAMS_OF_ONE


class DiscoverySection(_Section):
    """How the other nodes are found: addresses (host:port), or the SRV records of a headless service."""

    addresses: tuple[str, ...] = ()
    service: str | None = None
    refresh: Seconds = 5.0

    @field_validator("addresses", mode="after")
    @classmethod
    def _addresses(cls, addresses: tuple[str, ...]) -> tuple[str, ...]:
        for address in addresses:
            if not is_address(address):
                raise ValueError(f"an address is host:port, not {address!r}")
        return addresses


class TlsSection(_Section):
    """``mutual``: peers prove themselves to each other by certificates, nodes to clients. All are paths of PEM files,
    read again while the node runs. ``client_certificate`` and ``client_key``: another certificate for clients to see.
    """

    mode: Literal["none", "mutual"] = "none"
    certificate: Path | None = None
    key: Path | None = None
    ca: Path | None = None
    client_certificate: Path | None = None
    client_key: Path | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.mode == "mutual":
            missing = [name for name in ("certificate", "key", "ca") if getattr(self, name) is None]
            if missing:
                raise ValueError(f"tls.mode = 'mutual' needs {' and '.join('tls.' + name for name in missing)}")
        elif named := [name for name in type(self).model_fields if name != "mode" and getattr(self, name) is not None]:
            raise ValueError(f"tls.{named[0]} is given, but tls.mode is 'none', not 'mutual'")
        if (self.client_certificate is None) != (self.client_key is None):
            raise ValueError("tls.client_certificate and tls.client_key are given together, or neither")
        return self


class AuthSection(_Section):
    """``tokens``: clients prove themselves by JWT; ``keys`` is the path of a JWKS, read again while the node runs,
    ``audience`` the group that tokens are for (left out: the network's name). ``none``: every client is an admin.
    ``clear_text``: tokens may come without TLS from elsewhere than this machine, since something in front ends TLS.
    """

    mode: Literal["none", "tokens"] = "tokens"
    keys: Path | None = None
    audience: Annotated[str, Field(max_length=253)] = ""
    anonymous: Literal["none", "observer"] = "none"
    clear_text: bool = False


class NodeConfiguration(_Section):
    name: Annotated[str, Field(min_length=1, max_length=63, pattern=patterns.NODE_NAME)]
    data: Path
    network: Annotated[str, Field(min_length=1, max_length=63)] = "orderbook"
    key: Annotated[str, Field(min_length=8, max_length=256)]
    key_file: Path | None = None
    initial_size: Annotated[int, Field(ge=1, le=99)] = 3
    initial_size_file: Path | None = None
    incarnation: Annotated[str, Field(pattern=patterns.INCARNATION)] = ""
    incarnation_file: Path | None = None
    pairs: tuple[str, ...] = ()
    host: str = "127.0.0.1"
    advertise: str | None = None
    peer_port: Port = 7400
    client_port: Port = 8443
    probe_port: Port = 9464
    max_client_connections: Annotated[int, Field(ge=16, le=1_000_000)] = 4096
    discovery: DiscoverySection = DiscoverySection()
    raft: RaftSection = RaftSection()
    storage: StorageSection = StorageSection()
    streams: StreamsSection = StreamsSection()
    tls: TlsSection = TlsSection()
    auth: AuthSection = AuthSection()
    log: Literal["auto", "human", "json"] = "auto"

    @field_validator("pairs", mode="after")
    @classmethod
    def _pairs(cls, pairs: tuple[str, ...]) -> tuple[str, ...]:
        for pair in pairs:
            if not is_pair_name(pair):
                raise ValueError(f"a pair is BASE/QUOTE, each 1 to 32 of A-Z a-z 0-9 . _ -, not {pair!r}")
        return pairs

    @model_validator(mode="after")
    def _tokens_are_kept_secret(self) -> Self:
        if self.auth.mode != "tokens":
            return self
        if self.auth.keys is None:
            raise ValueError("auth.keys is missing: a node without token keys starts only with --auth none")
        if self.tls.mode == "none" and self.host not in LOOPBACK and not self.auth.clear_text:
            raise ValueError(
                f"auth.mode = 'tokens' without TLS would have tokens sent in clear text to host = {self.host!r}: say "
                f"tls.mode = 'mutual', listen on this machine only ({', '.join(LOOPBACK)}), or say auth.clear_text = "
                "true where something in front of the node ends TLS"
            )
        return self

    @property
    def audience(self) -> str:
        """The group's name, as tokens for it say."""
        return self.auth.audience or self.network


class ConfigurationError(ValueError):
    """A value that is not allowed: the message names key, value, where it came from, and what is allowed."""


def load(
    file: Path | None, environment: Mapping[str, str] | None = None, flags: Mapping[str, Any] | None = None
) -> NodeConfiguration:
    """The configuration from all three sources. ``flags`` maps dotted keys to values; None means not given.

    What stands in files (``key_file`` and its like) is read here, once.
    """
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    if file is not None:
        try:
            _merge(values, tomllib.loads(file.read_text()), sources, str(file))
        except OSError as error:
            raise ConfigurationError(f"{file}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise ConfigurationError(f"{file}: not UTF-8") from error
        except tomllib.TOMLDecodeError as error:
            raise ConfigurationError(f"{file}: not TOML: {error}") from error
    for variable, text in sorted((os.environ if environment is None else environment).items()):
        if variable.startswith(ENVIRONMENT_PREFIX) and variable not in CLIENT_VARIABLES:
            path = variable.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")
            _merge(values, _nested(path, _from_text(path, text)), sources, variable)
    for key, value in (flags or {}).items():
        if value is not None:
            flag = FLAGS.get(key) or "--" + key.replace("_", "-").replace(".", "-")
            _merge(values, _nested(key.split("."), value), sources, flag)
    for key in FILE_KEYS:
        _from_file(key, values, sources)
    try:
        return NodeConfiguration.model_validate(values)
    except ValidationError as error:
        raise ConfigurationError("; ".join(_sentence(problem, sources) for problem in error.errors())) from error


def _from_file(key: str, values: dict[str, Any], sources: dict[str, str]) -> None:
    """Take the value of ``key`` from the file that ``key_file`` names. Raises ConfigurationError."""
    named = f"{key}_file"
    if not isinstance(values.get(named), str | Path):
        return
    if key in values:
        raise ConfigurationError(f"{key} and {named} are both given: exactly one of them is allowed")
    file = Path(values[named])
    try:
        text = file.read_bytes()[: MAX_VALUE_BYTES + 1].decode().strip()
    except FileNotFoundError as error:
        if key == MAY_BE_ABSENT:
            return
        raise ConfigurationError(f"{named} = {str(file)!r}: there is no such file") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{named} = {str(file)!r}: not UTF-8") from error
    except OSError as error:
        raise ConfigurationError(f"{named} = {str(file)!r}: {error.strerror}") from error
    if text or key != MAY_BE_ABSENT:
        values[key] = text
        sources[key] = str(file)


def _from_text(path: list[str], text: str) -> Any:
    lists = ("pairs",), ("discovery", "addresses")
    return tuple(part.strip() for part in text.split(",") if part.strip()) if tuple(path) in lists else text


def _nested(path: list[str], value: Any) -> dict[str, Any]:
    for part in reversed(path):
        value = {part: value}
    nested: dict[str, Any] = value
    return nested


def _merge(into: dict[str, Any], new: Mapping[str, Any], sources: dict[str, str], source: str, at: str = "") -> None:
    for key, value in new.items():
        dotted = f"{at}{key}"
        if isinstance(value, Mapping):
            below = into.setdefault(key, {})
            if not isinstance(below, dict):
                below = into[key] = {}
            _merge(below, value, sources, source, dotted + ".")
        else:
            into[key] = value
            sources[dotted] = source


def _sentence(problem: Any, sources: dict[str, str]) -> str:
    key = ".".join(str(part) for part in problem["loc"] if not isinstance(part, int))
    source = f" (from {sources[key]})" if key in sources else ""
    if problem["type"] == "missing":
        return f"{key} is missing" if key not in FILE_KEYS else f"{key} is missing: give it, or {key}_file"
    if problem["type"] == "value_error" and isinstance(problem["input"], dict):
        return str(problem["ctx"]["error"])  # it names its keys itself
    if problem["type"] == "extra_forbidden":
        return f"{key}{source} is no key of the configuration"
    value = "(secret)" if key == "key" else repr(problem["input"])[:200]
    return f"{key} = {value}{source}: {patterns.message_of(problem)}"
