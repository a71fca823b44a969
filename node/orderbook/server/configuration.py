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
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

ENVIRONMENT_PREFIX = "ORDERBOOK_"
CLIENT_VARIABLES = ("ORDERBOOK_NODES",)  # for commands that talk to nodes: none of a node's own
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


class StorageSection(_Section):
    segment_bytes: Annotated[int, Field(ge=1 << 20, le=1 << 30)] = 64 << 20


class DiscoverySection(_Section):
    """How the other nodes are found: addresses (host:port), or the SRV records of a headless service."""

    addresses: tuple[str, ...] = ()
    service: str | None = None
    refresh: Seconds = 5.0


class AuthSection(_Section):
    """``none``: every client is an admin. Tokens come with the operator's keys."""

    mode: Literal["none", "tokens"] = "tokens"
    keys: Path | None = None
    anonymous: Literal["none", "observer"] = "none"


class NodeConfiguration(_Section):
    name: Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
    data: Path
    network: Annotated[str, Field(min_length=1, max_length=63)] = "orderbook"
    key: Annotated[str, Field(min_length=8, max_length=256)]
    initial_size: Annotated[int, Field(ge=1, le=99)] = 3
    incarnation: Annotated[str, Field(pattern=r"^([0-9a-f]{32})?$")] = ""
    pairs: tuple[str, ...] = ()
    host: str = "127.0.0.1"
    advertise: str | None = None
    peer_port: Port = 7400
    client_port: Port = 8443
    probe_port: Port = 9464
    discovery: DiscoverySection = DiscoverySection()
    raft: RaftSection = RaftSection()
    storage: StorageSection = StorageSection()
    auth: AuthSection = AuthSection()
    log: Literal["auto", "human", "json"] = "auto"

    @field_validator("pairs", mode="after")
    @classmethod
    def _pairs(cls, pairs: tuple[str, ...]) -> tuple[str, ...]:
        for pair in pairs:
            if pair.count("/") != 1 or "" in pair.split("/"):
                raise ValueError(f"a pair is BASE/QUOTE, not {pair!r}")
        return pairs


class ConfigurationError(ValueError):
    """A value that is not allowed: the message names key, value, where it came from, and what is allowed."""


def load(
    file: Path | None, environment: Mapping[str, str] | None = None, flags: Mapping[str, Any] | None = None
) -> NodeConfiguration:
    """The configuration from all three sources. ``flags`` maps dotted keys to values; None means not given."""
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    if file is not None:
        try:
            _merge(values, tomllib.loads(file.read_text()), sources, str(file))
        except OSError as error:
            raise ConfigurationError(f"{file}: {error.strerror}") from error
        except tomllib.TOMLDecodeError as error:
            raise ConfigurationError(f"{file}: not TOML: {error}") from error
    for variable, text in sorted((os.environ if environment is None else environment).items()):
        if variable.startswith(ENVIRONMENT_PREFIX) and variable not in CLIENT_VARIABLES:
            path = variable.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")
            _merge(values, _nested(path, _from_text(path, text)), sources, variable)
    for key, value in (flags or {}).items():
        if value is not None:
            _merge(values, _nested(key.split("."), value), sources, "--" + key.replace("_", "-").replace(".", "-"))
    try:
        return NodeConfiguration.model_validate(values)
    except ValidationError as error:
        raise ConfigurationError("; ".join(_sentence(problem, sources) for problem in error.errors())) from error


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
        return f"{key} is missing"
    if problem["type"] == "extra_forbidden":
        return f"{key}{source} is no key of the configuration"
    value = "(secret)" if key == "key" else repr(problem["input"])
    return f"{key} = {value}{source}: {problem['msg']}"
